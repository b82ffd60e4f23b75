"""What we want from an answer: rewards in TRL's own signature, found by name and combined.

The built-in rewards live in modules of their own names:
`from rewards.length import length`.
"""

from rewards.combine import (
    Component,
    RewardScore,
    RewardSet,
    RowReward,
    combine,
    labels_of,
    summarise,
)
from rewards.compliance import Violation, check
from rewards.errors import BadParameter, RewardError, TooManyInvalid, UnknownReward
from rewards.length import count_tokens
from rewards.registry import list_rewards, resolve, reward
from rewards.repetition import repetition_rate
from rewards.running.executor import Executor, InProcess, OwnProcess
from rewards.running.find import find
from rewards.running.outcome import Outcome
from rewards.running.spec import RewardSpec, bind
from rewards.sandbox import Limits, Sandbox
from rewards.style import term_density
from rewards.weights import WeightsBy

__all__ = [
    "BadParameter",
    "Component",
    "Executor",
    "InProcess",
    "Limits",
    "Outcome",
    "OwnProcess",
    "RewardError",
    "RewardScore",
    "RewardSet",
    "RewardSpec",
    "RowReward",
    "Sandbox",
    "TooManyInvalid",
    "UnknownReward",
    "Violation",
    "WeightsBy",
    "bind",
    "check",
    "combine",
    "count_tokens",
    "find",
    "labels_of",
    "list_rewards",
    "repetition_rate",
    "resolve",
    "reward",
    "summarise",
    "term_density",
]
