"""Run every benchmark: `python -m bench`."""

import subprocess
import sys

NAMES = ["rewards", "votes", "snapshot", "sft", "dpo", "kto", "reward_model", "ppo"]

for name in NAMES:
    subprocess.run([sys.executable, "-m", f"bench.{name}"], check=True)
