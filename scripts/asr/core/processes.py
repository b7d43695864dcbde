"""Processes: how many there is room for, and that none outlives its parent."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import threading
from pathlib import Path

PR_SET_PDEATHSIG = 1  # <linux/prctl.h>
stop_asked = threading.Event()  # a signal has asked this process to stop
person_asked = threading.Event()  # and it came from a person, who does not want it begun anew
saves_on_stop = threading.Event()  # there is something to save first: whoever set this looks at stop_asked


def die_with_parent() -> None:
    """Ask Linux to kill this process when its parent dies.

    torchrun gives its workers a session of their own, so a kill of run.sh's process group would leave them training,
    and writing checkpoints beside those of the next run.
    """
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def leave_stopping_to_parent() -> None:
    """In a child: a stop of the whole group (Ctrl-C, SIGTERM, SIGHUP) is the parent's, which ends this process."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)


def children(parent: int) -> list[int]:
    """The processes that ``parent`` has begun and that are there."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            after_name = path.read_bytes().rpartition(b")")[2].split()  # state, parent, …: proc(5)
            if after_name[0] != b"Z" and int(after_name[1]) == parent:
                found.append(int(path.parent.name))
    return found


def cores() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0))
