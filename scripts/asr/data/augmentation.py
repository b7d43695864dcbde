"""What chance does to a clip: speed, tempo and gain in an epoch, drawn from (seed, epoch, key) and nothing else.

So a clip is the same in epoch 7 whatever worker, rank or batch it falls to, and wherever a run was resumed; and the
sampler knows every clip's length in an epoch, a million at once, without touching an audio file. Draws are SplitMix64
(Steele, Lea, Flood 2014) over a hash of the key: the same numbers on every machine and in every NumPy.

A new augmentation is a ``Transform`` in ``TRANSFORMS``, with a purpose of its own, and its key in the configuration.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import soxr

from asr.audio.reading import QUALITY
from asr.core.manifest import FRAMES_PER_SECOND, MODEL_SAMPLE_RATE

SAMPLES_PER_FRAME = MODEL_SAMPLE_RATE // FRAMES_PER_SECOND
GOLDEN, MIX1, MIX2 = (np.uint64(value) for value in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))
# Purposes of chance: each has numbers of its own, so that switching one on leaves the others.
SPEED, GAIN, NOISE, TEMPO = 1, 2, 3, 4
WINDOW, HOP = 512, 128  # samples of tempo's short-time spectra: 32 ms and 8 ms


def key_hash(key: str) -> int:
    """Return 64 bits of a key, the same everywhere (Python's own hash differs in each process)."""
    return int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest(), "little")


def mixed(values: np.ndarray) -> np.ndarray:
    """Return SplitMix64's finaliser: every bit of the input moves every bit of the output. uint64 in, uint64 out."""
    values = values + GOLDEN
    values = (values ^ (values >> np.uint64(30))) * MIX1
    values = (values ^ (values >> np.uint64(27))) * MIX2
    return values ^ (values >> np.uint64(31))


def draws(hashes: np.ndarray, seed: int, epoch: int, purpose: int) -> np.ndarray:
    """Return [n] uint64, uniform: one number for each key's hash in this epoch and for this purpose."""
    state = np.zeros(1, np.uint64)
    for number in (seed, epoch, purpose):
        state = mixed(state ^ np.uint64(number))
    return mixed(np.asarray(hashes, np.uint64) ^ state)


def permutation(count: int, seed: int, epoch: int, purpose: int) -> np.ndarray:
    """Return [count] a shuffled 0 … count - 1, the same on every machine."""
    return np.argsort(draws(np.arange(count, dtype=np.uint64), seed, epoch, purpose), kind="stable")


def samples_at(num_samples: np.ndarray | int, speed: np.ndarray | float) -> np.ndarray:
    """Return how many samples a clip of ``num_samples`` has at ``speed`` times its speed; at least one."""
    return np.maximum(np.rint(np.asarray(num_samples) / speed).astype(np.int64), 1)


def frames(num_samples: np.ndarray | int) -> np.ndarray:
    """Return the whole 10-ms frames of samples at 16 kHz: what batch_size counts."""
    return np.asarray(num_samples) // SAMPLES_PER_FRAME


def one_of(factors: Sequence[float], hashes: np.ndarray, seed: int, epoch: int, purpose: int) -> np.ndarray:
    """Return [n] one of the factors for each key's hash, each factor as likely as the others."""
    # The upper bits: a product with the number of factors keeps them uniform, where a remainder would not.
    upper = draws(hashes, seed, epoch, purpose) >> np.uint64(32)
    return np.asarray(factors, np.float64)[(upper * np.uint64(len(factors)) >> np.uint64(32)).astype(int)]


class Transform:
    """One way in which training clips are varied.

    key: of dataset_conf, whose value makes the transform; empty, 0 and null are off.
    factors: those that change a clip's length, which becomes 1 / factor of what it was; none where it stays.
    """

    key: ClassVar[str]
    factors: tuple[float, ...] = ()

    def __init__(self, value: Any) -> None:
        raise NotImplementedError

    def drawn(self, hashes: np.ndarray, seed: int, epoch: int) -> np.ndarray:
        """Return [n] each clip's number in this epoch: a factor, or decibels."""
        raise NotImplementedError

    def apply(self, samples: np.ndarray, number: float) -> np.ndarray:
        """Return [samples] float32 at 16 kHz under a drawn number, ``samples_at`` long where that is a factor."""
        raise NotImplementedError


class Speed(Transform):
    """Speed and pitch together, as of a tape: 0.9 makes a clip 1/0.9 as long, its pitch 0.9 as high."""

    key = "speed_perturb"

    def __init__(self, value: Sequence[float]) -> None:
        self.factors = tuple(map(float, value))

    def drawn(self, hashes: np.ndarray, seed: int, epoch: int) -> np.ndarray:
        """Return [n] each clip's factor."""
        return one_of(self.factors, hashes, seed, epoch, SPEED)

    def apply(self, samples: np.ndarray, number: float) -> np.ndarray:
        """Return the samples played at ``number`` times their speed."""
        return samples if number == 1.0 else at_speed(samples, number)


