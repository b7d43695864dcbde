"""Processes beside this one, which none of them outlives."""

from __future__ import annotations

import contextlib
import ctypes
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

PR_SET_PDEATHSIG = 1  # <linux/prctl.h>
stop_asked = threading.Event()  # a signal has asked this process to stop
person_asked = threading.Event()  # interactive stop: do not restart
saves_on_stop = threading.Event()  # there is something to save first: whoever set this looks at stop_asked


def die_with_parent() -> None:
    """Ask Linux to kill this process when its parent dies.

    torchrun gives its workers a session of their own, so a kill of run.sh's process group would leave them training,
    and writing checkpoints beside those of the next run.
    """
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def leave_stopping_to_parent() -> None:
    """Ignore a stop of the whole group (Ctrl-C, SIGTERM, SIGHUP): the parent ends this process."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)


def become_child() -> None:
    """Do what a process does first that its parent ends, and that may not outlive it."""
    die_with_parent()
    leave_stopping_to_parent()


class ChildEndedError(Exception):
    """A child process is gone; ``status`` is its exit status, or -n where signal n killed it."""

    def __init__(self, status: int) -> None:
        self.status = status
        super().__init__(
            f"ended with status {status}" if status >= 0 else f"was killed by {signal.Signals(-status).name}"
        )


class Child:
    """A process that runs ``python -m MODULE FD``, where FD is its end of a pipe to this process.

    It ends with this process, or by ``end``. multiprocessing.connection.wait takes children as it takes pipes.
    """

    def __init__(self, module: str) -> None:
        self.pipe, theirs = multiprocessing.Pipe()
        command = [sys.executable, "-m", module, str(theirs.fileno())]
        self._process = subprocess.Popen(command, pass_fds=[theirs.fileno()], preexec_fn=become_child)
        theirs.close()

    def fileno(self) -> int:
        """Return the pipe's file descriptor."""
        return self.pipe.fileno()

    def send(self, value: Any) -> None:
        """Send a value; that the process is gone is noticed where it is received from."""
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.pipe.send(value)

    def receive(self) -> Any:
        """Return what the process has sent. ChildEndedError where it is gone."""
        try:
            return self.pipe.recv()
        except (EOFError, ConnectionResetError):
            raise ChildEndedError(self._process.wait()) from None

    def end(self) -> None:
        """End the process."""
        self._process.kill()  # first: it is not to see a pipe that is closed
        self._process.wait()
        self.pipe.close()


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
