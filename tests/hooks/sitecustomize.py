"""For trainings under test: which clips were read, and a place to be stopped at. Found by Python through PYTHONPATH.

In the folder $WATCHED: ``seen`` gets a line ``split epoch key`` for each clip that is read. While ``hold`` is there, a
process that comes to the place which it names waits, after it has written its number to ``held``. ``hold`` is a place
and how often at least a process passes it before: ``train 7`` and ``val 2`` are clips that it reads, ``train@3 7`` one
of epoch 3 (from 0), ``save 0`` is a state file, written but not yet under its name. Where ``room`` is there, the
backward pass of what has more padded frames than it says runs out of memory when it is done. While ``slow`` is there,
each clip takes a second to read: a training that is not to end before something else has begun.
"""

from __future__ import annotations

import importlib.abc
import importlib.util
import os
import sys
import time
from collections import Counter
from pathlib import Path

FOLDER = Path(os.environ.get("WATCHED", "/nowhere"))
passed: Counter[str] = Counter()


def is_place(text: str, names: tuple[str, ...]) -> bool:
    """Return whether ``text`` names where a process is; of two that read at once neither may see just that number."""
    place, _, before = text.rpartition(" ")
    return place in names and passed[place] >= int(before)


def come_to(*names: str) -> None:
    """Wait here if this is where to wait."""
    hold = FOLDER / "hold"
    if hold.exists() and is_place(hold.read_text(), names):
        writing = FOLDER / f"held.{os.getpid()}"
        writing.write_text(str(os.getpid()))
        writing.rename(FOLDER / "held")
        while hold.exists():
            time.sleep(0.01)
    passed.update(names)


def read_before(split: str, in_epoch: str) -> None:
    """Count what all processes have read: a data worker is another process in every epoch."""
    seen = FOLDER / "seen"
    lines = seen.read_text().splitlines() if seen.exists() else []
    passed[split] = sum(line.startswith(f"{split} ") for line in lines)
    passed[in_epoch] = sum(line.startswith(f"{in_epoch.replace('@', ' ')} ") for line in lines)


def watch(dataset: object) -> None:
    """Have every clip that the recipe's dataset reads written down."""
    kind = dataset.RecipeAudioDataset  # type: ignore[attr-defined]
    read = kind.__getitem__

    def watched(self, index):
        split, epoch = ("train" if self.is_training else "val"), getattr(index, "epoch", self.epoch)
        read_before(split, f"{split}@{epoch}")
        come_to(split, f"{split}@{epoch}")
        with open(FOLDER / "seen", "a") as stream:  # short lines are appended whole
            stream.write(f"{split} {epoch} {self.index_ds[int(index)]['key']}\n")
        if (FOLDER / "slow").exists():
            time.sleep(1)
        return read(self, index)

    kind.__getitem__ = watched


def limit(engine: object) -> None:
    """Have backward passes run out of memory."""
    kind = engine.TorchEngine  # type: ignore[attr-defined]
    forward, backward = kind.forward, kind.backward

    def remembering(self, batch):
        self.last_size = len(batch["speech_lengths"]) * int(batch["speech_lengths"].max())
        return forward(self, batch)

    def limited(self, loss):
        backward(self, loss)
        room = FOLDER / "room"
        if room.exists() and self.last_size > int(room.read_text()):
            raise engine.torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")  # type: ignore

    kind.forward, kind.backward = remembering, limited


WATCHED = {"asr.data.dataset": watch, "asr.training.engine": limit}


class Watcher(importlib.abc.MetaPathFinder):
    """Calls ``watch`` with asr.data.dataset, and ``limit`` with asr.training.engine, as soon as they are imported."""

    def find_spec(self, name, path=None, target=None):
        if name not in WATCHED:
            return None
        change = WATCHED.pop(name)
        spec = importlib.util.find_spec(name)
        load = spec.loader.exec_module
        spec.loader.exec_module = lambda module: (load(module), change(module))
        return spec


def watched_fsync(file, fsync=os.fsync):
    """What ``asr.core.files`` calls last before a file takes its name."""
    if ".state.pt." in os.readlink(f"/proc/self/fd/{file}"):
        come_to("save")
    fsync(file)


if FOLDER.is_dir():
    sys.meta_path.insert(0, Watcher())
    os.fsync = watched_fsync
