"""A store as one file: a zip with its database, its key and the policies that serve.

    manifest.json            what is in it: sha256 and size of each file, revision, watermark
    store.db                 the database as of one moment
    store.key                the key that voters' names are hashed under
    policies/<id>/<file>     the champion of each project

A backup is a reader: it copies under one view of the database while others write, and never
checkpoints (see `feedback_store.storage.database`). Both ways the files are written aside, checked
and renamed, so that what stands under its name is whole.
"""

import hashlib
import os
import re
import shutil
import sqlite3
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import IO
from urllib.parse import quote
from uuid import uuid4

from pydantic import Field, ValidationError

from feedback_store.errors import Damaged, NotFound, Refused, Unavailable
from feedback_store.fields import Count, Id, Record, Short
from feedback_store.migrations import HEAD, revisions
from feedback_store.storage.database import Database, in_words
from feedback_store.storage.disk import sync

MANIFEST = "manifest.json"
DATABASE = "store.db"
KEY = "store.key"
FORMAT = 1

_PAGES = 4_096  # between two words on how far a copy is
_BLOCK = 1 << 20
_MAX_MANIFEST = 1 << 24
_MEMBER = re.compile(r"store\.(db|key)|policies/[A-Za-z0-9_:-]{1,128}/[A-Za-z0-9_-][\w.-]{0,200}")

Advance = Callable[[int, int], None]


class BackupFile(Record):
    """One file in a backup."""

    sha256: Id
    size: int = Field(ge=0)


class BackupManifest(Record):
    """What a backup holds; `champions` are the policies whose files it carries."""

    format: Count = FORMAT
    revision: Short
    watermark: int = Field(ge=0)
    champions: tuple[Id, ...] = ()
    files: dict[Short, BackupFile]

    @property
    def has_key(self) -> bool:
        """Whether voters' names can be told apart with what is in it alone."""
        return KEY in self.files


class Backups:
    """The part of the store that can be carried elsewhere."""

    _database: Database

    def backup(
        self, path: Path, *, key: bool = True, policies: bool = True, advance: Advance | None = None
    ) -> BackupManifest:
        """Write the store as it is now to a new file, while others go on writing.

        `advance(done, total)` hears of copied pages. Raises `Refused` for a taken name, and for a
        database server, which has tools of its own.
        """
        if path.exists():
            raise Refused(f"{path}: exists already; name a new file")
        with _aside(path) as folder:
            copy = folder / DATABASE
            self._database.copy_to(copy, _PAGES, advance or (lambda done, total: None))
            revision, watermark = _checked(copy)
            parts = {DATABASE: copy}
            beside = Path(f"{self._database.name}.key")
            if key and beside.exists():
                parts[KEY] = beside
            serving = dict(_serving(copy)) if policies else {}
            for id, files in serving.items():
                parts |= {f"policies/{id}/{file.name}": file for file in files}
            archive = folder / "archive"
            manifest = _pack(archive, parts, revision, watermark, tuple(sorted(serving)))
            _publish(archive, path)
        return manifest


def restore(path: Path, store: Path, policies: Path) -> BackupManifest:
    """Put a backup's store where none is, and its policies into folders under `policies`.

    Raises `Refused` where something is in the way, `Damaged` where a byte is not what was written,
    `Unavailable` where the backup is of a newer version.
    """
    for taken in (store, Path(f"{store}-wal"), Path(f"{store}-shm"), Path(f"{store}.key")):
        if taken.exists():
            raise Refused(f"{taken}: exists already; a backup is restored where no store is")
    with _opened(path) as archive, _aside(store) as folder:
        manifest = _manifest(archive, path)
        for name, entry in manifest.files.items():
            _unpack(archive, name, entry, folder / name, path)
        revision, watermark = _checked(folder / DATABASE)
        if (revision, watermark) != (manifest.revision, manifest.watermark):
            raise Damaged(f"{path}: its database is not the one that its manifest tells of")
        if revision not in revisions():
            raise Unavailable(
                f"{path}: written by a newer version (revision {revision}, this one knows up to "
                f"{HEAD}); upgrade this package to restore it"
            )
        for id in manifest.champions:
            _settle(folder / "policies" / id, policies / id)
        _move_policies(folder / DATABASE, manifest.champions, policies.absolute())
        if manifest.has_key:
            _publish(folder / KEY, Path(f"{store}.key"))
        _publish(folder / DATABASE, store)
    return manifest


# Packing


def _pack(
    archive: Path, parts: dict[str, Path], revision: str, watermark: int, champions: tuple[str, ...]
) -> BackupManifest:
    files: dict[str, BackupFile] = {}
    with (
        open(os.open(archive, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600), "w+b") as file,
        zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as packed,
    ):
        for name, source in parts.items():
            with source.open("rb") as whole, packed.open(name, "w", force_zip64=True) as member:
                files[name] = _copied(whole, member)
        manifest = BackupManifest(
            revision=revision, watermark=watermark, champions=champions, files=files
        )
        packed.writestr(MANIFEST, manifest.model_dump_json(indent=1))
    return manifest


