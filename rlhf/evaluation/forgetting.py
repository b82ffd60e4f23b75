"""What each stage of a curriculum gained and what it forgot: held-out perplexity, stage by stage.

Both sides of a change are measured on the same rows, so its interval is that of paired differences:
the perplexity ratio is exp of the mean difference in negative log-likelihood over all tokens.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

from markupsafe import Markup
from rich.markup import escape
from rich.table import Table
from torch import Tensor

from rlhf.data.records import Record
from rlhf.evaluation.charts import difference_chart
from rlhf.evaluation.compare import number
from rlhf.evaluation.estimate import Estimate, ratio_estimate
from rlhf.evaluation.likelihood import answer_ids, completion_logprobs
from rlhf.models import ModelSettings, load_tokenizer
from rlhf.policies import Policy, load_policy
from rlhf.progress import progress
from rlhf.sampling import Prompt


@dataclass(frozen=True)
class HeldOut:
    """A policy's negative log-likelihood of held-out answers, and their tokens.

    One value a conversation: answers of the same one resemble each other.
    """

    rows: int
    nll: tuple[float, ...]
    tokens: tuple[int, ...]


@dataclass(frozen=True)
class Progress:
    """One stage's held-out rows as the start and every stage so far see them."""

    name: str
    seen: tuple[HeldOut, ...]

    def perplexities(self) -> list[Estimate]:
        """At the start, then after each stage."""
        return [_exp(ratio_estimate(s.nll, s.tokens)) for s in self.seen]

    def by_stage(self) -> Estimate:
        """Relative change of perplexity by the last stage."""
        return change(self.seen[-2], self.seen[-1])

    def since_start(self) -> Estimate:
        """Relative change of perplexity by all stages so far."""
        return change(self.seen[0], self.seen[-1])

    def document(self) -> dict[str, Any]:
        """For a script."""
        perplexity = [asdict(e) for e in self.perplexities()]
        return {
            "of": self.name,
            "rows": self.seen[-1].rows,
            "tokens": sum(self.seen[-1].tokens),
            "start": perplexity[0],
            "before": perplexity[-2],
            "after": perplexity[-1],
            "by_stage": asdict(self.by_stage()),
            "since_start": asdict(self.since_start()),
        }


def likelihoods(
    model: ModelSettings, policy: Policy, sets: Mapping[str, Sequence[Record]]
) -> dict[str, HeldOut]:
    """What the policy thinks of the answers in each set; its model is loaded once."""
    tokenizer, loaded = load_tokenizer(model), load_policy(model, policy)
    found = {}
    with progress("held-out perplexity", total=sum(map(len, sets.values()))) as advance:
        for name, records in sets.items():
            prompts = [Prompt(r.prompt, r.style) for r in records]
            answers = [
                answer_ids(
                    tokenizer, p, str(r.completion), finished="completion" not in r.unfinished
                )
                for p, r in zip(prompts, records, strict=True)
            ]
            scored = completion_logprobs(loaded, tokenizer, prompts, answers)
            found[name] = _by_conversation(records, scored)
            advance(len(records))
    return found


def _by_conversation(records: Sequence[Record], scored: Sequence[Tensor]) -> HeldOut:
    sums: dict[str, tuple[float, int]] = {}
    for record, row in zip(records, scored, strict=True):
        nll, tokens = sums.get(record.conversation, (0.0, 0))
        sums[record.conversation] = (nll - float(row.double().sum()), tokens + len(row))
    nlls, counts = zip(*sums.values(), strict=True)
    return HeldOut(len(records), nlls, counts)


def change(before: HeldOut, after: HeldOut) -> Estimate:
    """Relative change of perplexity on the same rows, with its interval."""
    differences = [b - a for a, b in zip(before.nll, after.nll, strict=True)]
    return _exp(ratio_estimate(differences, after.tokens), less=1.0)


def _exp(mean: Estimate | None, less: float = 0.0) -> Estimate:
    if mean is None:
        return Estimate(math.nan, None, None, 0)
    low, high = (None if e is None else _capped(e) - less for e in (mean.low, mean.high))
    return Estimate(_capped(mean.mean) - less, low, high, mean.n)


def _capped(nll: float) -> float:
    return math.exp(min(nll, 700.0))  # a float ends near exp(709)


# Shown


def verdict(estimate: Estimate) -> str:
    """`gained` where perplexity surely fell, `forgotten` where it surely rose; else `open`."""
    if estimate.low is None or estimate.high is None or estimate.low <= 0 <= estimate.high:
        return "open"
    return "gained" if estimate.high < 0 else "forgotten"


def shown(estimate: Estimate) -> tuple[str, str]:
    """A relative change in percent and its interval, as text."""
    if estimate.low is None or estimate.high is None:
        return _percent(estimate.mean), ""
    low, high = (_percent(end).removesuffix("%") for end in (estimate.low, estimate.high))
    return _percent(estimate.mean), f"{low} to {high}"


def _percent(share: float) -> str:
    return f"{share:+.1%}".replace("-", "−")


_COLOUR = {"gained": "green", "forgotten": "red", "open": "default"}


def terminal_table(stage: str, stages: Sequence[Progress]) -> Table:
    """Held-out perplexity at the start, before and after a stage, and what it changed."""
    table = Table(
        title=f"Held-out perplexity after {escape(stage)}",
        caption="changes in percent, with paired 95% intervals; green fell, red rose",
        title_justify="left",
        caption_justify="left",
    )
    table.add_column("rows of")
    for name in ("n", "start", "before", "after", f"by {escape(stage)}", "since start"):
        table.add_column(name, justify="right", no_wrap=True)
    for each in stages:
        seen = each.perplexities()
        changes = []
        for estimate in (each.by_stage(), each.since_start()):
            told = "\n".join(filter(None, shown(estimate)))
            changes.append(f"[{_COLOUR[verdict(estimate)]}]{told}[/]")
        values = [number(e.mean) for e in (seen[0], seen[-2], seen[-1])]
        table.add_row(escape(each.name), str(each.seen[-1].rows), *values, *changes)
    return table


def page_rows(stages: Sequence[Progress]) -> list[dict[str, Any]]:
    """The same for a page: each perplexity with its change by that stage, and a picture of all."""
    rows = []
    for each in stages:
        start, *after = each.perplexities()
        steps = [change(a, b) for a, b in pairwise(each.seen)]
        since = each.since_start()
        rows.append(
            {
                "name": each.name,
                "rows": each.seen[-1].rows,
                "start": (number(start.mean), _interval(start)),
                "stages": [
                    (number(e.mean), *shown(step), verdict(step))
                    for e, step in zip(after, steps, strict=True)
                ],
                "since": (*shown(since), verdict(since), _chart(since)),
            }
        )
    return rows


def _interval(estimate: Estimate) -> str:
    if estimate.low is None or estimate.high is None:
        return ""
    return f"{number(estimate.low)} to {number(estimate.high)}"


def _chart(estimate: Estimate) -> Markup | None:
    if estimate.low is None or estimate.high is None:
        return None
    told = f"change {estimate.mean:+.1%}, interval {estimate.low:+.1%} to {estimate.high:+.1%}"
    return difference_chart(estimate.low, estimate.mean, estimate.high, label=told)
