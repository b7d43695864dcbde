"""What a person watches while training: a bar on a terminal, lines in the log, TensorBoard, progress.jsonl, curves.png.

TensorBoard's scalars, by training step (``total_steps``): train/loss, train/accuracy, train/lr,
train/audio_seconds_per_second, train/waiting_share, train/padding_share, train/memory_gb, and validation/loss,
validation/accuracy, validation/cer. A gigabyte of memory is 2^30 bytes, as torch and nvidia-smi count.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import platform
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from tqdm import tqdm

from asr.progress.curves import draw_or_report
from asr.progress.record import ProgressFile, clock

logger = logging.getLogger("asr.progress")

DRAW_EVERY = 60.0  # seconds, at least, between two drawings of curves.png, each of which takes about one
BAR_EVERY = 0.1  # seconds between two looks of the bar; its loss is the last line's, for a newer one is waited for
GIB = 2.0**30


def open_terminal() -> TextIO | None:
    """Return the terminal of the person who watches, or None.

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


def open_bar(total: int, **look: Any) -> tqdm:
    """Return a bar for the person who watches: on the terminal that run.sh names, or on stderr where that is one.

    Its ``disable`` is true where nobody watches. ``look`` is tqdm's.
    """
    terminal = open_terminal()
    stream = terminal or sys.stderr
    off = terminal is None and not stream.isatty()
    return tqdm(total=total, file=stream, leave=False, dynamic_ncols=True, disable=off, **look)


def memory() -> dict[str, float]:
    """Return GB of this process: of its GPU the most allocated and reserved so far, else what is resident now.

    ``{"memory_gb": …, "reserved_gb": …}``, without the latter on the CPU, empty where it cannot be known.
    """
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        return {
            "memory_gb": torch.cuda.max_memory_allocated() / GIB,
            "reserved_gb": torch.cuda.max_memory_reserved() / GIB,
        }
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return {}
    return {"memory_gb": pages * os.sysconf("SC_PAGE_SIZE") / GIB}


@dataclass
class Step:
    """One training step. ``audio_seconds`` counts real, unpadded audio on this rank.

    ``loss`` and ``accuracy`` may be tensors of one number: they are read only where they are logged. ``waited`` is the
    seconds that the step waited for its data, ``padded_seconds`` the audio with its padding, 0 where it is not known.
    """

    epoch: int
    step: int
    steps_in_epoch: int
    total_steps: int
    loss: Any
    accuracy: Any
    lr: float
    audio_seconds: float
    waited: float = 0.0
    padded_seconds: float = 0.0


@dataclass
class Window:
    """What was done since the last line: when it began, audio and padded audio in seconds, seconds of waiting."""

    began: float
    audio: float = 0.0
    padded: float = 0.0
    waited: float = 0.0

    def shares(self, now: float) -> dict[str, float | None]:
        """Return audio seconds a second, and the shares of waiting and of padding."""
        seconds = max(now - self.began, 1e-9)
        return {
            "audio_s_per_s": self.audio / seconds,
            "waiting_share": min(self.waited / seconds, 1.0),
            "padding_share": 1 - min(self.audio / self.padded, 1.0) if self.padded else None,
        }


