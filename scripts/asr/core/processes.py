"""Processes: how many there is room for, and that none outlives its parent."""

from __future__ import annotations

import contextlib
import ctypes
import multiprocessing
import os
import signal
import threading
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from asr.core.errors import RecipeError

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
    die_with_parent()
    leave_stopping_to_parent()
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
        raise RecipeError("a process was killed, most likely for want of memory; run it again") from None
    finally:
        ours.close()
        child.kill()
        child.join()
    if error is not None:
        raise error
    return [first, second]


def _answer(pipe: Any, function: Callable[[list[Any]], Any], items: list[Any]) -> None:
    die_with_parent()
    leave_stopping_to_parent()
    try:
        result = function(items), None
    except Exception as error:
        result = None, error if isinstance(error, RecipeError) else RuntimeError(traceback.format_exc())
    pipe.send(result)


def cores() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0))
