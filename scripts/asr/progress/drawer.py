"""Has exp/<tag>/curves.png drawn by processes of their own, so that nothing of it can end or slow a training."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from asr.core.run_folder import RunFolder
from asr.progress import record
from asr.progress.curves import PICTURE

DRAW_EVERY = 60.0  # seconds, at least, between two pictures of a run that is at work
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}  # numpy would start one for each core


def _command(exp: Path) -> list[str]:
    return [sys.executable, "-m", "asr.curves", "--exp", str(exp)]


class Drawer:
    """Has curves.png drawn while a run is at work: one process of low priority at a time, at most one a minute.

    ``tell`` is told once where that fails; the run goes on.
    """

    def __init__(self, exp: Path, tell: Callable[[str], None], every: float = DRAW_EVERY) -> None:
        self.exp, self.tell, self.every = exp, tell, every
        self.child: subprocess.Popen | None = None
        self.asked = -float("inf")
        self.told = False

    def ask(self) -> None:
        """Have it drawn now, unless one is being drawn, or was a short while ago. Returns at once."""
        if self._busy() or time.monotonic() - self.asked < self.every:
            return
        self.asked = time.monotonic()
        log = RunFolder(self.exp).log / "curves.log"
        try:
            log.parent.mkdir(exist_ok=True)
            with open(log, "wb") as output:
                self.child = subprocess.Popen(
                    [*_command(self.exp), "--while-training"],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    env={**os.environ, **ONE_THREAD},
                )
        except OSError as error:
            self._failed(str(error))

    def _busy(self) -> bool:
        if self.child is None:
            return False
        status = self.child.poll()
        if status is None:
            return True
        self.child = None
        if status:
            self._failed(f"see {self.exp / 'log' / 'curves.log'}")
        return False

    def _failed(self, why: str) -> None:
        if not self.told:
            self.tell(f"{PICTURE}: could not be drawn ({why}); training goes on")
        self.told = True

    def close(self) -> None:
        """End what is being drawn: the run is over, and asr.train has the last picture drawn."""
        if self._busy() and self.child is not None:
            self.child.kill()
            self.child.wait()


def draw_last(exp: Path) -> None:
    """Have the picture drawn at a run's end, in a process of its own, so that no fault of it is training's."""
    if not (exp / record.FILE).is_file():
        return
    try:
        done = subprocess.run(
            _command(exp), capture_output=True, text=True, errors="replace", timeout=120, stdin=subprocess.DEVNULL
        )
        said = done.stderr.strip().splitlines()
        why = None if done.returncode == 0 else (said or ["no reason given"])[-1].removeprefix("error: ")
    except (OSError, subprocess.TimeoutExpired) as error:
        why = str(error)
    if why:
        print(f"note: {exp / PICTURE} could not be drawn: {why}", flush=True)
