"""Freed memory is kept for the next tensor instead of going back to the system."""

from __future__ import annotations

import ctypes
import sys
from functools import cache

# Of glibc's malloc.h.
_TRIM_THRESHOLD = -1
_MMAP_THRESHOLD = -3
_LARGEST = 1 << 30


@cache
def keep_freed_memory() -> None:
    """Once a process. Activations are large and short-lived: glibc would map and unmap each of

    them, and the kernel would clear every page again. Elsewhere than on glibc nothing happens.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_MMAP_THRESHOLD, _LARGEST)
        mallopt(_TRIM_THRESHOLD, _LARGEST)
