"""The store from the event loop: its calls wait for the disk, so they run in threads of their own.

Votes that come while others are being written go in together, in one call of one thread: handing
each to a thread of its own costs the loop more than the vote does.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from feedback_store import Feedback, Store, StoreError

THREADS = 48
KNOWN = 100_000
TOGETHER = 200
"""Votes of one call: some 10 ms of work."""

Answer = TypeVar("Answer")


class Storage:
    """One service's threads at the store, and which interactions they have seen there."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="store")
        self._known: OrderedDict[str, None] = OrderedDict()
        self._votes: list[tuple[Feedback, asyncio.Future[None]]] = []
        self._writing: asyncio.Task[None] | None = None

    async def run(self, work: Callable[[Store], Answer]) -> Answer:
        """What `work` gives; callers that wait at once share a commit."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, work, self.store)

    async def vote(self, word: Feedback) -> bool:
        """Commit a vote; whether its interaction is stored, or it waits for that."""
        if word.interaction in self._known:
            await self._put(word)
            return True
        await self._put(word)
        return await self.run(lambda store: self.has(word.interaction))

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

    async def _put(self, word: Feedback) -> None:
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()
        self._votes.append((word, done))
        if self._writing is None:
            self._writing = loop.create_task(self._write())
        await done

    async def _write(self) -> None:
        try:
            while self._votes:
                taken, self._votes = self._votes[:TOGETHER], self._votes[TOGETHER:]
                await self._write_together(taken)
        finally:
            self._writing = None

    async def _write_together(self, taken: list[tuple[Feedback, asyncio.Future[None]]]) -> None:
        words = [word for word, _ in taken]
        try:
            await self.run(lambda store: store.append(feedback=words, wait=True))
        except StoreError:  # nothing was written: who is to blame fails alone
            await asyncio.gather(*(self._write_alone(word, done) for word, done in taken))
        except BaseException as error:
            for _, done in taken:
                _settle(done, error)
            raise
        else:
            for _, done in taken:
                _settle(done, None)

    async def _write_alone(self, word: Feedback, done: asyncio.Future[None]) -> None:
        try:
            await self.run(lambda store: store.append(feedback=[word], wait=True))
        except Exception as error:
            _settle(done, error)
        else:
            _settle(done, None)


def _settle(done: asyncio.Future[None], error: BaseException | None) -> None:
    if done.done():  # nobody waits any more
        return
    if error is None:
        done.set_result(None)
    else:
        done.set_exception(error)
