"""An epoch's batches as a function of lengths, settings, seed and epoch: the same on every rank and machine.

Because it can be computed anew, a place in the middle of an epoch is only the settings and the steps taken under them;
the rest of the epoch is exact even where a run goes on with another batch size or another number of ranks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from asr.data.augmentation import permutation

CLIPS, BATCHES = 11, 12  # purposes of chance, apart from asr.data.augmentation's
Factors = tuple[tuple[str, tuple[float, ...]], ...]


@dataclass(frozen=True)
class Settings:
    """All that the batches of an epoch depend on, beside the manifest: what a checkpoint has to keep for a restart."""

    batch_size: int
    batch_type: str
    sort_size: int
    seed: int
    world_size: int
    factors: Factors = ()  # of the augmentation, by key: a clip's length in an epoch depends on them and the seed


Part = tuple[Settings, int]  # the steps that each rank took in an epoch under these settings


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


def plan(clips: np.ndarray, lengths: np.ndarray, settings: Settings, epoch: int, shuffle: bool) -> list[np.ndarray]:
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
        (Settings(**{**settings, "factors": tuple((key, tuple(values)) for key, values in settings["factors"])}), steps)
        for settings, steps in saved
    ]
