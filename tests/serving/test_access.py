"""Who passes the door: keys, scopes, rates, and the open door on loopback."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from feedback_store import NotFound, Refused, Store, Unavailable
from rlhf.serving.access import Access, Denied
from rlhf.serving.rates import CLIENTS, Buckets, network
from rlhf.serving.settings import LimitSettings

HERE = "127.0.0.1"
SCOPES = ("chat", "vote", "review", "admin")


def door(store: Store, clock: Any, *, open: bool = False, **limits: Any) -> Access:
    return Access(store, LimitSettings(**limits), open_without_keys=open, clock=clock)


def denied(access: Access, authorization: str | None, scope: Any = "chat") -> Denied:
    with pytest.raises(Denied) as refusal:
        access.check(authorization, scope, HERE)
    return refusal.value


def test_only_a_hash_reaches_the_disk(store: Store, tmp_path: Path) -> None:
    key, secret = store.create_api_key(["chat"], "web")
    assert secret.startswith("rk_") and len(secret) == 46  # 256 bits in base64
    assert store.api_keys() == [key]
    written = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    assert key.hash.encode() in written
    assert secret.encode() not in written and secret[3:].encode() not in written
    assert key.hash not in repr(key)


def test_each_scope_opens_its_own_door_and_admin_all(store: Store, clock: Any) -> None:
    access = door(store, clock)
    for scope in SCOPES:
        key, secret = store.create_api_key([scope], f"for {scope}")
        clock.forward(seconds=3)
        for asked in SCOPES:
            if scope in (asked, "admin"):
                caller = access.check(f"Bearer {secret}", asked, HERE)
                assert (caller.id, caller.label, caller.open) == (key.id, f"for {scope}", False)
            else:
                refusal = denied(access, f"Bearer {secret}", asked)
                assert (refusal.status, refusal.code) == (403, "insufficient_scope")


@pytest.mark.parametrize(
    "shape",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        "{}",
        "Basic {}",
        "Bearer {}x",
        "Bearer rk_",
        "Bearer \ud800",
        "Bearer 密钥",
        "Bearer {} {}",
        "Bearer " + "x" * 100_000,
    ],
)
def test_what_is_no_key_is_401(store: Store, clock: Any, shape: str | None) -> None:
    _, secret = store.create_api_key(["admin"], "x")
    refusal = denied(door(store, clock), shape and shape.replace("{}", secret))
    assert refusal.status == 401 and refusal.headers["WWW-Authenticate"] == "Bearer"
    assert secret not in refusal.message


def test_expired_and_revoked_keys_stop_to_open(store: Store, clock: Any) -> None:
    access = door(store, clock)
    _, short = store.create_api_key(["chat"], "short", valid_for=timedelta(hours=1))
    lost, other = store.create_api_key(["chat"], "lost")
    assert access.check(f"Bearer {short}", "chat", HERE).label == "short"
    clock.forward(hours=1)
    assert denied(access, f"Bearer {short}").code == "expired_api_key"
    assert access.check(f"bearer  {other}", "chat", HERE).label == "lost"
    first = store.revoke_api_key(lost.id)
    clock.forward(seconds=3)
    refusal = denied(access, f"Bearer {other}")
    assert (refusal.status, refusal.code) == (401, "revoked_api_key")
    assert store.revoke_api_key(lost.id) == first
    with pytest.raises(NotFound, match="no API key nope"):
        store.revoke_api_key("nope")


def test_without_keys_the_door_is_open_on_loopback_alone(store: Store, clock: Any) -> None:
    here, away = door(store, clock, open=True), door(store, clock)
    caller = here.check(None, "admin", HERE)
    assert (caller.id, caller.open, here.open) == (HERE, True, True)
    assert denied(away, None).status == 401
    key, secret = store.create_api_key(["chat"], "first")
    clock.forward(seconds=3)
    assert denied(here, None).status == 401 and not here.open
    assert here.check(f"Bearer {secret}", "chat", HERE).id == key.id
    store.revoke_api_key(key.id)  # no way back to an open door
    clock.forward(seconds=3)
    assert denied(here, None).status == 401


def test_keys_are_read_once_in_a_while(store: Store, clock: Any) -> None:
    access = door(store, clock)
    denied(access, None)
    _, secret = store.create_api_key(["chat"], "new")
    clock.forward(seconds=1)
    assert not access.stale and denied(access, f"Bearer {secret}").status == 401
    clock.forward(seconds=1)
    assert access.stale and access.check(f"Bearer {secret}", "chat", HERE).label == "new"


def test_when_keys_cant_be_read_nobody_passes(store: Store, clock: Any) -> None:
    access = door(store, clock, open=True)
    access.check(None, "chat", HERE)
    clock.forward(seconds=3)
    store.close()
    with pytest.raises(Unavailable):
        access.check(None, "chat", HERE)


def test_too_many_requests_are_told_when_to_come_again(store: Store, clock: Any) -> None:
    access = door(store, clock, requests_per_minute=6)
    one, other = (store.create_api_key(["admin"], name)[1] for name in ("one", "other"))
    for _ in range(6):
        access.check(f"Bearer {one}", "chat", HERE)
    refusal = denied(access, f"Bearer {one}")
    assert (refusal.status, refusal.headers["Retry-After"]) == (429, "10")
    access.check(f"Bearer {other}", "chat", HERE)
    for _ in range(60):
        access.check(f"Bearer {one}", "vote", HERE)
    assert denied(access, f"Bearer {one}", "vote").status == 429
    clock.forward(seconds=9.9)
    denied(access, f"Bearer {one}")
    clock.forward(seconds=0.2)
    access.check(f"Bearer {one}", "chat", HERE)


def test_a_rate_holds_over_time_whatever_the_clock_does() -> None:
    buckets = Buckets(60)
    passed = sum(buckets.take("a", now / 10) == 0 for now in range(6_000))  # ten minutes
    assert 60 + 595 <= passed <= 60 + 600
    assert buckets.take("a", -1_000.0) > 0 and buckets.take("b", -1_000.0) == 0


def test_buckets_of_many_addresses_stay_few() -> None:
    buckets = Buckets(60)
    for n in range(CLIENTS + 500):
        buckets.take(f"client-{n}", 0.0)
    assert len(buckets._buckets) == CLIENTS
    assert network("2001:db8::1") == network("2001:db8::ffff") != network("2001:db8:0:1::1")
    assert network("::ffff:192.0.2.7") == "192.0.2.7"


def test_odd_scopes_make_no_key(store: Store) -> None:
    for scopes in (["chat", "root"], []):
        with pytest.raises(Refused, match="chat, vote, review, admin"):
            store.create_api_key(scopes, "x")
    assert store.api_keys() == []
