"""A Python of its own for TRL 0.24, made once beside the converted base models."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

from rlhf.models import cache_folder
from rlhf.progress import console

REQUIREMENTS = Path(__file__).with_name("requirements-trl-0.24.txt")
_MARK = "made-of.txt"


def trl_python() -> Path:
    """The environment's interpreter; it is made when it is absent or asks other packages now.

    Ends the benchmark with the way to make it by hand when that fails.
    """
    folder = cache_folder() / "peers" / "trl-0.24"
    python, mark = folder / "bin" / "python", folder / _MARK
    wanted = f"{_torch()}\n{REQUIREMENTS.read_text(encoding='utf-8')}"
    if not (mark.exists() and mark.read_text(encoding="utf-8") == wanted):
        console.print(f"making the peer's environment in {folder}", markup=False, soft_wrap=True)
        _run([sys.executable, "-m", "venv", str(folder)])
        _run(_install(python))
        mark.write_text(wanted, encoding="utf-8")  # last: half an environment is none
    return python


def _torch() -> str:
    """Both sides calculate with one torch. A local build has the same public version."""
    return f"torch=={version('torch').partition('+')[0]}"


def _install(python: Path) -> list[str]:
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    return [*pip, _torch(), "-r", str(REQUIREMENTS)]


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        why = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise SystemExit(
            f"bench.ppo: no environment for TRL 0.24 ({why}); run `{' '.join(command)}` and try "
            "again, or see bench/peers/README.md"
        )
