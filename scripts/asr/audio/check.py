"""--check-audio: decode every clip, for what its header does not show: damage, clipping, silence, values that are none.

Clipping is sound that stands still at its limit: runs of at least three samples of one channel within one 16-bit step
of the clip's own highest (or lowest) value, where that lies above a quarter of full scale; where it reaches 99.9 % of
full scale, every sample up there counts, because a codec after the clipping leaves no exact plateau. The clip's own
limit, because recorders clip below full scale too; three samples, because speech turns faster than that. Files of 8
bits and of telephones have steps so coarse that sound stands still anywhere: there only their own full scale counts.
From ten such samples on (0.6 ms at 16 kHz) it is a warning; fewer are not audible.

Silence: the loudest 25 ms of the channels' mean, without its constant part (which the features remove too), lie
below -60 dB of full scale.

Of 1,632 recorded words of 34 typical speakers (from DSPSpeech-20; phones and laptops) 26, all of one speaker, are
clipped by this measure, though 24 others reach 99.9 % of full scale; the loudest 25 ms of the quietest are at -31 dB.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from asr.audio.clip import Cut, UnreadableError
from asr.audio.phones import is_phones
from asr.audio.workers import map_in_processes

RUN = 3  # samples at the limit, one after the other
MIN_CLIPPED = 10
MIN_LIMIT = 0.25  # of full scale
NEAR_FULL_SCALE = 0.999
STEP = 1 / 32768
FULL_SCALE = {"PCM_U8": 127 / 128, "PCM_S8": 127 / 128, "ULAW": 32124 / 32768, "ALAW": 32256 / 32768}
SILENCE_DB = -60.0
WINDOW_SECONDS = 0.025

Finding = tuple[str, str]  # kind, detail: as in problems.tsv
Checked = list[Finding] | UnreadableError


class Sound(NamedTuple):
    """What decoding a clip shows. ``peak`` and ``loudest_db`` (RMS of the loudest 25 ms) are relative to full scale.

    ``clipped`` counts samples of all channels.
    """

    peak: float
    clipped: int
    loudest_db: float


def measure(path: str, cut: Cut | None = None) -> Sound:
    """Decode a clip. UnreadableError where that cannot be done to its end, or is no sound."""
    import soundfile

    from asr.audio.reading import blocks, mono

    channel = cut and cut.channel
    pieces, rates = zip(*blocks(path, cut), strict=True)
    samples = np.concatenate(pieces)
    columns = (samples if channel is None else samples[:, channel : channel + 1]).T
    sides = [side for column in np.ascontiguousarray(columns) for side in (column, -column)]
    # Below this no plateau is clipping; 0 where the steps are fine enough to tell.
    subtype = "" if is_phones(path) else soundfile.info(path).subtype
    lowest = max(MIN_LIMIT, NEAR_FULL_SCALE * FULL_SCALE.get(subtype, 0.0))
    power = _loudest_power(mono(samples, channel), max(round(WINDOW_SECONDS * rates[0]), 1))
    return Sound(
        peak=max(float(side.max()) for side in sides),
        clipped=sum(_clipped(side, lowest) for side in sides),
        loudest_db=10 * math.log10(max(power, 1e-20)),
    )


def _clipped(samples: np.ndarray, lowest: float) -> int:
    """Return how many samples stand still, in runs, at the highest value, if that is ``lowest`` at least."""
    top = float(samples.max())
    if top < lowest:
        return 0
    at_limit = np.flatnonzero(samples >= (NEAR_FULL_SCALE if top >= NEAR_FULL_SCALE else top - STEP))
    starts = np.flatnonzero(np.diff(at_limit, prepend=-2) > 1)
    runs = np.diff(starts, append=len(at_limit))
    return int(runs[runs >= RUN].sum())


def _loudest_power(samples: np.ndarray, size: int) -> float:
    """Return the power of the loudest window, without each window's constant part."""
    whole = len(samples) // size * size
    windows, rest = samples[:whole].reshape(-1, size), samples[whole:]
    powers = np.einsum("ij,ij->i", windows, windows) / size - windows.mean(axis=1) ** 2
    # What is left over is taken as filled up with silence.
    left_over = float(rest.var()) * len(rest) / size if len(rest) else 0.0
    return max(float(powers.max(initial=0.0)), left_over)


def findings(sound: Sound) -> list[Finding]:
    """Return what is odd about a clip that could be decoded."""
    odd = []
    if sound.clipped >= MIN_CLIPPED:
        below = -20 * math.log10(sound.peak)
        limit = f"{below:.1f} dB below full scale" if below >= 0.05 else "full scale"
        odd.append(("clipping", f"{sound.clipped:,} samples stand still at their limit, {limit}"))
    if sound.loudest_db < SILENCE_DB:
        level = f"{sound.loudest_db:.0f} dB of full scale" if sound.loudest_db > -190 else "digital zero"
        odd.append(("silence", f"its loudest 25 ms are at {level}"))
    return odd


def _check(job: tuple[str, Cut | None]) -> Checked:
    try:
        return findings(measure(*job))
    except UnreadableError as error:
        return error


def check_all(jobs: Sequence[tuple[str, Cut | None]], workers: int | None = None) -> Iterator[Checked]:
    """Yield what checking each clip (path and cut) shows, in order, by several processes.

    A RecipeError that names the clip where a process was killed.
    """
    return map_in_processes(_check, jobs, lambda job: job[0], workers)
