"""A view of the machine of its own: no other processes, no network, few files; namespaces(7).

The files are a new root in memory that holds the readable places, read-only, at the paths that
they have outside, and an empty `/scratch` of limited size. There is no `/proc`.
"""

import os
from collections.abc import Iterable
from pathlib import Path

from rewards.sandbox import kernel

_APART = (
    kernel.NEW_MOUNTS | kernel.NEW_PIDS | kernel.NEW_NETWORK | kernel.NEW_IPC | kernel.NEW_HOST_NAME
)
_STAGE = "/tmp"  # any folder that exists everywhere: the new root is mounted over it
_OLD = "/.old"
_BARE = kernel.NO_SET_USER | kernel.NO_DEVICES

SCRATCH = Path("/scratch")
"""The only place in a sandbox that can be written."""


def leave() -> None:
    """Move to new namespaces; the next process that is forked is the first one there.

    Root needs no user namespace, and without one can become a user that owns nothing.
    """
    if os.geteuid() == 0:
        kernel.unshare(_APART)
        return
    user, group = os.geteuid(), os.getegid()
    kernel.unshare(_APART | kernel.NEW_USER)
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
    Path("/proc/self/gid_map").write_text(f"{group} {group} 1")


def build_root(readable: Iterable[Path], scratch_bytes: int, scratch_files: int) -> None:
    """Replace the root by one that holds these places and an empty `SCRATCH`."""
    sources = _sources(readable)
    kernel.mount("none", "/", flags=kernel.PRIVATE | kernel.RECURSIVE)
    kernel.mount("none", _STAGE, "tmpfs", _BARE, "mode=755,size=1m,nr_inodes=4096")
    os.mkdir(_STAGE + _OLD)
    kernel.change_root(_STAGE, _STAGE + _OLD)
    for path, source in sources.items():
        _show(path, _OLD + source)
    kernel.detach(_OLD)
    os.rmdir(_OLD)
    SCRATCH.mkdir()
    kernel.make_read_only("/")
    options = f"mode=1777,size={scratch_bytes},nr_inodes={scratch_files}"
    kernel.mount("none", str(SCRATCH), "tmpfs", _BARE, options)
    os.chdir(SCRATCH)


def _sources(readable: Iterable[Path]) -> dict[Path, str]:
    """Where each place really lies, by each path that leads to it; those inside others left out.

    Nothing may be made inside a place that is shown: it would be made outside as well.
    """
    given = [path for path in readable if path.exists()]
    real = {path: str(path.resolve()) for path in (*given, *(path.resolve() for path in given))}
    return {path: where for path, where in real.items() if real.keys().isdisjoint(path.parents)}


def _show(path: Path, source: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if Path(source).is_dir():
        path.mkdir()
    else:
        path.touch()
    kernel.mount(source, str(path), flags=kernel.BIND | kernel.RECURSIVE)
