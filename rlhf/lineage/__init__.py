"""Where a policy comes from and what a vote became, walked from either end."""

from rlhf.lineage.ancestry import ancestry, curves, stage_of, steps
from rlhf.lineage.facts import Facts
from rlhf.lineage.find import candidates
from rlhf.lineage.ledger import Ledger, read_ledger
from rlhf.lineage.made import Made
from rlhf.lineage.walk import Bounds, Node, trace, walk

__all__ = [
    "Bounds",
    "Facts",
    "Ledger",
    "Made",
    "Node",
    "ancestry",
    "candidates",
    "curves",
    "read_ledger",
    "stage_of",
    "steps",
    "trace",
    "walk",
]
