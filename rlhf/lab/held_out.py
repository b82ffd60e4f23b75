"""One policy's answers to held-out prompts: scores, and how far it has gone from its start."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from rlhf.evaluation.likelihood import logprobs_of_several
from rlhf.lab.measures import Floats, Measured, Parts, measure_answers
from rlhf.lab.mix import Scores
from rlhf.models import ModelSettings, load_tokenizer
from rlhf.policies import Policy, load_policy
from rlhf.progress import progress
from rlhf.sampling import LocalSampler, Sampling
from rlhf.training.online.rollouts import questions


@dataclass(frozen=True)
class Exam:
    """What every policy of an experiment is asked, with the same random numbers."""

    model: ModelSettings
    start: Policy
    rows: Sequence[Mapping[str, Any]]
    answers: int
    sampling: Sampling
    seed: int
    parts: Parts
    base: Path
    max_prompt: int
    timeout_s: float


def examine(exam: Exam, policy: Policy) -> Measured:
    """Answer, score, and ask the start what it thinks of the answers.

    `kl` is KL(policy ‖ start) in nats an answer, from the answers themselves; `nll` is a token's,
    by the start: text that is no language surprises it.
    """
    tokenizer = load_tokenizer(exam.model)
    asked = questions(exam.rows, tokenizer, exam.max_prompt)
    prompts = [q.prompt for q in asked]
    model = load_policy(exam.model, policy)
    with progress(f"answers of {policy.label[:16]}", len(asked) * exam.answers) as advance:
        sampler = LocalSampler(model, tokenizer, advance)
        repeated = [p for p in prompts for _ in range(exam.answers)]
        flat = sampler.sample(repeated, exam.sampling, seed=exam.seed)
    drawn = [flat[i : i + exam.answers] for i in range(0, len(flat), exam.answers)]
    ids = [[c.token_ids for c in several] for several in drawn]
    own = logprobs_of_several(model, tokenizer, prompts, ids)
    del model  # one in memory at a time
    before = own
    if policy.id != exam.start.id:
        start = load_policy(exam.model, exam.start)
        before = logprobs_of_several(start, tokenizer, prompts, ids)
    measured = measure_answers(exam.parts, asked, drawn, exam.base, exam.timeout_s)
    kl = [
        [float((o - b).sum()) for o, b in zip(*row, strict=True)]
        for row in zip(own, before, strict=True)
    ]
    nll = [[_nll(row) for row in several] for several in before]
    texts = {**measured.texts, "kl": np.asarray(kl), "nll": np.asarray(nll)}
    return Measured(measured.shape, measured.scores, texts)


def _nll(row: Tensor) -> float:
    return -float(row.mean()) if len(row) else float("nan")


def as_json(measured: Measured) -> dict[str, Any]:
    """To write down, without a word of what was said."""
    scores = measured.scores
    return {
        "shape": measured.shape,
        "labels": scores.labels,
        "veto": scores.veto.tolist(),
        "raw": _plain(scores.raw),
        "invalid": scores.invalid.tolist(),
        "weights": scores.weights.tolist(),
        "texts": {name: _plain(values) for name, values in measured.texts.items()},
    }


def from_json(value: Mapping[str, Any]) -> Measured:
    """What `as_json` wrote."""
    raw = _floats(value["raw"])
    scores = Scores(
        labels=tuple(value["labels"]),
        raw=raw,
        invalid=np.asarray(value["invalid"], dtype=bool).reshape(raw.shape),
        weights=np.asarray(value["weights"], dtype=np.float64).reshape(raw.shape),
        veto=np.asarray(value["veto"], dtype=bool),
    )
    prompts, answers = value["shape"]
    texts = {name: _floats(values) for name, values in value["texts"].items()}
    return Measured((prompts, answers), scores, texts)


def _plain(values: Floats) -> list[list[float | None]]:
    return [[None if np.isnan(v) else float(v) for v in row] for row in values]


def _floats(rows: Sequence[Sequence[float | None]]) -> Floats:
    return np.asarray([[np.nan if v is None else v for v in row] for row in rows], dtype=np.float64)
