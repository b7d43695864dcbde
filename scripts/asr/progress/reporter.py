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
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from tqdm import tqdm

from asr.progress.curves import draw_or_report
from asr.progress.record import ProgressFile, clock

logger = logging.getLogger("asr.progress")

DRAW_EVERY = 60.0  # seconds, at least, between two drawings of curves.png, each of which takes about one
BAR_EVERY = 0.1  # seconds between two looks of the bar; its loss is the last line's, for a newer one is waited for
GIB = 2.0**30
LINE = {  # the line's values, where they are known
    "loss": "loss {:.3f}",
    "accuracy": "acc {:.3f}",
    "lr": "lr {:.2e}",
    "memory_gb": "memory {:.1f} GB",
    "reserved_gb": "({:.1f} reserved)",
    "waiting_share": "waiting {:.0%}",
    "padding_share": "padding {:.0%}",
    "audio_s_per_s": "audio {:.0f} s/s",
}


def open_bar(total: int, **look: Any) -> tqdm:
    """Return a bar for the person who watches: on the terminal that ASR_TTY names, or on stderr where that is one.

    Its ``disable`` is true where nobody watches. ``look`` is tqdm's. run.sh sets ASR_TTY: its own output goes through
    tee into a log, and torchrun's workers have a session of their own, for which there is no /dev/tty.
    """
    stream, off = sys.stderr, not sys.stderr.isatty()
    with contextlib.suppress(KeyError, OSError):
        stream, off = open(os.environ["ASR_TTY"], "w"), False  # noqa: SIM115 - as long as the bar
    return tqdm(total=total, file=stream, leave=False, dynamic_ncols=True, disable=off, **look)


def memory() -> dict[str, float]:
    """Return ``memory_gb`` of this process: of its GPU the most so far, with ``reserved_gb``, else what is resident."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        allocated, reserved = torch.cuda.max_memory_allocated(), torch.cuda.max_memory_reserved()
        return {"memory_gb": allocated / GIB, "reserved_gb": reserved / GIB}
    return {"memory_gb": psutil.Process().memory_info().rss / GIB}


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
        self.is_begun = False
        self.audio = 0.0
        self.window = Window(self.began)
        bar = open_bar(max_epoch, bar_format="{l_bar}{bar}| {elapsed}<{remaining} {postfix}") if shown else None
        self.bar = None if bar is None or bar.disable else bar
        self.bar_shown, self.logged = -math.inf, ""  # the last line's loss and accuracy

    def _begin(self, resumed_at: int) -> None:
        """On the first log, discard what an earlier process recorded of steps after ``resumed_at``."""
        if self.is_begun:
            return
        self.is_begun = True
        if self.writer is not None:  # closed, it opens a new file at the next scalar, which begins with the purge
            self.writer.purge_step = resumed_at + 1
            self.writer.close()
        if self.exp is not None:
            with self._kept():
                self.file = ProgressFile(self.exp)
        who = {"pid": os.getpid(), "host": platform.node(), "max_epoch": self.max_epoch}
        self._record("start", resumed_at=resumed_at, **who)

    @contextlib.contextmanager
    def _kept(self) -> Iterator[None]:
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

    def update(self, step: Step) -> None:
        """Take one step in; log a line if it is time to."""
        now = self.last_step = time.monotonic()
        self._begin(step.total_steps - 1)
        self.audio += step.audio_seconds * self.world_size
        self.window.audio += step.audio_seconds * self.world_size
        self.window.padded += step.padded_seconds * self.world_size
        self.window.waited += step.waited
        done = step.epoch + step.step / step.steps_in_epoch
        if self.first_progress is None:
            # Time left is judged by this process's own speed: a resumed run starts in the middle.
            self.first_progress = step.epoch + (step.step - 1) / step.steps_in_epoch
        last_of_epoch = step.step >= step.steps_in_epoch
        if step.step % self.log_interval == 0 or last_of_epoch:
            self._log(step, now, left=(now - self.began) / (done - self.first_progress) * (self.max_epoch - done))
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

    def _log(self, step: Step, now: float, left: float) -> None:
        """Log a line of the step and of what was done since the last line; ``left``: seconds to the end of the run."""
        window, self.window = self.window, Window(now)
        seconds = max(now - window.began, 1e-9)
        values = {
            "loss": float(step.loss),
            "accuracy": None if step.accuracy is None else float(step.accuracy),
            "lr": step.lr,
            "audio_s_per_s": window.audio / seconds,
            "waiting_share": min(window.waited / seconds, 1.0),
            "padding_share": 1 - min(window.audio / window.padded, 1.0) if window.padded else None,
            **memory(),
        }
        parts = {key: form.format(values[key]) for key, form in LINE.items() if values.get(key) is not None}
        line = (
            f"epoch {step.epoch + 1}/{self.max_epoch} step {step.step}/{step.steps_in_epoch} {' '.join(parts.values())}"
        )
        logger.info(f"{line.replace('%', ' %')} left {clock(left)}")
        self.logged = f" loss {values['loss']:.3f}" + (f" acc {values['accuracy']:.2f}" if "accuracy" in parts else "")
        position = {"epoch": step.epoch + 1, "step": step.step, "steps_in_epoch": step.steps_in_epoch}
        more = {"total_step": step.total_steps, "max_epoch": self.max_epoch, "left": round(left, 1)}
        self._record("train", **position, **more, **values)
        values["audio_seconds_per_second"] = values.pop("audio_s_per_s")
        self._scalars("train", values, step.total_steps)

    def _scalars(self, kind: str, values: dict[str, float | None], step: int) -> None:
        """Write finite values to TensorBoard."""
        for name, value in values.items():
            if self.writer is not None and value is not None and math.isfinite(value):
                self.writer.add_scalar(f"{kind}/{name}", value, step)

    def validated(self, name: str, values: dict[str, float | None], total_steps: int) -> None:
        """Log what validation measured on checkpoint ``name``, and draw curves.png again."""
        self._begin(total_steps)
        shown = "  ".join(f"{key} {value:.4f}" for key, value in values.items() if value is not None)
        logger.info(f"validation of {name}: {shown}")
        self._record("validation", checkpoint=name, total_step=total_steps, **values)
        self._scalars("validation", values, total_steps)
        if self.exp is not None and self.last_step - self.drawn >= DRAW_EVERY:
            drawn = draw_or_report(self.exp, lambda line: logger.info(f"{line}; training goes on"))
            self.drawn = self.last_step if drawn else math.inf  # after an error no more
        now = time.monotonic()
        self.window.began += now - self.last_step  # the speed of training is without it
        self.last_step = now

    def close(self) -> None:
        """Take the bar away and write the last scalars."""
        for part in (self.bar, self.writer, self.file):
            if part is not None:
                part.close()
        self.file = None
