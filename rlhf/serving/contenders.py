"""Whose answers stand side by side on the arena's page, and on which side.

a canary in traffic       champion against canary
`arena.policies`          two of them by lot, kept in the engine beside those in traffic
neither                   two samples of the champion
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import NamedTuple

from rlhf.errors import PolicyError
from rlhf.policies import Policy
from rlhf.serving.residents import Residents


class Duel(NamedTuple):
    """One round: who answers left and right, and by which chance each of them was in it."""

    left: Policy
    right: Policy
    probability: float


class Contenders:
    """The configured policies, as far as they are ready. Bounded: each is a LoRA, and few."""

    def __init__(
        self, names: Sequence[str], residents: Residents, load: Callable[[str], Policy]
    ) -> None:
        self.names = tuple(names)
        self._residents = residents
        self._load = load
        self._ready: dict[str, Policy] = {}
        self._missing: set[str] = set()

    @property
    def labels(self) -> set[str]:
        """Those that are in the engine, or are yet to come."""
        return {policy.label for policy in self._ready.values()} | self._missing

    async def admit(self, labels: dict[str, str]) -> None:
        """Make policies ready, by their names; one that can't be is told of and tried again."""
        self._missing = set()
        for name, label in labels.items():
            policy = await self._residents.try_to_admit(label, lambda at=label: self._small(at))  # type: ignore[misc]
            if policy is None:
                self._missing.add(label)
            else:
                self._ready[name] = policy

    def duel(self, champion: Policy, canary: Policy | None) -> Duel:
        """A round's two policies, each as often left as right."""
        entered = [champion, canary] if canary is not None else self._entered(champion)
        if len(entered) < 2:
            return Duel(champion, champion, 1.0)
        left, right = random.sample(entered, 2)
        return Duel(left, right, 2 / len(entered))

    def _entered(self, champion: Policy) -> list[Policy]:
        ready = {**self._ready, "champion": champion}
        found = {policy.label: policy for name in self.names if (policy := ready.get(name))}
        if len(found) == 1:  # one alone is held against the champion
            found[champion.label] = champion
        return list(found.values())

    def _small(self, label: str) -> Policy:
        policy = self._load(label)
        if policy.kind not in ("base", "lora"):
            raise PolicyError(
                f"policy {label} is a {policy.kind} model, and the arena keeps LoRA policies "
                "alone: take it out of `arena.policies`, or make it the canary"
            )
        return policy
