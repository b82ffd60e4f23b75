"""Looks for secrets: in the environment, the parent's environment and memory, and files."""

import os
from pathlib import Path


def attack(prompts, completions, do, **columns):
    """The function that the column `do` names, called with the other columns."""
    arguments = {name: column[0] for name, column in columns.items()}
    return [float(globals()[do[0]](**arguments))] * len(completions)


def environment(secret):
    return secret in os.environ.values()


def of_the_parent(pid, secret):
    held = Path(f"/proc/{pid}/environ").read_bytes()
    return secret.encode() in held


def file(path):
    return len(Path(path).read_bytes())


def listing(path):
    return len(os.listdir(path))


def open_files(secret):
    """A descriptor that was left open is a way around every wall of names."""
    found = 0
    for number in range(3, 256):
        try:
            found += secret.encode() in os.pread(number, 1000, 0)
        except OSError:
            continue
    return found
