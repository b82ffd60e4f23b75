"""Which policies answer just now, so that one is let go of only when it doesn't."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager


class InUse:
    """Counts the asks under way on each policy. Of one event loop."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._waiting: dict[str, list[asyncio.Future[None]]] = {}

    @contextmanager
    def of(self, label: str) -> Iterator[None]:
        """While an ask is under way."""
        self._counts[label] += 1
        try:
            yield
        finally:
            self._counts[label] -= 1
            if not self._counts[label]:
                del self._counts[label]
                for waiting in self._waiting.pop(label, ()):
                    if not waiting.done():
                        waiting.set_result(None)

    async def until_free(self, label: str) -> None:
        """Return when no ask on it is under way."""
        while self._counts[label]:
            waiting = asyncio.get_running_loop().create_future()
            self._waiting.setdefault(label, []).append(waiting)
            await waiting
