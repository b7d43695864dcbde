"""Locks that end with the process, on file systems that have them."""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any


def lock(stream: IO[Any] | int, shared: bool = False, wait: bool = False) -> str | None:
    """Lock an open file for this process; return None, or why this file system (Lustre, some NFS and FUSE) cannot.

    BlockingIOError where another process has it and ``wait`` is false: no other error means that.
    """
    try:
        fcntl.flock(stream, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        raise
    except OSError as error:
        return f"cannot be locked here ({error.strerror})"
    return None


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Hold ``folder`` for one process at a time: others wait, and say so. The lock is a file beside it."""
    path = folder.absolute().with_name(f".{folder.name}.lock")
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "a", encoding="utf-8") as stream:
        try:
            if why := lock(stream):
                print(f"note: {path} {why}: let no other process write to {folder}")
        except BlockingIOError:
            print(f"{folder}: another process is at work on it; waiting for its end", flush=True)
            lock(stream, wait=True)
        yield
