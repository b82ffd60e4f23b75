"""Indexes of snapshots for pages that can't wait: read where they are kept, else made aside.

Reading a snapshot of a million votes takes many seconds of a whole core. It is done once, one
snapshot at a time, in a process of its own at the lowest priority, so that no answer stands still.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Final

from feedback_store.vote_index import VoteIndex

log = logging.getLogger(__name__)

_SECONDS: Final = 1_800.0


class Indexing:
    """Safe from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._turn = threading.Lock()
        self._under_way: set[Path] = set()
        self._tried: set[Path] = set()

    def __len__(self) -> int:
        """How many snapshots are being read, or will be."""
        return len(self._under_way)

    def of(self, folder: Path) -> VoteIndex | None:
        """A snapshot's index; None while it is being made, and where it can't be."""
        index = VoteIndex.if_kept(folder)
        with self._lock:
            if index is None and folder not in self._tried and folder.is_dir():
                self._tried.add(folder)
                self._under_way.add(folder)
                threading.Thread(target=self._make, args=(folder,), daemon=True).start()
        return index

    def _make(self, folder: Path) -> None:
        command = [sys.executable, "-m", "feedback_store.vote_index", str(folder.resolve())]
        try:
            with self._turn:
                made = subprocess.run(
                    command,
                    cwd=_SOURCES,
                    timeout=_SECONDS,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    preexec_fn=_yield_to_others,  # noqa: PLW1509
                    check=False,
                )
            if made.returncode:
                log.warning("an index of a snapshot's votes could not be made")
        except (OSError, subprocess.SubprocessError) as error:
            log.warning("an index of a snapshot's votes: %s", type(error).__name__)
        finally:
            with self._lock:
                self._under_way.discard(folder)


def _yield_to_others() -> None:
    os.nice(19)


_SOURCES: Final = Path(__file__).parents[2]
