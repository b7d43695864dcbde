"""What chance does to a clip: speed, tempo and gain in an epoch, drawn from (seed, epoch, key) and nothing else.

So a clip is the same in epoch 7 whatever worker, rank or batch it falls to, and wherever a run was resumed; and the
sampler knows every clip's length in an epoch, a million at once, without touching an audio file. Draws are SplitMix64
(Steele, Lea, Flood 2014) over a hash of the key: the same numbers on every machine and in every NumPy.

A new augmentation is a ``Transform`` in ``TRANSFORMS``, with a purpose of its own, and its key in the configuration.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import soxr

from asr.audio.reading import QUALITY
from asr.core.manifest import FRAMES_PER_SECOND, MODEL_SAMPLE_RATE

SAMPLES_PER_FRAME = MODEL_SAMPLE_RATE // FRAMES_PER_SECOND
GOLDEN, MIX1, MIX2 = (np.uint64(value) for value in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))
NOISE = 3  # a purpose of chance beside the transforms' own
WINDOW, HOP = 512, 128  # samples of tempo's short-time spectra: 32 ms and 8 ms


def hashes_of(keys: Iterable[str]) -> np.ndarray:
    """Return [n] uint64 of utterance keys, the same everywhere (Python's own hash differs in each process)."""
    digests = b"".join(hashlib.blake2b(key.encode(), digest_size=8).digest() for key in keys)
    return np.frombuffer(digests, "<u8")


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


def frames(num_samples: np.ndarray | int) -> np.ndarray:
    """Return the whole 10-ms frames of samples at 16 kHz: what batch_size counts."""
    return np.asarray(num_samples) // SAMPLES_PER_FRAME


def samples_at(num_samples: np.ndarray | int, speed: np.ndarray | float) -> np.ndarray:
    """Return how many samples a clip of ``num_samples`` has at ``speed`` times its speed; at least one."""
    return np.maximum(np.rint(np.asarray(num_samples) / speed).astype(np.int64), 1)


def one_of(factors: Sequence[float], numbers: np.ndarray) -> np.ndarray:
    """Return [n] one of the factors for each of [n] uniform uint64, each factor as likely as the others."""
    # The upper bits: a product with the number of factors keeps them uniform, where a remainder would not.
    upper = numbers >> np.uint64(32)
    return np.asarray(factors, np.float64)[(upper * np.uint64(len(factors)) >> np.uint64(32)).astype(int)]


def at_speed(samples: np.ndarray, speed: float) -> np.ndarray:
    """Return [samples] float32 played at ``speed`` times their speed, pitch and all, exactly ``samples_at`` long."""
    if speed == 1.0:
        return samples
    changed = soxr.resample(samples, MODEL_SAMPLE_RATE * speed, MODEL_SAMPLE_RATE, quality=QUALITY)
    wanted = int(samples_at(len(samples), speed))  # soxr may round the other way: the sampler has counted these
    return changed[:wanted] if len(changed) >= wanted else np.pad(changed, (0, wanted - len(changed)))


def at_tempo(samples: np.ndarray, tempo: float) -> np.ndarray:
    """Return [samples] float32 at ``tempo`` times their tempo, pitch unchanged, exactly ``samples_at`` long."""
    if tempo == 1.0:
        return samples
    import torch
    from torchaudio.functional import phase_vocoder

    window = torch.hann_window(WINDOW)
    spectra = torch.stft(
        torch.from_numpy(samples), WINDOW, HOP, window=window, pad_mode="constant", return_complex=True
    )
    advance = torch.linspace(0, torch.pi * HOP, WINDOW // 2 + 1)[:, None]
    changed = phase_vocoder(spectra, tempo, advance)
    return torch.istft(changed, WINDOW, HOP, window=window, length=int(samples_at(len(samples), tempo))).numpy()


def uniform_db(limit: float, numbers: np.ndarray) -> np.ndarray:
    """Return [n] decibels between -limit and limit for each of [n] uniform uint64."""
    upper = (numbers >> np.uint64(11)).astype(np.float64)
    return (2.0 * upper / (1 << 53) - 1.0) * float(limit)


def louder(samples: np.ndarray, decibels: float) -> np.ndarray:
    """Return the samples ``decibels`` louder."""
    return samples * np.float32(10.0 ** (decibels / 20.0))


class Transform(NamedTuple):
    """One way in which training clips are varied."""

    key: str  # of dataset_conf; an empty value, 0 and null are off
    purpose: int  # of chance: each has numbers of its own, so that switching one on leaves the others
    of_numbers: Callable[[Any, np.ndarray], np.ndarray]  # the key's value and uniform uint64 to a number for each clip
    apply: Callable[[np.ndarray, float], np.ndarray]  # a clip's samples and number to samples
    changes_length: bool = False  # to 1 / number of what it was

    def drawn(self, value: Any, hashes: np.ndarray, seed: int, epoch: int) -> np.ndarray:
        """Return [n] each clip's number in this epoch."""
        return self.of_numbers(value, draws(hashes, seed, epoch, self.purpose))


SPEED = Transform("speed_perturb", 1, one_of, at_speed, changes_length=True)
TEMPO = Transform("tempo", 4, one_of, at_tempo, changes_length=True)
GAIN = Transform("gain_db", 2, uniform_db, louder)
TRANSFORMS = (SPEED, TEMPO, GAIN)  # in the order in which they are applied


@dataclass(frozen=True)
class Augmentation:
    """How training clips are varied: by transforms and their values, drawn with the run's seed."""

    values: tuple[tuple[Transform, Any], ...] = ()
    seed: int = 0

    @property
    def length_factors(self) -> tuple[tuple[str, tuple[float, ...]], ...]:
        """(key, factors) of each transform that changes lengths: all that a clip's length depends on, but the seed."""
        return tuple((kind.key, tuple(map(float, value))) for kind, value in self.values if kind.changes_length)

    def lengths(self, samples: np.ndarray, hashes: np.ndarray, epoch: int) -> np.ndarray:
        """Return [n] how many samples clips of [n] samples have in this epoch."""
        for kind, value in self.values:
            if kind.changes_length:
                samples = samples_at(samples, kind.drawn(value, hashes, self.seed, epoch))
        return samples

    def longest(self, samples: int) -> int:
        """Return the most samples that a clip of ``samples`` can have in an epoch."""
        for _, factors in self.length_factors:
            samples = int(samples_at(samples, min(*factors, 1.0)))
        return samples

    def apply(self, samples: np.ndarray, key: str, epoch: int) -> np.ndarray:
        """Return [samples] float32 at 16 kHz as the clip is in this epoch."""
        for kind, value in self.values:
            samples = kind.apply(samples, float(kind.drawn(value, hashes_of([key]), self.seed, epoch)[0]))
        return samples

    def noise_seed(self, key: str, epoch: int) -> int:
        """Return the seed of the filter bank's dither for one clip in this epoch."""
        return int(draws(hashes_of([key]), self.seed, epoch, NOISE)[0] >> np.uint64(1))


def augmentation(conf: Mapping[str, Any], seed: int) -> Augmentation:
    """Return the Augmentation that a dataset_conf asks for."""
    return Augmentation(tuple((kind, conf[kind.key]) for kind in TRANSFORMS if conf.get(kind.key)), seed)
