"""What chance does to a clip in an epoch: drawn from (seed, epoch, key) and nothing else.

So a clip is the same in epoch 7 whatever worker, rank or batch it falls to, and wherever a run was resumed; and the
sampler knows every clip's length in an epoch, a million at once, without touching an audio file.

A new augmentation is a ``Transform`` in ``TRANSFORMS``, with a purpose of its own, and its key in the configuration.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from asr.core.manifest import FRAMES_PER_SECOND, MODEL_SAMPLE_RATE
from asr.data import waveforms
from asr.data.chance import around_one, around_zero, between, draws, hashes_of, one_of
from asr.data.recordings import NOISE, ROOMS, Recorded

SAMPLES_PER_FRAME = MODEL_SAMPLE_RATE // FRAMES_PER_SECOND
DITHER = 3  # a purpose of chance beside the transforms' own


def frames(num_samples: np.ndarray | int) -> np.ndarray:
    """Return the whole 10-ms frames of samples at 16 kHz: what batch_size counts."""
    return np.asarray(num_samples) // SAMPLES_PER_FRAME


class Transform(NamedTuple):
    """One way in which training clips are varied."""

    key: str  # of dataset_conf; an empty value, 0 and null are off
    purpose: int  # of chance: each has numbers of its own, so that switching one on leaves the others
    of_numbers: Callable[[Any, np.ndarray], np.ndarray]  # the key's value and uniform uint64 to a number for each clip
    apply: Callable[[np.ndarray, float], np.ndarray]  # a clip's samples and number to samples
    length: Callable[[Any, Any], np.ndarray] | None = None  # of how many samples and the number; None: it stays

    def drawn(self, value: Any, hashes: np.ndarray, seed: int, epoch: int) -> np.ndarray:
        """Return [n] each clip's number in this epoch."""
        return self.of_numbers(value, draws(hashes, seed, epoch, self.purpose))

    def vary(self, samples: np.ndarray, value: Any, hashes: np.ndarray, seed: int, epoch: int) -> np.ndarray:
        """Return [samples] of the clip with the [1] hash as they are in this epoch."""
        return self.apply(samples, float(self.drawn(value, hashes, seed, epoch)[0]))


def unchanged(samples: np.ndarray, _: float) -> np.ndarray:
    """Return the samples: what is varied is not in them."""
    return samples


SPEED = Transform("speed_perturb", 1, one_of, waveforms.at_speed, waveforms.samples_at)
TEMPO = Transform("tempo", 4, one_of, waveforms.at_tempo, waveforms.samples_at)
PITCH = Transform("pitch_semitones", 5, around_zero, waveforms.at_pitch)
FORMANTS = Transform("formant_shift", 6, around_one, waveforms.with_formants)
VTLP = Transform("vtlp", 7, around_one, unchanged)  # of the filter bank: ``warped``
PAUSES = Transform("pauses_s", 8, between, waveforms.with_pauses, waveforms.samples_with)
GAIN = Transform("gain_db", 2, around_zero, waveforms.louder)
# In the order in which they are applied.
TRANSFORMS: tuple[Transform | Recorded, ...] = (SPEED, TEMPO, PITCH, FORMANTS, VTLP, PAUSES, ROOMS, NOISE, GAIN)


@dataclass(frozen=True)
class Augmentation:
    """How training clips are varied: by transforms and their values, drawn with the run's seed."""

    values: tuple[tuple[Transform | Recorded, Any], ...] = ()
    seed: int = 0

    @property
    def of_lengths(self) -> Iterator[tuple[Transform, Any]]:
        """(transform, value) of each that changes lengths."""
        return ((kind, value) for kind, value in self.values if isinstance(kind, Transform) and kind.length)

    @property
    def length_factors(self) -> tuple[tuple[str, tuple[float, ...]], ...]:
        """(key, factors) of each transform that changes lengths: all that a clip's length depends on, but the seed."""
        return tuple((kind.key, tuple(map(float, value))) for kind, value in self.of_lengths)

    def lengths(self, samples: np.ndarray, hashes: np.ndarray, epoch: int) -> np.ndarray:
        """Return [n] how many samples clips of [n] samples have in this epoch."""
        for kind, value in self.of_lengths:
            assert kind.length
            samples = kind.length(samples, kind.drawn(value, hashes, self.seed, epoch))
        return samples

    def longest(self, samples: int) -> int:
        """Return the most samples that a clip of ``samples`` can have in an epoch."""
        for kind, value in self.of_lengths:
            assert kind.length
            samples = max(samples, *(int(kind.length(samples, number)) for number in value))
        return samples

    def apply(self, samples: np.ndarray, key: str, epoch: int) -> np.ndarray:
        """Return [samples] float32 at 16 kHz as the clip is in this epoch."""
        for kind, value in self.values:
            samples = kind.vary(samples, value, hashes_of([key]), self.seed, epoch)
        return samples

    def noise_seed(self, key: str, epoch: int) -> int:
        """Return the seed of the filter bank's dither for one clip in this epoch."""
        return int(draws(hashes_of([key]), self.seed, epoch, DITHER)[0] >> np.uint64(1))

    def warp(self, key: str, epoch: int) -> float:
        """Return the factor by which frequencies of one clip are warped in the filter bank; 1 where none are."""
        return next(
            (
                float(kind.drawn(value, hashes_of([key]), self.seed, epoch)[0])
                for kind, value in self.values
                if kind is VTLP
            ),
            1.0,
        )


def augmentation(conf: Mapping[str, Any], seed: int) -> Augmentation:
    """Return the Augmentation that a dataset_conf asks for."""
    return Augmentation(tuple((kind, conf[kind.key]) for kind in TRANSFORMS if conf.get(kind.key)), seed)


@contextlib.contextmanager
def warped(factor: float) -> Iterator[None]:
    """Have FunASR's filter bank see frequencies at ``factor`` times what they are: vocal tract length perturbation.

    Jaitly and Hinton 2013, by Kaldi's warp, linear from 100 Hz to 7.5 kHz at 16 kHz and bent beyond to keep both ends.
    """
    if factor == 1.0:
        yield
        return
    from funasr.utils import fbank

    plain = fbank.fbank
    fbank.fbank = functools.partial(plain, vtln_warp=factor)
    try:
        yield
    finally:
        fbank.fbank = plain
