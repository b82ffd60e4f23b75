"""Simulated raters of known reliability, and crowd-kit's own fit as the oracle."""

import warnings

import numpy as np
import pytest

from feedback_store.trust.reliability import dawid_skene, gold_accuracy, hits, standing


def raters(seed: int, items: int = 1_500, voters: int = 30, each: int = 5):
    """Who says what of which item, with the truth: some raters are near to flipping coins."""
    rng = np.random.default_rng(seed)
    truth = rng.random(items) < 0.6
    accuracy = rng.uniform(0.5, 0.97, voters)
    item = np.repeat(np.arange(items), each)
    voter = np.concatenate([rng.permutation(voters)[:each] for _ in range(items)])
    right = rng.random(len(item)) < accuracy[voter]
    return item, voter, truth[item] == right, truth, accuracy


@pytest.mark.parametrize("seed", range(5))
def test_reliabilities_are_recovered_and_beat_the_majority(seed: int) -> None:
    item, voter, up, truth, accuracy = raters(seed)
    fit = dawid_skene(item, voter, up)
    assert np.corrcoef(fit.accuracy, accuracy)[0, 1] >= 0.9
    majority = np.bincount(item, weights=up) * 2 > np.bincount(item)
    assert ((fit.items > 0.5) == truth).mean() > (majority == truth).mean()


def test_voters_weights_beat_the_majority() -> None:
    """The weights that rows are made with, and not only the model's own labels."""
    won = []
    for seed in range(5):
        item, voter, up, truth, accuracy = raters(seed)
        right = hits(item, voter, up, dawid_skene(item, voter, up).items)
        weights = standing(np.bincount(voter, weights=right), np.bincount(voter).astype(float))
        weighted = np.bincount(item, weights=weights[voter] * np.where(up, 1, -1)) > 0
        majority = np.bincount(item, weights=np.where(up, 1, -1)) > 0
        won.append((weighted == truth).mean() - (majority == truth).mean())
        assert np.corrcoef(weights, accuracy)[0, 1] > 0.5
    assert min(won) >= 0 and np.mean(won) > 0.01


def test_the_classic_fit_is_crowd_kits() -> None:
    pandas = pytest.importorskip("pandas")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from crowdkit.aggregation import DawidSkene
    item, voter, up, _, _ = raters(1, items=150, voters=12)
    data = pandas.DataFrame({"task": item, "worker": voter, "label": up.astype(int)})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # crowd-kit calls pandas in ways that 3.x will drop
        theirs = DawidSkene(n_iter=500, tol=1e-12).fit(data)
    ours = dawid_skene(item, voter, up, smoothing=0.0, steps=500, tolerance=1e-9)
    assert ours.items == pytest.approx(theirs.probas_.sort_index()[1].to_numpy(), abs=1e-4)
    for worker in range(12):
        errors = theirs.errors_.loc[worker].sort_index()  # rows: said, columns: true
        for said in (0, 1):
            for true in (0, 1):
                want = errors.loc[said, true]
                assert ours.confusion[worker, true, said] == pytest.approx(want, abs=1e-3)


def test_known_answers_decide() -> None:
    item, voter = np.array([0, 0, 0, 1, 1, 1]), np.array([0, 1, 2, 0, 1, 2])
    up = np.array([True, True, False, True, True, False])
    assert (dawid_skene(item, voter, up).items > 0.5).all()
    told = dawid_skene(item, voter, up, gold={0: False, 1: False})
    assert (told.items == 0).all() and told.accuracy[2] > told.accuracy[0]
    accuracy = gold_accuracy(np.array([0.0, 10.0, 0.0]), np.array([0.0, 10.0, 10.0]))
    assert accuracy == pytest.approx([0.8, 14 / 15, 4 / 15])


def test_newcomers_keep_their_weight() -> None:
    right = np.array([0.0, 1.0, 0.0, 45.0, 100.0, 10.0, 900.0])
    judged = np.array([0.0, 1.0, 1.0, 50.0, 200.0, 50.0, 1_000.0])
    weights = standing(right, judged)
    assert weights[:4].tolist() == [1.0, 1.0, 1.0, 1.0]
    assert 0 < weights[4] < 0.5 and weights[5] == 0.0 and weights[6] == 1.0


def test_nothing_judged_is_nothing_known() -> None:
    empty = np.zeros(0, np.int64)
    assert len(dawid_skene(empty, empty, np.zeros(0, bool)).items) == 0
    assert standing(np.zeros(3), np.zeros(3)).tolist() == [1.0, 1.0, 1.0]
