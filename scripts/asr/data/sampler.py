"""Batches of clips of like length, in an order that is new every epoch, and exact wherever a run goes on.

FunASR's BatchSampler sorts the clips of each buffer and puts out batches from short to long, in every epoch; a small
buffer mixes lengths better and pads more. Here the batches of large buffers are shuffled: little padding, no order.
Registered with FunASR as ``ShuffledBatchSampler``.

An epoch's batches are a function of lengths, settings, seed and epoch: the same on every rank and machine. So a place
in the middle of an epoch is only the settings and the steps taken under them; the rest of the epoch is exact even where
a run goes on with another batch size or another number of ranks.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch.distributed as dist
from funasr.register import tables
from torch.utils.data import Sampler

from asr.core.errors import RecipeError
from asr.data.chance import permutation

CLIPS, BATCHES = 11, 12  # purposes of chance, apart from asr.data.augmentation's
# Padding falls with the batches cut from one sorted buffer: about 2 % at this many, whatever the batch_size.
BATCHES_SORTED = 100
LEAST_SORTED = 1024


@dataclass(frozen=True)
class BatchSettings:
    """All that the batches of an epoch depend on, beside the manifest: what a checkpoint has to keep for a restart."""

    batch_size: int
    batch_type: str
    sort_size: int
    seed: int
    world_size: int
    factors: tuple[tuple[str, tuple[float, ...]], ...] = ()  # of the augmentation, by key: they change lengths


Part = tuple[BatchSettings, int]  # the steps that each rank took in an epoch under these settings


def packed(lengths: Sequence[int], batch_size: int, sort_size: int) -> list[tuple[int, int]]:
    """Return (begin, end) of batches over clips that rise in length within every ``sort_size`` of them."""
    cuts, begin = [], 0
    for here, length in enumerate(lengths):  # rising: the newest is the longest, and sets the padded length
        if here > begin and (length * (here - begin + 1) > batch_size or here % sort_size == 0):
            cuts.append((begin, here))
            begin = here
    return [*cuts, (begin, len(lengths))] if len(lengths) else cuts


def spread(batches: list[np.ndarray], world_size: int) -> None:
    """Split the batches with the most clips in two, until all ranks get equally many."""
    while len(batches) % world_size:
        largest = max(range(len(batches)), key=lambda number: len(batches[number]))
        if len(batches[largest]) < 2:
            return
        whole = batches[largest]
        batches[largest] = whole[::2]
        batches.append(whole[1::2])


def plan(
    clips: np.ndarray, lengths: np.ndarray, settings: BatchSettings, epoch: int, shuffle: bool
) -> list[np.ndarray]:
    """Return the batches of ``clips`` for all ranks together, in their order: rank r of w takes batches r, r + w, ….

    Args:
        clips: [n] indices, rising.
        lengths: [every clip of the manifest] in what batch_size counts.
    """
    if shuffle:
        clips = clips[permutation(len(clips), settings.seed, epoch, CLIPS)]
    buffers = np.arange(len(clips)) // settings.sort_size
    clips = clips[np.lexsort((lengths[clips], buffers))]
    cuts = packed(lengths[clips].tolist(), settings.batch_size, settings.sort_size)
    batches = [clips[begin:end] for begin, end in cuts]
    spread(batches, settings.world_size)
    if shuffle:
        batches = [batches[number] for number in permutation(len(batches), settings.seed, epoch, BATCHES)]
        batches += [batches[number % len(batches)] for number in range(-len(batches) % settings.world_size) if batches]
    return batches


def parts_to_save(parts: Sequence[Part]) -> list[list[Any]]:
    """Return the parts of an epoch in lists, tuples, numbers and words, for a checkpoint."""
    return [[asdict(settings), steps] for settings, steps in parts]


def saved_parts(saved: Sequence[Sequence[Any]]) -> list[Part]:
    """Return the parts of an epoch from a checkpoint."""
    return [
        (
            BatchSettings(
                **{**settings, "factors": tuple((key, tuple(values)) for key, values in settings["factors"])}
            ),
            steps,
        )
        for settings, steps in saved
    ]


class ShuffledBatchSampler(Sampler):
    """Lists of indices whose longest clip times their number is at most ``batch_size`` 10-ms frames.

    Every clip is in exactly one batch of an epoch, and all ranks get the same number of batches: large batches are
    split where it does not come out even. (With fewer clips than ranks, training repeats clips, and in validation some
    ranks have none.) The order depends on the seed, the epoch and the manifest, and on no machine.

    Args:
        dataset: has a length, and ``source_lens(epoch, factors, seed)``, or ``get_source_len(index)``, in 10-ms frames.
        batch_size: padded frames a batch; with batch_type "example", clips a batch.
        sort_size: clips that are sorted by length together; unset, BATCHES_SORTED batches of them.
        start_step: batches of this rank to leave out, for a run that goes on in the middle of an epoch.
        passed: parts of this epoch that were trained under other settings (batch size, ranks, …): what they covered is
            left out, and only the rest of the clips is put into batches.
        rank, world_size: torch.distributed's, unless given.

    RecipeError where a clip is longer than a whole batch can be.
    """

    def __init__(
        self,
        dataset: Any,
        batch_size: int,
        batch_type: str = "token",
        sort_size: int | None = None,
        is_training: bool = True,
        start_step: int = 0,
        sampler_seed: int = 0,
        passed: Sequence[Part] = (),
        rank: int | None = None,
        world_size: int | None = None,
        **_: Any,
    ) -> None:
        self.dataset, self.is_training = dataset, is_training
        self.start_step, self.epoch = start_step, 0
        if rank is None or world_size is None:
            rank, world_size = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
        self.rank = rank
        settings = BatchSettings(batch_size, batch_type, sort_size or 0, sampler_seed, world_size)
        if not sort_size:
            mean = max(self.lengths(settings).mean(), 1)
            settings = replace(settings, sort_size=max(round(BATCHES_SORTED * batch_size / mean), LEAST_SORTED))
        factors = getattr(getattr(dataset, "augmentation", None), "length_factors", ())
        self.settings = replace(settings, factors=factors)
        self.passed = tuple(passed)
        if passed and passed[-1][0] == self.settings:  # which is only a step under these
            self.start_step += passed[-1][1]
            self.passed = self.passed[:-1]
        self.batches: list[np.ndarray] | None = None  # this rank's of this epoch; made once, asked for at every step

    def lengths(self, settings: BatchSettings) -> np.ndarray:
        """Return [n] what each clip takes of a batch in this epoch, by settings that may be an earlier run's."""
        if settings.batch_type == "example":
            return np.ones(len(self.dataset), np.int64)
        if hasattr(self.dataset, "source_lens"):
            lengths = self.dataset.source_lens(self.epoch, settings.factors, settings.seed)
        else:
            lengths = np.array([self.dataset.get_source_len(index) for index in range(len(self.dataset))], np.int64)
        if lengths.max() > settings.batch_size:
            raise RecipeError(
                f"a clip of {lengths.max()} frames is longer than a whole batch (dataset_conf.batch_size"
                f" {settings.batch_size}); raise it, or set max_source_length to leave the clip out"
            )
        return lengths

    def all_batches(self) -> list[np.ndarray]:
        """Return the batches of this epoch for all ranks together; the same on every rank."""
        left = np.arange(len(self.dataset))
        for settings, steps in self.passed:
            batches = plan(left, self.lengths(settings), settings, self.epoch, self.is_training)
            left = np.setdiff1d(left, np.concatenate([left[:0], *batches[: steps * settings.world_size]]))
        return plan(left, self.lengths(self.settings), self.settings, self.epoch, self.is_training)

    def mine(self) -> list[np.ndarray]:
        """Return this rank's batches of this epoch, from ``start_step`` on."""
        if self.batches is None:
            self.batches = self.all_batches()[self.rank :: self.settings.world_size][self.start_step :]
        return self.batches

    def __iter__(self) -> Iterator[list[int]]:
        return (batch.tolist() for batch in self.mine())

    def __len__(self) -> int:
        return len(self.mine())

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose order comes next."""
        self.epoch, self.batches = epoch, None

    def gives_all_as_many(self) -> bool:
        """Return whether every process has the same number of batches."""
        return len(self.all_batches()) % self.settings.world_size == 0

    def position(self, step: int) -> list[list[Any]]:
        """Return what a checkpoint after ``step`` steps of this epoch has to keep, for ``saved_parts``."""
        before = sum(steps for _, steps in self.passed)
        return parts_to_save([*self.passed, (self.settings, step - before)])


@tables.register("batch_sampler_classes", "ShuffledBatchSampler")
def shuffled_batch_sampler(
    dataset: Any, num_workers: int, pin_memory: bool, prefetch_factor: int | None = None, **conf: Any
) -> dict[str, Any]:
    """Return the arguments that FunASR hands to DataLoader."""
    return {
        "batch_sampler": ShuffledBatchSampler(dataset, **conf),
        "num_workers": num_workers,
        "pin_memory": pin_memory,
        "prefetch_factor": prefetch_factor if num_workers else None,
    }
