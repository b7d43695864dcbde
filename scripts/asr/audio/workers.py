"""Work on many audio files in several processes: results in order, and no hang when a process dies."""

from __future__ import annotations

import multiprocessing
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from asr.core.errors import RecipeError
from asr.core.processes import become_child, cores

Work = Callable[[Any], Any]


def map_in_processes(work: Work, items: Sequence[Any], path_of: Work, number: int | None = None) -> Iterator[Any]:
    """Yield ``work(item)`` of every item, in their order, by ``number`` processes; None for one a core.

    What ``work`` raises is raised here. A RecipeError where a process was killed names the first file
    (``path_of(item)``) that was being read.
    """
    context, number = multiprocessing.get_context("fork"), min(number or cores(), len(items)) or 1
    with ProcessPoolExecutor(number, context, become_child) as pool:
        try:
            futures = deque(pool.submit(work, item) for item in items)
            for item in items:
                try:
                    yield futures.popleft().result()
                except BrokenProcessPool:
                    raise RecipeError(
                        f"{path_of(item)}: a process that was reading it, or a file soon after it, was killed (out of"
                        " memory?); run the command again: what is done is kept"
                    ) from None
        except BaseException:
            for process in multiprocessing.active_children():
                process.kill()
            raise
