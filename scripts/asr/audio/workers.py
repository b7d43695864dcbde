"""Work on many audio files in several processes: results in order, memory bounded, no hang when a process dies."""

from __future__ import annotations

import multiprocessing
import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any

from asr.core.errors import RecipeError
from asr.core.processes import cores, die_with_parent

Work = Callable[[Any], Any]


def map_in_processes(work: Work, items: Sequence[Any], path_of: Work, number: int | None = None) -> Iterator[Any]:
    """Yield ``work(item)`` of every item, in their order; item i is process i % number's.

    A process that is ahead waits for its pipe to be read. What ``work`` raises is raised here, and a process that was
    killed is a RecipeError that names the file (``path_of(item)``) it was reading. ``number``: None for one a core.
    """
    context, number = multiprocessing.get_context("fork"), min(number or cores(), len(items))
    processes, pipes = [], []
    try:
        for first in range(number):
            ours, theirs = context.Pipe(duplex=False)
            processes.append(context.Process(target=_serve, args=(work, items[first::number], theirs), daemon=True))
            processes[-1].start()
            theirs.close()  # else this process would not see the other one's end
            pipes.append(ours)
        for index, item in enumerate(items):
            try:
                result, error = pipes[index % number].recv()
            except EOFError:
                raise _ended(processes[index % number], path_of(item)) from None
            if error is not None:
                raise error
            yield result
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.join()


def _ended(process: Any, path: str) -> RecipeError:
    process.join()
    code = process.exitcode
    how = f"by signal {-code}" if code < 0 else f"with status {code}"
    memory = " (out of memory?)" if code == -signal.SIGKILL else ""
    return RecipeError(
        f"{path}: the process that was reading it was ended {how}{memory}; run the command again: what is done is kept"
    )


def _serve(work: Work, items: Sequence[Any], pipe: Connection) -> None:
    """In a process of its own, which its parent ends: send (result, error) of each item."""
    die_with_parent()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())  # so that half-written files are removed
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    for item in items:
        result, error = None, None
        try:
            result = work(item)
        except RecipeError as refusal:
            error = refusal
        except Exception:
            error = RuntimeError(f"{item!r}: {traceback.format_exc()}")
        with suppress(BrokenPipeError):
            pipe.send((result, error))
