"""Cycle after cycle: how many, when there are votes for one, and one trainer at a time."""

from __future__ import annotations

from pathlib import Path

from feedback_store import Store
from rlhf.candidates import first_champion
from rlhf.config import redacted_dump
from rlhf.cycle import Cycle
from rlhf.cycle_settings import LoopConfig
from rlhf.data.records import Record, read_all, split
from rlhf.errors import NotReady, StepFailed
from rlhf.files import content_id, sha256_file
from rlhf.journal import open_cycles
from rlhf.loop import Outcome, run_cycle
from rlhf.notify import notify
from rlhf.progress import console
from rlhf.runs import open_run, trainer_lock
from rlhf.watch import wait_for_more, wait_for_votes


def run_loop(
    config: LoopConfig, base: Path, *, cycles: int | None = 1, watch: bool = False
) -> list[Outcome]:
    """Run this loop's cycles that are not done yet, `cycles` in all; without end for None.

    With `watch`, wait for votes before each. Raises `StepFailed` when another trainer works in the
    same runs folder or a cycle cannot be finished.
    """
    train, held_out = _dialogues(config, base)
    data = content_id([sha256_file(path) for path in config.dialogue_paths(base)], 24)
    outcomes = []
    with Store.open(config.store) as store:
        for journal in open_cycles(_folder(config, base), cycles):
            cycle = Cycle(config, base, store, journal, train, held_out, data)
            outcomes.append(_watched(cycle) if watch else _alone(cycle))
    return outcomes


def _watched(cycle: Cycle) -> Outcome:
    """Run the cycle when there are votes for it; while waiting, others may train here."""
    config, store, journal = cycle.config, cycle.store, cycle.journal
    with trainer_lock(config.runs):
        first_champion(cycle)  # before there is one, nobody has answers to vote on
    while True:
        if config.simulate is None and "snapshot" not in journal.facts():
            wait_for_votes(config, store, journal)
        seen = store.watermark()
        try:
            return _alone(cycle, waited=True)
        except NotReady as error:
            console.print(f"[yellow]not yet[/yellow]: {error}")
            wait_for_more(config, store, seen)


def _alone(cycle: Cycle, waited: bool = False) -> Outcome:
    """Run the cycle as the only trainer here; a failure is told to the webhook."""
    try:
        with trainer_lock(cycle.config.runs):
            return run_cycle(cycle, waited)
    except Exception as error:
        if not (waited and isinstance(error, NotReady)):
            notify(cycle.config.webhook, "failure", cycle=cycle.journal.number, reason=str(error))
        raise


def _dialogues(config: LoopConfig, base: Path) -> tuple[tuple[Record, ...], tuple[Record, ...]]:
    train, held_out = split(read_all(config.dialogue_paths(base)), config.held_out)
    if not train or not held_out:
        raise StepFailed(
            f"dialogues: {len(train)} to train on and {len(held_out)} held out; "
            "the loop needs some of both: give more dialogues or change `held_out`"
        )
    return tuple(train), tuple(held_out)


def _folder(config: LoopConfig, base: Path) -> Path:
    named = {"project": config.project, "name": config.name}
    run = open_run(config.runs, "loop", named, redacted_dump(config))
    run.begin({"loop": config.name, "base": str(base)})
    return run.folder
