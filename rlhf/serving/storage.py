"""The store from the event loop: its calls wait for the disk, so they run in threads of their own.

Callers that wait together share a commit (`feedback_store.group_commit`), so it takes as many
threads as votes may wait at once; they sleep while they do.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from feedback_store import Store

THREADS = 48
KNOWN = 100_000

Answer = TypeVar("Answer")


class Storage:
    """One service's threads at the store, and which interactions they have seen there."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="store")
        self._known: OrderedDict[str, None] = OrderedDict()

    async def run(self, work: Callable[[Store], Answer]) -> Answer:
        """What `work` gives; it goes on to its end even where the caller is cancelled."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, work, self.store)

    def remember(self, interaction: str) -> None:
        """Note that an interaction is stored; they never go but by an erasure."""
        self._known[interaction] = None
        if len(self._known) > KNOWN:
            self._known.popitem(last=False)

    def has(self, interaction: str) -> bool:
        """Whether an interaction is stored; call it from a thread."""
        if interaction in self._known:
            return True
        found = self.store.has_interaction(interaction)
        if found:
            self.remember(interaction)
        return found

    def close(self) -> None:
        """Wait for what is under way."""
        self._threads.shutdown(wait=True)
