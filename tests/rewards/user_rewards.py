"""Rewards as users get them wrong, for the tests."""

import os
import subprocess
import time
from pathlib import Path


def good(prompts, completions, *, scale=1.0, **columns):
    print("a print must not reach the answers")
    return [len(c) * scale for c in completions]


def raises(prompts, completions, **columns):
    raise ValueError(f"cannot read {completions[0]}")


def exits(prompts, completions, **columns):
    raise SystemExit(0)


def nan(prompts, completions, **columns):
    return [float("nan") for _ in completions]


def infinite(prompts, completions, **columns):
    return [float("inf") for _ in completions]


def short(prompts, completions, **columns):
    return [1.0]


def texts(prompts, completions, **columns):
    return ["good" for _ in completions]


def mixed(prompts, completions, **columns):
    return [1.0, None, float("nan"), 0.0][: len(completions)]


def one_bad(prompts, completions, *, bad="bad", **columns):
    return [float("nan") if c == bad else float(len(c)) for c in completions]


def hangs(prompts, completions, **columns):
    if "hang" in completions[0]:
        time.sleep(60)
    return [1.0 for _ in completions]


def hangs_with_child(prompts, completions, *, note="", **columns):
    child = subprocess.Popen(["sleep", "60"])
    Path(note).write_text(f"{os.getpid()} {child.pid}")
    time.sleep(60)


def dies(prompts, completions, **columns):
    if "die" in completions[0]:
        os._exit(3)
    return [1.0 for _ in completions]


def reads_stdin(prompts, completions, **columns):
    return [float(len(os.read(0, 10))) for _ in completions]


def pid(prompts, completions, **columns):
    return [float(os.getpid()) for _ in completions]


def veto_short(prompts, completions, **columns):
    return [-1.0 if len(c) < 3 else 5.0 for c in completions]
