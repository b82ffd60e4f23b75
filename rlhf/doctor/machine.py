"""What this machine is, and whether it has what the commands need."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

import torch

from rlhf.models import cache_folder, quick_dtype
from rlhf.tracking import wandb_mode

_LIBRARIES = ("torch", "transformers", "trl", "peft", "datasets", "accelerate")

# A run with its checkpoints, and a converted model beside it.
_ROOM = 5e9
_LITTLE_MEMORY = 4e9


@dataclass(frozen=True)
class Check:
    """One thing that was looked at."""

    name: str
    found: str
    ok: bool = True
    advice: str = ""
    """What to do, where something is missing or weak."""


def checks(runs: Path) -> list[Check]:
    """All of them; one that is not ok keeps commands from working."""
    return [_cores(), _memory(), _gpu(), _numbers(), *_disks(runs), *_libraries(), _tracking()]


def memory_available() -> int:
    """Bytes that a process may still take; of the GPU where there is one."""
    if torch.cuda.is_available():
        return int(torch.cuda.mem_get_info()[0])
    lines = _kernel_says(Path("/proc/meminfo"))
    free = lines.get("MemAvailable", _whole_memory())
    limit = Path("/sys/fs/cgroup/memory.max")
    used = Path("/sys/fs/cgroup/memory.current")
    if limit.exists() and used.exists() and limit.read_text().strip().isdigit():
        free = min(free, int(limit.read_text()) - int(used.read_text()))
    return free


def resident() -> int:
    """Bytes that this process holds now; 0 where the kernel does not say."""
    return _kernel_says(Path("/proc/self/status")).get("VmRSS", 0)


def _kernel_says(path: Path) -> dict[str, int]:
    """Sizes in a file of /proc, in bytes; empty on other systems."""
    if not path.exists():
        return {}
    lines = (line.split() for line in path.read_text(encoding="utf-8").splitlines())
    return {line[0].rstrip(":"): int(line[1]) * 1024 for line in lines if line[-1:] == ["kB"]}


def _whole_memory() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _cores() -> Check:
    threads = torch.get_num_threads()
    return Check("cores", f"{os.cpu_count()}, of which torch uses {threads}")


def _memory() -> Check:
    free = memory_available()
    told = f"{free / 1e9:.1f} GB free"
    if free < _LITTLE_MEMORY:
        return Check("memory", told, advice="close other programs; small models need about 4 GB")
    return Check("memory", told)


def _gpu() -> Check:
    if torch.cuda.is_available():
        return Check("GPU", torch.cuda.get_device_name())
    return Check("GPU", "none", advice="models up to about a billion weights train on a processor")


def _numbers() -> Check:
    quick = quick_dtype()
    other = "bfloat16 would be far slower here; leave `dtype` at auto"
    return Check("numbers", f"{quick} is quick", advice="" if quick == "bfloat16" else other)


def _disks(runs: Path) -> list[Check]:
    """Where runs go, and where converted base models are kept."""
    found = []
    for name, folder in (("runs", runs), ("cache", cache_folder())):
        there = next(p for p in (folder, *folder.resolve().parents) if p.is_dir())
        free = shutil.disk_usage(there).free
        writable = os.access(there, os.W_OK)
        advice = "" if free >= _ROOM else "make room: checkpoints and converted models lie here"
        if not writable:
            variable = "RLHF_CACHE" if name == "cache" else "`runs`"
            advice = f"may not be written; set {variable} to another folder"
        told = f"{there}: {free / 1e9:.0f} GB free"
        found.append(Check(f"disk for {name}", told, ok=writable, advice=advice))
    return found


def _libraries() -> list[Check]:
    found = []
    for name in _LIBRARIES:
        try:
            found.append(Check(name, version(name)))
        except PackageNotFoundError:
            found.append(Check(name, "missing", ok=False, advice=f"run `pip install {name}`"))
    has = find_spec("bitsandbytes") is not None
    told = version("bitsandbytes") if has else "not installed"
    advice = "" if has else "only for `quantize: 4bit`: `pip install 'rlhf-loop[qlora]'`"
    return [*found, Check("bitsandbytes", told, advice=advice)]


def _tracking() -> Check:
    if find_spec("wandb") is None:
        return Check("wandb", "not installed", advice="set `tracking: none`, or install wandb")
    return Check("wandb", wandb_mode())
