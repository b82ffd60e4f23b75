"""Vote tokens: good for one voter on one answer, for a while, and not to be forged."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from feedback_store import Store
from rlhf.serving.access import Denied
from rlhf.serving.vote_tokens import VoteTokens


def denied(tokens: VoteTokens, token: str, interaction: str = "a1") -> int:
    with pytest.raises(Denied) as refusal:
        tokens.read(token, interaction)
    return refusal.value.status


def test_a_token_gives_its_voter_back_under_the_stores_name(store: Store, clock: Any) -> None:
    tokens = VoteTokens(store, 1.0, clock)
    token = tokens.make("a1", "ann@example.org")
    assert re.fullmatch(r"[A-Za-z0-9_.-]+", token)
    assert tokens.read(token, "a1") == store.pseudonym("ann@example.org")
    assert tokens.make("a1", store.pseudonym("ann@example.org")) == token
    assert denied(tokens, token, "a2") == 403


def test_it_expires(store: Store, clock: Any) -> None:
    tokens = VoteTokens(store, 1.0, clock)
    token = tokens.make("a1", "ann")
    clock.forward(minutes=59)
    tokens.read(token, "a1")
    clock.forward(minutes=1)
    assert denied(tokens, token) == 401


def test_it_holds_over_a_restart_and_for_no_other_store(
    store: Store, clock: Any, tmp_path: Path
) -> None:
    token = VoteTokens(store, 1.0, clock).make("a1", "ann")
    with Store.open(tmp_path / "store.db") as again:
        assert VoteTokens(again, 9.0, clock).read(token, "a1") == store.pseudonym("ann")
    with Store.open(tmp_path / "other.db") as other:
        assert denied(VoteTokens(other, 9.0, clock), token) == 401


def test_no_changed_byte_passes(store: Store, clock: Any) -> None:
    tokens = VoteTokens(store, 1.0, clock)
    token = tokens.make("a1", "ann")
    for place in range(len(token)):
        for mark in "A_.":
            if token[place] != mark:
                assert denied(tokens, token[:place] + mark + token[place + 1 :]) == 401
    for odd in ("", ".", token[:-1], token + "=", token + ".", "." + token, token * 9, "\ud800.é"):
        assert denied(tokens, odd) == 401


@given(st.text(max_size=200))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
def test_nothing_made_up_passes(store: Store, clock: Any, text: str) -> None:
    assert denied(VoteTokens(store, 1.0, clock), text) == 401
