"""More rows from those there are: by templates, by a model's paraphrases, more of rare intents.

A synthetic row keeps its source's answer under another wording of the last question, and says so:
`synthetic: {"by": "template", "of": "dialogues.jsonl:12"}`. Only training rows may be handed in;
what they don't hold out cannot leak. Rows said before, with another case or other marks, are
dropped.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import ceil
from pathlib import Path
from typing import Any, Literal, Protocol

from pydantic import Field

from rlhf.config import Settings
from rlhf.data.exact_keys import exact_key
from rlhf.data.templates import Wordings

Row = Mapping[str, Any]
By = Literal["template", "paraphrase"]


class Paraphrase(Settings):
    """Other wordings of a question from a model."""

    per_row: int = Field(default=1, ge=1, le=8)
    """Wordings asked for, of each row; odd ones are dropped."""
    max_new_tokens: int = Field(default=96, ge=8)
    """Tokens of a wording, at most."""
    temperature: float = Field(default=0.8, gt=0, le=2)
    """Higher wordings differ more, and go wrong more often."""
    batch_size: int = Field(default=32, ge=1)
    """Questions reworded at once."""


class Balance(Settings):
    """More rows for the intents that have few."""

    least_share: float = Field(default=0.05, gt=0, le=0.5)
    """Of all rows with an intent: one below it gets synthetic rows until it is reached (or an equal
    share, where there are too many intents for all to reach it)."""
    most_per_row: int = Field(default=5, ge=1)
    """Synthetic rows of one source row, at most: a handful of rows said a hundred ways teaches
    the handful."""


class AugmentSettings(Settings):
    """How training rows are multiplied."""

    templates: Path | None = None
    """A YAML file of wordings: see configs/augment_zh.yaml."""
    per_row: int = Field(default=1, ge=0, le=20)
    """Variants by template of each row, at most."""
    paraphrase: Paraphrase | None = None
    """Wordings by a model, if one is given."""
    balance: Balance | None = None
    """Only where an intent has too few rows, rather than everywhere."""
    most_synthetic: float = Field(default=0.3, gt=0, lt=1)
    """Share of all rows that may be synthetic."""


class Reworder(Protocol):
    """Says questions in other words: for each question so many wordings, fewer where they fail."""

    def __call__(self, questions: Sequence[str], wordings: int, seed: int) -> list[list[str]]: ...


def augmented(
    rows: Sequence[Row],
    settings: AugmentSettings,
    seed: int,
    *,
    reworder: Reworder | None = None,
    held_out: Iterable[Row] = (),
) -> Iterator[dict[str, Any]]:
    """Synthetic rows made from training rows; the same rows, settings and seed give the same.

    `reworder` is asked where `paraphrase` is set (see rlhf/data/paraphrase.py). `held_out` rows are
    only read so that nothing made here asks what they ask.
    """
    budget = int(len(rows) * settings.most_synthetic / (1 - settings.most_synthetic))
    seen = {prompt_key(row) for row in (*rows, *held_out)}
    wanted = _wanted(rows, settings.balance)
    for source, question, by in _candidates(rows, settings, seed, wanted, reworder):
        intent = source.get("intent") or ""
        if budget == 0:
            return
        if wanted is not None and wanted[intent] == 0:
            continue
        row = _reworded(source, question, by)
        key = prompt_key(row)
        if key not in seen:
            seen.add(key)
            budget -= 1
            if wanted is not None:
                wanted[intent] -= 1
            yield row


def _wanted(rows: Sequence[Row], balance: Balance | None) -> Counter[str] | None:
    """How many rows each rare intent lacks; None where all rows are multiplied alike."""
    if balance is None:
        return None
    counts = Counter(row["intent"] for row in rows if row.get("intent"))
    share = min(balance.least_share, 1 / max(1, len(counts)))
    rare = [intent for intent, count in counts.items() if count < share * counts.total()]
    # The whole grows with what is added: share * whole = enough, whole = common + rare * enough.
    common = counts.total() - sum(counts[intent] for intent in rare)
    enough = ceil(share * common / (1 - share * len(rare)))
    return Counter({intent: enough - counts[intent] for intent in rare})


def _candidates(
    rows: Sequence[Row],
    settings: AugmentSettings,
    seed: int,
    wanted: Counter[str] | None,
    reworder: Reworder | None,
) -> Iterator[tuple[Row, str, By]]:
    """Sources with other wordings of their question, in an order drawn by the seed."""
    rng = random.Random(seed)
    sources = [row for row in rows if wanted is None or wanted[row.get("intent") or ""] > 0]
    sources = [row for row in sources if _question(row) and "synthetic" not in row]
    rng.shuffle(sources)
    per_row = settings.per_row if settings.balance is None else settings.balance.most_per_row
    if settings.templates is not None:
        wordings = Wordings.read(settings.templates)
        made = [(row, list(wordings.of(_question(row), per_row, rng))) for row in sources]
        # One of each before a second of any: the cap cuts what differs least from what is there.
        for turn in range(per_row):
            yield from ((row, said[turn], "template") for row, said in made if turn < len(said))
    if settings.paraphrase is not None and reworder is not None:
        yield from _paraphrased(sources, settings.paraphrase, seed, reworder)


def _paraphrased(
    sources: Sequence[Row], settings: Paraphrase, seed: int, reworder: Reworder
) -> Iterator[tuple[Row, str, By]]:
    """In batches, so that no more is asked of the model than is used."""
    for at in range(0, len(sources), settings.batch_size):
        batch = sources[at : at + settings.batch_size]
        said = reworder([_question(row) for row in batch], settings.per_row, seed + at)
        for row, wordings in zip(batch, said, strict=True):
            yield from ((row, wording, "paraphrase") for wording in wordings)


def _question(row: Row) -> str:
    """The user's last turn; empty where the prompt does not end with one."""
    last = row["prompt"][-1] if row["prompt"] else {"role": ""}
    return str(last["content"]) if last["role"] == "user" else ""


def _reworded(source: Row, question: str, by: By) -> dict[str, Any]:
    turns = [*source["prompt"][:-1], {"role": "user", "content": question}]
    # A row is known by its conversation, or else by its first words, which may be others now: so
    # that a split made later leaves it with its source.
    opening = next(turn["content"] for turn in source["prompt"] if turn["role"] == "user")
    return {
        **source,
        "prompt": turns,
        "conversation": source.get("conversation") or opening,
        "synthetic": {"by": by, "of": source.get("source", "")},
    }


def prompt_key(row: Row) -> int:
    """Blind to case, spaces and marks; of the prompt alone, as the answer is the source's."""
    return exact_key(*_texts(row["prompt"]))


def _texts(prompt: Iterable[Mapping[str, str]]) -> Iterator[str]:
    for turn in prompt:
        yield turn["role"]
        yield turn["content"]
