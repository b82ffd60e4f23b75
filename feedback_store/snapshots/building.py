"""The folder that a snapshot is built in: gone with the build, or found where that was killed."""

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from feedback_store.errors import Unavailable

try:
    import fcntl
except ImportError:  # Windows: nobody can tell a build that goes on from one that was killed
    fcntl = None  # type: ignore[assignment]

_NAME = re.compile(r"\.building\.[0-9a-f]{32}")


@contextmanager
def building(folder: Path) -> Iterator[Path]:
    """A folder to build in, gone afterwards unless it was moved."""
    aside = folder / f".building.{uuid4().hex}"
    try:
        aside.mkdir(parents=True)
        with _held(aside):
            yield aside
    except OSError as error:
        raise Unavailable(f"{folder}: can't be written ({error.strerror})") from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def abandoned_builds(folder: Path) -> Iterator[Path]:
    """What builds left that were killed; they hold rows, and nobody goes on with them."""
    for path in sorted(folder.glob(".building.*")):
        if _NAME.fullmatch(path.name) and path.is_dir() and not path.is_symlink():
            try:
                with _held(path):
                    dead = fcntl is not None
            except OSError:  # its builder holds it, or has just removed it
                dead = False
            if dead:
                yield path


@contextmanager
def _held(folder: Path) -> Iterator[None]:
    """Hold a folder, as the kernel lets go of it whichever way the process ends."""
    if fcntl is None:
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)
