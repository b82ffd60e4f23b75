"""`rlhf keys`: the secret is told once, and mistakes in one line."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

from feedback_store import Store
from rlhf.serving.access import Access
from rlhf.serving.settings import LimitSettings

Call = Callable[..., tuple[int, str, str]]


def test_a_key_is_made_used_listed_and_revoked(here: Path, rlhf: Call) -> None:
    made = ("keys", "create", "--scope", "vote", "--scope", "chat", "--label", "web", "--days", "9")
    code, out, err = rlhf(*made)
    assert code == 0 and out.startswith("rk_") and out.count("\n") == 1
    secret = out.strip()
    assert secret not in err and "(chat, vote)" in err and "runs/feedback.db" in err
    with Store.open("runs/feedback.db") as store:
        caller = Access(store, LimitSettings(), open_without_keys=True).check(
            f"Bearer {secret}", "vote", "127.0.0.1"
        )
        (key,) = store.api_keys()
    assert (caller.id, caller.label) == (key.id, "web")
    assert key.expires_at is not None and key.expires_at - key.created_at == timedelta(days=9)

    code, out, _ = rlhf("keys", "list")
    assert code == 0 and key.id in out and secret not in out and key.hash not in out
    code, out, _ = rlhf("keys", "list", "--json")
    (row,) = json.loads(out)
    assert row["scopes"] == ["chat", "vote"] and "hash" not in row and "secret" not in row

    code, out, _ = rlhf("keys", "revoke", key.id)
    assert code == 0 and "revoked" in out
    assert "revoked" in rlhf("keys", "list")[1]
    written = b"".join(file.read_bytes() for file in (here / "runs").iterdir())
    assert secret.encode() not in written and secret[3:].encode() not in written


def test_a_script_reads_the_secret(here: Path, rlhf: Call) -> None:
    code, out, _ = rlhf("keys", "create", "--scope", "admin", "--store", "s.db", "--json")
    told = json.loads(out)
    assert code == 0 and told["secret"].startswith("rk_") and told["expires_at"] is None


def test_mistakes_end_in_one_line(here: Path, rlhf: Call) -> None:
    code, _, err = rlhf("keys", "list")
    assert code == 2 and "runs/feedback.db: no such store" in err
    code, _, err = rlhf("keys", "create", "--scope", "root")
    assert code == 1 and "scope root: a key may have chat, vote, review, admin" in err
    code, _, err = rlhf("keys", "create", "--scope", "chat", "--label", "a\nb")
    assert code == 2 and "--label" in err
    code, _, err = rlhf("keys", "revoke", "12345678")
    assert code == 1 and "no API key 12345678" in err
    for days in ("0", "99999"):
        assert rlhf("keys", "create", "--scope", "chat", "--days", days)[0] == 2
    assert "Traceback" not in err and json.loads(rlhf("keys", "list", "--json")[1]) == []