def _copied(source: IO[bytes], target: IO[bytes], limit: int | None = None) -> BackupFile:
    """Copy, at most `limit` bytes and one block, and tell what was copied."""
    digest, size = hashlib.sha256(), 0
    while (block := source.read(_BLOCK)) and (limit is None or size <= limit):
        digest.update(block)
        size += len(block)
        target.write(block)
    return BackupFile(sha256=digest.hexdigest(), size=size)


def _serving(copy: Path) -> Iterator[tuple[str, list[Path]]]:
    """The champions as of the copy, each with its files."""
    query = (
        "SELECT DISTINCT p.id, p.path FROM policies p JOIN releases r ON r.policy = p.id "
        "WHERE r.seq IN (SELECT max(seq) FROM releases GROUP BY project)"
    )
    with _reading(copy) as connection:
        found = connection.execute(query).fetchall()
    for id, path in found:
        files = sorted(file for file in Path(path).glob("*") if file.is_file())
        if not files:
            raise NotFound(f"policy {id}: {path} holds no files; back up without policies")
        yield id, files


# Unpacking


@contextmanager
def _in_words(path: Path) -> Iterator[None]:
    """What a broken or foreign zip makes its reader say (it raises RuntimeError if encrypted)."""
    try:
        yield
    except FileNotFoundError:
        raise NotFound(f"{path}: no such file") from None
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, ValidationError) as error:
        raise Damaged(f"{path}: not a whole backup; take another copy") from error


def _opened(path: Path) -> zipfile.ZipFile:
    with _in_words(path):
        return zipfile.ZipFile(path)


def _manifest(archive: zipfile.ZipFile, path: Path) -> BackupManifest:
    names = archive.namelist()
    if MANIFEST not in names or archive.getinfo(MANIFEST).file_size > _MAX_MANIFEST:
        raise Damaged(f"{path}: not a backup of a feedback store; name another file")
    with _in_words(path):
        manifest = BackupManifest.model_validate_json(archive.read(MANIFEST))
    if manifest.format != FORMAT:
        raise Unavailable(f"{path}: format {manifest.format}; upgrade this package to restore it")
    wanted = {*manifest.files, MANIFEST}
    odd = [name for name in manifest.files if not _MEMBER.fullmatch(name)]
    if len(names) != len(wanted) or set(names) != wanted or DATABASE not in wanted or odd:
        raise Damaged(f"{path}: its files are not those that its manifest names")
    return manifest


def _unpack(
    archive: zipfile.ZipFile, name: str, entry: BackupFile, target: Path, path: Path
) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with (
        _in_words(path),
        open(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file,
        archive.open(name) as member,
    ):
        if _copied(member, file, entry.size) != entry:
            raise Damaged(f"{path}: {name} is not what was written (its sha256 differs)")


def _settle(folder: Path, target: Path) -> None:
    """A policy's folder to its place; one that is there already must hold the same bytes."""
    for file in sorted(folder.iterdir()):
        there = target / file.name
        if not there.exists():
            # Not in the policy's own folder, where a file too many would spoil it.
            near = target.parent / f".{target.name}.{file.name}"
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, near)
            _publish(near, there)
        elif _digest(there) != _digest(file):
            raise Refused(f"{there}: another file is in the way; name another folder for policies")


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _move_policies(database: Path, ids: tuple[str, ...], folder: Path) -> None:
    with closing(sqlite3.connect(database)) as connection, connection:
        for id in ids:
            row = (str(folder / id), id)
            connection.execute("UPDATE policies SET path = ? WHERE id = ?", row)


# Both ways


@contextmanager
def _reading(database: Path) -> Iterator[sqlite3.Connection]:
    """A file that nobody writes, opened so that nothing appears beside it."""
    uri = f"file:{quote(str(database))}?mode=ro&immutable=1"
    with in_words(str(database)), closing(sqlite3.connect(uri, uri=True)) as connection:
        yield connection


def _checked(database: Path) -> tuple[str, int]:
    """Revision and watermark of a database that is whole, or `Damaged`."""
    with _reading(database) as connection:
        found = connection.execute("PRAGMA integrity_check(1)").fetchone()[0]
        lost = connection.execute("PRAGMA foreign_key_check").fetchone()
        if found != "ok" or lost:
            what = found if found != "ok" else f"a row of {lost[0]} speaks of one that is not there"
            raise Damaged(f"{database.name} in the backup is damaged: {what}")
        (revision,) = connection.execute("SELECT version_num FROM alembic_version").fetchone()
        query = "SELECT value FROM counter WHERE name = 'rows'"
        (watermark,) = connection.execute(query).fetchone()
    return str(revision), int(watermark)


@contextmanager
def _aside(path: Path) -> Iterator[Path]:
    """A folder beside a file to come, gone afterwards."""
    folder = path.parent / f".{path.name}.{uuid4().hex}"
    try:
        folder.mkdir(parents=True, mode=0o700)
        yield folder
    except OSError as error:
        raise Unavailable(
            f"{path}: can't be written ({error.strerror}); free some space"
        ) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _publish(aside: Path, path: Path) -> None:
    """Flush a file and move it to its name in one step."""
    path.parent.mkdir(parents=True, exist_ok=True)
    sync(aside)
    os.rename(aside, path)
    sync(path.parent)
