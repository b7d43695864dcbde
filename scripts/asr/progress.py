"""What a person watches while training: one bar on a terminal, plain lines in the log, scalars for TensorBoard."""

from __future__ import annotations

import logging
import math
import os
import time
from dataclasses import dataclass
from typing import Any, TextIO

from tqdm import tqdm

logger = logging.getLogger("asr.progress")


def clock(seconds: float) -> str:
    """Seconds as h:mm:ss."""
    minutes, second = divmod(int(max(seconds, 0)), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{second:02d}"


def open_terminal() -> TextIO | None:
    """The terminal of the person who watches, or None.

    run.sh names it in ASR_TTY: its own output goes through tee into a log, and torchrun's workers have a session of
    their own, for which there is no /dev/tty.
    """
    name = os.environ.get("ASR_TTY")
    if not name:
        return None
    try:
        return open(name, "w")
    except OSError:
        return None


@dataclass
class Step:
    """One training step. ``audio_seconds`` counts real, unpadded audio on this rank."""

    epoch: int
    step: int
    steps_in_epoch: int
    total_steps: int
    loss: float
    accuracy: float | None
    lr: float
    audio_seconds: float


class Progress:
    """Counts steps and tells: a line every ``log_interval`` steps and at the end of every epoch, however short.

    Args:
        max_epoch: epochs in the whole run.
        log_interval: steps between lines.
        writer: a TensorBoard writer or None.
        world_size: processes that train side by side; audio seconds are multiplied by it.
        shown: False on all ranks but the first, which shows the bar.
    """

    def __init__(
        self, max_epoch: int, log_interval: int, writer: Any = None, world_size: int = 1, shown: bool = True
    ) -> None:
        self.max_epoch, self.log_interval = max_epoch, log_interval
        self.writer, self.world_size = writer, world_size
        self.began = time.monotonic()
        self.first_progress: float | None = None
        self.audio = self.window_audio = 0.0
        self.window_began = self.began
        self.bar = self._bar() if shown else None

    def _bar(self) -> Any:
        terminal = open_terminal()
        if terminal is None:
            return None
        shape = "{l_bar}{bar}| {elapsed}<{remaining} {postfix}"
        return tqdm(total=self.max_epoch, file=terminal, bar_format=shape, dynamic_ncols=True, leave=False)

    def update(self, step: Step, force: bool = False) -> None:
        """Take one step in; say something if it is time to, or if ``force``."""
        now = time.monotonic()
        self.audio += step.audio_seconds * self.world_size
        self.window_audio += step.audio_seconds * self.world_size
        done = step.epoch + step.step / max(step.steps_in_epoch, 1)
        if self.first_progress is None:
            # Time left is judged by this process's own speed: a resumed run starts in the middle.
            self.first_progress = step.epoch + (step.step - 1) / max(step.steps_in_epoch, 1)
        if self.bar is not None:
            self.bar.n = min(done, self.max_epoch)
            self.bar.set_description_str(f"epoch {step.epoch + 1}/{self.max_epoch}", refresh=False)
            accuracy = "" if step.accuracy is None else f" acc {step.accuracy:.2f}"
            self.bar.set_postfix_str(
                f"step {step.step}/{step.steps_in_epoch} loss {step.loss:.3f}{accuracy} lr {step.lr:.1e}"
                f" audio {self.audio / max(now - self.began, 1e-9):.0f} s/s"
            )
        last_of_epoch = step.step >= step.steps_in_epoch
        if step.step % self.log_interval and not last_of_epoch and not force:
            return
        speed = self.window_audio / max(now - self.window_began, 1e-9)
        left = (now - self.began) / max(done - self.first_progress, 1e-9) * (self.max_epoch - done)
        self._tell(step, speed, left)
        self.window_audio, self.window_began = 0.0, now

    def _tell(self, step: Step, speed: float, left: float) -> None:
        accuracy = "" if step.accuracy is None else f" acc {step.accuracy:.3f}"
        logger.info(
            f"epoch {step.epoch + 1}/{self.max_epoch} step {step.step}/{step.steps_in_epoch} loss {step.loss:.3f}"
            f"{accuracy} lr {step.lr:.2e} audio {speed:.0f} s/s left {clock(left)}"
        )
        scalars = {"train/loss": step.loss, "train/lr": step.lr, "train/audio_seconds_per_second": speed}
        if step.accuracy is not None:
            scalars["train/accuracy"] = step.accuracy
        self.scalars(scalars, step.total_steps)

    def scalars(self, values: dict[str, float | None], step: int) -> None:
        """Write finite values to TensorBoard."""
        if self.writer is None:
            return
        for name, value in values.items():
            if value is not None and math.isfinite(value):
                self.writer.add_scalar(name, value, step)

    def validated(self, name: str, values: dict[str, float | None], total_steps: int) -> None:
        """Say what validation measured on checkpoint ``name``."""
        shown = "  ".join(f"{key} {value:.4f}" for key, value in values.items() if value is not None)
        logger.info(f"validation of {name}: {shown}")
        self.scalars({f"validation/{key}": value for key, value in values.items()}, total_steps)

    def close(self) -> None:
        """Take the bar away and write the last scalars."""
        if self.bar is not None:
            self.bar.close()
        if self.writer is not None:
            self.writer.close()
