"""The other end of `Checkers`: `python -m rlhf.serving.checker SECONDS [RULES]`.

First line out: `[]`, once the rules are read. Each line in: [prompt, answer]; out: the names of
the rules that the answer breaks.
"""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from rewards import RewardError, check

_SPARE_SECONDS = 1.0  # by then the server has killed a late check, if it still lives


def main(arguments: Sequence[str]) -> None:
    """Check until the server closes our input; a check that outlives the server ends by itself."""
    seconds = float(arguments[0])
    rules = Path(arguments[1]) if len(arguments) > 1 else None
    # What ends the server's whole group: answers come to their end first, and are checked.
    for group in (signal.SIGTERM, signal.SIGINT):
        signal.signal(group, signal.SIG_IGN)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)  # ends the process, even inside a pattern
    check("ready", rules=rules)
    print("[]", flush=True)
    for line in sys.stdin:
        prompt, answer = json.loads(line)
        signal.setitimer(signal.ITIMER_REAL, seconds + _SPARE_SECONDS)
        names = list(dict.fromkeys(violation.rule for violation in check(answer, prompt, rules)))
        signal.setitimer(signal.ITIMER_REAL, 0)
        print(json.dumps(names), flush=True)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except RewardError as error:  # the rules were changed under the running server
        sys.exit(f"error: {error}")
