"""Votes that push one thing: how unlikely they are among people who don't know of each other.

A group is all votes for (or against) one answer, one cluster of prompts, or texts that share a
rare phrase. Only a one-sided group is tested. Four things are asked of it, each answered by a
p-value under an honest crowd's looser habits (some things are simply good, people have topics and
come in waves), joined by Fisher's method:

    one-sided    so many on one side, where others differ
    strangers    so few voters who are known by votes on other things
    repetition   so many votes by each voter on the same thing
    burst        so many of the voters at once, in the time that the project's own votes make
                 (ranks, not hours: no daily rhythm looks like a burst)

Where the p-value, times the number of groups that were tested, is small, the group is held; where
it is small by itself, or next to no voter is known, the group's share of a snapshot is bounded.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from feedback_store.trust.ballots import CHOICE, CORRECTION, Ballots, Ints
from feedback_store.trust.chance import binomial_tail, fisher
from feedback_store.trust.groups import LEAST, Things, things
from feedback_store.trust.screen import CROWDED, Look, look

_KNOWN = 3
_SUSPECT = 0.01
_STRANGE = 0.002
_CROWDED = 0.001
_WINDOWS = (3_600, 6 * 3_600, 24 * 3_600, 72 * 3_600)


class Suspicion(NamedTuple):
    """Votes that look like one push, by place; held, or else only bounded in their share."""

    reason: str
    what: str
    """The phrase, where it is one."""
    ballots: Ints
    p_value: float
    held: bool


class Judgement(NamedTuple):
    """A group's p-value, the votes that it speaks of, and whether they came in a burst."""

    p_value: float
    ballots: Ints
    burst: bool


@dataclass(frozen=True)
class Group:
    """The votes on both sides of one thing."""

    kind: str
    what: str
    support: Ints
    against: Ints


def suspicions(ballots: Ballots, clusters: Ints, false_alarm: float) -> list[Suspicion]:
    """The groups that chance doesn't explain, the least likely first."""
    crowd = Crowd(ballots)
    tested = [(group, *made) for group, made in _tested(crowd, clusters)]
    found = [
        Suspicion(
            "burst" if burst else f"one_sided_{group.kind}",
            group.what,
            votes,
            p_value,
            held=p_value * max(1, len(tested)) <= false_alarm,
        )
        for group, p_value, votes, burst in tested
        if p_value <= _SUSPECT or (not burst and crowd.are_strangers(group))
    ]
    return sorted(found, key=lambda one: (one.p_value, -len(one.ballots), one.ballots.tobytes()))


def _tested(crowd: "Crowd", clusters: Ints) -> Iterator[tuple[Group, Judgement]]:
    """The groups of which there is something to test, each set of supporters once."""
    seen: set[bytes] = set()
    for found in things(crowd.ballots, clusters):
        looks = [crowd.look(found, side) for side in (0, 1)]
        for thing, side in np.argwhere(found.large).tolist():
            support, against = found.sides[side][thing], found.sides[1 - side][thing]
            if (key := support.tobytes()) in seen:
                continue
            seen.add(key)
            crowded = bool(looks[side].crowded[thing])
            if crowded or (found.kind == "phrase" and looks[side].one_sided[thing]):
                group = Group(found.kind, found.what[thing], support, against)
                if (made := crowd.judge(group, crowded=crowded)) is not None:
                    yield group, made


