"""Policies that the engine holds: made ready once, kept while somebody answers by them."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from feedback_store import StoreError
from rlhf.errors import RlhfError
from rlhf.policies import Policy
from rlhf.serving.engines import Engine, EngineFailed

_LONGEST_PAUSE_S = 300.0
_FAILURES = (RlhfError, EngineFailed, StoreError, OSError)


@dataclass(frozen=True)
class _Trouble:
    why: str
    tries: int
    again: float
    """The moment, by the clock, from which on it may be tried again."""


class Residents:
    """What is in the engine, by label. One task admits and sweeps; any may hold."""

    def __init__(
        self,
        engine: Engine,
        pause_s: float,
        on_news: Callable[[str], None],
        clock: Callable[[], float],
    ) -> None:
        self._engine = engine
        self._pause_s = pause_s
        self._on_news = on_news
        self._clock = clock
        self._held: dict[str, Policy] = {}
        self._leases: Counter[str] = Counter()
        self._idle: set[str] = set()
        self._troubles: dict[str, _Trouble] = {}

    async def admit(self, label: str, load: Callable[[], Policy]) -> Policy:
        """The policy, answerable; raises what loading it or the engine raised."""
        if label not in self._held:
            policy = await asyncio.to_thread(load)
            await self._engine.ready(policy)
            self._held[label] = policy
        self._troubles.pop(label, None)
        return self._held[label]

    async def try_to_admit(self, label: str, load: Callable[[], Policy]) -> Policy | None:
        """The same, but a failure is told, and not tried again before a pause that doubles."""
        trouble = self._troubles.get(label)
        if trouble is not None and self._clock() < trouble.again:
            return None
        try:
            return await self.admit(label, load)
        except _FAILURES as error:
            tries = 1 if trouble is None else trouble.tries + 1
            pause = min(self._pause_s * 2.0**tries, _LONGEST_PAUSE_S)
            self._troubles[label] = _Trouble(str(error), tries, self._clock() + pause)
            if trouble is None or trouble.why != str(error):
                self._on_news(f"policy {label} can't be made ready, the old one stays: {error}")
            return None

    @contextmanager
    def hold(self, label: str) -> Iterator[None]:
        """Within the block the policy is not dropped."""
        self._leases[label] += 1
        try:
            yield
        finally:
            self._leases[label] -= 1
            if not self._leases[label]:
                del self._leases[label]

    async def sweep(self, needed: Collection[str]) -> None:
        """Drop what is neither needed nor held, and wasn't at the sweep before.

        The sweep between leaves time to somebody who was just assigned to the old champion to
        take the lease. What failed to load and is not wanted any more is forgotten.
        """
        self._troubles = {k: t for k, t in self._troubles.items() if k in needed}
        idle = {label for label in self._held if label not in needed and not self._leases[label]}
        for label in sorted(idle & self._idle):
            del self._held[label]
            try:
                await self._engine.drop(label)
            except EngineFailed as error:  # it broke down, and holds nothing now
                self._on_news(f"policy {label} was not dropped: {error}")
        self._idle = idle & set(self._held)

    def problems(self) -> list[str]:
        """What can't be made ready, and why."""
        return [f"policy {label}: {t.why}" for label, t in sorted(self._troubles.items())]