class Tempo(Transform):
    """Speech at another tempo, its pitch unchanged: 0.9 makes a clip 1/0.9 as long."""

    key = "tempo"

    def __init__(self, value: Sequence[float]) -> None:
        self.factors = tuple(map(float, value))

    def drawn(self, hashes: np.ndarray, seed: int, epoch: int) -> np.ndarray:
        """Return [n] each clip's factor."""
        return one_of(self.factors, hashes, seed, epoch, TEMPO)

    def apply(self, samples: np.ndarray, number: float) -> np.ndarray:
        """Return the samples at ``number`` times their tempo."""
        return samples if number == 1.0 else at_tempo(samples, number)


class Gain(Transform):
    """The waveform's level, moved by up to ``value`` dB up or down, uniformly in dB."""

    key = "gain_db"

    def __init__(self, value: float) -> None:
        self.decibels = float(value)

    def drawn(self, hashes: np.ndarray, seed: int, epoch: int) -> np.ndarray:
        """Return [n] each clip's decibels."""
        upper = (draws(hashes, seed, epoch, GAIN) >> np.uint64(11)).astype(np.float64)
        return (2.0 * upper / (1 << 53) - 1.0) * self.decibels

    def apply(self, samples: np.ndarray, number: float) -> np.ndarray:
        """Return the samples ``number`` dB louder."""
        return samples * np.float32(10.0 ** (number / 20.0))


TRANSFORMS: tuple[type[Transform], ...] = (Speed, Tempo, Gain)  # in the order in which they are applied


@dataclass(frozen=True)
class Augmentation:
    """How training clips are varied: by some of TRANSFORMS, drawn with the run's seed. Without them: not at all."""

    transforms: tuple[Transform, ...] = ()
    seed: int = 0

    @property
    def length_factors(self) -> tuple[tuple[str, tuple[float, ...]], ...]:
        """(key, factors) of each transform that changes lengths: all that a clip's length depends on, but the seed."""
        return tuple((transform.key, transform.factors) for transform in self.transforms if transform.factors)

    def lengths(self, samples: np.ndarray, hashes: np.ndarray, epoch: int) -> np.ndarray:
        """Return [n] how many samples clips of [n] samples have in this epoch."""
        for transform in self.transforms:
            if transform.factors:
                samples = samples_at(samples, transform.drawn(hashes, self.seed, epoch))
        return samples

    def longest(self, samples: int) -> int:
        """Return the most samples that a clip of ``samples`` can have in an epoch."""
        for _, factors in self.length_factors:
            samples = int(samples_at(samples, min(*factors, 1.0)))
        return samples

    def apply(self, samples: np.ndarray, key_hash: int, epoch: int) -> np.ndarray:
        """Return [samples] float32 at 16 kHz as the clip is in this epoch."""
        for transform in self.transforms:
            samples = transform.apply(samples, float(transform.drawn(_one(key_hash), self.seed, epoch)[0]))
        return samples

    def noise_seed(self, key_hash: int, epoch: int) -> int:
        """Return the seed of the filter bank's dither for one clip in this epoch."""
        return int(draws(_one(key_hash), self.seed, epoch, NOISE)[0] >> np.uint64(1))


def augmentation(conf: Mapping[str, Any], seed: int) -> Augmentation:
    """Return the Augmentation that a dataset_conf asks for."""
    return Augmentation(tuple(kind(conf[kind.key]) for kind in TRANSFORMS if conf.get(kind.key)), seed)


def at_speed(samples: np.ndarray, speed: float) -> np.ndarray:
    """Return [samples] float32 played at ``speed`` times their speed, pitch and all, exactly ``samples_at`` long."""
    changed = soxr.resample(samples, MODEL_SAMPLE_RATE * speed, MODEL_SAMPLE_RATE, quality=QUALITY)
    wanted = int(samples_at(len(samples), speed))  # soxr may round the other way: the sampler has counted these
    return changed[:wanted] if len(changed) >= wanted else np.pad(changed, (0, wanted - len(changed)))


def at_tempo(samples: np.ndarray, tempo: float) -> np.ndarray:
    """Return [samples] float32 at ``tempo`` times their tempo, pitch unchanged, exactly ``samples_at`` long."""
    import torch
    from torchaudio.functional import phase_vocoder

    window = torch.hann_window(WINDOW)
    spectra = torch.stft(
        torch.from_numpy(samples), WINDOW, HOP, window=window, pad_mode="constant", return_complex=True
    )
    advance = torch.linspace(0, torch.pi * HOP, WINDOW // 2 + 1)[:, None]
    changed = phase_vocoder(spectra, tempo, advance)
    return torch.istft(changed, WINDOW, HOP, window=window, length=int(samples_at(len(samples), tempo))).numpy()


def hashes_of(keys: Iterable[str]) -> np.ndarray:
    """Return [n] uint64 of utterance keys."""
    return np.fromiter((key_hash(key) for key in keys), np.uint64)


def _one(key_hash: int) -> np.ndarray:
    return np.array([key_hash], np.uint64)
