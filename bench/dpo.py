"""DPO: the packed trainer against TRL's, from tokenisation and reference to the last step.

Both: batches of 8 pairs, one epoch, bfloat16 weights, LoRA r16 on q and v, no dropout, the same
seed and learning rate. The clock starts cold, after imports and loading. TRL gets its rows grouped
by length, and the fastest of three settings counts, with the others told beside it: the reference
online or ahead, or the batch in parts. A single pair at once is what long prompts need to fit
20 GB; `least memory` gives both sides so little. For what shows that both did the same work see
`bench.compare`: at the start every pair's loss is log 2 and nothing can be learned, so the losses
lie close; the gradients tell more.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property, partial
from typing import Any
from unittest.mock import patch

from trl import DPOTrainer

from bench import sides
from bench.compare import OURS, Bench, Case
from bench.compare import main as run
from bench.mixes import pairs
from bench.sides import TRL, Setup
from rlhf.packed import Engine, Group, Scores
from rlhf.training.dpo import PackedDPOTrainer, dpo_arguments
from rlhf.training.settings import DpoSettings

ONLINE = f"{TRL}, reference online"
AHEAD = f"{TRL}, reference precomputed"
PARTS = f"{ONLINE}, 2 pairs at once"
SINGLE = f"{ONLINE}, 1 pair at once"
SMALL = "ours, 256 tokens at once"
UNSHARED = "unshared"


def _ours(setup: Setup, make_trainer: Any = PackedDPOTrainer, **changed: Any) -> Any:
    settings = DpoSettings(**setup.settings, **changed)
    return sides.ours(setup, settings, dpo_arguments(settings, setup.run), make_trainer)


def _trl(setup: Setup, ahead: bool = False, at_once: int = sides.BATCH) -> Any:
    arguments = dpo_arguments(DpoSettings(**setup.settings), setup.run)
    return sides.trl(setup, arguments, DPOTrainer, at_once=at_once, precompute_ref_log_probs=ahead)


class _UnsharedEngine(Engine):
    """Runs the prompt again for each of its completions, and no beginning for several prompts."""

    def score(self, groups: Sequence[Group], **asked: Any) -> Scores:
        """As the engine's own."""
        alone = [Group(group.prompt, [c]) for group in groups for c in group.completions]
        with patch("rlhf.packed.layout._WORTH", math.inf):
            return super().score(alone, **asked)


class _UnsharedTrainer(PackedDPOTrainer):
    @cached_property
    def engine(self) -> Engine:
        """The one that shares no prompt."""
        return _UnsharedEngine(self.model)


BENCH = Bench(
    name="dpo",
    unit="pairs/s",
    rows_of=pairs,
    sides={
        OURS: _ours,
        SMALL: partial(_ours, tokens_at_once=256),
        ONLINE: _trl,
        AHEAD: partial(_trl, ahead=True),
        PARTS: partial(_trl, at_once=2),
        SINGLE: partial(_trl, at_once=1),
        UNSHARED: partial(_ours, make_trainer=_UnsharedTrainer),
    },
    cases=[
        Case("headline", (ONLINE, AHEAD, PARTS)),
        Case("30M model", (ONLINE, AHEAD, PARTS), base="30M"),
        Case("long shared prompts", (SINGLE,), mix="long", rows=16),
        Case("long shared prompts, against no sharing", (UNSHARED,), mix="long", rows=16),
        Case("gradient checkpointing", (ONLINE,), checkpointing=True),
        Case("least memory", (SINGLE,), ours=SMALL),
        Case("quality", (AHEAD,), trains=False),
    ],
)


def main(argv: Sequence[str] | None = None) -> None:
    """See `--help`."""
    run(BENCH, argv)


if __name__ == "__main__":
    main()
