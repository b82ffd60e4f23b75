"""A population whose true mean vote is known, and volunteers who are not a sample of it."""

import math

import numpy as np
import pytest

from feedback_store.trust.selection import combined, inverse_propensity, voting_rates


def population(seed: int, size: int = 20_000):
    """Votes, the stratum of each, and who votes unasked: the angry and the first stratum do."""
    rng = np.random.default_rng(seed)
    stratum = rng.integers(0, 3, size)
    likes = rng.random(size) < np.array([0.4, 0.7, 0.9])[stratum]
    votes = np.where(likes, 1.0, -1.0)
    chance = np.array([0.5, 0.1, 0.03])[stratum]
    return rng, votes, stratum, chance


def test_known_propensities_undo_the_bias() -> None:
    covered, errors, naive = 0, [], []
    for seed in range(100):
        rng, votes, _, chance = population(seed, size=4_000)
        seen = rng.random(len(votes)) < chance
        estimate = inverse_propensity(votes[seen].tolist(), chance[seen].tolist())
        truth = float(votes.mean())
        covered += estimate.low <= truth <= estimate.high
        errors.append(estimate.mean - truth)
        naive.append(float(votes[seen].mean()) - truth)
    assert np.mean(naive) < -0.25  # what a plain average would have said
    assert abs(np.mean(errors)) < 0.02
    assert 0.91 <= covered / 100 <= 0.99


def test_rates_by_stratum_stand_in_for_unknown_propensities() -> None:
    rng, votes, stratum, chance = population(7)
    seen = rng.random(len(votes)) < chance
    rates = voting_rates(stratum.tolist(), seen.tolist())
    assert [rates[s] for s in (0, 1, 2)] == pytest.approx([0.5, 0.1, 0.03], abs=0.02)
    found = inverse_propensity(votes[seen].tolist(), [rates[s] for s in stratum[seen].tolist()])
    assert found.mean == pytest.approx(votes.mean(), abs=0.06)


def test_the_random_slice_checks_the_volunteers() -> None:
    """Where the angry vote within each stratum, no stratum tells: the slice must win."""
    covered, closer = 0, []
    for seed in range(100):
        rng, votes, _, _ = population(seed, size=6_000)
        angry = rng.random(len(votes)) < np.where(votes < 0, 0.4, 0.05)
        asked = rng.random(len(votes)) < 0.05
        solicited = inverse_propensity(votes[asked].tolist(), [0.05] * int(asked.sum()))
        voluntary = inverse_propensity(votes[angry].tolist(), [1.0] * int(angry.sum()))
        both = combined(solicited, voluntary)
        truth = float(votes.mean())
        covered += both.low <= truth <= both.high
        closer.append(abs(both.mean - truth) < 0.3 * abs(voluntary.mean - truth))
    assert covered >= 90 and np.mean(closer) > 0.95


def test_agreeing_volunteers_sharpen_the_mean() -> None:
    errors = []
    for seed in range(100):
        rng, votes, _, _ = population(seed, size=6_000)
        asked, volunteers = (rng.random(len(votes)) < share for share in (0.02, 0.4))
        slice_ = inverse_propensity(votes[asked].tolist(), [0.02] * int(asked.sum()))
        many = inverse_propensity(votes[volunteers].tolist(), [0.4] * int(volunteers.sum()))
        truth = float(votes.mean())
        errors.append((abs(combined(slice_, many).mean - truth), abs(slice_.mean - truth)))
    together, alone = np.mean(errors, axis=0)
    assert together < 0.75 * alone


def test_what_cannot_be_estimated_is_refused() -> None:
    with pytest.raises(ValueError, match="0 values"):
        inverse_propensity([], [])
    with pytest.raises(ValueError, match=r"lies in \(0, 1\], not 0"):
        inverse_propensity([1.0], [0.0])
    one = inverse_propensity([1.0], [0.5])
    assert one.low == -math.inf and one.high == math.inf
    with pytest.raises(ValueError, match="needs two votes"):
        combined(one, one)
