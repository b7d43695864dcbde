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
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from asr.core.errors import RecipeError

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

    def wait(self) -> None:
        """Wait for the process's end."""
        self._process.wait()

    def end(self) -> None:
        """End the process."""
        self.pipe.close()
        self._process.kill()
        self._process.wait()


def children(parent: int) -> list[int]:
    """Return the processes that ``parent`` has started and that are alive."""
    running = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            after_name = path.read_bytes().rpartition(b")")[2].split()  # state, parent, …: proc(5)
            if after_name[0] != b"Z" and int(after_name[1]) == parent:
                running.append(int(path.parent.name))
    return running


class Helper(contextlib.AbstractContextManager["Helper"]):
    """A forked process that gets ready for one task while others run: ``ready`` (imports), then ``function``.

    ``ask`` gives it the task's arguments, ``wait`` waits for its end: RuntimeError where it failed, after its traceback
    on stderr. Left without a task, or early, it is ended.
    """

    def __init__(self, ready: Callable[[], Any], function: Callable[..., Any]) -> None:
        theirs, self._pipe = multiprocessing.Pipe(duplex=False)
        arguments = (theirs, self._pipe, ready, function)
        self._process = multiprocessing.get_context("fork").Process(target=_help, args=arguments)
        self._process.start()
        theirs.close()

    def ask(self, *arguments: Any) -> None:
        """Give the task; it is begun as soon as the process is ready."""
        with contextlib.suppress(BrokenPipeError):  # it failed in getting ready: ``wait`` says so
            self._pipe.send(arguments)

    def wait(self) -> None:
        """Wait for the task's end."""
        self._process.join()
        if self._process.exitcode:
            raise RuntimeError(f"a helper process ended with status {self._process.exitcode}")

    def __exit__(self, *_: object) -> None:
        self._pipe.close()
        self._process.kill()
        self._process.join()


def _help(pipe: Any, others: Any, ready: Callable[[], Any], function: Callable[..., Any]) -> None:
    become_child()
    others.close()
    os.nice(10)  # what the parent does meanwhile comes first
    ready()
    with contextlib.suppress(EOFError):  # there was no task
        function(*pipe.recv())


@contextlib.contextmanager
def beside(function: Callable[..., Any], *arguments: Any) -> Iterator[None]:
    """Call ``function`` in a forked process while the block runs; only its files are wanted. Waited for at the end.

    RuntimeError where it failed, after its traceback on stderr.
    """
    with Helper(lambda: None, lambda: function(*arguments)) as helper:  # inherited, not pickled
        helper.ask()
        yield
        helper.wait()


def halves(function: Callable[[list[Any]], Any], items: list[Any], share: float = 0.5) -> list[Any]:
    """``function`` of the first half of ``items``, and of the second half, which a forked process works on meanwhile.

    ``share`` is the first half's. What the other process returns must be picklable; what it changes is lost. An
    exception in it is raised here.
    """
    middle = round(len(items) * share)
    ours, theirs = multiprocessing.Pipe(duplex=False)
    child = multiprocessing.get_context("fork").Process(target=_answer, args=(theirs, function, items[middle:]))
    child.start()
    theirs.close()
    try:
        first = function(items[:middle])
        second, error = ours.recv()
    except EOFError:
        raise RecipeError("a process was killed, most likely out of memory; run it again") from None
    finally:
        ours.close()
        child.kill()
        child.join()
    if error is not None:
        raise error
    return [first, second]


def _answer(pipe: Any, function: Callable[[list[Any]], Any], items: list[Any]) -> None:
    become_child()
    try:
        result = function(items), None
    except Exception as error:
        result = None, error if isinstance(error, RecipeError) else RuntimeError(traceback.format_exc())
    pipe.send(result)


def cores() -> int:
    """Return how many CPU cores this process may use."""
    return len(os.sched_getaffinity(0))
