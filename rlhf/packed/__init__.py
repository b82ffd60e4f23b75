"""The log-probability engine that training and evaluation share: packed rows, shared prompts."""

from rlhf.packed.engine import TOKENS_AT_ONCE, Engine, Scores, micro_batches
from rlhf.packed.head import Entropy
from rlhf.packed.layout import Group

__all__ = ["TOKENS_AT_ONCE", "Engine", "Entropy", "Group", "Scores", "micro_batches"]
