"""Logs as JSON lines on stderr, without users' words and without secrets.

A line has `time`, `level`, `event`, and what `tell` was given. Of an exception it has the type and
where it was raised, not its text, which may quote a request; of libraries' own lines it has no
more than who wrote one and where.
"""

from __future__ import annotations

import json
import logging
import sys
import traceback
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, TextIO

_OURS: Final = ("rlhf", "feedback_store", "uvicorn")
_FRAMES: Final = 6

_log = logging.getLogger("rlhf.serving")


class JsonLines(logging.Formatter):
    """One record, one line."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, in ASCII, so that nothing in it can end it or steer a terminal."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
        }
        if record.name.partition(".")[0] in _OURS:
            line["event"] = record.getMessage()
            line.update(getattr(record, "fields", {}))
        else:
            line["event"] = "library"
            line["logger"] = record.name
            line["at"] = f"{record.module}:{record.lineno}"
        if record.exc_info and record.exc_info[1] is not None:
            line.update(told(record.exc_info[1]))
        return json.dumps(line, default=str)


def told(error: BaseException) -> dict[str, Any]:
    """An exception's type and its innermost frames."""
    frames = traceback.extract_tb(error.__traceback__)[-_FRAMES:]
    return {
        "error": type(error).__name__,
        "frames": [f"{Path(f.filename).name}:{f.lineno} {f.name}" for f in frames],
    }


def tell(event: str, level: int = logging.INFO, **fields: Any) -> None:
    """Write a line; fields that are None are left out."""
    kept = {name: value for name, value in fields.items() if value is not None}
    _log.log(level, event, extra={"fields": kept})


def set_up(stream: TextIO | None = None) -> None:
    """Send this process's logs to the stream (stderr); uvicorn's own access log goes nowhere."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonLines())
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.WARNING)
    for name in _OURS:
        ours = logging.getLogger(name)
        ours.handlers, ours.propagate = [], True
        ours.setLevel(logging.INFO)
    logging.getLogger("uvicorn.access").disabled = True
    logging.captureWarnings(True)
