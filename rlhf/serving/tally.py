"""Counting while a canary runs: votes out of the store, ends of answers as they come.

Only what was drawn by lot counts, and only from the canary's first answer beside this champion on:
votes from before it would be more, but of other days and other users, and a change in those would
look like a difference of policies. So the count is found again after a restart from the store
alone.
"""

from __future__ import annotations

from collections import deque
from datetime import UTC, datetime, timedelta
from typing import Literal

from feedback_store import Store
from rlhf.policies import Policy
from rlhf.serving.guard import Figures, summary

Role = Literal["champion", "canary"]

_KEPT_TIMES = 1_000
_REMEMBERED = timedelta(hours=6)
_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


class Tally:
    """One canary against one champion. `update` may run in a thread; the rest on the loop."""

    def __init__(
        self, store: Store, project: str, champion: Policy, canary: Policy, votes_each: int
    ) -> None:
        self.champion, self.canary = champion.label, canary.label
        self.champion_id = champion.id
        self._store = store
        self._project = project
        self._names: dict[Role, tuple[str, ...]] = {
            "champion": _names(champion),
            "canary": _names(canary),
        }
        self._votes = {role: Votes(votes_each) for role in self._names}
        self._ends = {role: Ends() for role in self._names}
        self._first: int | None = None
        self._seen = 0

    def between(self, champion: str, canary: str | None) -> bool:
        """Whether it counts for these two."""
        return (self.champion, self.canary) == (champion, canary)

    def counts(self, label: str) -> bool:
        """Whether this policy is one of the two."""
        return label in (self.champion, self.canary)

    def finished(
        self, role: Role, *, error: bool, blocked: bool, first_token_ms: float | None
    ) -> None:
        """One more answer of an arm."""
        self._ends[role].add(error, blocked, first_token_ms)

    def update(self) -> None:
        """Count the votes that are new in the store."""
        first = self._begin()
        if first is None:
            return
        upto = self._store.watermark()
        if upto == self._seen:
            return
        roles = {name: role for role, names in self._names.items() for name in names}
        said = self._store.votes_on_drawn(
            list(roles), self._project, first=first, after=self._seen, upto=upto
        )
        for (policy, voter), (ups, downs) in said.items():
            self._votes[roles[policy]].add(voter, ups, downs)
        self._seen = upto

    def both(self) -> dict[Role, Figures]:
        """What is counted of the arms so far."""
        return {role: self._figures(role) for role in self._names}

    def report(self) -> dict[str, dict[str, float]]:
        """The same in numbers, for the record."""
        return {role: summary(figures) for role, figures in self.both().items()}

    def remember(self) -> None:
        """Take over what the store knows of answers from before this process counted."""
        first = self._begin()
        if first is None:
            return
        since = datetime.now(UTC) - _REMEMBERED
        for role, names in self._names.items():
            known = self._store.drawn_answers(
                names, self._project, first=first, since=since, most=_KEPT_TIMES
            )
            self._ends[role] = Ends(known.total, known.errors, known.blocked, known.first_token_ms)

    def _figures(self, role: Role) -> Figures:
        votes, ends = self._votes[role], self._ends[role]
        return Figures(
            ups=votes.ups,
            downs=votes.downs,
            answers=ends.answers,
            errors=ends.errors,
            blocked=ends.blocked,
            first_token_ms=tuple(ends.times),
        )

    def _begin(self) -> int | None:
        """The number of the canary's first answer that counts; None before there is one."""
        if self._first is None:
            since = _begun(self._store, self._project, self.canary)
            self._first = self._store.first_drawn(self._names["canary"], self._project, since)
            self._seen = self._first or 0
        return self._first


class Votes:
    """Live votes on one arm; nobody counts for more than so many of them."""

    def __init__(self, each: int) -> None:
        self.ups = self.downs = 0
        self._each = each
        self._by: dict[str, tuple[int, int]] = {}

    def add(self, voter: str, ups: int, downs: int) -> None:
        """Change what a voter says by so much."""
        before = self._by.get(voter, (0, 0))
        # An erasure may have taken the earlier word away, which this one says it replaces.
        now = (max(0, before[0] + ups), max(0, before[1] + downs))
        self._by[voter] = now
        for sign, votes in ((-1, before), (1, now)):
            up, down = self._counted(*votes)
            self.ups += sign * up
            self.downs += sign * down

    def _counted(self, ups: int, downs: int) -> tuple[int, int]:
        total = ups + downs
        if total <= self._each:
            return ups, downs
        up = round(self._each * ups / total)
        return up, self._each - up


class Ends:
    """How one arm's answers ended."""

    def __init__(
        self, answers: int = 0, errors: int = 0, blocked: int = 0, times: list[float] | None = None
    ) -> None:
        self.answers, self.errors, self.blocked = answers, errors, blocked
        self.times = deque(times or (), maxlen=_KEPT_TIMES)

    def add(self, error: bool, blocked: bool, first_token_ms: float | None) -> None:
        """One more."""
        self.answers += 1
        self.errors += error
        self.blocked += blocked
        if first_token_ms is not None:
            self.times.append(first_token_ms)


def _names(policy: Policy) -> tuple[str, ...]:
    """Under what a policy's answers are recorded; the base model has no id."""
    return ("", policy.label) if policy.id is None else (policy.id,)


def _begun(store: Store, project: str, canary: str) -> datetime:
    """The earliest moment that counts: the last release, or the last decision on the canary."""
    moments = [_LONG_AGO]
    if releases := store.releases(project):
        moments.append(releases[-1].created_at or _LONG_AGO)
    decision = store.last_decisions(project).get(canary)
    if decision is not None:
        moments.append(decision.created_at or _LONG_AGO)
    return max(moments)