class Crowd:
    """What is usual among a project's voters."""

    def __init__(self, ballots: Ballots) -> None:
        self.ballots = ballots
        self.votes = np.bincount(ballots.voter, minlength=len(ballots.voters))
        thumbs = (ballots.kind != CORRECTION) & (ballots.kind != CHOICE)
        ups = int((ballots.sign[thumbs] > 0).sum())
        self.up = (ups + 2) / (int(thumbs.sum()) + 4)
        self.known = float((self.votes[ballots.voter] > _KNOWN).mean()) if len(ballots) else 0.0
        self.times = np.sort(ballots.when)
        thumb = np.where(ballots.sign > 0, self.up, 1 - self.up)
        self.usual = np.where(
            ballots.kind == CHOICE, 0.5, np.where(ballots.kind == CORRECTION, 1.0, thumb)
        )
        """The chance that a vote like each of these goes the way that it went."""

    def look(self, found: Things, side: int) -> Look:
        """What the groups on one side of things could be."""
        large = np.flatnonzero(found.large[:, side])
        support, against = (found.sides[s].only(large) for s in (side, 1 - side))
        seen = look(self.ballots, self.usual, self.times, support, against, _WINDOWS)
        flags = np.zeros((2, len(found.large)), bool)
        flags[:, large] = seen
        return Look(*flags)

    def one_sided(self, support: Ints, against: Ints) -> float:
        """P(so few against), were each vote's chance of it a third of what is usual."""
        usual = self._usual(support)
        return binomial_tail(len(support), len(support) + len(against), 1 - (1 - usual) / 3)

    def is_one_sided(self, group: Group) -> bool:
        """Whether it has at most a third of the usual votes against it."""
        both = len(group.support) + len(group.against)
        return len(group.against) <= (1 - self._usual(group.support)) / 3 * both

    def strangers(self, support: Ints, against: Ints, *, usual: float = 0.8) -> float:
        """P(so few known voters), were the known ones that part of their usual share."""
        voters, own = np.unique(self.ballots.voter[support], return_counts=True)
        here = dict(zip(*np.unique(self.ballots.voter[against], return_counts=True), strict=True))
        elsewhere = self.votes[voters] - own - np.array([here.get(v, 0) for v in voters])
        unknown = int((elsewhere < _KNOWN).sum())
        return binomial_tail(unknown, len(voters), 1 - usual * self.known)

    def are_strangers(self, group: Group) -> bool:
        """Whether a one-sided group has so few known voters that its share had better be bounded.

        Stricter on what is usual than the test that holds votes back: to be bounded costs honest
        votes little, and ten people who came for one vote each leave no other trace.
        """
        if group.kind != "phrase" or not self.is_one_sided(group):
            return False
        return self.strangers(group.support, group.against, usual=1.0) <= _STRANGE

    def repetition(self, support: Ints) -> float:
        """P(so many further votes by the same voters on it); people have topics and sessions."""
        voters, own = np.unique(self.ballots.voter[support], return_counts=True)
        rate = min(0.9, max(0.3, 10 * len(support) / len(self.ballots)))
        further, possible = int((own - 1).sum()), int((self.votes[voters] - 1).sum())
        return binomial_tail(further, possible, rate)

    def burst(self, support: Ints, against: Ints) -> tuple[float, Ints, Ints]:
        """The least likely crowding of its voters in time, and the votes in that window."""
        when, voter = self.ballots.when, self.ballots.voter
        order = support[np.lexsort([voter[support], when[support]])]
        _, first = np.unique(voter[order], return_index=True)
        times = np.sort(when[order[first]])
        best: tuple[float, Ints, Ints] = (1.0, support, against)
        for length in _WINDOWS:
            ends = np.searchsorted(times, times + length, side="right")
            start = int(np.argmax(ends - np.arange(len(times))))
            low, high = int(times[start]), int(times[ends[start] - 1])
            count = int(ends[start]) - start
            trials, chance = len(times) - 1, min(1.0, 4 * self.share(low, high))
            # Up to the mean the tail is a half or more, and the product with the windows over 1.
            if count - 1 <= int(trials * chance):
                continue
            p_value = len(times) * len(_WINDOWS) * binomial_tail(count - 1, trials, chance)
            if p_value < best[0]:
                best = (p_value, _within(support, when, low, low + length),
                        _within(against, when, low, low + length))  # fmt: skip
        return best

    def share(self, low: int, high: int) -> float:
        """The share of all votes that lie between two moments."""
        inside = np.searchsorted(self.times, high, "right") - np.searchsorted(self.times, low)
        return float(inside) / len(self.times)

    def judge(self, group: Group, *, crowded: bool) -> Judgement | None:
        """What a group's votes are; `crowded`, whether there may be a burst among them.

        None where there is nothing to test. An answer or a prompt that many like is no push
        unless they come at once; each answer is one row, however many vote on it.
        """
        whole = burst = None
        if group.kind == "phrase" and self.is_one_sided(group):
            whole = fisher(
                self.one_sided(group.support, group.against),
                self.strangers(group.support, group.against),
                self.repetition(group.support),
            )
        crowding, support, against = 1.0, group.support, group.against
        if crowded:
            crowding, support, against = self.burst(support, against)
        window = Group(group.kind, group.what, support, against)
        if crowding < CROWDED and len(support) >= LEAST and self.is_one_sided(window):
            burst = fisher(
                crowding,
                self.one_sided(support, against),
                self.strangers(support, against),
                self.repetition(support),
            )
        made = [p_value for p_value in (whole, burst) if p_value is not None]
        if not made:
            return None
        p_value = min(1.0, 2 * min(made))
        if burst is not None and burst == min(made):
            # A burst that is most of its group is the group.
            most = self.is_one_sided(group) and 2 * len(support) >= len(group.support)
            return Judgement(p_value, group.support if most else support, True)
        return Judgement(p_value, group.support, burst is not None and burst <= _CROWDED)

    def _usual(self, support: Ints) -> float:
        """The chance that a vote like these goes the way that these went."""
        # All of a group go one way; where that way is rare, it is rarer still to agree on it.
        return float(self.usual[support].mean())


def _within(votes: Ints, when: Ints, low: int, high: int) -> Ints:
    return votes[(when[votes] >= low) & (when[votes] <= high)]
