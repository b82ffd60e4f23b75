"""Voters and users under other names: the store keeps a keyed hash of an id, never the id.

A pseudonym is `anon.`, 32 hex digits of HMAC-SHA256 under the store's secret key, and 16 more by
which the store knows its own. So what it wrote it takes back unchanged, while an id that only
looks like a pseudonym is hashed like any other.

The key of an SQLite file lies beside it, in `<store>.key` (mode 0600); the key of a database
server is the environment variable RLHF_STORE_KEY. Without the key the stored names can't be told
from one another's voters, so the store keeps a check value and refuses to open under another key.
"""

import hmac
import os
import secrets
from functools import lru_cache
from pathlib import Path

from sqlalchemy import Connection, select

from feedback_store.errors import Damaged, Refused, Unavailable
from feedback_store.storage.tables import properties

VARIABLE = "RLHF_STORE_KEY"
MIN_KEY = 32
_PREFIX = "anon."
_NAME, _TAG = 32, 16
_CHECK = "key_check"


class Pseudonyms:
    """One key's names for people."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._cached = lru_cache(maxsize=65_536)(self._of)

    def of(self, id: str) -> str:
        """The id's pseudonym; one that this key made is its own."""
        return self._cached(id)

    def _of(self, id: str) -> str:
        if self._is_ours(id):
            return id
        name = self.digest("id", id.encode())[:_NAME]
        return f"{_PREFIX}{name}{self._tag(name)}"

    def digest(self, purpose: str, data: bytes) -> str:
        """HMAC-SHA256 of the data, in hex; another purpose gives another one."""
        return hmac.digest(self._key, purpose.encode() + b"\0" + data, "sha256").hex()

    def _tag(self, name: str) -> str:
        return self.digest("tag", name.encode())[:_TAG]

    def _is_ours(self, id: str) -> bool:
        if len(id) != len(_PREFIX) + _NAME + _TAG or not id.startswith(_PREFIX):
            return False
        name, tag = id[len(_PREFIX) : -_TAG], id[-_TAG:]
        return hmac.compare_digest(self._tag(name).encode(), tag.encode())


def unlock(connection: Connection, database: str) -> Pseudonyms:
    """The names of the store, inside a write transaction: a new store gets its key here."""
    query = select(properties.c.value).where(properties.c.name == _CHECK)
    check = connection.execute(query).scalar()
    local = connection.dialect.name == "sqlite"
    where = f"{database}.key" if local else f"the environment variable {VARIABLE}"
    key = _from_file(Path(where)) if local else _from_environment()
    if key is None and check is not None:
        raise Unavailable(
            f"{where} is missing: voters in {database} are hashed under that key; put it back"
        )
    if key is None and not local:
        raise Unavailable(
            f"{where} is not set: {database} hashes voters under it; make one once and keep it "
            '(python -c "import secrets; print(secrets.token_hex(32))")'
        )
    names = Pseudonyms(_made(Path(where)) if key is None else key)
    own = names.digest("check", b"")[:_TAG]
    if check is None:
        connection.execute(properties.insert().values(name=_CHECK, value=own))
    elif check != own:
        raise Damaged(
            f"{where}: not the key that voters in {database} are hashed under; restore it"
        )
    return names


def _from_environment() -> bytes | None:
    text = os.environ.get(VARIABLE, "")
    return _long_enough(text.encode(), VARIABLE) if text else None


def _from_file(path: Path) -> bytes | None:
    try:
        return _long_enough(path.read_bytes(), str(path))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Unavailable(f"{path}: can't be read ({error.strerror})") from error


def _long_enough(key: bytes, where: str) -> bytes:
    if len(key := key.strip()) < MIN_KEY:
        raise Refused(f"{where}: a key of {len(key)} characters; it takes at least {MIN_KEY}")
    return key


def _made(path: Path) -> bytes:
    """A new key, on disk before the store's first name is; the caller holds the store's lock."""
    key = secrets.token_hex(MIN_KEY).encode()
    aside = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        with open(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(key + b"\n")
            file.flush()
            os.fsync(file.fileno())
        os.rename(aside, path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        aside.unlink(missing_ok=True)
        raise Unavailable(f"{path}: can't be written ({error.strerror})") from error
    return key
