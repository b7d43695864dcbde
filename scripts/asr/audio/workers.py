"""Work on many audio files in several processes: results in order, memory bounded, no hang when a process dies.

Each of them runs this module: ``python -m asr.audio.workers FD``, as asr.core.processes.Child says.
"""

from __future__ import annotations

import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection
from typing import Any

from asr.core.errors import RecipeError
from asr.core.processes import Child, ChildEndedError, cores

Work = Callable[[Any], Any]


def map_in_processes(work: Work, items: Sequence[Any], path_of: Work, number: int | None = None) -> Iterator[Any]:
    """Yield ``work(item)`` of every item, in their order; item i is process i % number's.

    A process that is ahead waits for its pipe to be read. What ``work`` raises is raised here, and a process that was
    killed is a RecipeError that names the file (``path_of(item)``) it was reading. ``number``: None for one a core.
    """
    children = [Child("asr.audio.workers") for _ in range(min(number or cores(), len(items)))]
    try:
        for first, child in enumerate(children):
            child.send((work, items[first :: len(children)]))
        for index, item in enumerate(items):
            try:
                result, error = children[index % len(children)].receive()
            except ChildEndedError as ended:
                memory = " (out of memory?)" if ended.status == -signal.SIGKILL else ""
                raise RecipeError(
                    f"{path_of(item)}: the process that was reading it {ended}{memory}; run the command again: what is"
                    " done is kept"
                ) from None
            if error is not None:
                raise error
            yield result
    finally:
        for child in children:
            child.end()


def _serve(pipe: Connection) -> None:
    """Receive (work, items) and send (result, error) of each item."""
    work, items = pipe.recv()
    for item in items:
        result, error = None, None
        try:
            result = work(item)
        except RecipeError as refusal:
            error = refusal
        except Exception:
            error = RuntimeError(f"{item!r}: {traceback.format_exc()}")
        pipe.send((result, error))


if __name__ == "__main__":
    _serve(Connection(int(sys.argv[1])))
