"""Simulated impaired speech: a clean clip made slower, flatter, blurrier, breathier and weaker.

It copies features that descriptions of dysarthric speech name, by rule and to a degree drawn for each
speaker. No patient's speech was measured, so it stands for no clinical picture; see mini/README.md.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from scipy.ndimage import gaussian_filter1d
from world import FRAMES_PER_SECOND, World, analyse, at_times, changed_voice, synthesise

HZ_PER_BIN = 8000 / 512
SILENCE = np.log(1e-10)


@dataclass(frozen=True)
class Impairment:
    """How one speaker's speech is changed. All stay the same in all of the speaker's clips."""

    severity: str
    pitch_shift: float  # factor on the pitch, part of the voice
    formant_shift: float  # factor on all resonances, part of the voice
    stretch: float  # factor on durations
    unevenness: float  # standard deviation of a syllable's log duration
    pause_share: float  # share of the syllable boundaries with a pause
    pause_seconds: float  # mean length of a pause
    pitch_range: float  # factor on the log pitch around its mean: 0 is a monotone
    pitch_drift: float  # standard deviation of a slow wander of the log pitch
    pitch_jitter: float  # standard deviation of the log pitch from frame to frame
    blur_hz: float  # width of the smoothing of envelopes along frequency, in hertz
    blur_ms: float  # width of the smoothing of envelopes along time, in milliseconds
    centralisation: float  # share of the speaker's mean vowel in every vowel
    breathiness: float  # share of the periodic energy turned into noise
    unvoiced_loss_db: float  # attenuation of unvoiced frames
    high_loss_db: float  # attenuation at 8 kHz, growing from none at 2 kHz
    decay_db: float  # loss of loudness from the first to the last syllable


# For each severity the lowest and the highest value of what is drawn, in the order of the fields.
RANGES: dict[str, dict[str, tuple[float, float]]] = {
    "mild": {
        "stretch": (1.12, 1.3),
        "unevenness": (0.08, 0.13),
        "pause_share": (0.08, 0.18),
        "pause_seconds": (0.08, 0.14),
        "pitch_range": (0.65, 0.8),
        "pitch_drift": (0.02, 0.04),
        "pitch_jitter": (0.004, 0.008),
        "blur_hz": (60, 90),
        "blur_ms": (8, 12),
        "centralisation": (0.1, 0.18),
        "breathiness": (0.08, 0.16),
        "unvoiced_loss_db": (2, 4),
        "high_loss_db": (2, 4),
        "decay_db": (1, 3),
    },
    "moderate": {
        "stretch": (1.35, 1.6),
        "unevenness": (0.14, 0.2),
        "pause_share": (0.2, 0.4),
        "pause_seconds": (0.12, 0.2),
        "pitch_range": (0.45, 0.6),
        "pitch_drift": (0.04, 0.06),
        "pitch_jitter": (0.008, 0.014),
        "blur_hz": (100, 140),
        "blur_ms": (13, 18),
        "centralisation": (0.2, 0.28),
        "breathiness": (0.18, 0.28),
        "unvoiced_loss_db": (4, 7),
        "high_loss_db": (4, 7),
        "decay_db": (3, 5),
    },
    "severe": {
        "stretch": (1.65, 1.9),
        "unevenness": (0.2, 0.27),
        "pause_share": (0.4, 0.6),
        "pause_seconds": (0.16, 0.26),
        "pitch_range": (0.3, 0.42),
        "pitch_drift": (0.05, 0.08),
        "pitch_jitter": (0.012, 0.02),
        "blur_hz": (140, 190),
        "blur_ms": (18, 24),
        "centralisation": (0.28, 0.36),
        "breathiness": (0.3, 0.42),
        "unvoiced_loss_db": (6, 9),
        "high_loss_db": (6, 10),
        "decay_db": (4, 7),
    },
}


def draw_impairment(severity: str, pitch: float, formants: float, rng: random.Random) -> Impairment:
    """A speaker's impairment of a severity, for a voice shifted by `pitch` and `formants`."""
    drawn = {name: round(rng.uniform(low, high), 4) for name, (low, high) in RANGES[severity].items()}
    return Impairment(severity, pitch, formants, **drawn)


def impaired(wave: np.ndarray, syllables: int, impairment: Impairment, seed: int) -> np.ndarray:
    """`wave` float32 [samples] at 16 kHz of so many syllables, impaired; the same for the same seed."""
    return synthesise(impaired_world(analyse(wave), syllables, impairment, seed))


def impaired_world(world: World, syllables: int, impairment: Impairment, seed: int) -> World:
    """A clip of so many syllables, taken apart, impaired; the same for the same seed."""
    rng = np.random.default_rng(seed)
    voice = changed_voice(world, impairment.pitch_shift, impairment.formant_shift, 1.0)
    articulated = weakened(blurred(voice, impairment), impairment)
    bounds = syllable_bounds(articulated, syllables)
    slow = slowed(articulated, bounds, impairment, rng)
    return unsteady(slow, impairment, rng)


