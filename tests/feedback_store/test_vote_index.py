"""Which votes a snapshot rests on, by its index."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from feedback_store import Damaged, Message, SnapshotRules, Store, build_snapshot
from feedback_store.snapshots.vote_index import VoteIndex, draw_votes, forget
from feedback_store.trust.rules import TrustRules


@pytest.fixture
def folder(store: Store, tmp_path: Path, ask: Callable[..., Any], thumb: Any, compare: Any) -> Path:
    for n in range(60):
        # A text that looks like the list of votes must not be taken for it.
        response = 'no "votes":["forged"],"weight":1} ' + str(n)
        store.append(
            interactions=[ask(f"i{n}", f"q{n}", response), ask(f"j{n}", f"q{n}", f"other {n}")],
            feedback=[thumb(f"i{n}", 1.0 if n % 2 else -1.0)],
            comparisons=[compare(f"i{n}", f"j{n}", "a")],
        )
    rules = SnapshotRules(held_out=0.2, trust=TrustRules(enabled=False))
    return tmp_path / "snapshots" / build_snapshot(store, tmp_path / "snapshots", rules).id


def by_reading(folder: Path) -> dict[str, set[str]]:
    return {
        path.name: {
            vote
            for line in path.read_text().splitlines()
            for vote in json.loads(line).get("votes", ())
        }
        for path in folder.glob("*.jsonl")
    }


def test_the_index_says_what_reading_the_files_says(folder: Path, store: Store) -> None:
    wanted = by_reading(folder)
    every = [v.id for v in (*store.feedback(), *store.comparisons())]
    for _ in range(2):  # built, then kept
        index = VoteIndex(folder)
        for vote in [*every, "forged", "nobody"]:
            assert set(index.files_with([vote])) == {n for n, v in wanted.items() if vote in v}
        assert index.count() == len(set().union(*wanted.values()))
        assert set(index.sample(4)) <= set().union(*wanted.values()) and len(index.sample(4)) == 4


def test_the_second_question_reads_no_row(folder: Path) -> None:
    before = VoteIndex(folder).files_with(["thumb-i1-ann-1.0"])
    assert before
    for path in folder.glob("*.jsonl"):
        path.write_text("")
    assert VoteIndex(folder).files_with(["thumb-i1-ann-1.0"]) == before
    forget(folder)
    assert VoteIndex(folder).files_with(["thumb-i1-ann-1.0"]) == {}


def test_a_damaged_index_is_built_again(folder: Path) -> None:
    before = VoteIndex(folder).count()
    (path,) = (folder.parent / ".votes").iterdir()
    for broken in (path.read_bytes()[:-9], b"\x00\xff", b"[]\n", b""):
        path.write_bytes(broken)
        assert VoteIndex(folder).count() == before


def test_prompts_are_found_whole(folder: Path) -> None:
    def asked(text: str) -> list[Message]:
        return [Message(role="user", content=text)]

    trained = (folder / "prompts.jsonl").read_text()
    for _ in range(2):  # built, then kept
        index = VoteIndex(folder)
        for n in range(60):
            assert index.has_prompt(asked(f"q{n}")) == (f'"q{n}"' in trained)
        assert not index.has_prompt(asked("q"))


def test_an_index_is_not_built_for_a_question_that_cannot_wait(folder: Path) -> None:
    assert VoteIndex.if_kept(folder) is None
    built = VoteIndex(folder)
    kept = VoteIndex.if_kept(folder)
    assert kept is not None and kept.count() == built.count() > 0


@pytest.mark.parametrize("whole", [4_000_000, 0])
def test_votes_are_drawn_from_all_over_what_is_trained_on(
    folder: Path, monkeypatch: pytest.MonkeyPatch, whole: int
) -> None:
    monkeypatch.setattr("feedback_store.snapshots.vote_index._READ_WHOLE", whole)
    wanted = by_reading(folder)
    trained = {v for name in ("sft.jsonl", "dpo.jsonl", "kto.jsonl") for v in wanted[name]}
    drawn = draw_votes(folder, 10, seed=1)
    assert len(set(drawn)) == 10 and set(drawn) <= trained
    assert draw_votes(folder, 10, seed=1) == drawn != draw_votes(folder, 10, seed=2)
    assert set().union(*(draw_votes(folder, 20, seed) for seed in range(60))) >= set(
        sorted(trained)[:20]
    )


def test_a_snapshot_without_files_is_told(tmp_path: Path) -> None:
    with pytest.raises(Damaged, match="files are gone"):
        VoteIndex(tmp_path / "nothing")
