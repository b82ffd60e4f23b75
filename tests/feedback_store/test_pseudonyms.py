import os
import stat
import threading
from pathlib import Path

import pytest

from feedback_store import Damaged, Feedback, Refused, Store, Unavailable
from feedback_store.pseudonyms import Pseudonyms

SECRET = "zhang.san-1979"


def on_disk(folder: Path, text: str) -> list[str]:
    return [file.name for file in folder.iterdir() if text.encode() in file.read_bytes()]


def test_a_plain_id_never_reaches_the_disk(tmp_path: Path, ask, thumb, compare) -> None:
    with Store.open(tmp_path / "s.db") as store:
        store.append(
            interactions=[ask("a", user=SECRET), ask("b")],
            feedback=[thumb("a", voter=SECRET, id="v1"), thumb("later", voter=SECRET, id="v2")],
            comparisons=[compare("a", "b", "a", voter=SECRET, id="c1")],
            wait=True,
            idempotency_key=f"{SECRET}-1",
        )
        assert store.live_feedback("a", SECRET, "thumb").value == 1.0
        assert store.live_comparison("b", "a", SECRET).choice == "a"
        store.withdraw("a", SECRET, "thumb", idempotency_key=f"{SECRET}-2")
        store.withdraw("later", SECRET, "thumb")
        store.withdraw_comparison("a", "b", SECRET)
        with pytest.raises(Exception, match="no live") as raised:
            store.withdraw("a", SECRET, "thumb")
        assert SECRET not in str(raised.value)
        assert (tmp_path / "s.db-wal").stat().st_size > 0
        assert on_disk(tmp_path, SECRET) == []
        name = store.pseudonym(SECRET)
        assert {vote.voter for vote in store.feedback(live=False)} == {name}
        assert store.interaction("a").user == name
        assert {early.vote.voter for early in store.waiting()} == {name}
    assert on_disk(tmp_path, SECRET) == []
    assert on_disk(tmp_path, name) == ["s.db"]


def test_the_store_knows_its_own_names_and_hashes_all_others() -> None:
    ours, theirs = Pseudonyms(b"k" * 32), Pseudonyms(b"l" * 32)
    name = ours.of("ann")
    assert name == ours.of("ann") == ours.of(name) and len(name) == 53
    assert theirs.of("ann") != name and theirs.of(name) not in (name, theirs.of("ann"))
    forged = name[:-1] + ("0" if name[-1] != "0" else "1")
    assert ours.of(forged) not in (name, forged)
    assert ours.of("anon.") != "anon." and len({ours.of(str(n)) for n in range(1_000)}) == 1_000


def test_a_voter_is_one_whether_named_or_read_back(store: Store, ask, thumb) -> None:
    store.append(interactions=[ask("a")], feedback=[thumb("a", id="v1")])
    (vote,) = store.feedback()
    again = Feedback(interaction="a", voter=vote.voter, kind="thumb", value=-1)
    store.append(feedback=[again])
    (vote,) = store.feedback()
    assert (vote.value, vote.revision) == (-1.0, 2)
    assert store.live_feedback("a", "ann", "thumb") == vote


def test_the_key_is_made_once_and_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    names: list[str] = []

    def start() -> None:
        with Store.open(path) as store:
            names.append(store.pseudonym("ann"))

    threads = [threading.Thread(target=start) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(names) == 6 and len(set(names)) == 1
    key = tmp_path / "s.db.key"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert sorted(file.name for file in tmp_path.iterdir()) == [
        *("s.db", "s.db.key", "s.db.lock", "s.db.lock.next")
    ]


def test_a_lost_changed_or_short_key_is_named_in_one_line(tmp_path: Path, ask, thumb) -> None:
    path, key = tmp_path / "s.db", tmp_path / "s.db.key"
    with Store.open(path) as store:
        store.append(interactions=[ask("a")], feedback=[thumb("a")])
    right = key.read_bytes()
    key.unlink()
    with pytest.raises(Unavailable, match=r"s\.db\.key is missing: .*; put it back$"):
        Store.open(path)
    assert not key.exists()  # a new one would split every voter in two
    key.write_text("0" * 64)
    with pytest.raises(Damaged, match=r"s\.db\.key: not the key that .*; restore it$"):
        Store.open(path)
    key.write_text("short")
    with pytest.raises(Refused, match=r"a key of 5 characters; it takes at least 32$"):
        Store.open(path)
    key.write_bytes(right)
    with Store.open(path) as store:
        assert store.live_feedback("a", "ann", "thumb").value == 1.0


def test_an_unreadable_key_is_named(tmp_path: Path) -> None:
    (tmp_path / "s.db.key").mkdir()
    with pytest.raises(Unavailable, match="can't be read"):
        Store.open(tmp_path / "s.db")


def test_a_full_disk_leaves_neither_half_a_key_nor_a_name(tmp_path: Path, monkeypatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(Unavailable, match=r"s\.db\.key: can't be written"):
            Store.open(tmp_path / "s.db")
    assert not [file for file in tmp_path.iterdir() if ".key" in file.name]
    Store.open(tmp_path / "s.db").close()
