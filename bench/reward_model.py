"""Reward model: the packed trainer against TRL's, from tokenisation to the last step.

As `bench.dpo`, on 64 pairs, with a scalar head; both sides start from the same one. There are no
logits and no reference to save: what is left is padding and the prompt. TRL holds its head in the
base's numbers, since it multiplies them with the states as they are; ours stays in float32, so in
bfloat16 the losses differ by that much too.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from trl import RewardTrainer

from bench import sides
from bench.compare import OURS, Bench, Case
from bench.compare import main as run
from bench.mixes import pairs
from bench.sides import LORA, TRL, Setup
from rlhf.models import ModelSettings
from rlhf.policies import base_policy
from rlhf.scoring import new_reward_model
from rlhf.training.reward_model import PackedRewardTrainer, reward_arguments
from rlhf.training.settings import RewardModelSettings

PARTS = f"{TRL}, 2 pairs at once"
SINGLE = f"{TRL}, 1 pair at once"
_SEED = RewardModelSettings().seed


def _load(model: ModelSettings) -> Any:
    return new_reward_model(model, base_policy(model.base_model), LORA, _SEED)


def _ours(setup: Setup) -> Any:
    settings = RewardModelSettings(**setup.settings)
    arguments = reward_arguments(settings, setup.run)
    return sides.ours(setup, settings, arguments, PackedRewardTrainer)


def _trl(setup: Setup, at_once: int = sides.BATCH) -> Any:
    arguments = reward_arguments(RewardModelSettings(**setup.settings), setup.run)
    setup.base.get_base_model().score.to(setup.base.dtype)
    return sides.trl(setup, arguments, RewardTrainer, at_once=at_once)


BENCH = Bench(
    name="reward_model",
    unit="pairs/s",
    rows_of=pairs,
    load=_load,
    sides={
        OURS: _ours,
        TRL: _trl,
        PARTS: partial(_trl, at_once=2),
        SINGLE: partial(_trl, at_once=1),
    },
    cases=[
        Case("headline", (TRL, PARTS)),
        Case("30M model", (TRL, PARTS), base="30M"),
        Case("long shared prompts", (SINGLE,), mix="long", rows=16),
    ],
)


def main(argv: Sequence[str] | None = None) -> None:
    """See `--help`."""
    run(BENCH, argv)


if __name__ == "__main__":
    main()
