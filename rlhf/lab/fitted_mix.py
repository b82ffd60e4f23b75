"""Fitted weights as YAML that `rewards:` takes as it is, and how well they predict other votes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from rewards import Component
from rlhf.data.records import Record
from rlhf.files import write_text
from rlhf.lab.accuracy import (
    Agreement,
    Floats,
    Influence,
    auc,
    auc_influence,
    difference,
    pair_accuracy,
    pair_influence,
)
from rlhf.lab.fitting import Fitted
from rlhf.lab.layout import Pairs, Thumbs, lay_out
from rlhf.lab.mix import Scores


@dataclass(frozen=True)
class Contest:
    """The mix against the component that sides with these votes most often."""

    measure: str
    """`accuracy` of pairs or `auc` of single votes."""
    mix: Agreement
    best: str
    single: Agreement
    difference: dict[str, float]
    """Mix minus single on the same votes, paired, with its interval and p-value."""


def contests(fitted: Fitted, records: Sequence[Record], scores: Scores) -> list[Contest]:
    """On votes that the fit did not see.

    The single component is picked, and turned round if need be, by these very votes: in its favour.
    """
    pairs, thumbs = lay_out(records)
    total = fitted.total(scores)
    found = [_of_pairs(total, scores, pairs), _of_thumbs(total, scores, thumbs)]
    return [contest for contest in found if contest is not None]


def _of_pairs(total: Floats, scores: Scores, pairs: Pairs) -> Contest | None:
    w, g = pairs.weights, pairs.groups
    if not len(w):
        return None
    mix = np.nan_to_num(pairs.differences(total))
    each = np.nan_to_num(pairs.differences(scores.raw))
    at, sign = _best([pair_influence(d, w).rate for d in each.T])
    single = sign * each[:, at]
    return _contest(
        "accuracy",
        scores.labels[at],
        (pair_accuracy(mix, w, g), pair_accuracy(single, w, g)),
        difference(pair_influence(mix, w), pair_influence(single, w), g),
    )


def _of_thumbs(total: Floats, scores: Scores, thumbs: Thumbs) -> Contest | None:
    w, g, up = thumbs.weights, thumbs.groups, thumbs.up
    if not up.any() or up.all():
        return None
    each = np.nan_to_num(scores.raw[thumbs.at])
    at, sign = _best([auc_influence(s, up, w).rate for s in each.T])
    mix, single = total[thumbs.at], sign * each[:, at]
    apart: tuple[Influence, Influence] = auc_influence(mix, up, w), auc_influence(single, up, w)
    told = auc(mix, up, w, g), auc(single, up, w, g)
    return _contest("auc", scores.labels[at], told, difference(*apart, g))


def _best(rates: Sequence[float]) -> tuple[int, float]:
    """The component that is furthest from chance, and its sign."""
    at = int(np.argmax(np.abs(np.array(rates) - 0.5)))
    return at, 1.0 if rates[at] >= 0.5 else -1.0


def _contest(
    measure: str,
    best: str,
    told: tuple[Agreement | None, Agreement | None],
    apart: dict[str, float],
) -> Contest:
    mix, single = told
    assert mix is not None and single is not None
    return Contest(measure, mix, best, single, apart)


def document(fitted: Fitted, held: Sequence[Contest]) -> dict[str, Any]:
    """For a script."""
    return {**asdict(fitted), "held_out": [asdict(contest) for contest in held]}


def write_mix(
    path: Path, components: Sequence[Component], labels: Sequence[str], fitted: Fitted, votes: str
) -> None:
    """Components with their weights, those that add nothing left out; vetoes as they were."""
    learned = {weight.label: weight for weight in fitted.weights}
    rewards, folder = [], path.resolve().parent
    for component, label in zip(components, labels, strict=True):
        weight = learned.get(label)
        if weight is None or weight.why is None:
            rewards.append(_entry(component, None if weight is None else weight.weight, folder))
    comments = [
        f"Learned from {fitted.votes} votes ({votes}).",
        f"A vote's log odds are {fitted.slope:.4g} times the difference of totals; "
        f"{fitted.noise:.0%} of votes contradict what their voters meant.",
        *(f"{w.label} {w.why}." for w in fitted.weights if w.why),
    ]
    text = "".join(f"# {' '.join(line.split())}\n" for line in comments)
    body = yaml.safe_dump(
        {"rewards": rewards, "normalise": "sum"}, sort_keys=False, allow_unicode=True
    )
    write_text(path, f"{text}\n{body}")


def _entry(component: Component, weight: float | None, folder: Path) -> dict[str, Any]:
    told = component.model_dump(mode="json", exclude_defaults=True)
    if weight is not None:
        told["weight"] = float(f"{weight:.6g}")
    if ".py:" in component.name:
        told["name"] = _relative(component.name, folder)
    if "params" in told:
        told["params"] = {k: _relative(v, folder) for k, v in told["params"].items()}
    return told


def _relative(value: Any, folder: Path) -> Any:
    """An absolute path from the folder of the new file, where that is the shorter way."""
    if not isinstance(value, str) or not value.startswith("/"):
        return value
    return min(value, os.path.relpath(value, folder), key=len)
