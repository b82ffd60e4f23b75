"""One comparison's result, and what it is worth to the candidate."""

from __future__ import annotations

from typing import Literal

Verdict = Literal["a", "b", "tie"] | None

OUTCOME = {"a": 1.0, "tie": 0.5, "b": 0.0}
"""For a candidate shown as `a`."""


def merge_orders(shown: Verdict, swapped: Verdict) -> Verdict:
    """One verdict from two askings with the answers in turn first.

    Judges favour a position (Wang et al. 2023, "Large Language Models are not Fair Evaluators",
    arXiv 2305.17926): a verdict that moves with the order says nothing of the answers, and is a
    tie. `swapped` was asked with b first, so its "a" means b. Half an answer is no verdict.
    """
    if shown is None or swapped is None:
        return None
    return shown if shown == mirror(swapped) else "tie"


def mirror(verdict: Verdict) -> Verdict:
    """The same verdict with the names of the answers exchanged."""
    if verdict == "a":
        return "b"
    return "a" if verdict == "b" else verdict
