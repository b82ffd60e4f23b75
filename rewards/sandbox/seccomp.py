"""A filter in the kernel that refuses every system call but those of `calls.py`; seccomp(2).

It can't be taken off again, and holds for the threads that the process starts. A refused call
fails with "Operation not permitted"; one that is newer than this list does not exist, so that
libraries fall back to what they did before it.
"""

import ctypes
import errno
import os
import platform
import struct
from collections.abc import Iterator, Sequence
from fcntl import F_DUPFD, F_DUPFD_CLOEXEC, F_GETFD, F_GETFL, F_GETLK, F_SETFD, F_SETFL, F_SETLK
from fcntl import F_SETLKW as F_SETLK_WAIT

from rewards.sandbox import kernel
from rewards.sandbox.calls import allowed, watched

_ARCHITECTURE = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_SECCOMP = {"x86_64": 317, "aarch64": 277}
_SET_MODE_FILTER = 1

_KILL, _ERROR, _ALLOW = 0x80000000, 0x00050000, 0x7FFF0000
_REFUSED, _UNKNOWN = _ERROR | errno.EPERM, _ERROR | errno.ENOSYS
_NEWEST = 450  # the first number after the calls that the list was drawn up from

# linux/bpf_common.h: load a word, and with a constant, return, jump if equal or not less.
_LOAD, _AND, _RETURN, _IF_EQUAL, _IF_NOT_LESS = 0x20, 0x54, 0x06, 0x15, 0x35
_CALL, _MACHINE, _ARGUMENTS = 0, 4, 16  # offsets in struct seccomp_data

_THREAD, _NEW_NAMESPACES = 0x00010000, 0x7E020000
_NAME_THREAD, _NAME_MEMORY = (15, 16), (0x53564D41,)  # PR_SET_NAME, PR_GET_NAME, PR_SET_VMA
_IS_TERMINAL, _SET_FLAGS, _COUNT_BYTES = (0x5401,), (0x5421, 0x5450, 0x5451), (0x541B,)
_FILE_CONTROLS = (F_DUPFD, F_DUPFD_CLOEXEC, F_GETFD, F_GETFL, F_SETFD, F_SETFL)
_LOCKS = (F_GETLK, F_SETLK, F_SETLK_WAIT)


class _Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("code", ctypes.c_char_p)]


def restrict() -> None:
    """Put the filter on this process; it must have no other threads yet."""
    code = b"".join(program(platform.machine(), os.getpid()))
    filtered = _Program(len(code) // 8, code)
    kernel.call(_SECCOMP[platform.machine()], _SET_MODE_FILTER, 0, ctypes.byref(filtered))


def program(machine: str, own_pid: int) -> Iterator[bytes]:
    """The filter, one instruction of 8 bytes after another."""
    numbers = watched(machine)
    yield _op(_LOAD, _MACHINE)
    yield _op(_IF_EQUAL, _ARCHITECTURE[machine], 1, 0)
    yield _op(_RETURN, _KILL)
    yield _op(_LOAD, _CALL)
    yield from _when(_IF_NOT_LESS, _NEWEST, _UNKNOWN)
    # Its arguments lie in memory, where a filter can't look; libraries fall back to `clone`.
    yield from _when(_IF_EQUAL, numbers["clone3"], _UNKNOWN)
    for number in allowed(machine):
        yield from _when(_IF_EQUAL, number, _ALLOW)
    yield from _look(numbers["clone"], 0, [_THREAD], mask=_THREAD | _NEW_NAMESPACES)
    yield from _look(numbers["tgkill"], 0, [own_pid])  # abort(3) is a signal to oneself
    yield from _look(numbers["prctl"], 0, _NAME_THREAD + _NAME_MEMORY)
    yield from _look(numbers["prlimit64"], 0, [0])
    yield from _look(numbers["fcntl"], 1, _FILE_CONTROLS + _LOCKS)
    yield from _look(numbers["ioctl"], 1, _IS_TERMINAL + _SET_FLAGS + _COUNT_BYTES)
    yield _op(_RETURN, _REFUSED)


def _when(condition: int, number: int, answer: int) -> Iterator[bytes]:
    yield _op(condition, number, 0, 1)
    yield _op(_RETURN, answer)


def _look(
    number: int, argument: int, values: Sequence[int], mask: int = 0xFFFFFFFF
) -> Iterator[bytes]:
    """Allow a call where the lower half of one argument is among the values."""
    checks = [op for value in values for op in _when(_IF_EQUAL, value, _ALLOW)]
    load = [_op(_LOAD, _ARGUMENTS + 8 * argument), _op(_AND, mask)]
    body = [*load, *checks, _op(_RETURN, _REFUSED)]
    yield _op(_IF_EQUAL, number, 0, len(body))
    yield from body


def _op(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, if_true, if_false, value)
