"""How far stage 1 is: a bar where a person is watching; elsewhere a line at every tenth of a long way."""

from __future__ import annotations

import contextlib

from asr.progress.reporter import open_bar

_NO_LINES = 1000  # clips: so few take seconds


class ProgressBar(contextlib.AbstractContextManager["ProgressBar"]):
    """Shows how many of ``total`` clips are done; ``update`` counts them."""

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
