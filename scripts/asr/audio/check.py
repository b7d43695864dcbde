"""--check-audio: decode every clip, for what its header does not show: damage, clipping, silence, values that are none.

Clipping is sound that stands still at its limit: runs of at least three samples of one channel within one 16-bit step
of the clip's own highest (or lowest) value, where that lies above a quarter of full scale; where it reaches 99.9 % of
full scale, every sample up there counts, because what a codec or a volume control did after the clipping leaves no
exact plateau. The clip's own limit, because recorders and volume controls clip below full scale too; three samples
within one step, because speech turns faster than that: at half of full scale only tones below 30 Hz (at 16 kHz) do not.
Files of 8 bits and of telephones have steps so coarse that sound stands still anywhere: there only their own full scale
counts. From ten such samples on (0.6 ms at 16 kHz) it is a warning; fewer are not heard.

Silence: the loudest 25 ms of the channels' mean, without its constant part (which the features take off too), lie
below -60 dB of full scale.

On 1,632 recorded words of 34 typical speakers (from DSPSpeech-20; phones and laptops) 26 clips (1.6 %), all
of one speaker, are clipped by this measure; one more has 6 such samples, all others have none, though 24 of them reach
99.9 % of full scale. The loudest 25 ms of the quietest clip are at -31 dB.
"""

from __future__ import annotations

import collections
import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from asr.preparation.corpus import Cut
from asr.preparation.header_cache import HeaderCache, Stamp, stamp_of
from asr.preparation.problems import ERROR, WARNING

RUN = 3  # samples at the limit, one after the other
MIN_CLIPPED = 10
MIN_LIMIT = 0.25  # of full scale
NEAR_FULL_SCALE = 0.999
STEP = 1 / 32768
FULL_SCALE = {"PCM_U8": 127 / 128, "PCM_S8": 127 / 128, "ULAW": 32124 / 32768, "ALAW": 32256 / 32768}
SILENCE_DB = -60.0
WINDOW_SECONDS = 0.025
METHOD = 2  # changes with what Sound means; a result of another method is not used again

Finding = tuple[str, str, str]  # severity, kind, detail


class Sound(NamedTuple):
    """What decoding a clip gives. ``peak`` and ``loudest_db`` (RMS of the loudest 25 ms) are relative to full scale.

    ``clipped`` counts samples of all channels.
    """

    peak: float
    clipped: int
    loudest_db: float


def measure(path: str, cut: Cut | None = None) -> Sound:
    """Decode a clip, block by block. UnreadableError where that cannot be done to its end, or is no sound."""
    import numpy as np

    from asr.audio.reading import blocks, mono

    start, seconds, channel = cut or Cut()
    limits: dict[tuple[int, int], _Limit] = collections.defaultdict(_Limit)  # by channel and sign
    loudest = _Loudest()
    for block, rate in blocks(path, start, seconds):
        for own in range(block.shape[1]) if channel is None else (channel,):
            samples = np.ascontiguousarray(block[:, own])
            limits[own, 1].add(samples, float(samples.max()))
            limits[own, -1].add(-samples, -float(samples.min()))
        loudest.add(mono(block, channel), max(round(WINDOW_SECONDS * rate), 1))
    peak = max(limit.top for limit in limits.values())
    clipped = sum(limit.clipped() for limit in limits.values())
    if clipped >= MIN_CLIPPED:
        full = _full_scale(path)
        clipped = sum(limit.clipped() for limit in limits.values() if limit.top >= NEAR_FULL_SCALE * full)
    return Sound(peak, clipped, 10 * math.log10(max(loudest.power(), 1e-20)))


def _full_scale(path: str) -> float:
    """Below this no plateau is clipping; 0 where the steps are fine enough to tell."""
    import soundfile

    return FULL_SCALE.get(soundfile.info(path).subtype, 0.0)


