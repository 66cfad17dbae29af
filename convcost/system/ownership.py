"""Ownership of files and folders: a lock that the system releases when its process ends, however it ends."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

if sys.platform != "win32":
    import fcntl

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@contextmanager
def owned(make: Callable[[], Path]) -> Iterator[Path]:
    """A new file or folder that other runs take for that of a living process.

    Args:
        make: Function that creates it; called again if another run took it for abandoned at once.
    """
    path, descriptor = make(), None
    while sys.platform != "win32":  # where an open file cannot be renamed
        descriptor = os.open(path, os.O_RDONLY)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        if path.exists():
            break
        os.close(descriptor)
        path = make()
    try:
        yield path
    finally:
        if descriptor is not None:
            os.close(descriptor)


def remove_abandoned(path: Path, remove: Callable[[Path], object]) -> None:
    """Remove a file or folder whose process has ended; one that is owned, or another user's, stays."""
    if sys.platform == "win32":
        return
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return
    try:
        if os.fstat(descriptor).st_uid == os.getuid():
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            remove(path)
    except OSError:
        return
    finally:
        os.close(descriptor)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep other processes from locking a folder; where the system has no such locks, nothing is kept.

    Raises:
        BlockingIOError: Another process has locked it.
    """
    if sys.platform == "win32":
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise
        except OSError:  # a file system without locks
            pass
        yield
    finally:
        os.close(descriptor)
