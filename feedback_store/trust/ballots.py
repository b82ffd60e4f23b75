"""The votes of a project as columns of numbers, small enough to hold a million of them."""

import hashlib
import json
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Select, Table, cast, func, select
from sqlalchemy import Text as SqlText

from feedback_store.database import Database
from feedback_store.metrics import Metrics
from feedback_store.reads import COMPARISON_KEY, FEEDBACK_KEY, is_live
from feedback_store.tables import comparisons, feedback, interactions

Ints = NDArray[np.int64]

THUMB, CORRECTION, CHOICE = 0, 1, 2
_PAGE = 1_000
_PAGE_OF_TEXTS = 250


@dataclass(frozen=True)
class Ballots:
    """Live votes that can train, by voter and text, so that no sum depends on their arrival."""

    seq: Ints
    voter: Ints
    when: Ints
    """Seconds since 1970."""
    kind: Ints
    """THUMB (ratings too), CORRECTION or CHOICE."""
    sign: Ints
    """1 for the text, -1 against it; 1 of corrections and choices."""
    text: Ints
    """What is voted on; of corrections and choices, what is favoured."""
    rejected: Ints
    """What the text is favoured over, or -1."""
    prompt: Ints
    voters: list[str]
    digests: list[bytes]
    """Each text's name."""
    prompts: list[str]
    """Each prompt's last user message."""
    texts: dict[int, str] = field(default_factory=dict)
    """The texts themselves, or a sample of them drawn by their digests."""
    interactions: dict[str, int] = field(default_factory=dict)
    """The text that each judged interaction gave."""

    def __len__(self) -> int:
        return len(self.seq)

    def without(self, seqs: set[int]) -> "Ballots":
        """These ballots but for the named votes."""
        kept = ~np.isin(self.seq, np.fromiter(seqs, np.int64, len(seqs)))
        columns = (*_COLUMNS, "prompt")
        return replace(self, **{name: getattr(self, name)[kept] for name in columns})


# Of a text in the sample; a phrase that many push stands nearer to the beginning.
_SAMPLED_CHARS = 4_000


class BallotBox:
    """Reads the votes for those who judge them."""

    _database: Database
    metrics: Metrics

    def ballots(
        self, project: str, upto: int, *, up: float = 4.0, down: float = 2.0, sample: int = 10_000
    ) -> Ballots:
        """Real votes on consented answers as of a watermark; ratings from `up` on count as up.

        At most about `sample` of the texts are kept.
        """
        draft = _Draft()
        for row in self._rows(_feedback(project, upto), feedback):
            if row.kind == "correction":
                draft.correction(row)
            else:
                value = self.metrics.to_scale(row)
                if row.kind == "rating":
                    value = (value >= up) - (value <= down)
                draft.thumb(row, int(np.sign(value)))
        for row in self._rows(_comparisons(project, upto), comparisons):
            draft.choice(row)
        share = min(1.0, sample / max(1, len(draft.places) + len(draft.corrections)))
        for row in self._rows(_answers(project, upto), interactions):
            draft.answer(row, share)
        return draft.finished(share)

    def responses(self, project: str, upto: int) -> Iterator[tuple[str, str]]:
        """Each consented interaction's id and response."""
        for row in self._rows(_answers(project, upto), interactions):
            yield row.id, row.response

    def _rows(self, query: Select[Any], table: Table) -> Iterator[Any]:
        size = _PAGE_OF_TEXTS if table is interactions else _PAGE
        query, after = query.order_by(table.c.seq).limit(size), 0
        while True:
            with self._database.read() as connection:
                rows = connection.execute(query.where(table.c.seq > after)).all()
            yield from rows
            if len(rows) < size:
                return
            after = rows[-1].seq


def _feedback(project: str, upto: int) -> Select[Any]:
    names = ("seq", "interaction", "voter", "metric", "kind", "value", "text", "created_at")
    # A join would let the planner begin with the project's interactions, and sort for every page.
    of = select(interactions.c.project).where(
        interactions.c.id == feedback.c.interaction, interactions.c.consent
    )
    return select(*(feedback.c[name] for name in names)).where(
        of.scalar_subquery() == project,
        ~feedback.c.simulated,
        feedback.c.kind.in_(("thumb", "rating", "correction")),
        is_live(feedback, FEEDBACK_KEY, upto),
    )


def _comparisons(project: str, upto: int) -> Select[Any]:
    names = ("seq", "a", "b", "voter", "choice", "created_at")
    return select(*(comparisons.c[name] for name in names)).where(
        comparisons.c.project == project,
        comparisons.c.choice.in_(("a", "b")),
        ~comparisons.c.simulated,
        is_live(comparisons, COMPARISON_KEY, upto),
    )


def _answers(project: str, upto: int) -> Select[Any]:
    style = func.coalesce(interactions.c.style_used, interactions.c.style_asked).label("style")
    # As the text that it is stored as: it names the prompt, and few need to be parsed.
    messages = cast(interactions.c.messages, SqlText).label("messages")
    columns = (interactions.c.seq, interactions.c.id, messages, interactions.c.response, style)
    return select(*columns).where(
        interactions.c.project == project, interactions.c.consent, interactions.c.seq <= upto
    )


