"""Speech taken apart and put together by the WORLD vocoder, and the plain changes between.

Everything is at 16 kHz with one frame every 5 ms; an envelope has 513 bins from 0 to 8 kHz.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from layout import SAMPLE_RATE

FRAME_MS = 5.0
FRAMES_PER_SECOND = 1000 / FRAME_MS


@dataclass(frozen=True)
class World:
    """A clip's pitch [frames] in hertz (0: unvoiced), log power envelope and aperiodicity [frames, bins]."""

    f0: np.ndarray
    log_envelope: np.ndarray
    aperiodicity: np.ndarray

    @property
    def voiced(self) -> np.ndarray:
        """bool [frames]."""
        return self.f0 > 0


def analyse(wave: np.ndarray) -> World:
    """`wave` float [samples] at 16 kHz, taken apart."""
    import pyworld  # only where clips are made

    samples = wave.astype(np.float64)
    raw_f0, times = pyworld.dio(samples, SAMPLE_RATE, f0_floor=60.0, f0_ceil=500.0, frame_period=FRAME_MS)
    f0 = pyworld.stonemask(samples, raw_f0, times, SAMPLE_RATE)
    envelope = pyworld.cheaptrick(samples, f0, times, SAMPLE_RATE)
    return World(f0, np.log(envelope + 1e-12), pyworld.d4c(samples, f0, times, SAMPLE_RATE))


def synthesise(world: World) -> np.ndarray:
    """The wave of `world`, float32 [samples]."""
    import pyworld

    envelope = np.ascontiguousarray(np.exp(world.log_envelope))
    aperiodicity = np.ascontiguousarray(np.clip(world.aperiodicity, 1e-3, 1.0))
    wave = pyworld.synthesize(np.ascontiguousarray(world.f0), envelope, aperiodicity, SAMPLE_RATE, FRAME_MS)
    return wave.astype(np.float32)


def blend_frames(values: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """Rows of `values` at fractional `positions`, the two nearest mixed."""
    low = np.clip(np.floor(positions).astype(int), 0, len(values) - 1)
    high = np.minimum(low + 1, len(values) - 1)
    share = np.clip(positions - low, 0, 1).reshape(-1, *[1] * (values.ndim - 1))
    return (1 - share) * values[low] + share * values[high]


def at_times(world: World, positions: np.ndarray) -> World:
    """`world` with new frames taken from the old ones at fractional `positions`: another tempo.

    A frame next to a change of voicing takes the nearest pitch, as half of one is no pitch.
    """
    nearest = np.clip(np.rint(positions).astype(int), 0, len(world.f0) - 1)
    low = np.clip(np.floor(positions).astype(int), 0, len(world.f0) - 1)
    both = world.voiced[low] & world.voiced[np.minimum(low + 1, len(world.f0) - 1)]
    f0 = np.where(both, blend_frames(world.f0, positions), world.f0[nearest])
    return World(f0, blend_frames(world.log_envelope, positions), blend_frames(world.aperiodicity, positions))


def changed_voice(world: World, pitch: float, formants: float, tempo: float) -> World:
    """`world` in another voice: factors on the pitch, on all resonances and on the speaking rate."""
    bins = np.arange(world.log_envelope.shape[1]) / formants
    envelope = blend_frames(world.log_envelope.T, bins).T
    aperiodicity = blend_frames(world.aperiodicity.T, bins).T
    positions = np.arange(0, len(world.f0) - 1, tempo)
    return at_times(World(world.f0 * pitch, envelope, aperiodicity), positions)
