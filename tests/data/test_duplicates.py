import random
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlhf.data.duplicates import PERMUTATIONS, groups, signatures
from rlhf.data.exact_keys import exact_key

# Common characters, and words of a small vocabulary: texts that look like texts.
HAN = "".join(map(chr, range(0x4E00, 0x4E00 + 600)))
WORDS = [f"{a}{b}{c}" for a in "bdfgklm" for b in "aeiou" for c in "nrst"]


def shingle_set(text: str) -> set[tuple[str, ...]]:
    """The oracle's shingles, by plain Python."""
    words = text.split() if text.isascii() else list(text)
    size = 2 if text.isascii() else 3
    return {tuple(words[i : i + size]) for i in range(len(words) - size + 1)}


def jaccard(left: set[tuple[str, ...]], right: set[tuple[str, ...]]) -> float:
    return len(left & right) / len(left | right)


def edited(text: str, edits: int, rng: random.Random) -> str:
    units = text.split() if text.isascii() else list(text)
    for place in rng.sample(range(len(units)), edits):
        units[place] = rng.choice(WORDS) if text.isascii() else rng.choice(HAN)
    return (" " if text.isascii() else "").join(units)


def planted(rng: random.Random) -> list[str]:
    """Originals in two scripts, each with copies edited from lightly to beyond recognition."""
    texts = []
    for number in range(30):
        if number % 2:
            original = " ".join(rng.choices(WORDS, k=rng.randint(40, 90)))
        else:
            original = "".join(rng.choices(HAN, k=rng.randint(60, 200)))
        texts.append(original)
        size = len(original.split()) if number % 2 else len(original)
        for share in (0.01, 0.03, 0.06, 0.12, 0.25, 0.4):
            texts.append(edited(original, max(1, int(size * share)), rng))
    rng.shuffle(texts)
    return texts


@pytest.mark.parametrize("seed", range(3))
def test_against_the_jaccard_of_every_pair(seed: int) -> None:
    """Of two rows alike only one is kept, and no row goes for one that it is far from."""
    texts = planted(random.Random(seed))
    sets = [shingle_set(text) for text in texts]
    first = groups(signatures(texts))
    near = both_kept = 0
    for one, other in combinations(range(len(texts)), 2):
        similarity = jaccard(sets[one], sets[other])
        if similarity >= 0.85:
            near += 1
            both_kept += bool(first[one] == one and first[other] == other)
        assert similarity >= 0.5 or first[one] != first[other]
    assert near > 50
    assert both_kept <= 0.05 * near


def test_every_row_names_a_first_that_names_itself() -> None:
    first = groups(signatures(planted(random.Random(9))))
    assert (first <= np.arange(len(first))).all()
    assert (first[first] == first).all()


def test_small_steps_do_not_make_twins_of_what_is_far_apart() -> None:
    rng = random.Random(1)
    chain = ["".join(rng.choices(HAN, k=150))]
    while len(chain) < 60:
        chain.append(edited(chain[-1], 2, rng))
    sets = [shingle_set(text) for text in chain]
    assert jaccard(sets[0], sets[-1]) < 0.3
    first = groups(signatures(chain))
    assert min(jaccard(sets[row], sets[one]) for row, one in enumerate(first)) > 0.65
    assert len(set(first.tolist())) < 30


def test_a_large_bucket_is_one_group() -> None:
    rng = random.Random(2)
    template = "".join(rng.choices(HAN, k=400))
    texts = [edited(template, 2, rng) for _ in range(1_000)]
    assert set(groups(signatures(texts)).tolist()) == {0}


def test_signatures_may_be_a_memory_map(tmp_path: Path) -> None:
    made = signatures(planted(random.Random(3)))
    mapped = np.memmap(tmp_path / "signatures", np.uint16, "w+", shape=made.shape)
    mapped[:] = made
    assert (groups(mapped) == groups(made)).all()


def test_nothing_and_next_to_nothing() -> None:
    assert signatures([]).shape == (0, PERMUTATIONS)
    assert groups(signatures([])).tolist() == []
    short = ["", "好", "好的", "ok", "no", "!!"]
    assert signatures(short).shape == (6, PERMUTATIONS)
    assert groups(signatures(["好", "的", "好"])).tolist() == [0, 1, 0]


def test_signatures_do_not_hang_on_the_process() -> None:
    """A hash that changes with PYTHONHASHSEED would make each run drop other rows."""
    assert signatures(["头痛怎么办呢", "hello there you"])[:, 0].tolist() == [7651, 34367]


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("头痛，怎么办？", "头痛 怎么办", True),
        ("Reset my PASSWORD!", "reset my password", True),
        ("头痛", "头疼", False),
        ("!", "?", False),
    ],
)
def test_exact_keys(one: str, other: str, same: bool) -> None:
    assert (exact_key(one) == exact_key(other)) is same


def test_where_one_text_ends_matters() -> None:
    assert exact_key("a", "b c") != exact_key("a b", "c")


@given(st.text(max_size=40), st.text(max_size=40))
def test_keys_fit_a_column_of_64_bits(one: str, other: str) -> None:
    assert -(2**63) <= exact_key(one, other) < 2**63