class Progress:
    """Counts steps and logs: a line every ``log_interval`` steps and at the end of every epoch, however short.

    Args:
        max_epoch: epochs in the whole run.
        log_interval: steps between lines.
        writer: a TensorBoard writer in a run's folder tensorboard/, or None; progress.jsonl and curves.png are kept
            beside that folder.
        world_size: processes that train side by side; audio seconds are multiplied by it.
        shown: False on all ranks but the first, which shows the bar and writes the files.
    """

    def __init__(
        self, max_epoch: int, log_interval: int, writer: Any = None, world_size: int = 1, shown: bool = True
    ) -> None:
        self.max_epoch, self.log_interval = max_epoch, log_interval
        self.writer, self.world_size = writer, world_size
        self.exp = Path(writer.logdir).parent if shown and writer is not None else None
        self.file: ProgressFile | None = None
        self.drawn = -math.inf  # when curves.png was drawn last
        self.began = self.last_step = time.monotonic()
        self.first_progress: float | None = None
        self.resumed_at: int | None = None
        self.audio = 0.0
        self.window = Window(self.began)
        shape = "{l_bar}{bar}| {elapsed}<{remaining} {postfix}"
        bar = open_bar(max_epoch, bar_format=shape) if shown else None
        self.bar = None if bar is None or bar.disable else bar
        self.bar_shown, self.logged = -math.inf, ""  # the last line's loss and accuracy

    def _begin(self, resumed_at: int) -> None:
        """On the first log, discard what an earlier process recorded of steps after ``resumed_at``."""
        if self.resumed_at is not None:
            return
        self.resumed_at = resumed_at
        if self.writer is not None:  # closed, it opens a new file at the next scalar, which begins with the purge
            self.writer.purge_step = resumed_at + 1
            self.writer.close()
        if self.exp is not None:
            with self._kept():
                self.file = ProgressFile(self.exp)
        who = {"pid": os.getpid(), "host": platform.node(), "max_epoch": self.max_epoch}
        self._record("start", resumed_at=resumed_at, **who)

    @contextlib.contextmanager
    def _kept(self) -> Any:
        """Suppress an OSError: progress.jsonl must not end a training. It is reported once, and the file given up."""
        try:
            yield
        except OSError as error:
            self.file = None
            logger.info(f"progress.jsonl: not written any more ({error.strerror or error}); training goes on")

    def _record(self, kind: str, **values: Any) -> None:
        if self.file is not None:
            with self._kept():
                self.file.add({"kind": kind, "time": round(time.time(), 3), **values})

    def update(self, step: Step, force: bool = False) -> None:
        """Take one step in; log a line if it is time to, or if ``force``."""
        now = self.last_step = time.monotonic()
        self._begin(step.total_steps - 1)
        self.audio += step.audio_seconds * self.world_size
        self.window.audio += step.audio_seconds * self.world_size
        self.window.padded += step.padded_seconds * self.world_size
        self.window.waited += step.waited
        done = step.epoch + step.step / max(step.steps_in_epoch, 1)
        if self.first_progress is None:
            # Time left is judged by this process's own speed: a resumed run starts in the middle.
            self.first_progress = step.epoch + (step.step - 1) / max(step.steps_in_epoch, 1)
        last_of_epoch = step.step >= step.steps_in_epoch
        if step.step % self.log_interval == 0 or last_of_epoch or force:
            left = (now - self.began) / max(done - self.first_progress, 1e-9) * (self.max_epoch - done)
            self._log(step, self.window.shares(now), left)
            self.window = Window(now)
        if self.bar is not None and (last_of_epoch or now - self.bar_shown >= BAR_EVERY):
            self._show(step, done, now)

    def _show(self, step: Step, done: float, now: float) -> None:
        self.bar_shown = now
        self.bar.n = min(done, self.max_epoch)
        self.bar.set_description_str(f"epoch {step.epoch + 1}/{self.max_epoch}", refresh=False)
        self.bar.set_postfix_str(
            f"step {step.step}/{step.steps_in_epoch}{self.logged} lr {step.lr:.1e}"
            f" audio {self.audio / max(now - self.began, 1e-9):.0f} s/s"
        )

    def _log(self, step: Step, window: dict[str, float | None], left: float) -> None:
        loss, accuracy = float(step.loss), None if step.accuracy is None else float(step.accuracy)
        self.logged = f" loss {loss:.3f}" + ("" if accuracy is None else f" acc {accuracy:.2f}")
        used = memory()
        parts = [f"epoch {step.epoch + 1}/{self.max_epoch} step {step.step}/{step.steps_in_epoch} loss {loss:.3f}"]
        parts += [] if accuracy is None else [f"acc {accuracy:.3f}"]
        parts += [f"lr {step.lr:.2e}"]
        reserved = f" ({used['reserved_gb']:.1f} reserved)" if "reserved_gb" in used else ""
        parts += [f"memory {used['memory_gb']:.1f} GB{reserved}"] if used else []
        parts += [f"waiting {100 * window['waiting_share']:.0f} %"]
        parts += [] if window["padding_share"] is None else [f"padding {100 * window['padding_share']:.0f} %"]
        logger.info(" ".join([*parts, f"audio {window['audio_s_per_s']:.0f} s/s left {clock(left)}"]))
        values = {"loss": loss, "accuracy": accuracy, "lr": step.lr, **window, **used}
        place = {"epoch": step.epoch + 1, "step": step.step, "steps_in_epoch": step.steps_in_epoch}
        more = {"total_step": step.total_steps, "max_epoch": self.max_epoch, "left": round(left, 1)}
        self._record("train", **place, **more, **values)
        names = {"audio_s_per_s": "audio_seconds_per_second"}
        self.scalars({f"train/{names.get(key, key)}": value for key, value in values.items()}, step.total_steps)

    def scalars(self, values: dict[str, float | None], step: int) -> None:
        """Write finite values to TensorBoard."""
        if self.writer is None:
            return
        for name, value in values.items():
            if value is not None and math.isfinite(value):
                self.writer.add_scalar(name, value, step)

    def validated(self, name: str, values: dict[str, float | None], total_steps: int) -> None:
        """Log what validation measured on checkpoint ``name``, and draw curves.png again."""
        self._begin(total_steps)
        shown = "  ".join(f"{key} {value:.4f}" for key, value in values.items() if value is not None)
        logger.info(f"validation of {name}: {shown}")
        self._record("validation", checkpoint=name, total_step=total_steps, **values)
        self.scalars({f"validation/{key}": value for key, value in values.items()}, total_steps)
        self._draw()
        now = time.monotonic()
        self.window.began += now - self.last_step  # the speed of training is without it
        self.last_step = now

    def _draw(self) -> None:
        """Draw curves.png, unless that was done a moment ago; after an error no more."""
        if self.exp is not None and self.last_step - self.drawn >= DRAW_EVERY:
            drawn = draw_or_report(self.exp, lambda line: logger.info(f"{line}; training goes on"))
            self.drawn = self.last_step if drawn else math.inf

    def close(self) -> None:
        """Take the bar away and write the last scalars."""
        if self.bar is not None:
            self.bar.close()
        if self.writer is not None:
            self.writer.close()
        if self.file is not None:
            self.file.close()
            self.file = None
