"""Freed memory is kept for the next tensor, and goes back to the system between two models."""

from __future__ import annotations

import ctypes
import sys
from functools import cache

# Of glibc's malloc.h.
_TRIM_THRESHOLD = -1
_MMAP_THRESHOLD = -3
_LARGEST = 1 << 30

_LINUX = sys.platform.startswith("linux")


@cache
def keep_freed_memory() -> None:
    """Once a process. Activations are large and short-lived: glibc would map and unmap each of

    them, and the kernel would clear every page again. Elsewhere than on glibc nothing happens.
    """
    if not _LINUX:
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_MMAP_THRESHOLD, _LARGEST)
        mallopt(_TRIM_THRESHOLD, _LARGEST)


def give_back_freed_memory() -> None:
    """When a model is done with: threads load the next one, and each has a heap of its own."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if _LINUX else None
    if trim is not None:
        trim(0)
