"""Answers a second through the project's own rules: style, length, repetition, compliance.

`headline`: answers of about 30 tokens by the project's own count, half Chinese and half English,
1,024 at a time, as messages with the columns that PPO passes. `long`: 200 tokens. `ppo_batch`: 64
answers of 30 tokens at a time. `row_by_row`: the same one at a time, which is how a reward is
called that reads one answer. Time is this process's processor time on one thread, from
`RewardSet.score` to every total read, the median of the batches; no two hold the same answers.
Nobody else has these rewards, so there is no peer.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any

from bench.table import Result, publish
from rewards import Component, RewardSet, count_tokens
from rewards.texts.text import sentences
from rlhf.data.records import read_records

MIX = (
    Component(name="style", params={"target": "formal"}),
    Component(name="length", weight=0.5, params={"low": 15, "high": 50}),
    Component(name="repetition", weight=0.5),
    Component(name="compliance"),
)
_EXAMPLES = Path(__file__).parents[1] / "configs" / "examples"


@dataclass(frozen=True)
class Case:
    """Answers of `tokens` tokens, `batch` at a time, `batches` times."""

    name: str
    tokens: int
    batch: int
    batches: int


CASES = (
    Case("headline", 30, 1024, 24),
    Case("long", 200, 1024, 6),
    Case("ppo_batch", 30, 64, 100),
    Case("row_by_row", 30, 1, 500),
)


def main(argv: Sequence[str] | None = None) -> None:
    """Every case, or those that are named."""
    parser = argparse.ArgumentParser(prog="python -m bench.rewards", description=__doc__)
    parser.add_argument("--cases", nargs="+", choices=[c.name for c in CASES])
    parser.add_argument("--batches", type=int, help="batches a case, instead of its own number")
    given = parser.parse_args(argv)
    chosen = [c for c in CASES if not given.cases or c.name in given.cases]
    rates = {c.name: measure(c, given.batches or c.batches) for c in chosen}
    publish(
        "rewards",
        [Result(n, "speed", "answers/s", rate, None, None, "higher") for n, rate in rates.items()],
    )


def measure(case: Case, batches: int) -> float:
    """Answers a second: the median batch of a case."""
    texts = answers(case.tokens, seed=1)
    seconds = []
    with RewardSet(MIX) as rewards:
        _timed(rewards, list(islice(texts, 8)))  # tables and patterns are built once
        for _ in range(batches):
            seconds.append(_timed(rewards, list(islice(texts, case.batch))))
    return case.batch / median(seconds)


def _timed(rewards: RewardSet, texts: Sequence[str]) -> float:
    prompts = [[{"role": "user", "content": "What now?"}] for _ in texts]
    completions = [[{"role": "assistant", "content": text}] for text in texts]
    ids = [list(range(len(text) // 4)) for text in texts]
    columns: dict[str, list[Any]] = {"style": [None] * len(texts), "completion_ids": ids}
    began = time.process_time()
    rows = rewards.score(prompts, completions, columns)
    total = sum(row.total for row in rows if row.total is not None)
    seconds = time.process_time() - began
    assert total == total
    return seconds


def answers(tokens: int, seed: int) -> Iterator[str]:
    """Answers of the example dialogues' sentences in turns of Chinese and English, without end."""
    draw = random.Random(seed)
    spoken = [_sentences(_EXAMPLES / f"dialogues_{code}.jsonl") for code in ("zh", "en")]
    while True:
        for sentences_of, space in zip(spoken, ("", " "), strict=True):
            said: list[str] = []
            while (held := count_tokens(space.join(said))) < tokens - 3:
                longer = draw.choice(sentences_of)
                if not said or held + count_tokens(longer) <= tokens + 8:
                    said.append(longer)
            yield space.join(said)


def _sentences(path: Path) -> list[str]:
    found = [s for r in read_records(path) if r.completion for s in sentences(r.completion)]
    return sorted(set(found))


if __name__ == "__main__":
    main()
