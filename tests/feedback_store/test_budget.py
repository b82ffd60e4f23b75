"""The one-pass budget against its definition on a whole list."""

import heapq
import math
from hashlib import sha256

from hypothesis import given
from hypothesis import strategies as st

from feedback_store import SnapshotRules
from feedback_store.snapshots.budget import Budget
from feedback_store.snapshots.training_rows import Row

rows = st.lists(st.tuples(st.integers(0, 4), st.sampled_from([1.0, 0.5, 0.000001])), max_size=40)


def draw(row: Row) -> float:
    u = (int(row.place[:12], 16) + 1) / (2**48 + 1)
    return math.log(u) / row.weight


def by_definition(rows: list[Row], window: int, replay: int) -> list[Row]:
    newest_first = sorted(rows, key=lambda row: (row.age, row.place))
    return newest_first[:window] + heapq.nlargest(replay, newest_first[window:], key=draw)


@given(rows, st.integers(0, 12), st.integers(0, 12), st.randoms())
def test_one_pass_keeps_what_a_sort_keeps(drawn, window, replay, random) -> None:
    made = [Row(sha256(b"%d" % n).hexdigest(), a, w, b"") for n, (a, w) in enumerate(drawn)]
    expected = sorted(by_definition(made, window, replay))
    random.shuffle(made)
    budget = Budget(SnapshotRules(window=window, replay=replay))
    for row in made:
        budget.see(row)
    assert sorted(row for row in made if budget.keeps(row)) == expected
    assert (budget.kept, budget.left_out) == (len(expected), len(made) - len(expected))
