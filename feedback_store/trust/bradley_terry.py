"""Answers' strengths from choices between two, with how reliable each voter is.

P(v says a beats b) = r_v σ(s_a − s_b) + (1 − r_v) σ(s_b − s_a),   r_v = σ(u_v)

the crowd model of Chen, Bennett, Collins-Thompson and Horvitz (2013), with normal priors on s and
u. (crowd-kit's NoisyBradleyTerry optimises another gradient than its loss has.)
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Loss = Callable[[Floats], tuple[float, Floats]]

# u's prior: a voter of whom nothing is known is right in 88 of 100 clear cases.
_U_MEAN, _U_PRECISION, _S_PRECISION = 2.0, 1.0, 0.1


@dataclass(frozen=True)
class BradleyTerry:
    """A fit: strengths (mean 0) and each voter's reliability in [0, 1]."""

    strengths: Floats
    reliability: Floats

    def beats(self, a: int, b: int) -> float:
        """P(a reliable voter prefers a)."""
        return float(_sigmoid(self.strengths[a] - self.strengths[b]))


def negative_log_posterior(
    parameters: Floats, winner: Ints, loser: Ints, voter: Ints, answers: int
) -> tuple[float, Floats]:
    """The loss and its gradient; `parameters` are the strengths, then each voter's u."""
    s, u = parameters[:answers], parameters[answers:]
    wins, right = _sigmoid(s[winner] - s[loser]), _sigmoid(u[voter])
    chance = right * wins + (1 - right) * (1 - wins)
    loss = -np.log(chance).sum()
    loss += _S_PRECISION * (s @ s) / 2 + _U_PRECISION * ((u - _U_MEAN) @ (u - _U_MEAN)) / 2
    by_strength = -(2 * right - 1) * wins * (1 - wins) / chance
    by_u = -(2 * wins - 1) * right * (1 - right) / chance
    gradient = np.concatenate([_S_PRECISION * s, _U_PRECISION * (u - _U_MEAN)])
    gradient[:answers] += np.bincount(winner, weights=by_strength, minlength=answers)
    gradient[:answers] -= np.bincount(loser, weights=by_strength, minlength=answers)
    gradient[answers:] += np.bincount(voter, weights=by_u, minlength=len(u))
    return float(loss), gradient


def bradley_terry(
    winner: Ints, loser: Ints, voter: Ints, *, steps: int = 500, tolerance: float = 1e-7
) -> BradleyTerry:
    """The most probable strengths and reliabilities; every index counts from 0."""
    answers = int(max(winner.max(initial=-1), loser.max(initial=-1))) + 1
    voters = int(voter.max(initial=-1)) + 1
    start = np.concatenate([np.zeros(answers), np.full(voters, _U_MEAN)])
    found = _descend(start, lambda x: negative_log_posterior(x, winner, loser, voter, answers),
                     steps, tolerance)  # fmt: skip
    strengths = found[:answers]
    return BradleyTerry(strengths - strengths.mean() if answers else strengths,
                        _sigmoid(found[answers:]))  # fmt: skip


def _descend(x: Floats, function: Loss, steps: int, tolerance: float) -> Floats:
    """L-BFGS (Nocedal and Wright 2006, algorithm 7.4) with a halving line search."""
    value, gradient = function(x)
    memory: list[tuple[Floats, Floats]] = []
    for _ in range(steps):
        if np.abs(gradient).max(initial=0.0) < tolerance:
            break
        direction = -_two_loops(gradient, memory)
        slope = float(direction @ gradient)
        step = 1.0 if memory else 1.0 / max(1.0, float(np.abs(gradient).max()))
        while True:
            ahead, ahead_gradient = function(x + step * direction)
            if ahead <= value + 1e-4 * step * slope:
                break
            step /= 2
            if step < 1e-12:
                return x
        moved, turned = step * direction, ahead_gradient - gradient
        if float(moved @ turned) > 1e-12:
            memory = [*memory[-9:], (moved, turned)]
        x, value, gradient = x + moved, ahead, ahead_gradient
    return x


def _two_loops(gradient: Floats, memory: list[tuple[Floats, Floats]]) -> Floats:
    q, alphas = gradient.copy(), []
    for moved, turned in reversed(memory):
        alpha = float(moved @ q) / float(moved @ turned)
        alphas.append(alpha)
        q -= alpha * turned
    if memory:
        moved, turned = memory[-1]
        q *= float(moved @ turned) / float(turned @ turned)
    for (moved, turned), alpha in zip(memory, reversed(alphas), strict=True):
        q += moved * (alpha - float(turned @ q) / float(moved @ turned))
    return q


def _sigmoid(x: Floats) -> Floats:
    return np.asarray(1 / (1 + np.exp(-np.clip(x, -500, 500))))
