"""API keys in either database: made, found by hash, revoked, and kept over a restart."""

from datetime import timedelta

import pytest
from pydantic import ValidationError

from feedback_store import NotFound, Refused, Store
from feedback_store.api_keys import hash_of


def test_a_key_is_kept_by_its_hash_and_revoked_for_good(where: str) -> None:
    with Store.open(where) as store:
        web, secret = store.create_api_key(["vote", "chat", "vote"], "网站 web", timedelta(days=9))
        other, another = store.create_api_key(["admin"], "operator")
        assert store.api_keys() == [web, other] and secret != another
        assert web.hash == hash_of(secret) and web.scopes == ("chat", "vote")
        assert web.expires_at == web.created_at + timedelta(days=9) and other.expires_at is None
        revoked = store.revoke_api_key(web.id)
    with Store.open(where) as store:
        assert store.api_keys() == [revoked, other]
        assert revoked.revoked_at is not None
        assert revoked.dead(revoked.revoked_at) == "revoked" and other.dead(web.created_at) is None
        assert store.revoke_api_key(web.id) == revoked
        assert web.dead(web.created_at + timedelta(days=9)) == "expired"
        with pytest.raises(NotFound):
            store.revoke_api_key("nobody")


def test_odd_keys_are_not_made(store: Store) -> None:
    for scopes in (["root"], [], ["chat", "Chat"]):
        with pytest.raises(Refused):
            store.create_api_key(scopes, "x")
    for label in ("", "a\nb", "x" * 65):
        with pytest.raises(ValidationError):
            store.create_api_key(["chat"], label)
    assert store.api_keys() == []
