"""What the answers of one policy measure, row by row and on average.

| metric | meaning |
|---|---|
| `bleu`, `rouge1`, `rouge2`, `rougeL` | overlap with the reference, where the prompt has one |
| `length`, `repetition` | tokens, counted fairly in both languages; share of repeated n-grams |
| `term_density` | share of an answer that is formal terms: what a reward for them can be fed with |
| `finished`, `compliance` | 1 where the answer came to its end; 1 where no rule or veto stops it |
| `reward/<name>`, `total` | each reward component's raw score; their weighted sum |

The means hold these and `bleu_zh`, `bleu_en`: BLEU of the corpus in each language.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rewards import (
    Component,
    RowReward,
    check,
    combine,
    count_tokens,
    repetition_rate,
    term_density,
)
from rewards.texts.text import prompt_text
from rlhf.evaluation.estimate import Estimate, cluster_means, mean_estimate, rate_estimate
from rlhf.evaluation.overlap import SentenceBleu, corpus_bleu, rouge, sentence_bleu
from rlhf.sampling import Completion, Prompt

Row = dict[str, float | None]
Turns = list[dict[str, str]]

RATES = ("finished", "compliance")


@dataclass(frozen=True)
class MetricTable:
    """One row of metrics a prompt, their means, and how many rows a metric failed on.

    A row's None is "does not apply", or a score that failed: `invalid` counts the latter.
    """

    rows: list[Row]
    means: dict[str, Estimate]
    invalid: dict[str, int] = field(default_factory=dict)


def measure_texts(
    prompts: Sequence[Prompt],
    completions: Sequence[Completion],
    *,
    references: Sequence[str | None] | None = None,
    rewards: Sequence[Component] = (),
    columns: Mapping[str, Sequence[Any]] | None = None,
    groups: Sequence[Hashable] | None = None,
    base: Path | None = None,
) -> MetricTable:
    """All metrics of one policy's answers.

    `columns` go to the rewards beside `style` and `reference`; `groups` name each prompt's
    conversation, whose rows count as one in the intervals.
    """
    references = references or [None] * len(prompts)
    rows = [_text_row(p, c) for p, c in zip(prompts, completions, strict=True)]
    bleus = [
        None if reference is None else sentence_bleu(completion.text, reference)
        for completion, reference in zip(completions, references, strict=True)
    ]
    for row, completion, reference, bleu in zip(rows, completions, references, bleus, strict=True):
        row["bleu"] = bleu.score if bleu else None
        if reference is not None:
            row.update(rouge(completion.text, reference))
    scored = score_answers(
        prompts,
        [c.text for c in completions],
        rewards,
        columns={"reference": references, **(columns or {})},
        base=base,
    )
    for row, reward in zip(rows, scored, strict=True):
        row.update(_reward_row(reward))
        row["compliance"] = _compliance(row["compliance"], reward)
    means = summarise(rows, groups) | _corpus_means(bleus, groups)
    return MetricTable(rows, means, _count_invalid(scored))


def score_answers(
    prompts: Sequence[Prompt],
    answers: Sequence[str],
    rewards: Sequence[Component],
    *,
    columns: Mapping[str, Sequence[Any]] | None = None,
    base: Path | None = None,
) -> list[RowReward]:
    """Rewards of answers, in TRL's conversational form; a failed score stays a row's own matter."""
    return combine(
        rewards,
        [as_turns(p) for p in prompts],
        [[{"role": "assistant", "content": answer}] for answer in answers],
        columns={"style": [p.style for p in prompts], **(columns or {})},
        base=base,
        max_invalid=1.0,
    )


def as_turns(prompt: Prompt) -> Turns:
    """A prompt's messages as rewards take them."""
    return [{"role": m["role"], "content": m["content"]} for m in prompt.messages]


def _reward_row(reward: RowReward) -> Row:
    row: Row = {f"reward/{score.name}": score.raw for score in reward.scores}
    return row | {"total": reward.total} if reward.scores else row


def _compliance(clean: float | None, reward: RowReward) -> float | None:
    """Clean by the rules that ship and by every veto configured; None where a veto failed."""
    if reward.vetoed:
        return 0.0
    failed = any(s.veto and s.status == "invalid" for s in reward.scores)
    return None if clean and failed else clean


def _count_invalid(scored: Sequence[RowReward]) -> dict[str, int]:
    """How many rows each metric failed on; metrics that never failed are left out."""
    counts = Counter(
        f"reward/{s.name}" for row in scored for s in row.scores if s.status == "invalid"
    )
    counts["total"] = sum(row.invalid for row in scored)
    return {name: count for name, count in counts.items() if count}


def summarise(
    rows: Sequence[Mapping[str, float | None]], groups: Sequence[Hashable] | None = None
) -> dict[str, Estimate]:
    """The mean of every metric over the rows that have it, groups averaged first."""
    means: dict[str, Estimate] = {}
    for name in dict.fromkeys(name for row in rows for name in row):
        units = groups if groups is not None else range(len(rows))
        found = [
            (v, g) for row, g in zip(rows, units, strict=True) if (v := row.get(name)) is not None
        ]
        values = cluster_means([v for v, _ in found], [g for _, g in found]).tolist()
        estimate = rate_estimate(values) if name in RATES else mean_estimate(values)
        if estimate is not None:
            means[name] = estimate
    return means


def _text_row(prompt: Prompt, completion: Completion) -> Row:
    text = completion.text
    return {
        "length": count_tokens(text),
        "repetition": repetition_rate(text),
        "term_density": term_density(text),
        "finished": float(completion.finish_reason == "stop"),
        "compliance": float(not check(text, prompt=prompt_text(as_turns(prompt)))),
    }


def _corpus_means(
    bleus: Sequence[SentenceBleu | None], groups: Sequence[Hashable] | None
) -> dict[str, Estimate]:
    means: dict[str, Estimate] = {}
    units = groups if groups is not None else range(len(bleus))
    for language in ("zh", "en"):
        chosen = [(b, g) for b, g in zip(bleus, units, strict=True) if b and b.language == language]
        estimate = corpus_bleu([b for b, _ in chosen], [g for _, g in chosen])
        if estimate is not None:
            means[f"bleu_{language}"] = estimate
    return means
