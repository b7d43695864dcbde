"""Noise and rooms of a folder that the user has, put into training clips: which file, where and how loud is drawn.

Any format and rate that the recipe reads. A folder that is gone or empty, or a file that is no sound, ends training in
one line before it begins, and so does one that goes while it runs: it is no fault of the clip.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from asr.audio.clip import Cut, UnreadableError
from asr.audio.headers import ESTIMATED, EXTENSIONS, read_header
from asr.audio.reading import resampled
from asr.core.errors import RecipeError
from asr.core.manifest import MODEL_SAMPLE_RATE
from asr.data.chance import between, draws, fractions, more
from asr.data.waveforms import as_strong, of_length


class Recording(NamedTuple):
    """A file and how long it lasts."""

    path: str
    seconds: float


@functools.cache
def recordings(folder: str, key: str) -> tuple[Recording, ...]:
    """Return the recordings in a folder and below, in the order of their names. RecipeError where it has none."""
    if not Path(folder).is_dir():
        raise RecipeError(f"{folder}: no such folder; dataset_conf.{key}.dir names one with recordings")
    paths = (path for path in Path(folder).rglob("*") if path.suffix.lower() in EXTENSIONS and path.is_file())
    found = [_header(path, key) for path in sorted(paths, key=lambda path: path.relative_to(folder).as_posix())]
    if not found:
        kinds = ", ".join(EXTENSIONS)
        raise RecipeError(f"{folder}: holds no recording ({kinds}); dataset_conf.{key}.dir names one that does")
    return tuple(found)


def _broken(path: object, key: str, error: UnreadableError) -> RecipeError:
    return RecipeError(f"{path}: {error}; take it out of dataset_conf.{key}.dir, or put a whole one there")


def _header(path: Path, key: str) -> Recording:
    try:
        header = read_header(str(path))
    except UnreadableError as error:
        raise _broken(path, key, error) from None
    return Recording(str(path), header.num_samples / header.sample_rate)


def check_folders(conf: Mapping[str, Any]) -> None:
    """RecipeError where a folder of a dataset_conf is gone or empty, or a file in it does not begin as sound does."""
    for kind in (ROOMS, NOISE):
        for recording in recordings(conf[kind.key]["dir"], kind.key) if conf.get(kind.key) else ():
            try:
                next(resampled(recording.path))
            except UnreadableError as error:
                raise _broken(recording.path, kind.key, error) from None


def read(recording: Recording, key: str, cut: Cut | None = None) -> np.ndarray:
    """Return [samples] float32 at 16 kHz. RecipeError where they cannot be read."""
    try:
        return np.concatenate(list(resampled(recording.path, cut)))
    except UnreadableError as error:
        raise _broken(recording.path, key, error) from None


@functools.lru_cache(maxsize=256)
def response(recording: Recording) -> np.ndarray:
    """Return a room's response from its loudest sample on, which is where sound arrives directly; its first channel."""
    samples = read(recording, ROOMS.key, Cut(channel=0))
    return samples[int(np.argmax(np.abs(samples))) :]


def in_room(samples: np.ndarray, recording: Recording, value: Mapping[str, Any], numbers: np.ndarray) -> np.ndarray:
    """Return the samples as a room's response has them, with the energy that they had and without its delay."""
    from scipy.signal import fftconvolve

    heard = fftconvolve(samples, response(recording))[: len(samples)].astype(np.float32)
    return as_strong(heard, samples)


def in_noise(samples: np.ndarray, recording: Recording, value: Mapping[str, Any], numbers: np.ndarray) -> np.ndarray:
    """Return the samples with a piece of a noise added, at a ratio of their energies drawn from ``snr_db``.

    A noise that is shorter is repeated. Silence stays: it has no ratio.
    """
    seconds = len(samples) / MODEL_SAMPLE_RATE
    spare, cut = recording.seconds - seconds, None
    if spare > 0 and not recording.path.lower().endswith(ESTIMATED):
        cut = Cut(float(fractions(numbers[:1])[0]) * spare, seconds)
    noise = read(recording, NOISE.key, cut)
    noise = of_length(np.tile(noise, -(-len(samples) // len(noise))), len(samples))
    (decibels,) = between(value["snr_db"], numbers[1:2])
    return samples + as_strong(noise, samples) * np.float32(10.0 ** (-decibels / 20.0))


class Recorded(NamedTuple):
    """A way in which training clips are varied by the recordings of a folder: as asr.data.augmentation.Transform."""

    key: str
    purpose: int
    mix: Callable[[np.ndarray, Recording, Mapping[str, Any], np.ndarray], np.ndarray]
    length: None = None  # it stays

    def vary(self, samples: np.ndarray, value: Any, hashes: np.ndarray, seed: int, epoch: int) -> np.ndarray:
        """Return the clip as it is in this epoch; ``value``: dir and probability, and what ``mix`` reads."""
        numbers = more(draws(hashes, seed, epoch, self.purpose)[0], 4)
        takes, which = fractions(numbers[:2])
        if takes >= value["probability"]:
            return samples
        files = recordings(value["dir"], self.key)
        return self.mix(samples, files[int(which * len(files))], value, numbers[2:])


ROOMS = Recorded("rooms", 10, in_room)
NOISE = Recorded("noise", 9, in_noise)
