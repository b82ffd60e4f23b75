"""How far a project's votes can be believed, in numbers."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, TypedDict

import numpy as np

from feedback_store.trust.ballots import THUMB
from feedback_store.trust.judgement import trust_as_of
from feedback_store.trust.krippendorff import alpha

if TYPE_CHECKING:
    from feedback_store.snapshots.manifest import SnapshotRules
    from feedback_store.store import Store


class Suspect(TypedDict):
    """A group of votes that looks like a push."""

    reason: str
    phrase: str
    votes: int
    voters: int
    p_value: float
    held: bool


class TrustReport(TypedDict):
    """Real, live votes as of a watermark."""

    votes: int
    voters: int
    single_vote_voters: int
    agreement: float | None
    """Krippendorff's alpha of thumbs (and ratings as up or down) on the same answer."""
    agreement_of_ratings: float | None
    """Ordinal alpha of the ratings on one interaction."""
    low_trust_voters: int
    held: dict[str, int]
    suspects: list[Suspect]


def trust_report(store: Store, rules: SnapshotRules, watermark: int | None = None) -> TrustReport:
    """What `trust_as_of` finds, and how far voters agree."""
    upto = store.watermark() if watermark is None else watermark
    ballots = store.ballots(rules.project, upto, up=rules.rating_up, down=rules.rating_down)
    trust = trust_as_of(store, rules, upto)
    thumbs = ballots.kind == THUMB
    ratings = [
        (vote.interaction, vote.value)
        for vote in store.feedback(project=rules.project, upto=upto)
        if vote.kind == "rating" and vote.value is not None and not vote.simulated
    ]
    return {
        "votes": len(ballots),
        "voters": len(ballots.voters),
        "single_vote_voters": int((np.bincount(ballots.voter) == 1).sum()),
        "agreement": alpha(
            zip(ballots.text[thumbs].tolist(), ballots.sign[thumbs].tolist(), strict=True)
        ),
        "agreement_of_ratings": alpha(ratings, "ordinal"),
        "low_trust_voters": sum(weight < 0.5 for weight in trust.voters.values()),
        "held": dict(sorted(Counter(trust.reasons.values()).items())),
        "suspects": [
            {
                "reason": one.reason,
                "phrase": one.what,
                "votes": len(one.ballots),
                "voters": len(np.unique(ballots.voter[one.ballots])),
                "p_value": one.p_value,
                "held": one.held,
            }
            for one in trust.suspicions
        ],
    }
