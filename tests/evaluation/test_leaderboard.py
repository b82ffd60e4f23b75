"""Strengths, intervals and leanings against written-out references and planted truths."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from rlhf.evaluation.leaderboard import CENTRE, ELO, ENOUGH, Leaderboard, Standing, leaderboard
from rlhf.evaluation.paired import Games


def game(first: str, second: str, choice: Any, count: float = 1.0, **more: Any) -> Games:
    return Games(first, second, choice, more.get("shown", ""), more.get("longer", 0.0), count)


def by_name(board: Leaderboard) -> dict[str, Standing]:
    return {one.policy: one for one in board.standings}


MIXED = [
    game("a", "b", "first", 12, shown="first", longer=0.3),
    game("a", "b", "second", 9, shown="second", longer=-0.2),
    game("a", "b", "tie", 4, shown="first", longer=0.1),
    game("a", "c", "first", 15, shown="second", longer=0.5),
    game("a", "c", "second", 3, shown="first", longer=0.0),
    game("b", "c", "first", 7, shown="first", longer=-0.4),
    game("b", "c", "second", 8, shown="second", longer=0.2),
    game("b", "d", "tie", 2, shown="second", longer=0.0),
    game("c", "d", "first", 5, shown="first", longer=0.6),
    game("c", "d", "second", 6, shown="", longer=-0.1),
    game("a", "a", "first", 5, shown="first", longer=0.2),
]


def written_out(games: Sequence[Games], *, lengths: bool) -> tuple[list[str], Callable[..., Any]]:
    """The loss as the text says it, game by game; parameters are strengths, δ and γ."""
    names = sorted({name for g in games if g.first != g.second for name in (g.first, g.second)})
    met: Counter[str] = Counter()
    for g in games:
        if g.first != g.second:
            met[g.first] += g.times
            met[g.second] += g.times

    def loss(theta: np.ndarray) -> float:
        s = dict(zip(names, theta, strict=False))
        total = 0.5 * theta[len(names) :] @ theta[len(names) :] / 25.0
        for g in games:
            ahead = 0.0 if g.first == g.second else s[g.first] - s[g.second]
            x = ahead + theta[len(names)] * {"first": 1, "second": -1, "": 0}[g.shown]
            x += theta[len(names) + 1] * g.longer if lengths else 0.0
            y = {"first": 1.0, "tie": 0.5, "second": 0.0}[g.choice]
            total += g.times * (y * math.log1p(math.exp(-x)) + (1 - y) * math.log1p(math.exp(x)))
            if g.first != g.second:
                half = g.times * (1 / met[g.first] + 1 / met[g.second]) / 4
                total += half * (math.log1p(math.exp(-ahead)) + math.log1p(math.exp(ahead)))
        return total

    return names, loss


def descended(loss: Callable[[np.ndarray], float], size: int) -> np.ndarray:
    """The minimum by plain gradient descent on numeric slopes: slow, and nothing to get wrong."""
    theta, step = np.zeros(size), 0.05
    for _ in range(4_000):
        slope = np.array([(loss(theta + e) - loss(theta - e)) / 2e-5 for e in 1e-5 * np.eye(size)])
        while loss(theta - step * slope) > loss(theta) and step > 1e-9:
            step /= 2
        theta = theta - step * slope
        step *= 1.5
        if np.abs(slope).max() < 1e-6:
            break
    return theta


@pytest.mark.parametrize("lengths", [False, True])
def test_strengths_are_a_logistic_regression_s(lengths: bool) -> None:
    names, loss = written_out(MIXED, lengths=lengths)
    theta = descended(loss, len(names) + 1 + lengths)
    found = by_name(leaderboard(MIXED))
    weights = np.array([found[name].games for name in names])
    expected = CENTRE + ELO * (theta[:4] - weights @ theta[:4] / weights.sum())
    ratings = [found[name].controlled if lengths else found[name].raw for name in names]
    assert [rating.elo for rating in ratings] == pytest.approx(expected, abs=0.05)
    board = leaderboard(MIXED)
    if lengths:
        assert board.longer is not None
        assert board.longer.share == pytest.approx(1 / (1 + math.exp(-theta[5] / 3)), abs=1e-4)
    else:
        assert board.left is not None
        assert board.left.share == pytest.approx(1 / (1 + math.exp(-theta[4])), abs=1e-4)


def test_two_policies_are_haldane_s_log_odds_with_gart_s_variance() -> None:
    one, other = leaderboard([game("a", "b", "first", 17), game("a", "b", "second", 8)]).standings
    assert one.raw.elo - other.raw.elo == pytest.approx(ELO * math.log(17.5 / 8.5))
    # Both ends belong to half the difference, as each stands at its own side of the mean.
    error = 1.959964 * math.sqrt(1 / 17.5 + 1 / 8.5) / 2
    assert one.raw.high - one.raw.elo == pytest.approx(ELO * error, rel=1e-5)
    assert one.controlled == one.raw, "no game tells of lengths"


def test_one_who_won_all_has_a_finite_strength_and_a_wide_interval() -> None:
    one, other = leaderboard([game("a", "b", "first", 40)]).standings
    assert (one.policy, one.wins, other.losses) == ("a", 40, 40)
    assert math.isfinite(one.raw.high) and one.raw.high - one.raw.low > 450
    assert (one.raw.rank, other.raw.rank) == (1, 2)


def test_ties_are_half_a_win_for_each_and_make_intervals_narrower_than_coins() -> None:
    tied = leaderboard([game("a", "b", "tie", 50)]).standings
    coins = leaderboard([game("a", "b", c, 25) for c in ("first", "second")]).standings
    assert tied[0].raw.elo == coins[0].raw.elo == pytest.approx(CENTRE)
    assert tied[0].ties == 50 and tied[0].games == 50
    assert tied[0].raw.high - tied[0].raw.low < 0.3 * (coins[0].raw.high - coins[0].raw.low)
    assert {one.raw.rank for one in (*tied, *coins)} == {1}


def test_counts_are_so_many_games() -> None:
    single = [g._replace(times=1.0) for g in MIXED for _ in range(int(g.times))]
    random.Random(3).shuffle(single)
    one, other = by_name(leaderboard(MIXED)), by_name(leaderboard(single))
    assert one.keys() == other.keys()
    for name in one:
        assert one[name].controlled.elo == pytest.approx(other[name].controlled.elo)
        assert one[name].raw.low == pytest.approx(other[name].raw.low)
        assert one[name].games == other[name].games


def test_who_is_named_first_does_not_matter() -> None:
    other = {"first": "second", "second": "first"}
    turned = [
        Games(
            g.second, g.first, other.get(g.choice, g.choice),  # type: ignore[arg-type]
            other.get(g.shown, ""), -g.longer, g.times,  # type: ignore[arg-type]
        )
        for g in MIXED
    ]  # fmt: skip
    one, two = leaderboard(MIXED), leaderboard(turned)
    for name, standing in by_name(one).items():
        assert by_name(two)[name].controlled.low == pytest.approx(standing.controlled.low)
    assert one.left is not None and two.left is not None
    assert one.left.share == pytest.approx(two.left.share)


def test_policies_that_no_games_join_are_never_ranked_together() -> None:
    board = leaderboard(
        [
            game("x", "y", "first", 90),
            game("x", "y", "second", 10),
            game("a", "b", "first", 50),
            game("b", "c", "first", 60),
            game("c", "a", "tie", 30),
        ]
    )
    assert [(one.policy, one.group) for one in board.standings] == [
        ("a", 0), ("b", 0), ("c", 0), ("x", 1), ("y", 1),
    ]  # fmt: skip
    alone = leaderboard([game("x", "y", "first", 90), game("x", "y", "second", 10)]).standings
    for mine, own in zip(board.standings[3:], alone, strict=True):
        assert mine.raw.elo == pytest.approx(own.raw.elo) and mine.raw.rank == own.raw.rank
        assert mine.raw.low == pytest.approx(own.raw.low)


def test_both_bad_is_counted_and_prefers_nobody() -> None:
    more = [*MIXED, game("a", "d", "both_bad", 50), game("a", "a", "both_bad", 3)]
    board, before = by_name(leaderboard(more)), by_name(leaderboard(MIXED))
    assert board["a"].both_bad == 53 and board["d"].both_bad == 50 and board["b"].both_bad == 0
    assert leaderboard(more).both_bad == 53
    assert {n: s.raw for n, s in board.items()} == {n: s.raw for n, s in before.items()}
    assert leaderboard([game("a", "b", "both_bad", 9)]).standings == ()


def test_games_of_one_policy_against_itself_tell_of_leanings_alone() -> None:
    board = leaderboard(
        [
            game("a", "a", "first", 70, shown="first", longer=0.2),
            game("a", "a", "second", 30, shown="first", longer=0.2),
        ]
    )
    assert board.standings == () and (board.games, board.same) == (0, 100)
    assert board.left is not None and board.left.low > 0.55 and board.left.high < 0.85


def test_few_games_are_marked() -> None:
    board = by_name(leaderboard([game("a", "b", "first", ENOUGH), game("c", "b", "second", 5)]))
    assert not board["a"].few and not board["b"].few and board["c"].few


def test_nothing_at_all() -> None:
    assert leaderboard([]) == Leaderboard((), None, None, 0, 0, 0)


Truth = dict[str, float]


def played(
    draw: random.Random,
    truth: Truth,
    count: int,
    *,
    lean: float = 0.0,
    by_length: float = 0.0,
    long: dict[str, float] | None = None,
    ties: float = 0.0,
) -> list[Games]:
    """Games by the model: strengths in log odds, a lean to the left, a liking for length."""
    found = []
    for _ in range(count):
        first, second = draw.sample(sorted(truth), 2)
        lengths = [draw.lognormvariate((long or {}).get(n, 0.0), 0.4) for n in (first, second)]
        longer = (lengths[0] - lengths[1]) / sum(lengths)
        side = draw.choice((1, -1))
        x = truth[first] - truth[second] + lean * side + by_length * longer
        won = draw.random() < 1 / (1 + math.exp(-x))
        choice = "tie" if draw.random() < ties else "first" if won else "second"
        shown = "first" if side == 1 else "second"
        found.append(game(first, second, choice, shown=shown, longer=round(longer, 1)))
    return found


def test_a_planted_liking_for_length_is_taken_out() -> None:
    truth = {"short": 0.0, "long": 0.0, "third": 0.0}
    games = played(random.Random(1), truth, 6_000, by_length=3.0, long={"long": 0.7})
    board = by_name(leaderboard(games))
    assert board["long"].raw.low > 1_060 and board["long"].raw.rank == 1
    for one in board.values():
        assert one.controlled.low < CENTRE < one.controlled.high and one.controlled.rank == 1
    longer = leaderboard(games).longer
    assert longer is not None and longer.low < 1 / (1 + math.exp(-1.0)) < longer.high


def test_a_planted_lean_to_the_left_is_found_and_does_no_harm() -> None:
    truth = {"a": 0.5, "b": 0.0, "c": -0.5}
    board = leaderboard(played(random.Random(2), truth, 4_000, lean=0.4))
    assert board.left is not None
    assert board.left.low > 0.55 and board.left.low < 1 / (1 + math.exp(-0.4)) < board.left.high
    assert [one.policy for one in board.standings] == ["a", "b", "c"]
    assert [one.raw.rank for one in board.standings] == [1, 2, 3]
    even = leaderboard(played(random.Random(2), truth, 4_000))
    assert even.left is not None and even.left.low < 0.5 < even.left.high


@pytest.mark.slow
@pytest.mark.parametrize(("count", "ties"), [(150, 0.0), (1_000, 0.25)])
def test_intervals_cover_planted_strengths_95_times_in_100(count: int, ties: float) -> None:
    """300 trials of 5 policies: 1,500 intervals, whose share has a standard error of 0.6 points.

    (The five of a trial hang together, hence the wider bounds. Ties at random shrink all true
    differences: what they shrink to is the truth.)
    """
    truth = {"a": 0.9, "b": 0.4, "c": 0.0, "d": -0.3, "e": -1.0}
    target = _shrunk(truth, ties)
    draw, covered, total = random.Random(7), 0, 0
    for _ in range(300):
        board = leaderboard(played(draw, truth, count, ties=ties, lean=0.2))
        found = by_name(board)
        games = sum(one.games for one in board.standings)
        mean = sum(target[n] * one.games for n, one in found.items()) / games
        for name, one in found.items():
            true = CENTRE + ELO * (target[name] - mean)
            covered += one.raw.low <= true <= one.raw.high
            total += 1
    assert 0.93 <= covered / total <= 0.97


def _shrunk(truth: Truth, ties: float) -> Truth:
    """The strengths that endless games would give where so many are ties by chance."""
    if not ties:
        return truth
    endless = []
    for first in truth:
        for second in truth:
            for side in (1, -1):
                p = 1 / (1 + math.exp(-(truth[first] - truth[second] + 0.2 * side)))
                shown = "first" if side == 1 else "second"
                for choice, share in (("first", (1 - ties) * p), ("tie", ties)):
                    if first != second:
                        endless.append(game(first, second, choice, 1e7 * share, shown=shown))
                if first != second:
                    lost = 1e7 * (1 - ties) * (1 - p)
                    endless.append(game(first, second, "second", lost, shown=shown))
    return {one.policy: (one.raw.elo - CENTRE) / ELO for one in leaderboard(endless).standings}
