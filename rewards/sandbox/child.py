"""The other end of a `Sandbox`: `python -P -m rewards.sandbox.child LIMITS` becomes two processes.

The guard stays outside and ends when the parent or the reward does. The reward's process confines
itself, and only then runs the stranger's code, whose text comes with the first line. Lines are
JSON. Out: {"pid"} of the reward's process, as it is called outside; {"ready": null | refusal}. Then
line for line, as in `rewards.running.worker`, each answer with the `id` of what it answers.
"""

import json
import os
import select
import signal
import sys
import types
from pathlib import Path
from typing import Any, TextIO

from rewards.errors import RewardError, UnknownReward, nearest
from rewards.registry import describe_loaded
from rewards.running.executor import call
from rewards.running.spec import RewardFn, RewardSpec, bind
from rewards.sandbox.confine import Refused, confine, leave
from rewards.sandbox.limits import Limits

Request = dict[str, Any]


def main() -> None:
    """Split into guard and reward."""
    limits = Limits.model_validate_json(sys.argv[1])
    requests, answers = _own_pipes()
    try:
        leave(limits)
    except Refused as refused:
        _send(answers, {"pid": os.getpid()})
        _send(answers, {"ready": str(refused)})
        return
    outside, (told, tell) = os.getpid(), os.pipe()
    reward = os.fork()
    if reward == 0:
        os.close(tell)
        os.read(told, 1)  # until the guard has told our number
        os.close(told)
        _serve(limits, outside, requests, answers)
        os._exit(0)
    _send(answers, {"pid": reward})
    answers.close()  # so that the parent sees the reward's end
    os.close(tell)
    _guard(reward, requests.fileno())


def _guard(reward: int, requests: int) -> None:
    """Wait for the end of the reward or of the parent, and bring the other about."""
    watch = select.poll()
    watch.register(requests, 0)  # hang-up only: what is sent there is for the reward
    watch.register(os.pidfd_open(reward), select.POLLIN)
    watch.poll()
    os.kill(reward, signal.SIGKILL)
    code = os.waitstatus_to_exitcode(os.waitpid(reward, 0)[1])
    os._exit(code if code >= 0 else 128 - code)


def _serve(limits: Limits, outside: int, requests: TextIO, answers: TextIO) -> None:
    try:
        confine(limits, outside)
    except Refused as refused:
        _send(answers, {"ready": str(refused)})
        return
    _send(answers, {"ready": None})
    fn = _load(json.loads(requests.readline()), answers)
    while fn:
        batch = json.loads(requests.readline() or "null")
        if batch is None:
            return
        outcomes = call(fn, batch["prompts"], batch["completions"], batch["columns"])
        rows = [[o.value, o.status, o.reason] for o in outcomes]
        _send(answers, {"id": batch["id"], "rows": rows})


def _load(request: Request, answers: TextIO) -> RewardFn | None:
    """Run the stranger's file, and answer which columns its function takes."""
    try:
        spec = _spec(request)
        base = request["base"] and Path(request["base"])
        fn = bind(spec, request["params"], base=base)
    except RewardError as error:
        _send(answers, {"id": request["id"], "error": str(error)})
        return None
    takes = None if spec.signature.open or spec.signature.factory else spec.signature.columns
    columns = None if takes is None else sorted(takes)
    _send(answers, {"id": request["id"], "error": None, "columns": columns})
    return fn


def _spec(request: Request) -> RewardSpec:
    module = types.ModuleType("stranger")
    module.__file__ = request["file"]
    sys.modules[module.__name__] = module
    source = f"{request['file']}:{request['function']}"

    def load() -> object:
        exec(compile(request["text"], request["file"], "exec"), vars(module))
        try:
            return vars(module)[request["function"]]
        except KeyError:
            known = [name for name in vars(module) if not name.startswith("_")]
            told = nearest(request["function"], known)
            raise UnknownReward(f"no function {request['function']!r} in it; {told}") from None

    return describe_loaded(load, source, name=request["function"])


def _own_pipes() -> tuple[TextIO, TextIO]:
    """Keep stdin and stdout for ourselves: a reward reads nothing, and what it prints is lost."""
    requests = os.fdopen(os.dup(0), encoding="utf-8")
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nothing, stream)
    os.close(nothing)
    return requests, answers


def _send(answers: TextIO, value: object) -> None:
    answers.write(json.dumps(value) + "\n")
    answers.flush()


if __name__ == "__main__":
    main()
