"""The few system calls that Python does not offer, through the C library.

Each raises OSError with the call's name. See unshare(2), mount(2), mount_setattr(2),
pivot_root(2), capset(2), prctl(2).
"""

import ctypes
import os
import platform

_libc = ctypes.CDLL(None, use_errno=True)

# Numbers of what the C library has no function for; both machines share those from 424 on.
_MACHINE = platform.machine()
_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
_MOUNT_SETATTR = 442

NEW_MOUNTS, NEW_IPC, NEW_USER = 0x00020000, 0x08000000, 0x10000000
NEW_PIDS, NEW_NETWORK, NEW_HOST_NAME = 0x20000000, 0x40000000, 0x04000000

NO_SET_USER, NO_DEVICES, BIND, RECURSIVE, PRIVATE = 2, 4, 4096, 16384, 1 << 18
_DETACH = 2
_AT_RECURSIVE = 0x8000
_ATTR_READ_ONLY_NO_SET_USER = 1 | 2

_SET_DEATH_SIGNAL, _SET_DUMPABLE, _SET_NO_NEW_PRIVILEGES = 1, 4, 38


class _MountAttributes(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint64) for name in ("set", "clear", "propagation", "userns")]


class _CapabilityHeader(ctypes.Structure):
    _fields_ = [("version", ctypes.c_uint32), ("pid", ctypes.c_int)]


def call(number: int, *arguments: object) -> int:
    """Any system call by its number."""
    return _checked(f"system call {number}", _libc.syscall(ctypes.c_long(number), *arguments))


def unshare(flags: int) -> None:
    """Leave the parent's namespaces for new ones; new process numbers begin with the next fork."""
    _checked("unshare", _libc.unshare(flags))


def mount(source: str, target: str, kind: str = "none", flags: int = 0, options: str = "") -> None:
    """Attach a file system, or `source` once more, at `target`."""
    texts = [text.encode() for text in (source, target, kind)]
    _checked("mount", _libc.mount(*texts, ctypes.c_ulong(flags), options.encode()))


def make_read_only(root: str) -> None:
    """Everything mounted at or below a place."""
    attributes = _MountAttributes(set=_ATTR_READ_ONLY_NO_SET_USER)
    size = ctypes.c_size_t(ctypes.sizeof(attributes))
    call(_MOUNT_SETATTR, -1, root.encode(), _AT_RECURSIVE, ctypes.byref(attributes), size)


def change_root(new: str, old: str) -> None:
    """Make `new` the root; the old one is then found at `old`, a folder below `new`."""
    call(_PIVOT_ROOT[_MACHINE], new.encode(), old.encode())
    os.chdir("/")


def detach(target: str) -> None:
    """Take a mount and all below it out of sight."""
    _checked("umount2", _libc.umount2(target.encode(), _DETACH))


def drop_capabilities() -> None:
    """Give up every power of an administrator that this process holds."""
    header, none = _CapabilityHeader(version=0x20080522, pid=0), (ctypes.c_uint32 * 6)()
    _checked("capset", _libc.capset(ctypes.byref(header), ctypes.byref(none)))


def die_with_parent(signal: int) -> None:
    """Ask for a signal when the parent dies; forgotten at a change of user, so ask after it."""
    _prctl(_SET_DEATH_SIGNAL, signal)


def close_to_others() -> None:
    """No process of the same user may read this one's memory."""
    _prctl(_SET_DUMPABLE, 0)


def forbid_new_privileges() -> None:
    """What a process without powers must promise before it may confine itself."""
    _prctl(_SET_NO_NEW_PRIVILEGES, 1)


def _prctl(option: int, value: int) -> None:
    arguments = [ctypes.c_ulong(number) for number in (value, 0, 0, 0)]
    _checked("prctl", _libc.prctl(option, *arguments))


def _checked(name: str, result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")
    return result
