"""Where a policy comes from and what a vote became, walked from either end."""

from rlhf.lineage.ancestry import ancestry, curves, stage_of, steps
from rlhf.lineage.ledger import Ledger, read_ledger
from rlhf.lineage.made import Made
from rlhf.lineage.walk import Node, trace

__all__ = [
    "Ledger",
    "Made",
    "Node",
    "ancestry",
    "curves",
    "read_ledger",
    "stage_of",
    "steps",
    "trace",
]
