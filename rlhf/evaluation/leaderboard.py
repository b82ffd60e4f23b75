"""Who is better, from many choices between two: Bradley–Terry strengths with intervals.

Raw strengths are of answers as they are, controlled ones of answers of equal length (the model is
in `paired`). Both stand on Elo's scale: 400 points are odds of 10 to 1, and a group's mean (by
games) is 1000. Policies that no chain of games joins are in groups of their own, never ranked
together. "Both bad" is counted, and prefers nobody.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from rlhf.evaluation.estimate import normal_quantile
from rlhf.evaluation.paired import Design, Fit, Games, sigmoid

ELO = 400.0 / math.log(10.0)
CENTRE = 1000.0
ENOUGH = 30
"""Games below which a policy's place says little, and is marked so."""
TWICE = 1.0 / 3.0
"""`Games.longer` of an answer twice as long as the other."""


@dataclass(frozen=True)
class Rating:
    """A strength with its interval; `rank` is 1 + how many of its group are surely better.

    Surely: by the interval of the difference, which the two strengths' own don't tell.
    """

    elo: float
    low: float
    high: float
    rank: int


@dataclass(frozen=True)
class Standing:
    """One policy: its decided games against others, and how it stands in its group."""

    policy: str
    group: int
    games: float
    wins: float
    ties: float
    losses: float
    both_bad: float
    few: bool
    """Fewer than `ENOUGH` games."""
    raw: Rating
    controlled: Rating


@dataclass(frozen=True)
class Leaning:
    """How often voters prefer one side of two equal answers, with its interval; ½ is none."""

    share: float
    low: float
    high: float


@dataclass(frozen=True)
class Leaderboard:
    """All of it; a leaning is None where no game tells of it."""

    standings: tuple[Standing, ...]
    """Group by group, the one of most games first; within one by raw strength."""
    left: Leaning | None
    """Towards the left one."""
    longer: Leaning | None
    """Towards one that is twice as long."""
    games: float
    """Between different policies, "both bad" apart."""
    same: float
    """Between two samples of one policy, which tell of the leanings alone."""
    both_bad: float


def leaderboard(games: Iterable[Games], confidence: float = 0.95) -> Leaderboard:
    """Strengths, ranks and leanings out of counted choices."""
    told = [game for game in games if game.times > 0]
    decided = [game for game in told if game.choice != "both_bad"]
    between = [game for game in decided if game.first != game.second]
    played, groups = _played(between), _groups(between)
    policies = list(played)
    design = Design(decided, policies, [groups[policy] for policy in policies])
    raw, controlled = design.fit(lengths=False), design.fit(lengths=True)
    z, n = normal_quantile(0.5 + confidence / 2.0), len(policies)
    rated = zip(policies, _ratings(design, raw, z), _ratings(design, controlled, z), strict=True)
    bad = _both_bad(told)
    standings = [
        Standing(
            policy=policy,
            group=groups[policy],
            games=sum(played[policy]),
            wins=played[policy][0],
            ties=played[policy][1],
            losses=played[policy][2],
            both_bad=bad.get(policy, 0.0),
            few=sum(played[policy]) < ENOUGH,
            raw=plain,
            controlled=equal,
        )
        for policy, plain, equal in rated
    ]
    total = sum(game.times for game in between)
    return Leaderboard(
        standings=tuple(sorted(standings, key=lambda one: (one.group, -one.raw.elo, one.policy))),
        left=_leaning(raw, n, 1.0, z) if design.tells_sides else None,
        longer=_leaning(controlled, n + 1, TWICE, z) if design.tells_lengths else None,
        games=total,
        same=sum(game.times for game in decided) - total,
        both_bad=sum(game.times for game in told if game.choice == "both_bad"),
    )


def _played(between: Sequence[Games]) -> dict[str, list[float]]:
    """Wins, ties and losses of every policy that met another, by name."""
    found: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0, 0.0])
    for game in between:
        place = {"first": 0, "tie": 1, "second": 2}[game.choice]
        found[game.first][place] += game.times
        found[game.second][2 - place] += game.times
    return dict(sorted(found.items()))


def _both_bad(told: Sequence[Games]) -> Mapping[str, float]:
    found: dict[str, float] = defaultdict(float)
    for game in told:
        for policy in {game.first, game.second} if game.choice == "both_bad" else ():
            found[policy] += game.times
    return found


def _groups(between: Sequence[Games]) -> dict[str, int]:
    """The number of each policy's group: those joined by games, the most played group first."""
    met: dict[tuple[str, str], float] = defaultdict(float)
    for game in between:
        met[game.first, game.second] += game.times
    leader = {policy: policy for pair in met for policy in pair}

    def find(policy: str) -> str:
        while leader[policy] != policy:
            leader[policy] = policy = leader[leader[policy]]
        return policy

    for first, second in met:
        leader[find(first)] = find(second)
    games: dict[str, float] = defaultdict(float)
    for (first, _), times in met.items():
        games[find(first)] += times
    order = sorted(games, key=lambda one: (-games[one], one))
    return {policy: order.index(find(policy)) for policy in leader}


def _ratings(design: Design, fit: Fit, z: float) -> list[Rating]:
    n = len(design.together)
    weight = design.together * design.played[None, :]
    centred = np.eye(n) - weight / weight.sum(axis=1, keepdims=True)
    strengths = centred @ fit.theta[:n]
    spread = centred @ fit.covariance[:n, :n] @ centred.T
    own = np.diag(spread)
    ahead = strengths[None, :] - strengths[:, None]
    apart = np.sqrt(np.maximum(own[:, None] + own[None, :] - 2.0 * spread, 0.0))
    better = (ahead > z * apart) & design.together
    half = z * np.sqrt(np.maximum(own, 0.0))
    return [
        Rating(
            elo=CENTRE + ELO * float(strength),
            low=CENTRE + ELO * float(strength - error),
            high=CENTRE + ELO * float(strength + error),
            rank=1 + int(above),
        )
        for strength, error, above in zip(strengths, half, better.sum(axis=1), strict=True)
    ]


def _leaning(fit: Fit, column: int, at: float, z: float) -> Leaning:
    middle = float(fit.theta[column])
    half = z * math.sqrt(max(0.0, float(fit.covariance[column, column])))
    ends = sigmoid(np.asarray([middle, middle - half, middle + half]) * at)
    return Leaning(*map(float, ends))
