"""Files as Landlock shows them: named places may be read, one may be written, the rest is shut.

Also no TCP (from its version 4) and no signals or abstract sockets out of the sandbox (from 6).
See landlock(7); the calls have the same numbers on every machine.
"""

import ctypes
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from stat import S_ISDIR

from rewards.sandbox import kernel

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_VERSION, _PATH_BENEATH = 1, 1

_WRITE_FILE, _READ_FILE, _READ_DIR, _TRUNCATE = 1 << 1, 1 << 2, 1 << 3, 1 << 14
_FILE_RIGHTS = 1 | _WRITE_FILE | _READ_FILE | _TRUNCATE
_READ = _READ_FILE | _READ_DIR
# Remove and make folders and plain files: no devices, sockets, pipes or links.
_CHANGE = _WRITE_FILE | _TRUNCATE | 1 << 4 | 1 << 5 | 1 << 7 | 1 << 8

# How many of the rights are known to each version, from the first on.
_KNOWN_RIGHTS = (13, 14, 15, 15, 16)


class _Ruleset(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint64) for name in ("files", "network", "scoped")]


class _PathRule(ctypes.Structure):
    _pack_ = 1
    _fields_ = [("rights", ctypes.c_uint64), ("folder", ctypes.c_int32)]


def version() -> int:
    """What this kernel's Landlock can do; raises OSError where it has none."""
    return kernel.call(_CREATE_RULESET, None, ctypes.c_size_t(0), _VERSION)


def rules(readable: Iterable[Path], writable: Iterable[Path]) -> int:
    """Draw up what stays open, as a descriptor for `restrict`; the places must be reachable."""
    known = version()
    every = (1 << _KNOWN_RIGHTS[min(known, len(_KNOWN_RIGHTS)) - 1]) - 1
    wanted = _Ruleset(every, 0b11 if known >= 4 else 0, 0b11 if known >= 6 else 0)
    size = ctypes.c_size_t(ctypes.sizeof(wanted))
    drawn = kernel.call(_CREATE_RULESET, ctypes.byref(wanted), size, 0)
    for path in readable:
        with suppress(FileNotFoundError):
            _allow(drawn, path, _READ & every)
    for path in writable:
        _allow(drawn, path, (_READ | _CHANGE) & every)
    return drawn


def restrict(drawn: int) -> None:
    """Shut everything else for good."""
    kernel.call(_RESTRICT_SELF, drawn, 0)
    os.close(drawn)


def _allow(drawn: int, path: Path, rights: int) -> None:
    place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        if not S_ISDIR(os.fstat(place).st_mode):
            rights &= _FILE_RIGHTS
        rule = _PathRule(rights, place)
        kernel.call(_ADD_RULE, drawn, _PATH_BENEATH, ctypes.byref(rule), 0)
    finally:
        os.close(place)
