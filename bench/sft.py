"""SFT: the packed trainer against TRL's, from tokenisation to the last step.

As `bench.dpo`, on 64 prompts with one answer each, whose tokens alone are learned; LoRA dropout is
off on both sides. TRL groups rows by length and runs them padded, a batch at once or in parts, or
without padding, as one row with a mask of blocks. (Its packing makes other batches: fewer steps, so
not the same work.) The loss is the mean over the answers' tokens of each step, then over the steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from trl import SFTConfig, SFTTrainer

from bench import sides
from bench.compare import OURS, Bench, Case
from bench.compare import main as run
from bench.mixes import dialogues
from bench.sides import TRL, Setup
from rlhf.training.arguments import library_arguments
from rlhf.training.settings import SftSettings
from rlhf.training.sft import PackedSFTTrainer

PADDED = f"{TRL}, padded"
PARTS = f"{TRL}, padded, 2 rows at once"
SINGLE = f"{TRL}, 1 row at once"
FLAT = f"{TRL}, padding-free"


def _arguments(setup: Setup, settings: SftSettings) -> Any:
    own = {"packing": False, "completion_only_loss": True}
    return library_arguments(SFTConfig, settings, own, setup.run)


def _ours(setup: Setup) -> Any:
    settings = SftSettings(**setup.settings)
    return sides.ours(setup, settings, _arguments(setup, settings), PackedSFTTrainer)


def _trl(setup: Setup, at_once: int = sides.BATCH, **changed: Any) -> Any:
    arguments = _arguments(setup, SftSettings(**setup.settings))
    return sides.trl(setup, arguments, SFTTrainer, at_once=at_once, **changed)


BENCH = Bench(
    name="sft",
    unit="rows/s",
    rows_of=dialogues,
    sides={
        OURS: _ours,
        PADDED: _trl,
        PARTS: partial(_trl, at_once=2),
        SINGLE: partial(_trl, at_once=1),
        # TRL can't cut rows that it runs without padding; none is too long.
        FLAT: partial(_trl, padding_free=True, max_length=None),
    },
    cases=[
        Case("headline", (PADDED, PARTS, FLAT)),
        Case("30M model", (PADDED, PARTS, FLAT), base="30M"),
        Case("long prompts", (SINGLE,), mix="long", rows=16),
    ],
)


def main(argv: Sequence[str] | None = None) -> None:
    """See `--help`."""
    run(BENCH, argv)


if __name__ == "__main__":
    main()
