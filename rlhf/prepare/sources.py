"""The files that a configuration names, in the order that they are read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from rlhf.config import existing_path
from rlhf.data.reading import HUB, Chunk, SourceFile, chunks, hub_chunks, source_files
from rlhf.errors import UsageError
from rlhf.files import content_id, sha256_file
from rlhf.prepare.settings import PrepareConfig


@dataclass(frozen=True)
class Source:
    """Files that are read as one, or a data set of the hub."""

    given: str
    files: tuple[SourceFile, ...]
    pinned: bool
    """All of it is held out."""

    @property
    def size(self) -> int:
        """In bytes; what the hub streams has none that is known."""
        return sum(file.path.stat().st_size for file in self.files)

    def chunks(self, limit: int) -> Iterator[Chunk]:
        """Its rows."""
        return chunks(self.files, limit) if self.files else hub_chunks(self.given, limit)


def sources(config: PrepareConfig, base: Path) -> list[Source]:
    """All of them; the held-out ones first, so that of two twins theirs is the one that stays."""
    named = [(given, True) for given in config.held_out_sources]
    named += [(given, False) for given in config.sources]
    found = [_source(given, base, pinned) for given, pinned in named]
    seen: set[Path] = set()
    for file in (file for source in found for file in source.files):
        real = file.path.resolve()
        if real in seen:
            raise UsageError(f"{file.path}: stands twice among the sources; name it once")
        seen.add(real)
    return _told_apart(found)


def _source(given: str, base: Path, pinned: bool) -> Source:
    if given.startswith(HUB):
        return Source(given, (), pinned)
    return Source(given, tuple(source_files(existing_path(given, base))), pinned)


def _told_apart(found: list[Source]) -> list[Source]:
    """Where two files have one name, theirs begin with the number of their source, from 1."""
    names = Counter(file.name for source in found for file in source.files)
    return [
        replace(source, files=tuple(_told(file, number, names) for file in source.files))
        for number, source in enumerate(found, start=1)
    ]


def _told(file: SourceFile, number: int, names: Counter[str]) -> SourceFile:
    return file if names[file.name] == 1 else file._replace(name=f"{number}/{file.name}")


def digests(config: PrepareConfig, found: list[Source], base: Path) -> dict[str, str]:
    """The sha256 of each file that is read, by its name; the hub's data sets are only named."""
    told = {f.name: sha256_file(f.path) for source in found for f in source.files}
    told |= {s.given: "streamed" for s in found if not s.files}
    beside = {
        "clean.phrases": config.clean and config.clean.phrases,
        "augment.templates": config.augment and config.augment.templates,
    }
    return told | {k: sha256_file(existing_path(p, base)) for k, p in beside.items() if p}


def run_id(config: PrepareConfig, told: dict[str, str]) -> str:
    """Names what a preparation makes: the same sources under the same rules are the same."""
    rules = config.model_dump(mode="json", exclude={"workers", "runs", "name"})
    return content_id({"rules": rules, "sources": told})
