"""Indexes of snapshots for pages that can't wait: read where they are kept, else made aside.

Reading a snapshot of a million votes takes many seconds of a whole core. It is done once, one
snapshot at a time, in a process of its own at the lowest priority, so that no answer stands still.
"""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
from pathlib import Path
from typing import Final

from feedback_store.snapshots.vote_index import VoteIndex

log = logging.getLogger(__name__)

_SECONDS: Final = 1_800.0


class Indexing:
    """Safe from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._turn = threading.Lock()
        self._under_way: set[Path] = set()
        self._failed: set[Path] = set()

    def __len__(self) -> int:
        """How many snapshots are being read, or will be."""
        return len(self._under_way)

    def of(self, folder: Path) -> VoteIndex | None:
        """A snapshot's index; None while it is being made, and where it can't be."""
        index = VoteIndex.if_kept(folder)
        with self._lock:
            known = index is not None or folder in self._under_way or folder in self._failed
            if not known and folder.is_dir():
                self._under_way.add(folder)
                threading.Thread(target=self._make, args=(folder,), daemon=True).start()
        return index

    def _make(self, folder: Path) -> None:
        with self._turn:
            _read_in_a_process(folder)
        with self._lock:
            self._under_way.discard(folder)
            if VoteIndex.if_kept(folder) is None:
                self._failed.add(folder)
                log.warning("an index of a snapshot's votes could not be made")


def _read_in_a_process(folder: Path) -> None:
    command = [sys.executable, "-m", "feedback_store.snapshots.vote_index", str(folder.resolve())]
    nothing = subprocess.DEVNULL
    try:
        subprocess.run(
            command,
            cwd=_SOURCES,
            timeout=_SECONDS,
            stdin=nothing,
            stdout=nothing,
            stderr=nothing,
            check=False,
        )
    except (OSError, subprocess.SubprocessError) as error:
        log.warning("reading a snapshot's votes: %s", type(error).__name__)


_SOURCES: Final = Path(__file__).parents[2]
