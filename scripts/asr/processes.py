"""Processes: how many there is room for, and that none outlives its parent."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal

PR_SET_PDEATHSIG = 1  # <linux/prctl.h>


def die_with_parent() -> None:
    """Ask Linux to kill this process when its parent dies.

    torchrun gives its workers a session of their own, so a kill of run.sh's process group would leave them training,
    and writing checkpoints beside those of the next run.
    """
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def cores() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0))
