"""The parts of the coverage report, each a plain value made of counts or of the sample."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from feedback_store.redact import redact
from rewards.compliance import check
from rlhf.data.counts import Counts, Lengths, shown
from rlhf.data.row_sample import Excerpt

Tokenizer = tuple[str, Callable[[list[str]], Sequence[int]]]
"""A base model's name, and how many tokens each text has for it."""

_QUANTILES = {"least": 0.0, "p5": 0.05, "p25": 0.25, "median": 0.5, "p75": 0.75, "p95": 0.95}
_MOST = 50  # rows of a table that people read
_SOURCES = 5


def shares(counts: Mapping[str, int], rows: int) -> dict[str, dict[str, Any]]:
    """Each count with its share of the rows."""
    return {name: {"rows": n, "share": _share(n, rows)} for name, n in counts.items()}


def ranked(counts: Mapping[str, int]) -> dict[str, int]:
    """The largest first, equals by name."""
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def intents(
    cells: Counts, sample: Sequence[Excerpt], labelled: Mapping[str, int], rows: int
) -> dict[str, Any]:
    """Intents × styles, the largest first; those without a label are counted apart."""
    table: dict[str, dict[str, int]] = {}
    styles: dict[str, int] = {}
    for key, times in cells.largest(row["cell"] for row in sample):
        intent, _, style = key.partition("\x1f")
        here = table.setdefault(intent, {})
        here[style] = here.get(style, 0) + times
        styles[style] = styles.get(style, 0) + times
    totals = ranked({intent: sum(here.values()) for intent, here in table.items() if intent})
    return {
        "named": labelled.get("intent", 0),
        "classified": labelled.get("intent_by", 0),
        "styled": labelled.get("style", 0),
        "distinct": len(totals),
        "error": cells.error,
        "styles": shares(ranked({style: n for style, n in styles.items() if style}), rows),
        "table": [
            {
                "intent": intent,
                "rows": total,
                "share": _share(total, rows),
                "styles": ranked({style: n for style, n in table[intent].items() if style}),
            }
            for intent, total in totals.items()
        ],
    }


def lengths(counted: Lengths, short: int, long: int) -> dict[str, Any]:
    """Quantiles, shares of the short and the long, and two bars for each doubling; characters."""
    edges = [0, *(round(2 ** (power / 2)) for power in range(2, 41))]
    bars = [
        {"from": low, "to": high, "share": counted.share(low, high)}
        for low, high in pairwise(edges)
    ]
    tail = {"from": edges[-1], "to": None, "share": counted.share(edges[-1], float("inf"))}
    values = counted.quantiles([*_QUANTILES.values(), 1.0])
    return {
        **dict(zip([*_QUANTILES, "most"], values, strict=True)),
        "short": counted.share(0, short),
        "long": counted.share(long + 1, float("inf")),
        "bars": _without_empty_ends([*bars, tail]),
    }


def users(counted: Counts, sample: Sequence[Excerpt], rows: int) -> dict[str, Any]:
    """Who the rows come from; shares are of all rows, as all are learned from."""
    found = counted.largest(row["user"] for row in sample if row["user"])
    return {
        "named": counted.total,
        "distinct": counted.distinct,
        "error": counted.error,
        "largest": [
            {"user": redact(shown(user)), "rows": n, "share": _share(n, rows)}
            for user, n in found[:_MOST]
        ],
    }


def prompts(counted: Counts, sample: Sequence[Excerpt], rows: int) -> dict[str, Any]:
    """Prompts that came more than once."""
    found = counted.largest(row["prompt"] for row in sample)
    return {
        "distinct": counted.distinct,
        "error": counted.error,
        "largest": [
            {"prompt": shown(prompt), "rows": n, "share": _share(n, rows)}
            for prompt, n in found[:_MOST]
            if n > 1 + counted.error
        ],
    }


def compliance(sample: Sequence[Excerpt]) -> dict[str, Any]:
    """The rules that sampled answers break, with the first places to look at."""
    broken: dict[str, list[str]] = {}
    rows = 0
    for row in sample:
        rules = {violation.rule for violation in check(row["answer"], row["asked"])}
        rows += bool(rules)
        for rule in rules:
            broken.setdefault(rule, []).append(row["source"])
    counts = ranked({rule: len(sources) for rule, sources in broken.items()})
    return {
        "rows": rows,
        "share": _share(rows, len(sample)),
        "rules": {
            rule: {"rows": n, "sources": sorted(broken[rule])[:_SOURCES]}
            for rule, n in counts.items()
        },
    }


def tokens(
    sample: Sequence[Excerpt], tokenizer: Tokenizer | None, rows: int
) -> dict[str, Any] | None:
    """Tokens of prompts and answers by a model's tokenizer, and about how many there are in all."""
    if tokenizer is None or not sample:
        return None
    name, count = tokenizer
    told: dict[str, Any] = {"base_model": name}
    for part, key in (("prompt", "asked"), ("answer", "answer")):
        counted = np.asarray(count([row[key] for row in sample]))
        told[part] = {
            "mean": float(counted.mean()),
            "p95": float(np.quantile(counted, 0.95)),
            "most": int(counted.max()),
            "total": round(float(counted.mean()) * rows),
        }
    return told


def tokenizer_of(base_model: str) -> Tokenizer:
    """A base model's tokenizer as `tokens` takes it; special tokens are not counted."""
    from rlhf.models import ModelSettings, load_tokenizer  # torch: not in every worker

    tokenizer = load_tokenizer(ModelSettings(base_model=base_model))

    def count(texts: list[str]) -> list[int]:
        return [len(ids) for ids in tokenizer(texts, add_special_tokens=False)["input_ids"]]

    return base_model, count


def duplicates(removed: Mapping[str, int] | None, rows: int) -> dict[str, Any]:
    """Rows that were taken out as duplicates, and their share of what there was before."""
    counts = dict(removed or {})
    gone = sum(counts.values())
    return {"rows": gone, "share": _share(gone, rows + gone), "kinds": counts}


def _share(count: int, of: int) -> float:
    return count / of if of else 0.0


def _without_empty_ends(bars: list[dict[str, Any]]) -> list[dict[str, Any]]:
    filled = [at for at, bar in enumerate(bars) if bar["share"]]
    return bars[filled[0] : filled[-1] + 1] if filled else []
