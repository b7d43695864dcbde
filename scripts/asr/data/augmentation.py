"""What chance does to a clip: its speed and gain in an epoch, drawn from (seed, epoch, key) and nothing else.

So a clip sounds the same in epoch 7 whatever worker, rank or batch it falls to, and wherever a run was resumed; and the
sampler knows every clip's length in an epoch, a million at once, without touching an audio file. Draws are SplitMix64
(Steele, Lea, Flood 2014) over a hash of the key: the same numbers on every machine and in every NumPy.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import soxr

from asr.audio.reading import QUALITY
from asr.core.manifest import FRAMES_PER_SECOND, MODEL_SAMPLE_RATE

SAMPLES_PER_FRAME = MODEL_SAMPLE_RATE // FRAMES_PER_SECOND
GOLDEN, MIX1, MIX2 = (np.uint64(value) for value in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))
SPEED, GAIN, NOISE = 1, 2, 3  # purposes: each has numbers of its own, so that switching one on leaves the others


def key_hash(key: str) -> int:
    """64 bits of a key, the same everywhere (Python's own hash differs in each process)."""
    return int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest(), "little")


def mixed(values: np.ndarray) -> np.ndarray:
    """SplitMix64's finaliser: every bit of the input moves every bit of the output. uint64 in, uint64 out."""
    values = values + GOLDEN
    values = (values ^ (values >> np.uint64(30))) * MIX1
    values = (values ^ (values >> np.uint64(27))) * MIX2
    return values ^ (values >> np.uint64(31))


def draws(hashes: np.ndarray, seed: int, epoch: int, purpose: int) -> np.ndarray:
    """[n] uint64, uniform: one number for each key's hash in this epoch and for this purpose."""
    state = np.zeros(1, np.uint64)
    for number in (seed, epoch, purpose):
        state = mixed(state ^ np.uint64(number))
    return mixed(np.asarray(hashes, np.uint64) ^ state)


def permutation(count: int, seed: int, epoch: int, purpose: int) -> np.ndarray:
    """[count] a shuffled 0 … count - 1, the same on every machine."""
    return np.argsort(draws(np.arange(count, dtype=np.uint64), seed, epoch, purpose), kind="stable")


def samples_at(num_samples: np.ndarray | int, speed: np.ndarray | float) -> np.ndarray:
    """Samples of a clip of ``num_samples`` that is played at ``speed`` times its speed; at least one."""
    return np.maximum(np.rint(np.asarray(num_samples) / speed).astype(np.int64), 1)


def frames(num_samples: np.ndarray | int) -> np.ndarray:
    """Whole 10-ms frames of samples at 16 kHz: what batch_size counts."""
    return np.asarray(num_samples) // SAMPLES_PER_FRAME


@dataclass(frozen=True)
class Augmentation:
    """How training clips are varied. Without arguments: not at all.

    Args:
        speeds: factors of speed, each as likely as the others; 0.9 makes a clip 1/0.9 as long, its pitch 0.9 as high.
        gain_db: the waveform's level moves by up to this many dB, up or down, uniformly in dB.
        seed: of the run.
    """

    speeds: tuple[float, ...] = ()
    gain_db: float = 0.0
    seed: int = 0

    @property
    def slowest(self) -> float:
        """The factor that makes the longest clips."""
        return min(self.speeds, default=1.0)

    def speed(self, hashes: np.ndarray, epoch: int) -> np.ndarray:
        """[n] each clip's factor in this epoch."""
        if not self.speeds:
            return np.ones(len(hashes))
        # The upper bits: a product with the number of factors keeps them uniform, where a remainder would not.
        upper = draws(hashes, self.seed, epoch, SPEED) >> np.uint64(32)
        return np.asarray(self.speeds, np.float64)[(upper * np.uint64(len(self.speeds)) >> np.uint64(32)).astype(int)]

    def decibels(self, item: int, epoch: int) -> float:
        """The gain of one clip in this epoch, by its key's hash."""
        upper = int(draws(np.array([item], np.uint64), self.seed, epoch, GAIN)[0]) >> 11
        return (2.0 * upper / (1 << 53) - 1.0) * self.gain_db

    def noise_seed(self, item: int, epoch: int) -> int:
        """Seed of the filter bank's dither for one clip in this epoch."""
        return int(draws(np.array([item], np.uint64), self.seed, epoch, NOISE)[0] >> np.uint64(1))

    def apply(self, samples: np.ndarray, item: int, epoch: int) -> np.ndarray:
        """[samples] float32 at 16 kHz as they are heard in this epoch; ``item`` is the key's hash."""
        speed = float(self.speed(np.array([item], np.uint64), epoch)[0])
        if speed != 1.0:
            samples = at_speed(samples, speed)
        if self.gain_db:
            samples = samples * np.float32(10.0 ** (self.decibels(item, epoch) / 20.0))
        return samples


def at_speed(samples: np.ndarray, speed: float) -> np.ndarray:
    """[samples] float32 played at ``speed`` times their speed, pitch and all, exactly ``samples_at`` long."""
    changed = soxr.resample(samples, MODEL_SAMPLE_RATE * speed, MODEL_SAMPLE_RATE, quality=QUALITY)
    wanted = int(samples_at(len(samples), speed))  # soxr may round the other way: the sampler has counted these
    return changed[:wanted] if len(changed) >= wanted else np.pad(changed, (0, wanted - len(changed)))


def augmentation(speed_perturb: Sequence[float] | None, gain_db: float | None, seed: int) -> Augmentation:
    """The Augmentation that the YAML's dataset_conf asks for; empty, 0 and null are off."""
    return Augmentation(tuple(float(value) for value in speed_perturb or ()), float(gain_db or 0.0), seed)


def hashes_of(keys: Iterable[str]) -> np.ndarray:
    """[n] uint64 of utterance keys."""
    return np.fromiter((key_hash(key) for key in keys), np.uint64)
