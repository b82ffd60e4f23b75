"""The other end of `OwnProcess`: `python -m rewards.running.worker` scores batches line by line.

First line in: {"ref", "params", "base"}; answer {"error": null | line}. Each further line:
{"prompts", "completions", "columns"}; answer a list of [value, status, reason].
"""

import json
import os
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import Any, TextIO

from rewards.errors import RewardError
from rewards.registry import resolve
from rewards.running.executor import call
from rewards.running.spec import RewardFn, bind


def main() -> None:
    """Serve one reward until the parent closes our input."""
    requests, answers = _own_pipes()
    lines: SimpleQueue[str] = SimpleQueue()
    # Input is read apart from the work, so that a reward that hangs does not outlive a parent
    # that was killed.
    Thread(target=_listen, args=(requests, lines), daemon=True).start()
    fn = _load(json.loads(lines.get()), answers)
    while fn:
        batch = json.loads(lines.get())
        outcomes = call(fn, batch["prompts"], batch["completions"], batch["columns"])
        _send(answers, [[o.value, o.status, o.reason] for o in outcomes])


def _own_pipes() -> tuple[TextIO, TextIO]:
    """Keep stdin and stdout for batches: a reward reads nothing there, and prints to stderr."""
    requests = os.fdopen(os.dup(0), encoding="utf-8")
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)
    return requests, answers


def _listen(requests: TextIO, lines: "SimpleQueue[str]") -> None:
    for line in requests:
        lines.put(line)
    os._exit(0)


def _load(request: dict[str, Any], answers: TextIO) -> RewardFn | None:
    base = Path(request["base"]) if request["base"] else None
    try:
        fn = bind(resolve(request["ref"], base), request["params"], base=base)
    except RewardError as error:
        _send(answers, {"error": str(error)})
        return None
    _send(answers, {"error": None})
    return fn


def _send(answers: TextIO, value: object) -> None:
    answers.write(json.dumps(value) + "\n")
    answers.flush()


if __name__ == "__main__":
    main()
