"""What a process does to itself before it reads a stranger's code: every wall, in order.

    namespaces  no other process, no network and no file outside a few can be named
    user        no powers of an administrator; root becomes a user that owns nothing
    limits      memory, threads, file sizes, open files; no core dumps
    landlock    few places may be read, one written; nothing may be run
    seccomp     no sockets, processes, signals or tracing

Files, network and processes are each shut off twice, so that one wall may have a hole.
"""

import os
import resource
import signal
import site
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from rewards.sandbox import kernel, landlock, namespaces, seccomp
from rewards.sandbox.limits import Limits

T = TypeVar("T")

MEBIBYTE = 1 << 20
_OPEN_FILES = 256
_SCRATCH_FILES = 1024
# Users that nobody has, a different one for each sandbox, so that threads are counted apart.
_FIRST_USER, _NOBODY = 1_879_048_192, 65534
# Without namespaces Landlock alone keeps files from being cut off, which it can from here on.
_LANDLOCK_ALONE = 3


class Refused(Exception):
    """This machine does not give a wall that was asked for; says which, and the way out."""


def missing(wall: str, reason: object) -> Refused:
    """The refusal for a wall that the kernel does not give."""
    way_out = "" if wall == "seccomp" else f", or accept `sandbox: {{without: {wall}}}`"
    return Refused(f"this machine gives no {wall} ({reason}); allow it{way_out}")


def leave(limits: Limits) -> None:
    """The first half, before the fork. Raises Refused."""
    if limits.without != "namespaces":
        _build("namespaces", namespaces.leave)


def confine(limits: Limits, user: int) -> None:
    """The second half, in the forked process; `user` makes its number unique. Raises Refused."""
    places, writable = readable(limits), [Path(os.devnull)]
    if limits.without != "namespaces":
        size = limits.scratch_mb * MEBIBYTE
        _build("namespaces", lambda: namespaces.build_root(places, size, _SCRATCH_FILES))
        writable.append(namespaces.SCRATCH)
    rules = _rules(places, writable, limits)  # while root can still reach the places
    become_nobody(_FIRST_USER + user)
    set_limits(limits)
    kernel.die_with_parent(signal.SIGKILL)
    kernel.close_to_others()
    kernel.forbid_new_privileges()
    if rules is not None:
        _build("landlock", lambda: landlock.restrict(rules))
    _build("seccomp", seccomp.restrict)
    _check_readable(limits)


def become_nobody(user: int) -> None:
    """Give up root, where it is that, and every power. Raises Refused."""
    if os.geteuid() == 0:
        try:
            os.setgroups([])
            _become(user)
        except OSError:  # a container maps few users
            _become(_NOBODY)
    kernel.drop_capabilities()


def _become(user: int) -> None:
    try:
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)
    except PermissionError as error:
        raise Refused("root can't become another user here; run as an ordinary user") from error


def set_limits(limits: Limits) -> None:
    """Bound what the kernel counts; time is the parent's to watch."""
    bounds = {
        resource.RLIMIT_AS: limits.memory_mb * MEBIBYTE,
        resource.RLIMIT_NPROC: limits.threads,
        resource.RLIMIT_FSIZE: limits.scratch_mb * MEBIBYTE,
        resource.RLIMIT_NOFILE: _OPEN_FILES,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_MEMLOCK: 0,
        resource.RLIMIT_MSGQUEUE: 0,
        resource.RLIMIT_SIGPENDING: limits.threads,
    }
    for kind, bound in bounds.items():
        hard = resource.getrlimit(kind)[1]
        bound = bound if hard == resource.RLIM_INFINITY else min(bound, hard)
        resource.setrlimit(kind, (bound, bound))


def readable(limits: Limits) -> list[Path]:
    """Python, its packages, the machine's libraries, and what the user named."""
    names = ("stdlib", "platstdlib", "purelib", "platlib")
    python = [sysconfig.get_path(name) for name in names]
    packages = [path for path in sys.path if Path(path).name in ("site-packages", "dist-packages")]
    shared = ["/lib", "/lib64", "/usr/lib", "/usr/lib64", f"{sys.base_prefix}/lib"]
    rest = ["/etc/ld.so.cache", "/usr/share/zoneinfo", "/dev/null", "/dev/urandom"]
    here = Path(__file__).parents[1]
    every = [*python, *packages, *site.getsitepackages(), *shared, *rest]
    return [Path(path) for path in every] + [here, *limits.read]


def _check_readable(limits: Limits) -> None:
    """What only root may read is out of reach of the nobody that root became."""
    for path in (Path(sysconfig.get_path("stdlib")), *limits.read):
        if not os.access(path, os.R_OK):
            raise Refused(f"it can't read {path}; let every user read that, and its folders")


def _rules(readable: list[Path], writable: list[Path], limits: Limits) -> int | None:
    if limits.without == "landlock":
        return None
    known = _build("landlock", landlock.version)
    if limits.without == "namespaces" and known < _LANDLOCK_ALONE:
        raise missing("landlock", f"version {known}; without namespaces it takes 3")
    return _build("landlock", lambda: landlock.rules(readable, writable))


def _build(wall: str, work: Callable[[], T]) -> T:
    try:
        return work()
    except OSError as error:
        raise missing(wall, error.strerror or error) from error
