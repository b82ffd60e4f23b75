"""Work in several processes whose results come in the order that it was given out."""

from __future__ import annotations

import gc
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import get_context
from typing import Any, TypeVar

from rlhf.errors import StepFailed

Task = TypeVar("Task")
Result = TypeVar("Result")

# So many tasks wait for each process, that it never does, and memory stays bounded.
_AHEAD = 3
_COLLECT = 200_000


class Pool:
    """Runs functions of a module; with one process, in this one."""

    def __init__(self, executor: ProcessPoolExecutor | None, processes: int) -> None:
        self._executor = executor
        self._processes = processes

    def map(self, work: Callable[[Task], Result], tasks: Iterable[Task]) -> Iterator[Result]:
        """The result of each task, in their order; few are ahead of the one that is asked for."""
        if self._executor is None:
            yield from map(work, tasks)
            return
        waiting: deque[Future[Result]] = deque()
        try:
            for task in tasks:
                waiting.append(self._executor.submit(work, task))
                if len(waiting) > _AHEAD * self._processes:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        except BrokenProcessPool as error:
            raise StepFailed("a process that makes rows was killed; is memory short?") from error


@contextmanager
def pool(processes: int, begin: Callable[..., None], *given: Any) -> Iterator[Pool]:
    """Processes that each called `begin(*given)` first."""
    if processes == 1:
        begin(*given)
        yield Pool(None, 1)
        return
    # Spawned, not forked: a fork of a process with threads, as the progress bar's, can hang.
    executor = ProcessPoolExecutor(
        processes, mp_context=get_context("spawn"), initializer=_begin, initargs=(begin, *given)
    )
    executor.submit(_nothing)  # they begin at once
    try:
        yield Pool(executor, processes)
    finally:
        executor.shutdown(cancel_futures=True)


def _begin(begin: Callable[..., None], *given: Any) -> None:
    begin(*given)
    # What is loaded by now stays, and rows hold no cycles: to look for garbage again and again
    # would take a tenth of the time.
    gc.freeze()
    gc.set_threshold(_COLLECT)


def _nothing() -> None:
    pass
