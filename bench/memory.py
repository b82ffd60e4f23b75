"""The most memory that a process held; the peers' Pythons import this too."""

from __future__ import annotations

import resource
from pathlib import Path


def peak_gigabytes() -> float:
    """Of this process so far; of its GPU where there is one."""
    import torch

    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 1e9
    return resident_gigabytes()


def resident_gigabytes(process: int | str = "self") -> float:
    """The most main memory that a process, by itself this one, held so far."""
    # A child's `ru_maxrss` starts at its parent's (fork and exec keep it); the kernel's count for
    # this program alone is VmHWM.
    status = Path(f"/proc/{process}/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e9  # macOS counts bytes
    lines = dict(line.split(":", 1) for line in status.read_text().splitlines())
    return int(lines["VmHWM"].split()[0]) * 1024 / 1e9
