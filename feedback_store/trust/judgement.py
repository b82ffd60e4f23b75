"""The trust that a snapshot's votes deserve, as of its watermark."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np

from feedback_store.errors import Refused
from feedback_store.trust import caps
from feedback_store.trust.ballots import Ballots
from feedback_store.trust.phrases import holds, near_duplicates
from feedback_store.trust.suspicion import Suspicion, suspicions
from feedback_store.trust.voters import voter_weights

if TYPE_CHECKING:
    from feedback_store.snapshots.manifest import SnapshotRules
    from feedback_store.store import Store

QUARANTINED = "quarantined"
"""The reason of votes that a person holds back; what they wrote stays in the store."""


class Cast(Protocol):
    """A vote of either kind, whole or as a row of its table."""

    @property
    def seq(self) -> int | None: ...
    @property
    def voter(self) -> str: ...
    @property
    def simulated(self) -> bool: ...


@dataclass(frozen=True)
class Trust:
    """What each vote weighs; most weigh 1, so only the others are kept."""

    reasons: dict[int, str] = field(default_factory=dict)
    factors: dict[int, float] = field(default_factory=dict)
    voters: dict[str, float] = field(default_factory=dict)
    suspicions: list[Suspicion] = field(default_factory=list)
    suspected: frozenset[int] = frozenset()
    """The numbers of the votes in them."""

    def held(self, vote: Cast) -> str | None:
        """Why a vote is kept out, if it is."""
        return self.reasons.get(vote.seq or 0)

    def weight(self, vote: Cast) -> float:
        """The voter's reliability times the caps, in [0, 1], to six decimals."""
        if vote.simulated:
            return 1.0
        weight = self.voters.get(vote.voter, 1.0) * self.factors.get(vote.seq or 0, 1.0)
        return 1.0 if weight == 1.0 else round(weight, 6)


def trust_as_of(store: Store, rules: SnapshotRules, watermark: int) -> Trust:
    """Judge a project's votes up to a watermark; the same votes get the same trust."""
    if not rules.trust.enabled:
        return judged(store, rules, watermark, None)
    up, down = rules.rating_up, rules.rating_down
    return judged(
        store, rules, watermark, store.ballots(rules.project, watermark, up=up, down=down)
    )


def judged(store: Store, rules: SnapshotRules, watermark: int, ballots: Ballots | None) -> Trust:
    """The same of a project's ballots, which nobody judges where there are none.

    `Refused` where so many votes look like a push that the rest may be no better.
    """
    people = store.decided(watermark)
    by_hand = store.seqs([vote for vote, entry in people.items() if entry.held])
    reasons = dict.fromkeys(by_hand, QUARANTINED)
    if ballots is None:
        return Trust(reasons=reasons)
    # What a person holds back tells nothing of the others.
    ballots = ballots.without(by_hand)
    if not len(ballots):
        return Trust(reasons=reasons)
    released = store.seqs([vote for vote, entry in people.items() if not entry.held])
    # Reviewers vote all day, and were asked to.
    released |= store.reviewed(watermark)
    clusters = near_duplicates(ballots.prompts)
    found = suspicions(ballots, clusters, rules.trust.false_alarm)
    found = _everywhere(found, ballots, store, rules, watermark)
    held = {int(seq): "too_many_a_day"
            for seq in ballots.seq[caps.too_many(ballots, rules.trust)]}  # fmt: skip
    for one in reversed(found):
        if one.held:
            held |= dict.fromkeys(ballots.seq[one.ballots].tolist(), one.reason)
    held = {seq: why for seq, why in held.items() if seq not in released}
    _refuse_a_flood(held, ballots, rules)
    reasons = held | reasons
    voters = voter_weights(ballots, store.gold_numbers(watermark))
    weights = voters[ballots.voter]
    weights[np.isin(ballots.seq, np.fromiter(reasons, np.int64, len(reasons)))] = 0.0
    let_go = np.isin(ballots.seq, np.fromiter(released, np.int64, len(released)))
    suspects = [one.ballots[~let_go[one.ballots]] for one in found]
    factor = caps.factors(ballots, clusters, weights, suspects, rules.trust)
    less = np.flatnonzero(factor < 1)
    return Trust(
        reasons=reasons,
        factors=dict(zip(ballots.seq[less].tolist(), factor[less].tolist(), strict=True)),
        voters={ballots.voters[i]: float(voters[i]) for i in np.flatnonzero(voters < 1)},
        suspicions=found,
        suspected=frozenset(seq for one in found for seq in ballots.seq[one.ballots].tolist()),
    )


def _everywhere(
    found: list[Suspicion], ballots: Ballots, store: Store, rules: SnapshotRules, watermark: int
) -> list[Suspicion]:
    """Phrases that were found in a sample of a large store's texts, with all votes for them."""
    places = [place for place, one in enumerate(found) if one.what]
    if not places or len(ballots.texts) == ballots.size:
        return found
    phrases = [found[place].what.split(" ") for place in places]
    texts: list[set[int]] = [set() for _ in places]
    gave = ballots.gave.tolist()
    for seq, response in store.responses(rules.project, watermark):
        if gave[seq] >= 0:
            for number in holds(response, phrases):
                texts[number].add(gave[seq])
    found = list(found)
    for place, held in zip(places, texts, strict=True):
        one = found[place]
        sign = int(ballots.sign[one.ballots[0]])
        more = np.flatnonzero(np.isin(ballots.text, list(held)) & (ballots.sign == sign))
        found[place] = one._replace(ballots=np.union1d(one.ballots, more))
    return found


def _refuse_a_flood(held: dict[int, str], ballots: Ballots, rules: SnapshotRules) -> None:
    if len(held) <= rules.trust.refuse_share * len(ballots):
        return
    counts = ", ".join(f"{n} {why}" for why, n in sorted(Counter(held.values()).items()))
    raise Refused(
        f"project {rules.project}: {len(held)} of {len(ballots)} votes look like a push "
        f"({counts}), more than trust.refuse_share {rules.trust.refuse_share}: look at them, then "
        "quarantine or release them, or raise the limit"
    )
