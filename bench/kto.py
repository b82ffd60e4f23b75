"""KTO: the packed trainer against TRL's, from tokenisation and reference to the last step.

As `bench.dpo`, on 64 votes, up and down in turns. Both take the rows in their order: the KL term
pairs each with its neighbour. A batch in parts would have TRL take that term over fewer rows, so
that is done for long prompts only, which fit 20 GB in parts of 4; the term is zero at the start and
stays near it, so the losses still compare.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from trl import KTOTrainer

from bench import sides
from bench.compare import OURS, Bench, Case
from bench.compare import main as run
from bench.mixes import votes
from bench.sides import TRL, Setup
from rlhf.training.kto import PackedKTOTrainer, kto_arguments
from rlhf.training.settings import KtoSettings

ONLINE = f"{TRL}, reference online"
AHEAD = f"{TRL}, reference precomputed"
PARTS = f"{TRL}, reference online, 4 rows at once"


def _ours(setup: Setup) -> Any:
    settings = KtoSettings(**setup.settings)
    arguments = kto_arguments(settings, setup.rows, setup.run)
    return sides.ours(setup, settings, arguments, PackedKTOTrainer)


def _trl(setup: Setup, ahead: bool = False, at_once: int = sides.BATCH) -> Any:
    return sides.trl(
        setup,
        kto_arguments(KtoSettings(**setup.settings), setup.rows, setup.run),
        KTOTrainer,
        at_once=at_once,
        precompute_ref_log_probs=ahead,
        train_sampling_strategy="sequential",
    )


BENCH = Bench(
    name="kto",
    unit="rows/s",
    rows_of=votes,
    sides={
        OURS: _ours,
        ONLINE: _trl,
        AHEAD: partial(_trl, ahead=True),
        PARTS: partial(_trl, at_once=4),
    },
    cases=[
        Case("headline", (ONLINE, AHEAD)),
        Case("30M model", (ONLINE, AHEAD), base="30M"),
        Case("long prompts", (PARTS,), mix="long", rows=16),
    ],
)


def main(argv: Sequence[str] | None = None) -> None:
    """See `--help`."""
    run(BENCH, argv)


if __name__ == "__main__":
    main()
