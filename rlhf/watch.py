"""How many votes a cycle still misses, and waiting for them."""

from __future__ import annotations

import time
from collections.abc import Callable

from feedback_store import Store
from rlhf.cycle_settings import LoopConfig
from rlhf.journal import Journal
from rlhf.progress import progress


def votes_missing(config: LoopConfig, store: Store, journal: Journal) -> int:
    """Votes still needed beyond those that earlier cycles learned from; 0 or less is enough."""
    before = 0 if journal.previous is None else journal.previous.facts().get("watermark", 0)
    return config.min_votes - store.votes_since(int(before), project=config.project)


def wait_for_votes(
    config: LoopConfig,
    store: Store,
    journal: Journal,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Return when there are votes enough, or after `watch_hours` when there is at least one."""
    began = clock()
    with progress(f"votes for cycle {journal.number}", total=config.min_votes) as advance:
        while (missing := votes_missing(config, store, journal)) > 0:
            advance(completed=config.min_votes - missing, note=f"{missing} missing")
            hours = (clock() - began) / 3600
            some = missing < config.min_votes
            if some and config.watch_hours is not None and hours >= config.watch_hours:
                return
            sleep(config.watch_poll_s)


def wait_for_more(
    config: LoopConfig, store: Store, seen: int, sleep: Callable[[float], None] = time.sleep
) -> None:
    """Return when something was stored after the watermark `seen`."""
    while store.watermark() <= seen:
        sleep(config.watch_poll_s)
