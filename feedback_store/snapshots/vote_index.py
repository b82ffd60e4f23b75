"""Which votes and prompts a snapshot's files rest on, answered without reading them again.

The first question about a snapshot reads its files once and keeps, beside it, 8 bytes of each
vote's hash, sorted by file, and of each prompt's: later questions are binary searches in a mapped
file, which cost the same however many votes there are. Losing the index loses nothing.
"""

import hashlib
import json
import mmap
import os
import random
import sys
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Self
from uuid import uuid4

from feedback_store.errors import Damaged
from feedback_store.schema import Message
from feedback_store.snapshots.manifest import HELD_OUT_FILES, TRAINING_FILES, canonical

_FOLDER = ".votes"
_FORMAT = 2
_VOTES = b'"votes":['
_PROMPT, _AFTER_PROMPT = b'"prompt":', b',"style":'
_PROMPTS = "prompts.jsonl"
_FILES = (*TRAINING_FILES, *HELD_OUT_FILES)
_READ_WHOLE = 4_000_000


@dataclass(frozen=True)
class _Hashes:
    """Sorted hashes: of each file's votes, and of the prompts; and how many votes there are."""

    files: Mapping[str, Sequence[int]]
    prompts: Sequence[int]
    votes: int


class VoteIndex:
    """One snapshot's votes, by file."""

    def __init__(self, folder: Path, hashes: _Hashes | None = None) -> None:
        self._folder = folder
        self._hashes = hashes or _kept(folder) or _built(folder)

    @classmethod
    def if_kept(cls, folder: Path) -> Self | None:
        """The index that an earlier question left; None where the files have yet to be read."""
        hashes = _kept(folder)
        return None if hashes is None else cls(folder, hashes)

    def files_with(self, votes: Iterable[str]) -> dict[str, int]:
        """How many of these votes stand behind rows of each file; files with none are left out."""
        places = [_place(vote.encode()) for vote in votes]
        counts = {
            name: sum(_holds(known, place) for place in places)
            for name, known in self._hashes.files.items()
        }
        return {name: count for name, count in counts.items() if count}

    def has_prompt(self, messages: Iterable[Message]) -> bool:
        """Whether a prompt is among those that the snapshot trains on."""
        said = canonical([message.model_dump() for message in messages]).rstrip(b"\n")
        return _holds(self._hashes.prompts, _place(said))

    def count(self) -> int:
        """How many votes stand behind the snapshot's rows."""
        return self._hashes.votes

    def sample(self, most: int = 5) -> list[str]:
        """A few of the votes' ids."""
        ids = (vote for name in _FILES for vote in votes_in(self._folder / name))
        return sorted(dict.fromkeys(islice(ids, 10 * most)))[:most]


def draw_votes(folder: Path, most: int, seed: int) -> list[str]:
    """Ids of votes behind rows that a snapshot trains on, drawn from all over its files.

    A row is as likely as it is long, so that a file of any size is not read through.
    """
    draw = random.Random(seed)
    paths = [folder / name for name in TRAINING_FILES if name != _PROMPTS]
    sizes = {path: path.stat().st_size for path in paths if path.is_file()}
    if sum(sizes.values()) <= _READ_WHOLE:
        every = list(dict.fromkeys(vote for path in sizes for vote in votes_in(path)))
        return draw.sample(every, min(most, len(every)))
    found: dict[str, None] = {}
    for _ in range(4 * most):
        (path,) = draw.choices(list(sizes), list(sizes.values()))
        if ids := _row_near(path, draw.randrange(sizes[path])):
            found[draw.choice(ids)] = None
        if len(found) == most:
            break
    return list(found)


def _row_near(path: Path, place: int) -> list[str]:
    """The votes behind the row that begins after this byte, or behind the first one."""
    with path.open("rb") as file:
        file.seek(place)
        file.readline()
        line = file.readline()
        if not line:
            file.seek(0)
            line = file.readline()
    return _ids(line)


def votes_in(path: Path) -> Iterator[str]:
    """The ids of the votes behind each row of a snapshot's file, row by row."""
    if not path.exists():
        return
    with path.open("rb") as file:
        for line in file:
            yield from _ids(line)


def _ids(line: bytes) -> list[str]:
    # Rows are canonical: inside a text the quotes of this mark would be escaped.
    start = line.rfind(_VOTES)
    end = line.find(b"]", start)
    if start < 0 or end <= start + len(_VOTES):
        return []
    return [id.strip('"') for id in line[start + len(_VOTES) : end].decode().split(",")]


def _prompts_in(path: Path) -> Iterator[bytes]:
    """Each row's prompt, as it is spelt."""
    if not path.exists():
        return
    with path.open("rb") as file:
        for line in file:
            # The keys are sorted, and quotes within texts are escaped.
            start, end = line.find(_PROMPT), line.rfind(_AFTER_PROMPT)
            if 0 <= start < end:
                yield line[start + len(_PROMPT) : end]


def forget(folder: Path) -> None:
    """Remove a snapshot's index, if it has one."""
    _path(folder).unlink(missing_ok=True)


def _place(said: bytes) -> int:
    return int.from_bytes(hashlib.sha256(said).digest()[:8], sys.byteorder)


def _holds(known: Sequence[int], place: int) -> bool:
    at = bisect_left(known, place)
    return at < len(known) and known[at] == place


def _path(folder: Path) -> Path:
    return folder.parent / _FOLDER / f"{folder.name}.index"


def _built(folder: Path) -> _Hashes:
    if not folder.is_dir():
        raise Damaged(f"{folder}: the snapshot's files are gone; build it again")
    files = {}
    every: set[int] = set()
    for name in _FILES:
        places = {_place(vote.encode()) for vote in votes_in(folder / name)}
        files[name] = array("Q", sorted(places))
        every |= places
    prompts = array("Q", sorted({_place(said) for said in _prompts_in(folder / _PROMPTS)}))
    _keep(folder, files, prompts, len(every))
    return _Hashes(files, prompts, len(every))


def _keep(
    folder: Path, files: Mapping[str, "array[int]"], prompts: "array[int]", votes: int
) -> None:
    path = _path(folder)
    aside = path.with_name(f".{path.name}.{uuid4().hex}")
    counts = {name: len(known) for name, known in files.items()}
    try:
        path.parent.mkdir(exist_ok=True)
        with aside.open("wb") as file:
            head = {"format": _FORMAT, "files": counts, "prompts": len(prompts), "votes": votes}
            file.write(canonical(head))
            for name in sorted(files):
                file.write(files[name].tobytes())
            file.write(prompts.tobytes())
        os.replace(aside, path)
    except OSError:  # a folder that can't be written is still read
        aside.unlink(missing_ok=True)


def _kept(folder: Path) -> _Hashes | None:
    """The index as it lies on the disk, mapped; None where it is missing, older or damaged."""
    try:
        with _path(folder).open("rb") as file:
            head = json.loads(file.readline())
            at = file.tell()
            mapped = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        if head["format"] != _FORMAT:
            return None
        lengths = [*sorted(head["files"].items()), ("", head["prompts"])]
        if len(mapped) != at + 8 * sum(count for _, count in lengths):
            return None
        parts: dict[str, Sequence[int]] = {}
        for name, count in lengths:
            parts[name] = mapped[at : at + 8 * count].cast("Q")
            at += 8 * count
        return _Hashes(parts, parts.pop(""), int(head["votes"]))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


if __name__ == "__main__":
    # A process of its own, for a server that must not stand still meanwhile.
    os.nice(19)
    VoteIndex(Path(sys.argv[1]))
