"""FunASR's dataloader with workers that live through epochs, and a place in an epoch that a checkpoint can keep.

Registered with FunASR as ``RecipeDataloader``. FunASR's own forks new workers in every epoch and validation. Workers
that live on have a copy of the dataset as it was in the first epoch, so every index carries its own. It works with our
samplers and FunASR's, and with our dataset and FunASR's.

A checkpoint in the middle of an epoch keeps ``loader.batch_sampler.position(step)``. On resume the trainer's
``start_step``, which ``train_ds.main`` passes to ``build_iter``, is an EpochStart that holds it: then the rest of the
epoch is exact, also under another batch size or number of ranks.

Batches come from the workers through pipes, not through /dev/shm: Docker gives that 64 MB, and a batch that does not
fit is lost by torch without an error, so that the training waits for it for ever. Nothing waits in silence: a worker
that cannot send a batch ends, which torch sees, and where no batch comes for another reason the log says so.
"""

from __future__ import annotations

import itertools
import logging
import multiprocessing.queues
import os
import signal
import threading
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from funasr.register import tables
from torch.utils.data import DataLoader, Sampler

from asr.core.processes import die_with_parent
from asr.data.batches import saved_parts
from asr.data.dataset import EpochIndex, RecipeAudioDataset

DEFAULT_SAMPLER = "ShuffledBatchSampler"
FUNASR_SORT_SIZE = 1024
WAITING = 600.0  # seconds without a batch, after which the log says what is waited for
logger = logging.getLogger("asr.progress")


@dataclass(frozen=True)
class EpochStart:
    """Where an epoch is resumed: after ``step`` steps, and the sampler's ``position`` there, if it has one."""

    step: int
    position: list[list[Any]] | None = None


class _Sent(dict):
    """A batch that a worker sends as numpy's arrays, and that arrives as an ordinary dict of tensors."""

    def __reduce__(self) -> Any:
        return _received, ({name: item.numpy() if torch.is_tensor(item) else item for name, item in self.items()},)


def _received(batch: dict[str, Any]) -> dict[str, Any]:
    return {name: torch.from_numpy(item) if isinstance(item, np.ndarray) else item for name, item in batch.items()}


def _collated(collate: Callable[[Any], dict[str, Any]], clips: Any) -> _Sent:
    return _Sent(collate(clips))


def _end(*_: Any) -> None:
    """A batch could not be sent: multiprocessing would print that, drop the batch and go on."""
    traceback.print_exc()
    os._exit(1)


def _begin_worker(_: int) -> None:
    multiprocessing.queues.Queue._on_queue_feeder_error = staticmethod(_end)
    _leave_stopping_to_the_trainer()


def _leave_stopping_to_the_trainer() -> None:
    """torchrun signals a rank's process group: a worker in it would be killed, and the step to be saved with it.

    To ignore the signals instead is no way out: the loader itself ends its workers with SIGTERM where they do not hear
    it, which happens when it is freed as part of a reference cycle, and Python would then wait for them for ever.
    """
    os.setpgid(0, 0)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    die_with_parent()


class Loader(DataLoader):
    """torch's, with a line in the log for about every WAITING seconds in which no batch comes."""

    waited_for: int | None = None  # number of the batch, from 0; None while the trainer works on one

    def __iter__(self) -> Iterator[dict[str, Any]]:
        batches, over, none = super().__iter__(), threading.Event(), object()
        threading.Thread(target=self._watch, args=(over,), daemon=True).start()
        try:
            for self.waited_for in itertools.count():
                batch = next(batches, none)
                self.waited_for = None
                if batch is none:
                    return
                yield batch
        finally:
            self.waited_for = None
            over.set()

    def _watch(self, over: threading.Event) -> None:
        seen, looks = None, 0
        while not over.wait(WAITING):
            number = self.waited_for
            looks = looks + 1 if number is not None and number == seen else 0
            seen = number
            if looks:
                clips = next(itertools.islice(self.batch_sampler, number, None))
                logger.warning(
                    f"waiting for a batch for more than {looks * WAITING / 60:g} minutes: {len(clips)} clips, the first"
                    f" {self.dataset.index_ds[int(clips[0])]['source']}; its {self.num_workers} data workers live: look"
                    " at the disk that holds the clips"
                )


