"""Work on many audio files side by side: in order, in bounded memory, and never a hang when a process dies."""

from __future__ import annotations

import contextlib
import gc
import multiprocessing
import signal
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from multiprocessing.connection import Connection, wait
from typing import Any

from asr.core.errors import RecipeError
from asr.core.processes import cores, die_with_parent, leave_stopping_to_parent
from asr.progress.reporter import open_bar

CHUNK = 16  # items a message: the way there and back costs 0.1 ms, a clip about 1 ms
_AHEAD = 8  # chunks for each process that may wait for their turn behind a slow one
_NO_LINES = 1000  # items: so few take seconds

Work = Callable[[Any], Any]


class Progress(contextlib.AbstractContextManager["Progress"]):
    """A bar where a person is watching; elsewhere a line at every tenth of the way, if the way is long."""

    def __init__(self, what: str, total: int) -> None:
        self.what, self.total, self.done = what, total, 0
        self._bar = open_bar(total, desc=what, unit="clip")
        self._lines = self._bar.disable and total > _NO_LINES

    def update(self, number: int) -> None:
        """``number`` more are done."""
        tenth = self.done * 10 // max(self.total, 1)
        self.done += number
        self._bar.update(number)
        if self._lines and self.done * 10 // self.total > tenth:
            print(f"{self.what}: {self.done:,} of {self.total:,}", flush=True)

    def __exit__(self, *_: object) -> None:
        self._bar.close()


class _Worker:
    """A forked process that answers a list of items with the list of their results."""

    def __init__(self, work: Work, name: Callable[[Any], str], others: Sequence[Connection]) -> None:
        context = multiprocessing.get_context("fork")
        self.pipe, theirs = context.Pipe()
        self.at = context.RawValue("i", 0)  # which of the chunk's items it is at
        self.name = name
        self.chunk: Sequence[Any] = ()
        inherited = (*others, self.pipe)  # a worker that held these would keep others from seeing this process end
        self.process = context.Process(target=_serve, args=(work, theirs, self.at, inherited), daemon=True)
        self.process.start()
        theirs.close()

    def give(self, chunk: Sequence[Any]) -> None:
        self.chunk, self.at.value = chunk, 0
        with contextlib.suppress(OSError):  # it has died: take() says so
            self.pipe.send(chunk)

    def take(self) -> list[Any]:
        """The results; what the work raised; a RecipeError where the process is gone."""
        try:
            results, error = self.pipe.recv()
        except (EOFError, OSError):
            self.process.join(5)
            code = self.process.exitcode or 0
            how = f"by signal {-code}" if code < 0 else f"with status {code}"
            memory = " (is the memory full?)" if code == -signal.SIGKILL else ""
            raise RecipeError(
                f"{self.name(self.chunk[self.at.value])}: the process that was reading it was ended {how}{memory};"
                " run it again, what is done already is kept"
            ) from None
        if error is not None:
            raise error
        return results

    def stop(self) -> None:
        self.process.join(2)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
        self.pipe.close()


def _serve(work: Work, pipe: Connection, at: Any, inherited: Sequence[Connection]) -> None:
    """A worker's life: until its pipe closes, its parent dies, or it is told to stop."""
    leave_stopping_to_parent()
    signal.signal(signal.SIGTERM, _leave)
    die_with_parent()
    gc.freeze()  # else the first collection would copy every page of the parent's utterances
    for connection in inherited:
        connection.close()
    while True:
        try:
            pipe.send(_answer(work, pipe.recv(), at))
        except (EOFError, OSError):
            return


def _leave(_signal: int, _frame: Any) -> None:
    # What the exit leaves unfinished (a sound file without parameters yet) may complain in its destructor.
    sys.unraisablehook = lambda _: None
    raise SystemExit  # so that half-written files are taken away


def _answer(work: Work, chunk: Sequence[Any], at: Any) -> tuple[list[Any], Exception | None]:
    results = []
    for number, item in enumerate(chunk):
        at.value = number
        try:
            results.append(work(item))
        except RecipeError as error:
            return [], error
        except Exception:
            return [], RuntimeError(f"{item!r}: {traceback.format_exc()}")
    return results, None


class Workers(contextlib.AbstractContextManager["Workers"]):
    """Processes that start when there is something to do, and end with the block, at once where it is left early.

    Args:
        work: called with one item, in another process; a RecipeError that it raises is raised here.
        name: an item's file, for the message when the process that works on it is killed.
        number: processes; None: one for each processor.
    """

    def __init__(self, work: Work, name: Callable[[Any], str], number: int | None = None) -> None:
        self._work, self._name, self._number = work, name, number or cores()
        self._workers: list[_Worker] = []

    def run(self, chunks: Iterable[Sequence[Any]]) -> Iterator[list[Any]]:
        """The results of every chunk, in the order of the chunks; an empty chunk costs nothing.

        A killed process is a RecipeError that names what it was reading.
        """
        source = enumerate(chunks)
        done: dict[int, list[Any]] = {}
        busy: dict[Connection, tuple[_Worker, int]] = {}
        given = taken = 0
        more = True
        while more or busy or taken < given:
            while more and len(busy) < self._number and given - taken < _AHEAD * self._number:
                number, chunk = next(source, (None, ()))
                if number is None:
                    more = False
                    break
                given += 1
                if chunk:
                    worker = self._idle(busy)
                    worker.give(chunk)
                    busy[worker.pipe] = worker, number
                else:
                    done[number] = []
            while taken in done:
                yield done.pop(taken)
                taken += 1
            for pipe in wait(list(busy)) if busy else ():
                worker, number = busy.pop(pipe)
                done[number] = worker.take()

    def _idle(self, busy: dict[Connection, Any]) -> _Worker:
        for worker in self._workers:
            if worker.pipe not in busy:
                return worker
        held = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # no traceback of a worker about to begin
        try:
            self._workers.append(_Worker(self._work, self._name, [worker.pipe for worker in self._workers]))
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, held)
        return self._workers[-1]

    def __exit__(self, *_: object) -> None:
        for worker in self._workers:
            worker.process.terminate()
        for worker in self._workers:
            worker.stop()
        self._workers = []