class _Draft:
    """Ballots while they are read: votes first, by their interactions, then what those say."""

    def __init__(self) -> None:
        # So many numbers a row, one row after the other.
        self.rows = array("q")
        self.voters: dict[str, int] = {}
        self.places: dict[str, int] = {}
        self.corrections: list[tuple[int, str]] = []
        self.answers: dict[int, tuple[bytes, bytes, str | None]] = {}
        self.prompts: dict[bytes, str] = {}

    def thumb(self, row: Any, sign: int) -> None:
        if sign:
            self._add(row, THUMB, sign, self._place(row.interaction), -1)

    def correction(self, row: Any) -> None:
        place = self._place(row.interaction)
        self.corrections.append((place, row.text))
        # Corrections have no interaction of their own: they count down from -2.
        self._add(row, CORRECTION, 1, -1 - len(self.corrections), place)

    def choice(self, row: Any) -> None:
        a, b = self._place(row.a), self._place(row.b)
        favoured, rejected = (a, b) if row.choice == "a" else (b, a)
        self._add(row, CHOICE, 1, favoured, rejected)

    def answer(self, row: Any, share: float) -> None:
        place = self.places.get(row.id)
        if place is None:
            return
        prompt = _digest(row.messages, row.style or "")
        text = _digest(prompt.hex(), row.response)
        told = row.response[:_SAMPLED_CHARS] if _drawn(text, share) else None
        self.answers[place] = (prompt, text, told)
        if prompt not in self.prompts:
            self.prompts[prompt] = _last_words(row.messages)

    def finished(self, share: float) -> Ballots:
        named: dict[int, tuple[bytes, bytes]] = {}
        kept: dict[bytes, str] = {}
        for place, (prompt, text, response) in self.answers.items():
            named[place] = (prompt, text)
            if response is not None:
                kept[text] = response
        for number, (place, words) in enumerate(self.corrections):
            if place in named:
                text = _digest(named[place][0].hex(), words)
                named[-2 - number] = (named[place][0], text)
                if _drawn(text, share):
                    kept[text] = words[:_SAMPLED_CHARS]
        return self._sorted(named, kept)

    def _sorted(self, named: dict[int, tuple[bytes, bytes]], kept: dict[bytes, str]) -> Ballots:
        voters = sorted(self.voters)
        voter_rank = np.empty(len(voters), np.int64)
        voter_rank[[self.voters[name] for name in voters]] = np.arange(len(voters))
        digests = sorted({text for _, text in named.values()})
        texts = {digest: rank for rank, digest in enumerate(digests)}
        prompts = {digest: rank for rank, digest in enumerate(sorted(self.prompts))}
        rows = np.asarray(self.rows, np.int64).reshape(-1, len(_COLUMNS))
        made = {name: rows[:, place].copy() for place, name in enumerate(_COLUMNS)}
        text = np.array([texts[named[p][1]] if p in named else -1 for p in made["text"]], np.int64)
        prompt = [prompts[named[p][0]] if p in named else -1 for p in made["text"]]
        rejected = [texts[named[p][1]] if p in named else -1 for p in made["rejected"]]
        made |= {
            "voter": voter_rank[made["voter"]] if voters else made["voter"],
            "text": text,
            "rejected": np.array(rejected, np.int64),
            "prompt": np.array(prompt, np.int64),
        }
        names = ("when", "rejected", "sign", "kind", "text", "voter")
        order = np.lexsort([made[name] for name in names])
        # Nor does a choice tell anything whose other side nobody may learn from.
        whole = (text >= 0) & ((made["kind"] != CHOICE) | (made["rejected"] >= 0))
        order = order[whole[order]]
        # A text chosen over itself says nothing.
        order = order[made["text"][order] != made["rejected"][order]]
        return Ballots(
            **{name: column[order] for name, column in made.items()},
            voters=voters,
            digests=digests,
            prompts=[self.prompts[digest] for digest in prompts],
            texts={texts[digest]: words for digest, words in sorted(kept.items())},
            interactions={
                id: texts[named[place][1]] for id, place in self.places.items() if place in named
            },
        )

    def _place(self, interaction: str) -> int:
        return self.places.setdefault(interaction, len(self.places))

    def _add(self, row: Any, kind: int, sign: int, text: int, rejected: int) -> None:
        voter = self.voters.setdefault(row.voter, len(self.voters))
        when = int(row.created_at.timestamp())
        self.rows.extend((row.seq, voter, when, kind, sign, text, rejected))


_COLUMNS = ("seq", "voter", "when", "kind", "sign", "text", "rejected")


def _digest(*parts: str) -> bytes:
    made = hashlib.blake2b(digest_size=12)
    for part in parts:
        data = part.encode()
        made.update(len(data).to_bytes(8, "big"))
        made.update(data)
    return made.digest()


def _drawn(digest: bytes, share: float) -> bool:
    return int.from_bytes(digest[:6], "big") < share * 2**48


def _last_words(messages: str) -> str:
    said = [message["content"] for message in json.loads(messages) if message["role"] == "user"]
    return str(said[-1]) if said else ""
