"""Who answers whom: the champion, a canary for its share of the users, and swaps between them.

    store: last release ─▶ champion ─▶ ready in the engine ─▶ pointer moves ─▶ old one dropped
    config: canary, share ─▶ users drawn by a keyed hash ─▶ figures of both ─▶ guard

A new champion is made ready while the old one goes on answering; answers under way end on the
policy that began them. Everything here but the store's reads runs on the server's event loop.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from feedback_store import Store, StoreError
from rlhf.policies import Policy, base_policy, check_base
from rlhf.release import find
from rlhf.serving.canary import Canary, chosen
from rlhf.serving.engines import Engine
from rlhf.serving.residents import Residents
from rlhf.serving.settings import ServeConfig


@dataclass(frozen=True)
class Arm:
    """A policy that answers, and how likely its user was to get it."""

    policy: Policy
    role: Literal["champion", "canary"]
    probability: float
    """1.0 where nothing was drawn: without a canary, or where the client named the policy."""


class Traffic:
    """The policies that answer now."""

    def __init__(
        self,
        store: Store,
        engine: Engine,
        config: ServeConfig,
        base: Path,
        on_news: Callable[[str], None],
        *,
        draw: Callable[[], float] = random.random,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._config = config
        self._on_news = on_news
        self._draw = draw
        self._residents = Residents(engine, config.poll_seconds, on_news, clock)
        self._champion: Policy | None = None
        self._canary: Policy | None = None
        self._sent_back: Canary | None = None
        self._store_trouble: str | None = None

    async def start(self) -> None:
        """Make the champion (before a first release, the base model) and the canary ready.

        Raises `PolicyError`, `UsageError`, `EngineFailed` or `StoreError` where the champion can't
        answer; a canary that can't is told of and tried again.
        """
        champion, canary = await asyncio.to_thread(self._wanted)
        self._champion = await self._residents.admit(champion, lambda: self._load(champion))
        await self._set_canary(canary)

    def assign(self, user: str | None) -> Arm:
        """Who answers this user: the same while canary and share stay; without a user, drawn."""
        share = self._config.traffic.share
        if self._canary is None:
            return Arm(self._first(), "champion", 1.0)
        if self._lot(user, self._canary) < share:
            return Arm(self._canary, "canary", share)
        return Arm(self._first(), "champion", 1.0 - share)

    def policy(self, label: str) -> Arm | None:
        """The arm of this label; None for a policy that doesn't answer now."""
        named = (a for a in self.models() if a.policy.label == label)
        return next((Arm(arm.policy, arm.role, 1.0) for arm in named), None)

    def models(self) -> list[Arm]:
        """All arms, the champion first."""
        share = 0.0 if self._canary is None else self._config.traffic.share
        arms = [Arm(self._first(), "champion", 1.0 - share)]
        return arms if self._canary is None else [*arms, Arm(self._canary, "canary", share)]

    def lease(self, arm: Arm) -> AbstractContextManager[None]:
        """Within the block the arm's policy stays in the engine; take it soon after `assign`."""
        return self._residents.hold(arm.policy.label)

    def finished(
        self, arm: Arm, *, error: bool, blocked: bool, first_token_ms: float | None
    ) -> None:
        """How an answer ended; what was not drawn for the arm says nothing of a difference."""

    def problems(self) -> list[str]:
        """What keeps the store's wishes from being served, for people; empty when all is well."""
        store = [] if self._store_trouble is None else [f"store: {self._store_trouble}"]
        return [*store, *self._residents.problems()]

    async def watch(self) -> None:
        """Follow the store until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(self._config.poll_seconds)

    async def look(self) -> None:
        """One look at the store: swap the champion, the canary, and run the guard."""
        try:
            champion, canary = await asyncio.to_thread(self._wanted)
        except StoreError as error:
            if self._store_trouble != str(error):
                self._on_news(f"the store can't be read, all stays as it is: {error}")
            self._store_trouble = str(error)
            return
        self._store_trouble = None
        await self._set_champion(champion)
        await self._set_canary(canary)
        wanted = {champion} | ({canary.id} if canary else set())
        await self._residents.sweep(wanted | {arm.policy.label for arm in self.models()})

    def _first(self) -> Policy:
        if self._champion is None:
            raise RuntimeError("the traffic was not started")
        return self._champion

    def _lot(self, user: str | None, canary: Policy) -> float:
        """In [0, 1): the same for a user and a canary, and nobody can tell it without the key."""
        if user is None:
            return self._draw()
        name = f"{self._store.pseudonym(user)}\0{canary.label}".encode()
        return (int.from_bytes(hashlib.sha256(name).digest()[:8], "big") >> 11) / 2.0**53

    def _wanted(self) -> tuple[str, Canary | None]:
        """Labels of the champion and the canary as the store has them now."""
        project = self._config.project
        record = self._store.champion(project)
        canary = chosen(self._store, self._config.traffic.canary, project)
        return (self._config.base_model if record is None else record.id), canary

    def _load(self, label: str) -> Policy:
        if label == self._config.base_model:
            return base_policy(label)
        policy = find(self._store, label)
        check_base(self._config.model_settings(), policy)
        return policy

    async def _set_champion(self, label: str) -> None:
        old = self._first()
        if label == old.label:
            return
        policy = await self._residents.try_to_admit(label, lambda: self._load(label))
        if policy is None:
            return
        self._champion = policy
        if self._canary is not None and self._canary.label == policy.label:
            self._canary = None
        self._on_news(f"champion {policy.label} answers now; before it {old.label} did")

    async def _set_canary(self, wanted: Canary | None) -> None:
        if wanted is not None and wanted.sent_back is not None:
            if wanted != self._sent_back:
                self._on_news(f"canary {wanted.id} gets no traffic: {wanted.sent_back}")
            self._sent_back, self._canary = wanted, None
            return
        self._sent_back = None
        label = None if wanted is None or wanted.id == self._first().label else wanted.id
        if label is None or (self._canary is not None and self._canary.label != label):
            self._canary = None
        if label is None or self._canary is not None:
            return
        self._canary = await self._residents.try_to_admit(label, lambda: self._load(label))
        if self._canary is not None:
            share = self._config.traffic.share
            self._on_news(f"canary {label} answers {share:.0%} of the users now")