class _Limit:
    """Samples that stand still at one side's highest value so far; runs may cross blocks."""

    def __init__(self) -> None:
        self.top = self._level = -math.inf
        self._count = self._open = 0  # samples of long runs that have ended; of the run that the last block ended with

    def add(self, samples: Any, top: float) -> None:
        import numpy as np

        if top > self.top:
            self.top = top
            level = NEAR_FULL_SCALE if top >= NEAR_FULL_SCALE else top - STEP
            if level > self._level:  # what stood still lower down was not the limit
                self._level, self._count, self._open = level, 0, 0
        places = np.flatnonzero(samples >= self._level) if top >= self._level else ()
        if not len(places):
            self._end(self._open)
            return
        bounds = [0, *(np.flatnonzero(np.diff(places) > 1) + 1).tolist(), len(places)]
        runs = [after - before for before, after in itertools.pairwise(bounds)]
        if places[0] == 0:
            runs[0] += self._open
        else:
            self._end(self._open)
        self._open = runs.pop() if places[-1] == len(samples) - 1 else 0
        for run in runs:
            self._count += run if run >= RUN else 0

    def _end(self, run: int) -> None:
        self._count += run if run >= RUN else 0
        self._open = 0

    def clipped(self) -> int:
        """Samples in long runs at the limit, if that is high enough to be one."""
        self._end(self._open)
        return self._count if self.top >= MIN_LIMIT else 0


class _Loudest:
    """The power of the loudest window, without each window's constant part."""

    def __init__(self) -> None:
        self._found = 0.0
        self._rest: Any = None

    def add(self, samples: Any, size: int) -> None:
        import numpy as np

        if self._rest is not None and len(self._rest):
            samples = np.concatenate([self._rest, samples])
        whole = len(samples) // size * size
        if whole:
            windows = samples[:whole].reshape(-1, size)
            power = np.einsum("ij,ij->i", windows, windows) / size - windows.mean(axis=1) ** 2
            self._found = max(self._found, float(power.max()))
        self._rest, self._size = samples[whole:], size

    def power(self) -> float:
        """What is left over is taken as filled up with silence."""
        rest = float(self._rest.var()) * len(self._rest) / self._size if len(self._rest) else 0.0
        return max(self._found, rest)


def findings(sound: Sound) -> list[Finding]:
    """What is wrong with a clip that could be decoded."""
    found = []
    if sound.clipped >= MIN_CLIPPED:
        below = -20 * math.log10(sound.peak)
        limit = f"{below:.1f} dB below full scale" if below >= 0.05 else "full scale"
        detail = f"{sound.clipped:,} samples stand still at their limit, {limit}"
        found.append((WARNING, "clipping", detail))
    if sound.loudest_db < SILENCE_DB:
        level = f"{sound.loudest_db:.0f} dB of full scale" if sound.loudest_db > -190 else "digital zero"
        found.append((WARNING, "silence", f"its loudest 25 ms are at {level}"))
    return found


def _work(job: tuple[str, Cut | None]) -> tuple[Stamp | None, Sound | None, list[Finding]]:
    """In a worker: the file as it was before, what was measured, or the error why nothing could be."""
    from asr.audio.reading import UnreadableError

    stamp = stamp_of(job[0])
    try:
        return stamp, measure(*job), []
    except UnreadableError as error:
        return stamp, None, [(ERROR, error.kind, str(error))]


def check_all(
    jobs: Iterable[tuple[str, Cut | None]], headers: HeaderCache, total: int, workers: int | None = None
) -> Iterator[list[Finding]]:
    """The findings of each clip (path and cut), in order, by several processes; ``total`` is for the progress shown.

    What was measured before of an unchanged file is taken from ``headers``; memory is bounded. A RecipeError that names
    the clip where a process was killed.
    """
    import soundfile  # noqa: F401  # before the workers fork, so that it is loaded once

    from asr.preparation.workers import CHUNK, Progress, Workers

    under_way: collections.deque[tuple[Sequence[Any], list[Sound | None]]] = collections.deque()

    def unknown() -> Iterator[list[Any]]:
        source = iter(jobs)
        while chunk := list(itertools.islice(source, CHUNK)):
            known = [_kept(headers.sound(*job)) for job in chunk]
            under_way.append((chunk, known))
            yield [job for job, sound in zip(chunk, known, strict=True) if sound is None]

    with Workers(_work, lambda job: job[0], workers) as pool, Progress("audio checked", total) as progress:
        for results in pool.run(unknown()):
            chunk, known = under_way.popleft()
            new = iter(results)
            for job, kept in zip(chunk, known, strict=True):
                yield findings(kept) if kept else _new(job, *next(new), headers)
            progress.update(len(chunk))


def _kept(row: list[Any] | None) -> Sound | None:
    return Sound(*row[1:]) if row and row[0] == METHOD and len(row) == 4 else None


def _new(
    job: tuple[str, Cut | None], stamp: Stamp | None, sound: Sound | None, wrong: list[Finding], headers: HeaderCache
) -> list[Finding]:
    if sound is None:  # not kept: a network or a disk may do better the next time
        return wrong
    headers.put_sound(*job, stamp, [METHOD, *sound])
    return findings(sound)
