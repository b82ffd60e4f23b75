"""`rlhf release freeze|thaw` and `rlhf votes gold`, on a store that no loop has filled."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from feedback_store import Interaction, Message, Policy, Release, Store

Call = Callable[..., tuple[int, str, str]]


def made(here: Path) -> str:
    where = str(here / "s.db")
    with Store.open(where) as store:
        for id in ("p1", "p2"):
            store.add_policy(Policy(id=id, kind="lora", base_model="b", path="/nowhere"))
        store.add_release(Release(policy="p1", action="promote"))
        asked = (Message(role="user", content="q"),)
        store.append(interactions=[Interaction(id="a", messages=asked, response="r")])
    return where


def test_a_freeze_is_said_shown_and_thawed(here: Path, rlhf: Call) -> None:
    at = ("--store", made(here))
    code, out, _ = rlhf("release", "freeze", "--reason", "exam week", *at)
    assert code == 0 and "project default is frozen" in out
    shown = json.loads(rlhf("release", "list", "--json", *at)[1])
    assert shown["frozen"]["reason"] == "exam week" and shown["champion"] == "p1"
    assert "exam week" in rlhf("release", "list", *at)[1]
    code, _, err = rlhf("release", "promote", "p2", *at)
    assert code == 1 and len(err.splitlines()) == 1
    assert "project default is frozen (exam week)" in err and "thaw" in err
    ended = json.loads(rlhf("release", "thaw", "--reason", "over", "--json", *at)[1])
    assert ended["frozen"] is None and ended["ended"]["reason"] == "exam week"
    assert "wasn't frozen" in rlhf("release", "thaw", "--reason", "over", *at)[1]
    assert rlhf("release", "freeze", *at)[0] == 2
    code, _, err = rlhf("release", "freeze", "--reason", " ", *at)
    assert code == 1 and "a reason is" in err


def test_a_known_answer_is_set_and_forgotten(here: Path, rlhf: Call) -> None:
    at = ("--store", made(here))
    told = json.loads(rlhf("votes", "gold", "a", "down", "--json", *at)[1])
    assert told == {"interaction": "a", "up": False, "known": 1}
    assert "0 known answers" in rlhf("votes", "gold", "a", "none", *at)[1]
    code, _, err = rlhf("votes", "gold", "b", "up", *at)
    assert code == 1 and err.strip() == "rlhf: no interaction b"
    assert rlhf("votes", "gold", "a", "sideways", *at)[0] == 2
