"""A frozen project's champion stays, but for a roll back."""

import threading

import pytest

from feedback_store import Conflict, Policy, Refused, Release, Store


def policy(id: str) -> Policy:
    return Policy(id=id, kind="lora", base_model="b", path="/nowhere")


def move(store: Store, id: str, action: str = "promote", project: str = "default") -> Release:
    return store.add_release(Release(project=project, policy=id, action=action, reason="r"))


@pytest.fixture
def released(store: Store) -> Store:
    for id in ("p1", "p2", "p3"):
        store.add_policy(policy(id))
    move(store, "p1")
    move(store, "p2")
    return store


def test_a_frozen_champion_moves_back_alone(released: Store) -> None:
    before = released.watermark()
    freeze = released.freeze("default", "exam week")
    assert released.frozen("default") == freeze and released.watermark() == before + 1
    with pytest.raises(Conflict, match=r"default is frozen \(exam week\); .*thaw"):
        move(released, "p3")
    assert released.champion().id == "p2"
    move(released, "p1", "rollback")
    assert released.champion().id == "p1"
    assert move(released, "p1").action == "rollback"  # where it already is, nothing moves


def test_a_thaw_ends_it(released: Store) -> None:
    assert released.thaw("default", "never was") is None
    released.freeze("default", "one")
    released.freeze("default", "two")
    assert released.frozen("default").reason == "two"
    ended = released.thaw("default", "over")
    assert ended is not None and ended.reason == "two" and released.frozen("default") is None
    assert move(released, "p3").policy == "p3"


def test_it_binds_one_project(released: Store) -> None:
    released.freeze("clinic", "an audit")
    assert released.frozen("default") is None and move(released, "p3").policy == "p3"
    with pytest.raises(Conflict, match="project clinic is frozen"):
        move(released, "p1", project="clinic")


@pytest.mark.parametrize("reason", ["", "  ", "x" * 1_001, "bell\x07"])
def test_it_takes_a_reason(released: Store, reason: str) -> None:
    with pytest.raises(Refused, match="a reason is"):
        released.freeze("default", reason)
    assert released.frozen("default") is None


def test_nobody_slips_in_between(released: Store) -> None:
    """A freeze that is committed holds against a promotion that began before it."""
    began, done = threading.Event(), threading.Event()
    refused: list[bool] = []

    def promote() -> None:
        began.set()
        done.wait()
        try:
            move(released, "p3")
        except Conflict:
            refused.append(True)

    thread = threading.Thread(target=promote)
    thread.start()
    began.wait()
    released.freeze("default", "now")
    done.set()
    thread.join()
    assert refused == [True] and released.champion().id == "p2"
