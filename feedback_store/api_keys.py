"""Who may call a service over the store: keys, told once when they are made.

Only the SHA-256 of a key is stored. A key is 256 random bits, so nobody finds it from its hash,
and looking it up by the hash tells nothing by the time that it takes.
"""

import hashlib
import secrets
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from pydantic import Field
from sqlalchemy import select, update

from feedback_store.errors import NotFound, Refused
from feedback_store.fields import Id, Label, Record, Utc
from feedback_store.storage.database import Database
from feedback_store.storage.tables import api_keys

PREFIX = "rk_"
SCOPES = ("chat", "vote", "review", "admin")


class ApiKey(Record):
    """What the store knows of a key: anything but the key."""

    id: Id
    hash: str = Field(repr=False)
    scopes: tuple[str, ...]
    label: Label
    created_at: Utc
    expires_at: Utc | None = None
    revoked_at: Utc | None = None

    def dead(self, now: datetime) -> str | None:
        """`revoked` or `expired`, or None for a key that opens."""
        if self.revoked_at is not None:
            return "revoked"
        return "expired" if self.expires_at is not None and self.expires_at <= now else None


def hash_of(secret: str) -> str:
    """What a key is stored and looked up by."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


class ApiKeys:
    """Keys are made, listed and revoked; a revoked one stays, so that its id still says whose."""

    _database: Database
    _clock: Callable[[], datetime]

    def create_api_key(
        self, scopes: Sequence[str], label: str, valid_for: timedelta | None = None
    ) -> tuple[ApiKey, str]:
        """A new key and its secret, which nobody can read again; `Refused` for odd scopes."""
        now = self._clock()
        secret = PREFIX + secrets.token_urlsafe(32)
        key = ApiKey(
            id=secrets.token_hex(4),
            hash=hash_of(secret),
            scopes=_in_order(scopes),
            label=label,
            created_at=now,
            expires_at=None if valid_for is None else now + valid_for,
        )
        with self._database.write() as connection:
            connection.execute(api_keys.insert().values(**key.model_dump()))
        return key, secret

    def api_keys(self) -> list[ApiKey]:
        """All keys that were ever made, oldest first."""
        query = select(api_keys).order_by(api_keys.c.created_at, api_keys.c.id)
        with self._database.read() as connection:
            rows = connection.execute(query).all()
        return [ApiKey.model_validate(row._asdict()) for row in rows]

    def revoke_api_key(self, id: str) -> ApiKey:
        """End a key by its id; one that is revoked already keeps its first time."""
        with self._database.write() as connection:
            row = connection.execute(select(api_keys).where(api_keys.c.id == id)).one_or_none()
            if row is None:
                raise NotFound(f"no API key {id}; `rlhf keys list` names them")
            key = ApiKey.model_validate(row._asdict())
            if key.revoked_at is not None:
                return key
            now = self._clock()
            connection.execute(update(api_keys).where(api_keys.c.id == id).values(revoked_at=now))
        return key.model_copy(update={"revoked_at": now})


def _in_order(scopes: Sequence[str]) -> tuple[str, ...]:
    if odd := sorted(set(scopes) - set(SCOPES)):
        raise Refused(f"scope {odd[0]}: a key may have {', '.join(SCOPES)}")
    if not scopes:
        raise Refused(f"a key without a scope opens nothing; give one of {', '.join(SCOPES)}")
    return tuple(scope for scope in SCOPES if scope in scopes)
