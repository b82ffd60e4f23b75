from pathlib import Path

import pytest

from feedback_store import Unavailable
from feedback_store.snapshots.spool import Spool

RECORDS = [(n, f"text {n} 好", None, n % 2 == 0, n / 3, b"\n") for n in range(1_000)]


@pytest.mark.parametrize("buffer", [1, 700, 1_000_000])
def test_partitions_come_back_whole_and_in_order(tmp_path: Path, buffer: int) -> None:
    with Spool(tmp_path, 3, buffer) as spool:
        for record in RECORDS:
            spool.add(record[0] % 3, record, 10)
        for partition in (2, 0, 1):
            assert list(spool.take(partition)) == RECORDS[partition::3]
            assert list(spool.take(partition)) == []


def test_the_file_has_no_name(tmp_path: Path) -> None:
    with Spool(tmp_path, 1, buffer=1) as spool:
        spool.add(0, ("secret",), 10)
        assert list(tmp_path.iterdir()) == []
        assert list(spool.take(0)) == [("secret",)]


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with (
        Spool(tmp_path / "gone", 1, buffer=1) as spool,
        pytest.raises(Unavailable, match=r"gone: can't be written"),
    ):
        spool.add(0, ("x",), 10)
