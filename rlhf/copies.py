"""Copies of a person's rows outside the store: exports, samples, reports, files of caches.

Files are searched for the ids of the rows and for their texts, as plain text, JSON and HTML write
them; Parquet, Arrow and gzip are decoded first. Texts of under 12 bytes tell nobody apart and are
not looked for; ids as short, only as `"key":"id"`.
"""

from __future__ import annotations

import gzip
import json
import os
import shutil
import zlib
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from markupsafe import escape

from feedback_store import Traces
from rlhf.files import script_json
from rlhf.progress import progress

_SHORTEST = 12
_LONGEST = 200  # characters: enough to tell a text, even where a report cuts it
_BLOCK = 1 << 24
_FEW = 64
_KEYS = ("id", "interaction", "conversation", "a", "b", "vote", "voter", "user")
# Weights hold no text in clear; what learned from it is told by lineage.
_WEIGHTS = {".safetensors", ".pt", ".pth", ".bin", ".gguf", ".onnx", ".lock"}
_TRACKERS = ("wandb", "tensorboard")
_SQLITE = b"SQLite format 3\x00"
_ID_BYTES = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._:-")


class Needles:
    """What to look for, and whether some bytes hold any of it.

    Few needles are searched one after the other. Of many, only those are compared whose first eight
    bytes fall into a table of bits: the time then hardly depends on their number.
    """

    def __init__(self, traces: Traces) -> None:
        whole = {id.encode() for id in traces.ids if len(id) >= _SHORTEST}
        spelled = {form for text in traces.texts for form in _forms(text)}
        spelled |= {form for id in traces.ids if len(id) < _SHORTEST for form in _keyed(id)}
        self._whole = whole
        self._all = whole | spelled
        self._by_start: defaultdict[bytes, list[bytes]] = defaultdict(list)
        for needle in self._all:
            self._by_start[needle[:8]].append(needle)
        self._bits = np.zeros(1 << 20, dtype=bool)
        starts = b"".join(self._by_start)
        self._bits[_hashed(np.frombuffer(starts, dtype="<u8"))] = True
        self.longest = max(map(len, self._all), default=0)

    def inside(self, data: bytes) -> bool:
        """Whether any needle stands in the bytes."""
        if len(self._all) <= _FEW:
            return any(self._at(data, needle, data.find(needle)) for needle in self._all)
        return any(
            self._at(data, needle, place) and data.startswith(needle, place)
            for place in self._places(data)
            for needle in self._by_start.get(data[place : place + 8], ())
        )

    def _at(self, data: bytes, needle: bytes, place: int) -> bool:
        """Whether the needle stands there; a whole id isn't the beginning of a longer one."""
        while place >= 0:
            end = place + len(needle)
            if needle not in self._whole or end >= len(data) or data[end] not in _ID_BYTES:
                return True
            if len(self._all) > _FEW:
                return False
            place = data.find(needle, place + 1)
        return False

    def _places(self, data: bytes) -> Iterator[int]:
        for shift in range(min(8, max(0, len(data) - 7))):
            words = np.frombuffer(data, dtype="<u8", count=(len(data) - shift) // 8, offset=shift)
            for place in np.flatnonzero(self._bits[_hashed(words)]):
                yield int(place) * 8 + shift


def _hashed(words: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Multiplicative hashing to 20 bits; the product wraps."""
    product: npt.NDArray[np.uint64] = (words * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(44)
    return product


def _forms(text: str) -> set[bytes]:
    """A text as files spell it."""
    text = text.strip()[:_LONGEST]
    spelled = {
        text,
        json.dumps(text, ensure_ascii=False)[1:-1],
        json.dumps(text)[1:-1],
        str(escape(text)),
        script_json(text)[1:-1],
    }
    return {form.encode() for form in spelled if len(form.encode()) >= _SHORTEST}


def _keyed(id: str) -> set[bytes]:
    forms = (f'"{key}":{space}"{id}"' for key in _KEYS for space in ("", " "))
    return {form.encode() for form in forms if len(form) >= 8}


def default_places(runs: Path) -> list[Path]:
    """Where this project and its libraries leave files: runs, caches of data sets and trackers."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser()
    data = Path(os.environ.get("XDG_DATA_HOME", "~/.local/share")).expanduser()
    hub = Path(os.environ.get("HF_HOME", cache / "huggingface")).expanduser()
    given = (
        runs,
        Path(os.environ.get("HF_DATASETS_CACHE", hub / "datasets")),
        Path(os.environ.get("WANDB_CACHE_DIR", cache / "wandb")),
        Path(os.environ.get("WANDB_DATA_DIR", data / "wandb")),
    )
    return [place for place in given if place.exists()]


def find_copies(
    places: Iterable[Path], needles: Needles, skip: Collection[Path] = ()
) -> tuple[list[Path], list[Path]]:
    """Files or folders to remove, and databases that hold the person and are not ours to remove.

    `skip` is left alone: the store itself, snapshots that it knows.
    """
    known = {path.resolve() for path in skip}
    files = [file for place in places for file in _files(place, known)]
    copies: set[Path] = set()
    databases: set[Path] = set()
    with progress("files", total=len(files)) as advance:
        for file in files:
            if not any(parent in copies for parent in file.parents) and _holds(file, needles):
                target = databases if _is_database(file) else copies
                target.add(_unit(file))
            advance()
    return sorted(copies), sorted(databases)


def remove(path: Path) -> None:
    """Take a file or folder away; one that is gone is no error."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _files(place: Path, skip: Collection[Path]) -> Iterator[Path]:
    if place.is_file():
        yield place.resolve()
        return
    for root, folders, names in os.walk(place):
        here = Path(root).resolve()
        folders[:] = sorted(name for name in folders if here / name not in skip)
        for name in sorted(names):
            path = here / name
            if path not in skip and path.suffix not in _WEIGHTS and not path.is_symlink():
                yield path


def _holds(path: Path, needles: Needles) -> bool:
    try:
        return any(needles.inside(block) for block in _blocks(path, needles.longest))
    except FileNotFoundError:  # a tracker's temporary file
        return False


def _blocks(path: Path, overlap: int) -> Iterator[bytes]:
    """A file's contents, decoded, in blocks that overlap so that nothing is cut in two."""
    if path.suffix in (".parquet", ".arrow"):
        try:
            yield from _table(path)
            return
        except (OSError, ValueError):
            pass  # not what its name says: read as it is
    before = b""
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            while block := file.read(_BLOCK):
                yield before + block
                before = block[-overlap:] if overlap else b""
    except (gzip.BadGzipFile, EOFError, zlib.error):
        yield path.read_bytes()


def _table(path: Path) -> Iterator[bytes]:
    """Rows of Parquet or Arrow as JSON."""
    import pyarrow as pa
    from pyarrow import parquet

    if path.suffix == ".parquet":
        batches: Iterable[Any] = parquet.ParquetFile(path).iter_batches(batch_size=1_000)
        yield from map(_json, batches)
        return
    with pa.memory_map(str(path)) as source:
        try:
            reader = pa.ipc.open_stream(source)
            yield from map(_json, reader)
        except pa.ArrowInvalid:
            source.seek(0)
            file = pa.ipc.open_file(source)
            yield from (_json(file.get_batch(n)) for n in range(file.num_record_batches))


def _json(batch: Any) -> bytes:
    return json.dumps(batch.to_pylist(), ensure_ascii=False, default=str).encode()


def _is_database(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(_SQLITE)) == _SQLITE


def _unit(path: Path) -> Path:
    """What goes with a file: a tracker's folder, a cached data set, a copied snapshot."""
    for parent in path.parents:
        if parent.name in _TRACKERS and (parent.parent / "config.yaml").exists():
            return parent
    if path.suffix == ".arrow" and (path.parent / "dataset_info.json").exists():
        return path.parent
    if (path.parent / "manifest.json").exists() and (path.parent / "prompts.jsonl").exists():
        return path.parent
    return path
