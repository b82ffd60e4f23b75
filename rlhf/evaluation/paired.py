"""The Bradley–Terry model with covariates, fitted to counted games between two.

P(first beats second) = σ(s_first − s_second + δ·side + γ·longer)

`side` is +1 where first stood on the left, −1 on the right; `longer` is the difference of lengths
over their sum (Dubois et al. 2024, arXiv 2404.04475; LMArena's style control, 2024). A tie is half
a win for each. (`feedback_store.trust.bradley_terry` fits answers and how reliable their voters
are; here voters are alike, and intervals are wanted.)

Each policy has one game more, half won and half lost, spread as its games are: so that one who won
all has a finite strength with a wide interval. For two policies the difference is then
log((w+½)/(l+½)) with variance 1/(w+½) + 1/(l+½) (Haldane 1956, Gart 1966).

Intervals come from the sandwich H⁻¹ M H⁻¹: with ties as halves the likelihood is none, so its own
curvature H alone would make them too wide; the sandwich holds for any outcome in [0, 1] and, unlike
a bootstrap, costs no refits (Chiang et al. 2024, arXiv 2403.04132, use it for Chatbot Arena).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

_COVARIATE_SD = 5.0
"""Of the normal prior on δ and γ, which holds them finite where all choices agree with them."""
_STEPS, _TOLERANCE = 100, 1e-9
_OUTCOME = {"first": 1.0, "tie": 0.5, "second": 0.0}
_SIDE = {"first": 1.0, "second": -1.0, "": 0.0}


class Games(NamedTuple):
    """How often two policies' answers were compared with this result."""

    first: str
    second: str
    choice: Literal["first", "second", "tie", "both_bad"]
    shown: Literal["first", "second", ""]
    """Whose answer stood left, where that is known."""
    longer: float
    """(length of first − length of second) / (their sum)."""
    times: float


class Fit(NamedTuple):
    """Strengths (a group's mean is 0), then δ, then γ where it was fitted, in log odds."""

    theta: Floats
    covariance: Floats


class Design:
    """Decided games as rows of a logistic regression; its columns are the policies, δ and γ."""

    def __init__(
        self, decided: Sequence[Games], policies: Sequence[str], groups: Sequence[int]
    ) -> None:
        n = len(policies)
        number = {policy: at for at, policy in enumerate(policies)}
        self.x = np.zeros((len(decided), n + 2))
        between = [row for row, game in enumerate(decided) if game.first != game.second]
        self.x[between, [number[decided[row].first] for row in between]] = 1.0
        self.x[between, [number[decided[row].second] for row in between]] = -1.0
        self.x[:, n] = [_SIDE[game.shown] for game in decided]
        self.x[:, n + 1] = [game.longer for game in decided]
        self.y = np.asarray([_OUTCOME[game.choice] for game in decided], dtype=np.float64)
        self.times = np.asarray([game.times for game in decided], dtype=np.float64)
        self.played = self.times @ np.abs(self.x[:, :n])
        self.together = np.equal.outer(groups, groups).reshape(n, n)
        """Whether two policies are of one group."""
        self.tells_sides = bool(self.x[:, n].any())
        self.tells_lengths = bool(self.x[:, n + 1].any())
        met: Counter[tuple[int, int]] = Counter()
        for row in between:
            game = decided[row]
            met[number[game.first], number[game.second]] += game.times  # type: ignore[assignment]
        self._add_half_won(met)

    def fit(self, *, lengths: bool) -> Fit:
        """Strengths with δ, and with γ where answers are to count as equally long."""
        n = len(self.together)
        columns = n + 1 + lengths
        # Each group's mean is told by no game: this picks the centred one of equal optima.
        level = np.zeros((columns, columns))
        level[:n, :n] = self.together
        prior = np.diag([0.0] * n + [_COVARIATE_SD**-2] * (columns - n))
        return logistic(self.x[:, :columns], self.y, self.times, level, prior)

    def _add_half_won(self, met: Mapping[tuple[int, int], float]) -> None:
        """One game more for each policy: of each pair's as much as the pair is of its games."""
        x = np.zeros((len(met), self.x.shape[1]))
        share = np.zeros(len(met))
        for row, ((first, second), times) in enumerate(met.items()):
            x[row, first], x[row, second] = 1.0, -1.0
            share[row] = times * (1.0 / self.played[first] + 1.0 / self.played[second])
        self.x = np.concatenate([self.x, x, x])
        self.y = np.concatenate([self.y, np.ones(len(x)), np.zeros(len(x))])
        self.times = np.concatenate([self.times, share / 4.0, share / 4.0])


def logistic(x: Floats, y: Floats, times: Floats, level: Floats, prior: Floats) -> Fit:
    """The optimum of the weighted logistic loss by Newton's method, and its sandwich covariance.

    `level` and `prior` are quadratic forms added to the loss. The first tells nothing of what the
    games tell; the second is a prior, which M holds as one more observation.
    """
    theta = np.zeros(x.shape[1])
    for _ in range(_STEPS):
        p = sigmoid(x @ theta)
        gradient = x.T @ (times * (p - y)) + (level + prior) @ theta
        step = np.linalg.solve(_curvature(x, p, times) + level + prior, gradient)
        longest = float(np.abs(step).max(initial=0.0))
        theta -= step * min(1.0, 4.0 / max(longest, 4.0))  # longer ones overshoot, from far away
        if longest < _TOLERANCE:
            break
    p = sigmoid(x @ theta)
    inverse = np.linalg.inv(_curvature(x, p, times) + level + prior)
    evidence = x.T @ ((times * (y - p) ** 2)[:, None] * x) + prior
    return Fit(theta, np.asarray(inverse @ evidence @ inverse))


def _curvature(x: Floats, p: Floats, times: Floats) -> Floats:
    return np.asarray(x.T @ ((times * p * (1.0 - p))[:, None] * x))


def sigmoid(x: Floats) -> Floats:
    """The chance that log odds stand for."""
    return np.asarray(1.0 / (1.0 + np.exp(-np.clip(x, -500.0, 500.0))))
