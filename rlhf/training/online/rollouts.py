"""Prompts to learn on, the policy's answers to them, and what the answers are worth."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import torch
from transformers import PreTrainedTokenizerBase

from rewards import RewardSet, RowReward
from rlhf.chat import Message, render
from rlhf.data.records import Record
from rlhf.data.reward_columns import column_names, columns_of
from rlhf.errors import DataError
from rlhf.files import content_id
from rlhf.progress import console
from rlhf.sampling import Completion, Prompt
from rlhf.training.online.tally import Tally

# Fewer different scores than this say nothing about how they are spread.
_ENOUGH = 5


@dataclass(frozen=True)
class Question:
    """A prompt, its token ids, and what rewards read of it beside its words."""

    prompt: Prompt
    ids: list[int]
    columns: Mapping[str, Any]


@dataclass(frozen=True)
class Answer:
    """What the policy said to a question, and what that is worth."""

    question: Question
    place: int
    """The question's place among the round's prompts, over all processes."""
    completion: Completion
    reward: RowReward


def prompt_rows(records: Sequence[Record]) -> list[dict[str, Any]]:
    """Every prompt once, whatever was voted on it. Raises `DataError` when there is none."""
    rows: dict[str, dict[str, Any]] = {}
    names = column_names(records)
    for r in records:
        known = r.chosen if r.shape == "preference" else r.completion  # none where just asked
        own = {name: values[0] for name, values in columns_of([r], names).items()}
        reference = known if r.label is not False else None
        row = {"prompt": list(r.prompt), **own, "reference": reference}
        rows.setdefault(content_id([row["prompt"], r.style]), row)
    if not rows:
        raise DataError("ppo: needs prompts to answer, found none")
    return list(rows.values())


def questions(
    rows: Sequence[Mapping[str, Any]], tokenizer: PreTrainedTokenizerBase, longest: int
) -> list[Question]:
    """Rows as questions; those of more than `longest` tokens are left out, and told."""
    found = []
    for row in rows:
        messages: tuple[Message, ...] = tuple(row["prompt"])
        ids = render(tokenizer, messages, row["style"])
        if len(ids) <= longest:
            columns = {name: value for name, value in row.items() if name != "prompt"}
            found.append(Question(Prompt(messages, row["style"]), ids, columns))
    if not found and rows:
        raise DataError(f"ppo: all {len(rows)} prompts are longer than {longest} tokens")
    if len(found) < len(rows):
        told = f"  left out {len(rows) - len(found)} prompts of more than {longest} tokens"
        console.print(told, markup=False)
    return found


def chosen(count: int, size: int, update: int, seed: int) -> list[int]:
    """Which of `count` questions round `update` asks: all of them in turn, shuffled each time."""
    picked = []
    for place in range(update * size, (update + 1) * size):
        turn, at = divmod(place, count)
        generator = torch.Generator().manual_seed(seed_of(seed, "turn", turn))
        picked.append(int(torch.randperm(count, generator=generator)[at]))
    return picked


def seed_of(*parts: object) -> int:
    """A seed for one purpose of one round: nothing has to be carried from round to round."""
    return int(content_id(list(parts)), 16)


def score(
    rewards: RewardSet, asked: Sequence[Question], completions: Sequence[Completion]
) -> list[RowReward]:
    """Rewards of one completion for each question, in TRL's conversational form."""
    names = dict.fromkeys(name for q in asked for name in q.columns)
    columns: dict[str, list[Any]] = {n: [q.columns.get(n) for q in asked] for n in names}
    columns["completion_ids"] = [list(c.token_ids) for c in completions]
    return rewards.score(
        [[{"role": m["role"], "content": m["content"]} for m in q.prompt.messages] for q in asked],
        [[{"role": "assistant", "content": c.text}] for c in completions],
        columns,
    )


def tell_answers(answers: Sequence[Answer], rewards: RewardSet, tally: Tally) -> None:
    """Count in what a round's answers look like and what they are worth."""
    places = [a.place for a in answers]
    lengths = [float(len(a.completion.token_ids)) for a in answers]
    finished = [float(a.completion.finish_reason == "stop") for a in answers]
    for name, values in (("length", lengths), ("finished", finished)):
        tally.add(name, values)
        tally.add(f"{name}_squared", [mean**2 for mean in _by_place(places, values)])
    rows = [a.reward for a in answers]
    tally.add("reward/total", [r.total for r in rows if r.total is not None])
    tally.add("reward/invalid", [float(r.invalid) for r in rows])
    tally.add("reward/vetoed", [float(r.vetoed) for r in rows])
    for at, name in enumerate(rewards.labels):
        scores = [row.scores[at] for row in rows]
        raw = [s.raw for s in scores if s.raw is not None]
        tally.add(f"reward/{name}", raw)
        tally.add(f"reward/{name}/invalid", [float(s.status == "invalid") for s in scores])
        if name in rewards.unknown:
            tally.add(f"reward/{name}/constant", [constant_share(raw)])


def _by_place(places: Sequence[int], values: Sequence[float]) -> list[float]:
    """The mean over each prompt's answers; those are alike, so prompts tell what is chance."""
    found: dict[int, list[float]] = {}
    for place, value in zip(places, values, strict=True):
        found.setdefault(place, []).append(value)
    return [fmean(of) for of in found.values()]


def constant_share(values: Sequence[float]) -> float:
    """Share of a continuous reward's scores that are one and the same.

    0 for scores that come in steps, where equal ones are no sign of a failure: those which are not
    the most frequent one repeat as well, or are too few to say.
    """
    counts = Counter(values)
    most = max(counts.values(), default=0)
    rest = len(values) - most
    others = len(counts) - 1
    continuous = others >= max(_ENOUGH, 0.75 * rest)
    return most / len(values) if most > 1 and continuous else 0.0


def sample_row(update: int, answer: Answer) -> dict[str, Any]:
    """An answer for people to look at."""
    scores = {s.name: s.raw for s in answer.reward.scores}
    return {
        "update": update,
        "prompt": answer.question.prompt.messages[-1]["content"],
        "style": answer.question.prompt.style,
        "answer": answer.completion.text,
        "finished": answer.completion.finish_reason == "stop",
        "total": answer.reward.total,
        "scores": scores,
    }
