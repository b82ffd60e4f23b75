"""Tokens that come with an answer and let its reader vote on it, without an API key.

A token is `<payload>.<mac>`, both base64url: the payload says the interaction, the voter's
pseudonym and when it expires; the mac is HMAC-SHA256 under a key derived from the store's. So it
holds over restarts and for every server over the store, and none has to be kept.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import json
from collections.abc import Callable
from datetime import datetime, timedelta

from feedback_store import Store
from feedback_store.store import utc_now
from rlhf.serving.access import Denied

_PURPOSE = "vote_token"
_MAX = 1_024
_BAD = "not a vote token of this service"


class VoteTokens:
    """Makes them and reads them back."""

    def __init__(self, store: Store, hours: float, clock: Callable[[], datetime] = utc_now) -> None:
        self._store = store
        self._lifetime = timedelta(hours=hours)
        self._clock = clock
        self._key = store.keyed_hash(_PURPOSE, b"")

    def expires_at(self) -> datetime:
        """When a token made now stops to hold."""
        return (self._clock() + self._lifetime).replace(microsecond=0)

    def make(self, interaction: str, voter: str) -> str:
        """A token for one voter's words on one interaction."""
        says = [interaction, self._store.pseudonym(voter), int(self.expires_at().timestamp())]
        payload = _encoded(json.dumps(says, separators=(",", ":")).encode())
        return f"{payload}.{self._mac(payload)}"

    def read(self, token: str, interaction: str) -> str:
        """The voter, as the store's pseudonym; raises `Denied`.

        401 for a token that isn't ours or has expired, 403 for another interaction's.
        """
        payload, _, mac = token[: _MAX + 1].partition(".")
        if len(token) > _MAX or not hmac.compare_digest(
            self._mac(payload).encode(), mac.encode("utf-8", "surrogatepass")
        ):
            raise Denied(401, _BAD, "invalid_vote_token")
        about, voter, expires = _decoded(payload)
        if expires <= self._clock().timestamp():
            raise Denied(401, "this vote token has expired", "expired_vote_token")
        if about != interaction:
            raise Denied(403, "this vote token is another answer's", "other_interaction")
        return voter

    def _mac(self, payload: str) -> str:
        data = payload.encode("utf-8", "surrogatepass")
        return _encoded(hmac.digest(self._key, data, "sha256"))


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decoded(payload: str) -> tuple[str, str, int]:
    try:
        about, voter, expires = json.loads(
            base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4))
        )
        return str(about), str(voter), int(expires)
    except (binascii.Error, ValueError, TypeError) as error:
        raise Denied(401, _BAD, "invalid_vote_token") from error
