"""How often a voter is right: Dawid–Skene where things are judged by several, gold where not."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from feedback_store.trust.chance import wilson

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class DawidSkene:
    """A fit: P(item is up), each voter's P(right), and the share of items that are up."""

    items: Floats
    accuracy: Floats
    confusion: Floats
    """(voters, 2, 2): P(says the second | is the first), 0 down and 1 up."""
    prior: float


def dawid_skene(
    item: Ints,
    voter: Ints,
    up: NDArray[np.bool_],
    *,
    gold: dict[int, bool] | None = None,
    smoothing: float = 1.0,
    steps: int = 100,
    tolerance: float = 1e-6,
) -> DawidSkene:
    """The EM of Dawid and Skene (1979) for two labels, from the majority's answer on.

    `item` and `voter` count from 0. Each voter's confusion matrix is shrunk towards all voters' by
    `smoothing` pseudo-votes a row, since most have voted a few times; 0 gives the classic fit.
    Items in `gold` keep their known answer. Equal to crowd-kit's fit (the tests hold it to that),
    written with bincount because a snapshot's build fits a million votes.
    """
    items, voters = int(item.max(initial=-1)) + 1, int(voter.max(initial=-1)) + 1
    votes = np.bincount(item, minlength=items)
    yes = np.bincount(item, weights=up.astype(float), minlength=items)
    known, answers = _known(gold or {}, items)
    truth = np.where(
        known, answers, np.divide(yes, votes, out=np.full(items, 0.5), where=votes > 0)
    )
    for _ in range(steps):
        prior = float(np.clip(truth.mean(), 1e-10, 1 - 1e-10)) if items else 0.5
        confusion = _confusion(truth, item, voter, up, voters, smoothing)
        says = confusion[voter, :, up.astype(int)]
        logs = np.log(np.clip(says, 1e-10, None))
        lead = np.bincount(item, weights=logs[:, 1] - logs[:, 0], minlength=items)
        lead = np.clip(lead + np.log(prior) - np.log1p(-prior), -700, 700)
        updated = np.where(known, answers, 1 / (1 + np.exp(-lead)))
        moved = float(np.abs(updated - truth).max(initial=0.0))
        truth = updated
        if moved < tolerance:
            break
    prior = float(truth.mean()) if items else 0.5
    confusion = _confusion(truth, item, voter, up, voters, smoothing)
    right = prior * confusion[:, 1, 1] + (1 - prior) * confusion[:, 0, 0]
    return DawidSkene(truth, right, confusion, prior)


def hits(item: Ints, voter: Ints, up: NDArray[np.bool_], truth: Floats) -> Floats:
    """For each vote, P(it was right)."""
    return np.asarray(np.where(up, truth[item], 1 - truth[item]), np.float64)


def gold_accuracy(
    right: Floats, asked: Floats, prior: float = 0.8, strength: float = 5.0
) -> Floats:
    """The share of known answers that a voter gave, beta-smoothed: `prior` where none was asked."""
    return (right + prior * strength) / (asked + strength)


def standing(right: Floats, judged: Floats, *, slack: float = 0.1) -> Floats:
    """A voter's weight in [0, 1] from how many of the judged votes were right, to six decimals.

    1 unless there is evidence of worse: the margin over a coin that the voter may still have (the
    upper end of Wilson's 99 % interval), against that of all votes together less `slack` of it.
    So a newcomer weighs 1, a voter of coin flips goes to 0 as votes come in, and people who
    differ a little from the rest lose nothing.
    """
    total = float(judged.sum())
    pooled = 2 * float(right.sum()) / total - 1 if total else 0.0
    if pooled <= 0:
        return np.ones(len(right))
    weights = np.ones(len(right))
    for place in np.flatnonzero(judged > 1):
        upper = wilson(float(right[place]), float(judged[place]), z=2.58)[1]
        weights[place] = (2 * upper - 1) / (pooled * (1 - slack))
    return np.asarray(np.round(np.clip(weights, 0.0, 1.0), 6), np.float64)


def _known(gold: dict[int, bool], items: int) -> tuple[NDArray[np.bool_], Floats]:
    known, answers = np.zeros(items, bool), np.zeros(items)
    for place, answer in gold.items():
        known[place], answers[place] = True, float(answer)
    return known, answers


def _confusion(
    truth: Floats, item: Ints, voter: Ints, up: NDArray[np.bool_], voters: int, smoothing: float
) -> Floats:
    counts = np.empty((voters, 2, 2))
    for state, chance in enumerate((1 - truth, truth)):
        for said, mask in enumerate((~up, up)):
            counts[:, state, said] = np.bincount(
                voter[mask], weights=chance[item[mask]], minlength=voters
            )
    pooled = counts.sum(axis=0) + 1e-10
    counts += smoothing * pooled / pooled.sum(axis=1, keepdims=True)
    counts += 1e-10
    return np.asarray(counts / counts.sum(axis=2, keepdims=True))
