"""Which votes a snapshot's files rest on, answered without reading them again.

The first question about a snapshot reads its files once and keeps, beside it, 8 bytes of each
vote's hash, sorted by file: later questions are a binary search. Losing the index loses nothing.
"""

import hashlib
import json
import os
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from uuid import uuid4

from feedback_store.errors import Damaged
from feedback_store.manifest import HELD_OUT_FILES, TRAINING_FILES, canonical
from feedback_store.schema import Message

_FOLDER = ".votes"
_VOTES = b'"votes":['


class VoteIndex:
    """One snapshot's votes, by file."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files = _kept(folder) or _built(folder)

    def files_with(self, votes: Iterable[str]) -> dict[str, int]:
        """How many of these votes stand behind rows of each file; files with none are left out."""
        places = [_place(vote) for vote in votes]
        counts = {
            name: sum(_holds(known, place) for place in places)
            for name, known in self._files.items()
        }
        return {name: count for name, count in counts.items() if count}

    def count(self) -> int:
        """How many votes stand behind the snapshot's rows."""
        return len(set().union(*map(set, self._files.values())))

    def sample(self, most: int = 5) -> list[str]:
        """A few of the votes' ids."""
        names = (*TRAINING_FILES, *HELD_OUT_FILES)
        ids = (vote for name in names for vote in votes_in(self._folder / name))
        return sorted(dict.fromkeys(islice(ids, 10 * most)))[:most]


def votes_in(path: Path) -> Iterator[str]:
    """The ids of the votes behind each row of a snapshot's file, row by row."""
    if not path.exists():
        return
    with path.open("rb") as file:
        for line in file:
            # Rows are canonical: inside a text the quotes of this mark would be escaped.
            start = line.rfind(_VOTES)
            end = line.find(b"]", start)
            if start >= 0 and end > start + len(_VOTES):
                listed = line[start + len(_VOTES) : end].decode()
                yield from (id.strip('"') for id in listed.split(","))


def holds_prompt(folder: Path, messages: Iterable[Message]) -> bool:
    """Whether a prompt is among those that a snapshot trains on."""
    path = folder / "prompts.jsonl"
    said = canonical([message.model_dump() for message in messages]).rstrip(b"\n")
    wanted = b'"prompt":' + said
    if not path.exists():
        return False
    with path.open("rb") as file:
        return any(wanted in line for line in file)


def forget(folder: Path) -> None:
    """Remove a snapshot's index, if it has one."""
    _path(folder).unlink(missing_ok=True)


def _place(vote: str) -> int:
    return int.from_bytes(hashlib.sha256(vote.encode()).digest()[:8], "little")


def _holds(known: "array[int]", place: int) -> bool:
    at = bisect_left(known, place)
    return at < len(known) and known[at] == place


def _path(folder: Path) -> Path:
    return folder.parent / _FOLDER / f"{folder.name}.index"


def _built(folder: Path) -> dict[str, "array[int]"]:
    if not folder.is_dir():
        raise Damaged(f"{folder}: the snapshot's files are gone; build it again")
    files = {}
    for name in (*TRAINING_FILES, *HELD_OUT_FILES):
        files[name] = array("Q", sorted({_place(vote) for vote in votes_in(folder / name)}))
    _keep(folder, files)
    return files


def _keep(folder: Path, files: dict[str, "array[int]"]) -> None:
    path = _path(folder)
    aside = path.with_name(f".{path.name}.{uuid4().hex}")
    try:
        path.parent.mkdir(exist_ok=True)
        with aside.open("wb") as file:
            file.write(canonical({name: len(known) for name, known in files.items()}))
            for name in sorted(files):
                file.write(files[name].tobytes())
        os.replace(aside, path)
    except OSError:  # a folder that can't be written is still read
        aside.unlink(missing_ok=True)


def _kept(folder: Path) -> dict[str, "array[int]"] | None:
    path = _path(folder)
    files = {}
    try:
        with path.open("rb") as file:
            for name, count in sorted(json.loads(file.readline()).items()):
                known = array("Q")
                known.frombytes(file.read(8 * count))
                if len(known) != count:
                    return None
                files[name] = known
    except (OSError, ValueError, AttributeError):
        return None
    return files