def blurred(world: World, impairment: Impairment) -> World:
    """`world` with resonances smoothed along frequency and time and vowels drawn to their mean.

    A frame keeps its loudness: the mean over the bins of its log envelope is taken off before and put back.
    """
    envelope = gaussian_filter1d(world.log_envelope, impairment.blur_hz / HZ_PER_BIN, axis=1, mode="nearest")
    frames = impairment.blur_ms / 1000 * FRAMES_PER_SECOND
    envelope = gaussian_filter1d(envelope, frames, axis=0, mode="nearest")
    if world.voiced.any():
        loudness = envelope.mean(axis=1, keepdims=True)
        shape = envelope - loudness
        share = impairment.centralisation * world.voiced[:, None]
        envelope = (1 - share) * shape + share * shape[world.voiced].mean(axis=0) + loudness
    return replace(world, log_envelope=envelope)


def weakened(world: World, impairment: Impairment) -> World:
    """`world` with weak consonants, less treble, breath in the voice and a fading loudness."""
    hertz = np.arange(world.log_envelope.shape[1]) * HZ_PER_BIN
    treble = impairment.high_loss_db * np.clip((hertz - 2000) / 6000, 0, 1)
    # The loss on unvoiced frames sets in over some 10 ms, not from one frame to the next.
    unvoiced = gaussian_filter1d((~world.voiced).astype(float), 2.0)
    fading = impairment.decay_db * np.linspace(0, 1, len(world.f0))
    loss_db = treble[None] + (impairment.unvoiced_loss_db * unvoiced + fading)[:, None]
    breath = impairment.breathiness * (0.4 + 0.6 * np.clip(hertz / 4000, 0, 1))
    aperiodicity = world.aperiodicity + (1 - world.aperiodicity) * breath
    return World(world.f0, world.log_envelope - loss_db * np.log(10) / 10, aperiodicity)


def syllable_bounds(world: World, syllables: int) -> np.ndarray:
    """Frames where syllables meet: int [syllables + 1], from the start to the end of the speech.

    A guess without an aligner: the quietest cuts that leave syllables of not too different lengths, found
    by dynamic programming over all places of all cuts.
    """
    loudness = gaussian_filter1d(world.log_envelope[:, 4:256].mean(axis=1), 3.0)
    speech = np.flatnonzero(loudness > loudness.max() - 6.0)
    first, last = int(speech[0]), int(speech[-1]) + 1
    quiet = (loudness[first:last] - loudness.mean()) / (loudness.std() + 1e-6)
    length = last - first
    mean = length / syllables
    places = np.arange(length + 1)
    # uneven[b, a]: the cost of a syllable from a to b.
    spans = places[:, None] - places[None, :]
    uneven = np.where(spans >= 0.4 * mean, 3.0 * (spans / mean - 1) ** 2, np.inf)
    cost = uneven[:, 0]
    origins = []
    for _ in range(1, syllables):
        total = uneven + (cost + np.append(quiet, 0.0))[None, :]
        origins.append(total.argmin(axis=1))
        cost = total.min(axis=1)
    cuts = [length]
    for origin in reversed(origins):
        cuts.append(int(origin[cuts[-1]]))
    return first + np.array([0, *cuts[::-1]])


def slowed(world: World, bounds: np.ndarray, impairment: Impairment, rng: np.random.Generator) -> World:
    """`world` with every syllable stretched by its own factor and pauses at some of the bounds."""
    pieces = [np.arange(0, bounds[0], dtype=float)]
    pauses = []
    for start, end in pairwise(bounds):
        factor = impairment.stretch * np.exp(impairment.unevenness * rng.standard_normal())
        pieces.append(np.arange(start, end, 1 / factor))
        if end != bounds[-1] and rng.random() < impairment.pause_share:
            frames = int(impairment.pause_seconds * FRAMES_PER_SECOND * rng.uniform(0.6, 1.4))
            at = sum(map(len, pieces))
            pauses.append((at, at + frames))
            pieces.append(np.full(frames, float(end)))
    pieces.append(np.arange(bounds[-1], len(world.f0), dtype=float))
    return silenced(at_times(world, np.concatenate(pieces)), pauses)


def silenced(world: World, pauses: list[tuple[int, int]]) -> World:
    """`world` silent in frames `pauses` (from, to), with ramps of some 20 ms."""
    silence = np.zeros(len(world.f0))
    for start, end in pauses:
        silence[start:end] = 1.0
    ramped = gaussian_filter1d(silence, 2.0)[:, None]
    f0 = np.where(silence > 0, 0.0, world.f0)
    return replace(world, f0=f0, log_envelope=(1 - ramped) * world.log_envelope + ramped * SILENCE)


def unsteady(world: World, impairment: Impairment, rng: np.random.Generator) -> World:
    """`world` with a narrower and wavering pitch."""
    if not world.voiced.any():
        return world
    log_f0 = np.log(np.where(world.voiced, world.f0, 1.0))
    mean = log_f0[world.voiced].mean()
    noise = gaussian_filter1d(rng.standard_normal(len(log_f0)), 0.15 * FRAMES_PER_SECOND)
    drift = impairment.pitch_drift * noise / (noise.std() + 1e-9)
    jitter = impairment.pitch_jitter * rng.standard_normal(len(log_f0))
    wavering = mean + impairment.pitch_range * (log_f0 - mean) + drift + jitter
    return replace(world, f0=np.where(world.voiced, np.exp(wavering), 0.0))
