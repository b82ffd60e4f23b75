"""Bounded counts and samples: right against a plain count, and the same in any order."""

from __future__ import annotations

import random
from collections import Counter

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from rlhf.data.counts import DIGEST, Counts, Lengths, digest, short_key, shown
from rlhf.data.row_sample import RANK, RowSample, ranks

keys = st.lists(st.text("abc", max_size=3), max_size=40)


def counted(words: list[str], cap: int) -> Counts:
    counts = Counts(cap=cap)
    add(counts, words)
    return counts


def add(counts: Counts, words: list[str]) -> None:
    digests = [digest(word) for word in words]
    counts.add_many(np.array(digests, DIGEST), words.__getitem__)


@settings(max_examples=40)
@given(words=keys, cut=st.integers(0, 40), cap=st.sampled_from([2, 5, 1000]), seed=st.integers(0))
def test_no_order_and_no_split_shows(words: list[str], cut: int, cap: int, seed: int) -> None:
    whole = counted(words, cap)
    shuffled = random.Random(seed).sample(words, len(words))
    parts = counted(shuffled[cut:], cap)
    add(parts, shuffled[:cut])
    assert whole.largest(words) == parts.largest(words)
    assert (whole.total, whole.distinct, whole.error) == (parts.total, parts.distinct, parts.error)


@settings(max_examples=40)
@given(words=keys)
def test_exact_below_the_cap(words: list[str]) -> None:
    assert dict(counted(words, 100).largest()) == Counter(words)
    assert counted(words, 100).error == 0


def test_beyond_the_cap_a_count_is_never_too_low_and_seldom_too_high() -> None:
    chance = random.Random(3)
    words = [f"rare-{chance.randrange(40_000)}" for _ in range(60_000)]
    words += ["often"] * 3_000 + ["sometimes"] * 700
    counts, truth = counted(words, 1_000), Counter(words)
    assert counts.distinct is None and counts.error == 2
    found = dict(counts.largest(truth))
    assert all(found[word] >= times for word, times in truth.items())
    assert sum(found[word] > n + counts.error for word, n in truth.items()) < len(truth) / 16
    assert [word for word, _ in counts.largest(truth)[:2]] == ["often", "sometimes"]


@settings(max_examples=40)
@given(st.lists(st.integers(0, 10_000), min_size=1))
def test_quantiles_of_lengths(sizes: list[int]) -> None:
    lengths = Lengths()
    for part in (sizes[:3], sizes[3:]):
        lengths.add_many(np.array(part, np.uint32))
    for share, found in zip(
        (0.0, 0.5, 0.95, 1.0), lengths.quantiles([0, 0.5, 0.95, 1]), strict=True
    ):
        true = int(np.quantile(sizes, share, method="inverted_cdf"))
        assert found is not None and found <= true <= found * (1 + 1 / 64)
    assert Lengths().quantiles([0.5]) == [None]


def test_long_keys_stay_apart_and_are_shown_short() -> None:
    left, right = short_key("长" * 500 + "a"), short_key("长" * 500 + "b")
    assert left != right and shown(left) == shown(right) == "长" * 120 + "…"
    assert short_key("短") == "短" == shown("短")


def offer(sample: RowSample, names: list[str], seed: int) -> None:
    ranked = np.array([*map(ranks(seed), names)], RANK)
    sample.add_many(ranked, lambda at: {"name": names[at]})


@settings(max_examples=40)
@given(names=st.lists(st.text("ab", max_size=4), max_size=60), cut=st.integers(0, 60))
def test_a_sample_is_the_same_whoever_read_what(names: list[str], cut: int) -> None:
    parts = RowSample(size=5)
    offer(parts, names[cut:][::-1], 1)
    offer(parts, names[:cut], 1)
    whole = RowSample(size=5)
    offer(whole, names, 1)
    assert whole.rows() == parts.rows()
    assert len(parts.rows()) == min(5, len(names))


def test_a_sample_is_random() -> None:
    """Each row comes with the same chance: among 200 seeds, the first as often as the last."""
    hits = Counter[str]()
    names = [f"file.jsonl:{at}" for at in range(100)]
    for seed in range(200):
        drawn = RowSample(size=10)
        offer(drawn, names, seed)
        hits.update(row["name"] for row in drawn.rows())
    expected = 200 * 10 / 100
    chi = sum((hits[name] - expected) ** 2 / (expected * 0.9) for name in names)
    assert chi < 160  # 99 degrees of freedom: once in 10,000
