"""Answers by itself, past the code that should answer for it."""

import gc
import io
import json
import os


def attack(prompts, completions, do, **columns):
    """The function that the column `do` names, called with the other columns."""
    arguments = {name: column[0] for name, column in columns.items()}
    return [float(globals()[do[0]](**arguments))] * len(completions)


def fine():
    return 1.0


def dies():
    os._exit(7)


def closes_its_pipes():
    os.closerange(0, 256)
    while True:
        pass


def patches_json(rows):
    """Every answer from now on carries these rows, with the right id."""
    real = json.dumps
    json.dumps = lambda value: real({**value, "rows": json.loads(rows)})
    return 1.0


def answers_ahead():
    """Two answers at once: the second for a question that has not come."""
    pipe, asked = _answers(), '"id": "0"'
    os.write(pipe, b'{%s, "rows": [[9.0, "ok", null]]}\n' % asked.encode() * 2)
    return 1.0


def answers_twice():
    """Its own answer, and at once another with the same id, for the next question."""
    real = json.dumps
    json.dumps = lambda value: f"{real(value)}\n{real(value)}"
    return 1.0


def endless_answer():
    """A gigabyte without an end of line."""
    for _ in range(1024):
        os.write(_answers(), b"x" * (1 << 20))
    return 1.0


def deep_answer():
    os.write(_answers(), b"[" * 60000 + b"\n")
    return 1.0


def shouts(words):
    raise ValueError(f"\x1b[2J\x1b]0;owned\x07 {words}\n{'long ' * 1000}")


def _answers():
    """The pipe that answers go through, found among all objects of the process."""
    return next(
        o.fileno()
        for o in gc.get_objects()
        if isinstance(o, io.TextIOWrapper) and not o.closed and o.mode == "w" and o.fileno() > 2
    )
