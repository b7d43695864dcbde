"""FunASR's dataloader with a place in an epoch that a checkpoint can keep, and with nothing that waits in silence.

Registered with FunASR as ``RecipeDataloader``; it works with our samplers and FunASR's, and with our dataset and
FunASR's. A checkpoint in the middle of an epoch keeps ``loader.batch_sampler.position(step)``. On resume the trainer's
``start_step``, which ``train_ds.main`` passes to ``build_iter``, is an EpochStart that holds it: then the rest of the
epoch is exact, also under another batch size or number of ranks.

Batches come from the workers through pipes, not through /dev/shm: Docker gives that 64 MB, and a batch that does not
fit is lost by torch without an error, so that the training waits for it for ever. A worker that cannot send a batch
ends, which torch sees, and where no batch comes for another reason the log says so.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import multiprocessing.queues
import os
import signal
import threading
import time
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from funasr.register import tables
from torch.utils.data import DataLoader

from asr.core.processes import die_with_parent
from asr.data.dataset import RecipeAudioDataset
from asr.data.sampler import saved_parts

DEFAULT_SAMPLER = "ShuffledBatchSampler"
WAITING = 600.0  # seconds without a batch, after which the log says what is waited for
LOOK = 5.0  # seconds between looks at the workers while a batch is waited for
logger = logging.getLogger("asr.progress")


@dataclass(frozen=True)
class EpochStart:
    """Where an epoch is resumed: after ``step`` steps, and the sampler's ``position`` there, if it has one."""

    step: int
    position: list[list[Any]] | None = None


class _Sent(dict):
    """A batch that a worker sends as numpy's arrays, and that arrives as an ordinary dict of tensors."""

    def __reduce__(self) -> Any:
        return _received, ({name: value.numpy() if torch.is_tensor(value) else value for name, value in self.items()},)


def _received(batch: dict[str, Any]) -> dict[str, Any]:
    return {name: torch.from_numpy(value) if isinstance(value, np.ndarray) else value for name, value in batch.items()}


def _end(*_: Any) -> None:
    """A batch could not be sent: multiprocessing would print that, drop the batch and go on."""
    traceback.print_exc()
    os._exit(1)


def _begin_worker(_: int) -> None:
    """Leave stopping to the trainer: torchrun signals a rank's process group, and the step to be saved needs workers.

    To ignore SIGTERM instead is no way out: with it the loader ends its workers where it is freed as part of a
    reference cycle, and Python would then wait for them for ever.
    """
    multiprocessing.queues.Queue._on_queue_feeder_error = staticmethod(_end)
    os.setpgid(0, 0)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    die_with_parent()


class Loader(DataLoader):
    """torch's, with a line in the log for every WAITING seconds in which no batch comes."""

    def __iter__(self) -> Iterator[dict[str, Any]]:
        batches = super().__iter__()
        workers = [worker.pid for worker in getattr(batches, "_workers", ())]
        # The workers' own ends are left: without them the pipe ends. Where memory is pinned torch needs its end, and a
        # thread of its own reads the pipe, so that the wait has a limit.
        if workers and not batches._pin_memory:
            batches._worker_result_queue._writer.close()
        for number in itertools.count():
            with self._watch(number, workers):
                try:
                    batch = next(batches, None)
                except (EOFError, OSError) as error:
                    if not workers or getattr(error, "errno", None):  # not the end of a pipe
                        raise
                    time.sleep(1)  # the pipe ends a moment before torch hears of it, and says by which signal
                    raise RuntimeError("DataLoader worker ended in the middle of a batch") from error
            if batch is None:
                return
            yield batch

    @contextlib.contextmanager
    def _watch(self, number: int, workers: Sequence[int]) -> Iterator[None]:
        """Say what is waited for while the block waits for batch ``number``, from 0, and whether a worker was killed.

        torch's own word of that is an error out of a signal's handler, wherever the program is, which may be in a
        block that catches everything. Then the rest of a batch that the worker was sending is waited for for ever.
        """
        came, began = threading.Event(), time.monotonic()

        def watch() -> None:
            said = 0
            while not came.wait(min(LOOK, WAITING)):
                if any(map(_ended, workers)):
                    for worker in workers:
                        with contextlib.suppress(ProcessLookupError):
                            os.kill(worker, signal.SIGKILL)
                if time.monotonic() - began >= (said + 1) * WAITING:
                    said += 1
                    clips = next(itertools.islice(self.batch_sampler, number, None))
                    logger.warning(
                        f"waiting for a batch for more than {said * WAITING / 60:g} minutes: {len(clips)} clips, the"
                        f" first {self.dataset.index_ds[int(clips[0])]['source']}; its {self.num_workers} data workers"
                        " live: look at the disk that holds the clips"
                    )

        threading.Thread(target=watch, daemon=True).start()
        try:
            yield
        finally:
            came.set()


def _ended(worker: int) -> bool:
    """Return whether a child process has ended, and leave it to be waited for."""
    try:
        return os.waitid(os.P_PID, worker, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:
        return False


@tables.register("dataloader_classes", "RecipeDataloader")
class RecipeDataloader:
    """What ``train_ds.main`` takes in place of FunASR's DataloaderMapStyle; the same arguments."""

    data_split_num = 1  # the whole manifest is in memory: FunASR's slices of it are for corpora of another size

    def __init__(
        self,
        frontend: Any,
        tokenizer: Any,
        dataset_conf: dict[str, Any],
        train_data_set_list: str,
        valid_data_set_list: str,
        dataset: str = "RecipeAudioDataset",
        **_: Any,
    ) -> None:
        self.conf = dataset_conf
        conf = {**dataset_conf, "frontend": frontend, "tokenizer": tokenizer}
        self.training = tables.dataset_classes.get(dataset)(train_data_set_list, is_training=True, **conf)
        # Validation compares texts, and FunASR's dataset gives none.
        self.validation = RecipeAudioDataset(valid_data_set_list, is_training=False, **conf)

    def build_iter(
        self, epoch: int = 0, data_split_i: int = 0, start_step: EpochStart | int = 0, **_: Any
    ) -> tuple[Loader, Loader]:
        """Return the loaders of an epoch, for training and validation; ``start_step``: 0 for a whole epoch."""
        start = start_step or EpochStart(0)
        parts = saved_parts(start.position or [])
        self.training.epoch = epoch
        # Parts know their own settings; a checkpoint without them was made under those of now.
        place = {"passed": parts, "start_step": 0 if parts else start.step}
        training = self._loader(self.training, epoch, is_training=True, **place)
        return training, self._loader(self.validation, epoch, is_training=False)

    def _loader(self, dataset: Any, epoch: int, **how: Any) -> Loader:
        arguments = tables.batch_sampler_classes.get(self.conf["batch_sampler"])(dataset, **how, **self.conf)
        arguments["batch_sampler"].set_epoch(epoch)
        logging.info(f"{'training' if how['is_training'] else 'validation'}: {len(dataset)} clips, {arguments}")
        arguments |= {"collate_fn": lambda clips: _Sent(dataset.collator(clips)), "worker_init_fn": _begin_worker}
        arguments["persistent_workers"] = False  # which FunASR's samplers ask for: the next epoch's is another loader
        return Loader(dataset, **arguments)
