"""Processes beside this one, which none of them outlives."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import threading
from pathlib import Path

PR_SET_PDEATHSIG = 1  # <linux/prctl.h>
stop_asked = threading.Event()  # a signal has asked this process to stop
person_asked = threading.Event()  # interactive stop: do not restart
saves_on_stop = threading.Event()  # there is something to save first: whoever set this looks at stop_asked


def die_with_parent() -> None:
    """Ask Linux to kill this process when its parent dies.

    torchrun gives its workers a session of their own, so a kill of run.sh's process group would leave them training,
    and writing checkpoints beside those of the next run.
    """
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def become_child() -> None:
    """Leave stopping (Ctrl-C, SIGTERM, SIGHUP of the whole group) to the parent, and do not outlive it."""
    die_with_parent()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)


def children(parent: int) -> list[int]:
    """Return the processes that ``parent`` has started and that are alive."""
    running = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            after_name = path.read_bytes().rpartition(b")")[2].split()  # state, parent, …: proc(5)
            if after_name[0] != b"Z" and int(after_name[1]) == parent:
                running.append(int(path.parent.name))
    return running


def cores() -> int:
    """Return how many CPU cores this process may use."""
    return len(os.sched_getaffinity(0))
