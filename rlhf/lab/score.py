"""What rewards make of any dialogues: the spread of each, and every score in Parquet.

A row an answer: `row` and `answer` say which one it is, `style` and `intent` what was asked, then
`reward/<name>` (null where it does not apply or failed) and `status/<name>` of each component.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from rewards import RewardSet, RowReward
from rlhf.data.records import Record
from rlhf.errors import StepFailed
from rlhf.files import sync_folder
from rlhf.lab.accuracy import Floats
from rlhf.lab.mix import Answer, Mix, Scores, answers_of, as_scores, names_of, score_batch
from rlhf.progress import progress

_BATCH = 1024
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


@dataclass(frozen=True)
class Spread:
    """A component's scores, or the mix's; figures over no scores are None."""

    name: str
    applies: float
    """Share of the answers that have a score."""
    invalid: float
    """Share that it failed on."""
    mean: float | None
    deviation: float | None
    quantiles: tuple[float, ...] | None
    """At `QUANTILES`."""


def score(records: Sequence[Record], mix: Mix, out: Path | None = None) -> list[Spread]:
    """Spreads of the components and, last, of their total; scores go to `out` batch by batch."""
    numbers = {id(record): number for number, record in enumerate(records)}
    answers = answers_of(records)
    parts: list[Scores] = []
    names = names_of(answers)
    with (
        RewardSet(mix.rewards, max_invalid=1.0) as rewards,
        _writing(out, rewards.labels) as write,
        progress("scores", len(answers)) as advance,
    ):
        for start in range(0, len(answers), _BATCH):
            part = answers[start : start + _BATCH]
            rows = score_batch(rewards, part, names)
            parts.append(as_scores(rewards.labels, rows))
            write(_columns(rewards.labels, [numbers[id(a.record)] for a in part], part, rows))
            advance(len(part))
        return list(_spreads(_joined(parts), mix))


def _columns(
    labels: Sequence[str], numbers: list[int], answers: Sequence[Answer], rows: Sequence[RowReward]
) -> dict[str, list[Any]]:
    columns: dict[str, list[Any]] = {
        "row": numbers,
        "answer": [a.name for a in answers],
        "style": [a.record.style for a in answers],
        "intent": [a.record.intent for a in answers],
    }
    for at, label in enumerate(labels):
        columns[f"reward/{label}"] = [row.scores[at].raw for row in rows]
        columns[f"status/{label}"] = [row.scores[at].status for row in rows]
    return columns


@contextmanager
def _writing(
    out: Path | None, labels: Sequence[str]
) -> Iterator[Callable[[dict[str, list[Any]]], None]]:
    """Takes batches into a Parquet file that is whole at the end, or was never there."""
    if out is None:
        yield lambda columns: None
        return
    fields = [("row", pa.int64()), *((n, pa.string()) for n in ("answer", "style", "intent"))]
    for label in labels:
        fields += [(f"reward/{label}", pa.float64()), (f"status/{label}", pa.string())]
    schema = pa.schema(fields)
    aside = out.with_name(f".{out.name}.{os.getpid()}.tmp")
    out.parent.mkdir(parents=True, exist_ok=True)
    try:
        with pq.ParquetWriter(aside, schema) as writer:
            yield lambda columns: writer.write_table(pa.table(columns, schema=schema))
        aside.replace(out)
    except OSError as error:
        raise StepFailed(f"{out}: could not be written ({error.strerror}); free disk?") from error
    finally:
        aside.unlink(missing_ok=True)
    sync_folder(out.parent)


def _joined(parts: Sequence[Scores]) -> Scores:
    first = parts[0]
    raw, invalid, weights = (
        np.concatenate([getattr(part, name) for part in parts])
        for name in ("raw", "invalid", "weights")
    )
    return Scores(first.labels, raw, invalid, weights, first.veto)


def _spreads(scores: Scores, mix: Mix) -> Iterator[Spread]:
    for at, label in enumerate(scores.labels):
        yield _spread(label, scores.raw[:, at], float(scores.invalid[:, at].mean()))
    if len(scores.labels) > 1:
        total = scores.totals(mix.normalise, mix.veto_score)
        yield _spread("total", total, float(scores.invalid.any(axis=1).mean()))


def _spread(name: str, values: Floats, invalid: float) -> Spread:
    told = values[~np.isnan(values)]
    applies = len(told) / len(values)
    if not len(told):
        return Spread(name, applies, invalid, None, None, None)
    quantiles = tuple(float(q) for q in np.quantile(told, QUANTILES))
    return Spread(name, applies, invalid, float(told.mean()), float(told.std()), quantiles)