class EpochBatches(Sampler):
    """The batches of a sampler, which may be replaced, with the epoch in every index."""

    def __init__(self) -> None:
        self.inner: Any = None
        self.epoch = 0

    def __iter__(self) -> Iterator[list[EpochIndex]]:
        return ([EpochIndex(index, self.epoch) for index in batch] for batch in self.inner)

    def __len__(self) -> int:
        return len(self.inner)

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose batches come next."""
        self.epoch = epoch
        self.inner.set_epoch(epoch)

    def gives_all_as_many(self, processes: int) -> bool:
        """Whether every process certainly has the same number of batches; of FunASR's samplers that is not known."""
        return hasattr(self.inner, "all_batches") and len(self.inner.all_batches()) % processes == 0

    def position(self, step: int) -> list[list[Any]] | None:
        """What a checkpoint after ``step`` steps of this epoch has to keep (plain lists); None of FunASR's samplers."""
        return self.inner.position(step) if hasattr(self.inner, "position") else None


@tables.register("dataloader_classes", "RecipeDataloader")
class RecipeDataloader:
    """What ``train_ds.main`` takes in place of FunASR's DataloaderMapStyle; the same arguments."""

    data_split_num = 1  # the whole manifest is in memory: FunASR's slices of it are for corpora of another size

    def __init__(self, frontend: Any = None, tokenizer: Any = None, **kwargs: Any) -> None:
        self.conf = kwargs["dataset_conf"]
        kind = tables.dataset_classes.get(kwargs.get("dataset", "RecipeAudioDataset"))
        self.datasets, self.batches = {}, {}
        self.loaders: dict[bool, Loader] = {}
        for training in (True, False):
            path = kwargs["train_data_set_list" if training else "valid_data_set_list"]
            # Validation compares texts, and FunASR's dataset gives none.
            self.datasets[training] = (kind if training else RecipeAudioDataset)(
                path, frontend=frontend, tokenizer=tokenizer, is_training=training, **self.conf
            )
            self.batches[training] = EpochBatches()

    def build_iter(
        self, epoch: int = 0, data_split_i: int = 0, start_step: EpochStart | int = 0, **_: Any
    ) -> tuple[Loader, Loader]:
        """Return the loaders of an epoch, for training and validation: each is the same object in every epoch.

        ``start_step``: 0 for a whole epoch.
        """
        start = start_step or EpochStart(0)
        parts = saved_parts(start.position or [])
        self.datasets[True].epoch = epoch
        # Parts know their own settings; a checkpoint without them was made under those of now.
        self._prepare(True, {"passed": parts, "start_step": 0 if parts else start.step}, epoch)
        self._prepare(False, {}, epoch)
        return self.loaders[True], self.loaders[False]

    def _sort_size(self) -> int | None:
        return None if self.conf.get("batch_sampler", DEFAULT_SAMPLER) == DEFAULT_SAMPLER else FUNASR_SORT_SIZE

    def _prepare(self, training: bool, place: dict[str, Any], epoch: int) -> None:
        """Put this epoch's batches into the loader, and make the loader in the first epoch."""
        dataset, batches = self.datasets[training], self.batches[training]
        make = tables.batch_sampler_classes.get(self.conf.get("batch_sampler", DEFAULT_SAMPLER))
        # FunASR's samplers, unless told a sort_size, take the clips as they come, long beside short.
        arguments = make(dataset, **{"is_training": training, "sort_size": self._sort_size(), **place, **self.conf})
        sampler = arguments.pop("batch_sampler")
        batches.inner = sampler
        batches.set_epoch(epoch)
        if training not in self.loaders:
            arguments["persistent_workers"] = arguments["num_workers"] > 0
            logging.info(f"{'training' if training else 'validation'}: {len(dataset)} clips, {arguments}")
            arguments |= {"collate_fn": partial(_collated, dataset.collator), "worker_init_fn": _begin_worker}
            self.loaders[training] = Loader(dataset, batch_sampler=batches, **arguments)
