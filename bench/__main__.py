"""Run every benchmark: `python -m bench`."""

import subprocess
import sys

NAMES = [
    "data",
    "rewards",
    "votes",
    "snapshot",
    "sft",
    "dpo",
    "kto",
    "reward_model",
    "ppo",
    "doctor",
]

for name in NAMES:
    subprocess.run([sys.executable, "-m", f"bench.{name}"], check=True)
