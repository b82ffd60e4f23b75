"""Writes and deletes what is not its own."""

import os
import shutil
from pathlib import Path


def attack(prompts, completions, do, **columns):
    """The function that the column `do` names, called with the other columns."""
    arguments = {name: column[0] for name, column in columns.items()}
    return [float(globals()[do[0]](**arguments))] * len(completions)


def reads(path):
    return len(Path(path).read_bytes())


def writes(path):
    Path(path).write_text("was here")
    return 1.0


def deletes(path):
    shutil.rmtree(path)
    return 1.0


def empties(path):
    os.close(os.open(path, os.O_RDONLY | os.O_TRUNC))
    return 1.0


def changes_mode(path):
    os.chmod(path, 0o777)
    return 1.0
