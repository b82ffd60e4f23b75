"""How far votes can be believed, and how much a training row counts.

ballots      the votes as columns of numbers; draft and ballot_box read them
reliability  Dawid–Skene and known answers → a voter's weight
bradley_terry  the same for choices between two
suspicion    bursts and one-sided pushes
caps         bounded shares, votes a day
judgement    all of it, as of a watermark → `Trust`, which a snapshot's rows are weighed by
krippendorff, selection   how far voters agree; what all would say, where volunteers vote
"""

from feedback_store.trust.draft import Draft
from feedback_store.trust.judgement import Trust, judged, trust_as_of
from feedback_store.trust.report import TrustReport, trust_report
from feedback_store.trust.rules import TrustRules
from feedback_store.trust.weights import agreement, recency, row_weight

__all__ = [
    "Draft",
    "Trust",
    "TrustReport",
    "TrustRules",
    "agreement",
    "judged",
    "recency",
    "row_weight",
    "trust_as_of",
    "trust_report",
]
