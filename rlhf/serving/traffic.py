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
from functools import partial
from pathlib import Path
from typing import Literal

from feedback_store import Store, StoreError
from rlhf.notify import notify
from rlhf.policies import Policy, base_policy, check_base
from rlhf.release import find
from rlhf.serving.canary import Canary, chosen, send_back, whole
from rlhf.serving.contenders import Contenders
from rlhf.serving.engines import Engine
from rlhf.serving.guard import Figures, breach
from rlhf.serving.residents import Residents
from rlhf.serving.settings import ServeConfig
from rlhf.serving.tally import Role, Tally


@dataclass(frozen=True)
class Arm:
    """A policy that answers, and how likely its user was to get it."""

    policy: Policy
    role: Role | Literal["arena"]
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
        self._contenders = Contenders(config.arena.policies, self._residents, self._load)
        self._champion: Policy | None = None
        self._canary: Policy | None = None
        self._sent_back: Canary | None = None
        self._tally: Tally | None = None
        self._breach: tuple[Tally, str] | None = None
        self._store_trouble: str | None = None
        self._told: set[asyncio.Task[bool]] = set()
        self.breaches = 0
        """Canaries that this process has sent back."""

    async def start(self) -> None:
        """Make the champion (before a first release, the base model) and the canary ready.

        Raises `PolicyError`, `UsageError`, `EngineFailed` or `StoreError` where the champion can't
        answer; a canary that can't is told of and tried again.
        """
        champion, canary = await asyncio.to_thread(self._wanted)
        self._champion = await self._residents.admit(champion, lambda: self._load(champion))
        await self._set_canary(canary)
        await self._contenders.admit(await asyncio.to_thread(self._entered))

    def assign(self, user: str | None) -> Arm:
        """Who answers this user: the same while canary and share stay; without a user, drawn."""
        share = self._config.traffic.share
        if self._canary is None:
            return Arm(self._first(), "champion", 1.0)
        if self._lot(user, self._canary) < share:
            return Arm(self._canary, "canary", share)
        return Arm(self._first(), "champion", 1.0 - share)

    def duel(self) -> tuple[Arm, Arm, float]:
        """Who answers left and right in the arena, and by which chance each of them does."""
        left, right, probability = self._contenders.duel(self._first(), self._canary)
        return Arm(left, "arena", 1.0), Arm(right, "arena", 1.0), probability

    def policy(self, label: str) -> Arm | None:
        """The arm of this label or public name; None for a policy that doesn't answer now."""
        named = (a for a in self.models() if label in (a.policy.label, a.policy.public_name))
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
        """How an answer ended; one that was not drawn says nothing of a difference."""
        tally = self._tally
        if arm.role == "arena" or arm.probability == 1.0 or tally is None:
            return
        if tally.counts(arm.policy.label):
            tally.finished(arm.role, error=error, blocked=blocked, first_token_ms=first_token_ms)

    def figures(self) -> dict[Role, Figures]:
        """What the guard sees of both arms; nothing without a canary."""
        return {} if self._tally is None else self._tally.both()

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
            await self._set_champion(champion)
            await self._set_canary(canary)
            await self._contenders.admit(await asyncio.to_thread(self._entered))
            await self._guard()
        except StoreError as error:
            if self._store_trouble != str(error):
                self._on_news(f"the store can't be used, all stays as it is: {error}")
            self._store_trouble = str(error)
            return
        self._store_trouble = None
        wanted = {champion} | ({canary.id} if canary and not canary.sent_back else set())
        await self._residents.sweep(
            wanted | self._contenders.labels | {arm.policy.label for arm in self.models()}
        )

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

    def _entered(self) -> dict[str, str]:
        """Labels of the arena's policies, by the names that the config gives them."""
        names = (name for name in self._config.arena.policies if name != "champion")
        base = self._config.base_model
        return {name: base if name == "base" else whole(self._store, name) for name in names}

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
            self._stop_canary()
        self._on_news(f"champion {policy.label} answers now; before it {old.label} did")

    async def _set_canary(self, wanted: Canary | None) -> None:
        if wanted is not None and wanted.sent_back is not None:
            if wanted != self._sent_back:
                self._on_news(f"canary {wanted.id} gets no traffic: {wanted.sent_back}")
            self._sent_back = wanted
            self._stop_canary()
            return
        self._sent_back = None
        champion = self._first()
        label = None if wanted is None or wanted.id == champion.label else wanted.id
        if self._breach is not None and self._breach[0].canary == label:
            return
        if self._tally is not None and self._tally.between(champion.label, label):
            return
        if label is None or (self._canary is not None and self._canary.label != label):
            self._stop_canary()
        if label is not None:
            await self._run_canary(champion, label)

    async def _run_canary(self, champion: Policy, label: str) -> None:
        """Give the canary its share, and count from now on against this champion."""
        canary = await self._residents.try_to_admit(label, lambda: self._load(label))
        if canary is None:
            return
        config = self._config
        each = config.traffic.guard.votes_each
        tally = Tally(self._store, config.project, champion, canary, each)
        await asyncio.to_thread(tally.remember)
        self._canary, self._tally = canary, tally
        self._on_news(f"canary {label} answers {config.traffic.share:.0%} of the users now")

    def _stop_canary(self) -> None:
        self._canary = self._tally = None

    async def _guard(self) -> None:
        """Send the canary back where its figures say so: here at once, then in the store."""
        tally, settings = self._tally, self._config.traffic
        if tally is not None:
            await asyncio.to_thread(tally.update)
            both = tally.both()
            why = await asyncio.to_thread(
                breach, both["canary"], both["champion"], settings.guard, settings.share
            )
            if why is not None:
                self._stop_canary()
                self._breach = (tally, why)
                self.breaches += 1
                self._tell(tally, why)
        if self._breach is not None:
            await asyncio.to_thread(self._record, *self._breach)
            self._breach = None

    def _record(self, tally: Tally, why: str) -> None:
        project = self._config.project
        send_back(self._store, project, tally.canary, tally.champion_id, why, tally.report())

    def _tell(self, tally: Tally, why: str) -> None:
        """The log and the webhook, which may take its time."""
        self._on_news(f"canary {tally.canary} is sent back, {tally.champion} answers all: {why}")
        call = partial(
            notify,
            self._config.webhook,
            "guardrail",
            project=self._config.project,
            policy=tally.canary,
            champion=tally.champion,
            reason=why,
        )
        told = asyncio.create_task(asyncio.to_thread(call))
        self._told.add(told)
        told.add_done_callback(self._told.discard)
