"""Clips that training cannot take as they are, made into 16-kHz mono files once, beside the data.

    <out>_audio/<speaker>/<key>-<digest>.wav       16-bit PCM

The digest covers the source file (its path, size and time), key, the piece that was cut, and how it was made. A file
that is there and whole is kept; any other is made anew, under a temporary name. Files are not forced to the disk one by
one, which would take longer than all the rest: what a power cut leaves of one has a size that its header contradicts.
"""

from __future__ import annotations

import os
import re
import wave
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np

from asr.audio.clip import Cut, UnreadableError
from asr.audio.headers import read_header
from asr.audio.workers import map_in_processes
from asr.core.digests import sha256_text
from asr.core.errors import RecipeError
from asr.core.files import free_disk
from asr.core.manifest import MODEL_SAMPLE_RATE
from asr.core.names import UNKNOWN_SPEAKER

METHOD = "soxr-hq-1"  # changes with whatever changes the samples
_MADE = re.compile(r".+-[0-9a-f]{16}\.wav", re.DOTALL)
_PARTIAL = re.compile(r"\..+-[0-9a-f]{16}\.wav\.[^.]+\.part", re.DOTALL)
_LONGEST = 50  # characters of a key or a speaker in a file name; file systems take 255 bytes
_HEADER = 44  # bytes


class Job(NamedTuple):
    """What to make, of which file, and how long that lasts in seconds."""

    key: str
    speaker: str
    source: str
    cut: Cut | None
    seconds: float


class Made(NamedTuple):
    """A converted clip: its file and its samples at 16 kHz."""

    path: str
    num_samples: int


class Failed(NamedTuple):
    """A clip that could not be converted; ``kind`` and ``detail`` are those of problems.tsv."""

    key: str
    source: str
    kind: str
    detail: str


def convert(
    jobs: Sequence[Job], folder: Path, workers: int | None = None, advance: Callable[[int], object] = lambda _: None
) -> tuple[dict[str, Made], list[Failed]]:
    """Convert what is not there yet, by several processes; return what is there by key, and what could not be made.

    Samples beyond full scale are cut off at it; how many there were is printed. ``advance`` is called with the number
    of clips that are done. RecipeError where the disk has too little room, the folder cannot be written, or a process
    was killed; what was made so far is kept.
    """
    made: dict[str, Made] = {}
    failed, new, beyond = [], [], []
    for job in jobs:
        path = path_of(job, folder)
        if samples := _samples_of(path):
            made[job.key] = Made(path, samples)
        else:
            new.append((job, path))
    advance(len(made))
    if not new:
        return made, failed
    _check_room(folder, [job for job, _ in new])
    results = map_in_processes(_work, new, lambda task: task[0].source, workers)
    try:
        for (job, _), (result, over) in zip(new, results, strict=True):
            if isinstance(result, Failed):
                failed.append(result)
            else:
                made[job.key] = result
            if over:
                beyond.append(over)
            advance(1)
    finally:
        for path in folder.glob("*/.*-*.wav.*.part"):  # of processes that were ended
            path.unlink()
    if beyond:
        clips = f"{sum(beyond):,} samples of {len(beyond):,} clips"
        print(f"audio converted: {clips} were beyond full scale: cut off at it")
    return made, failed


def path_of(job: Job, folder: Path) -> str:
    """Return the converted clip's path. A source that cannot be read has one too; converting it then fails."""
    try:
        about = os.stat(job.source)
        stamp = (about.st_size, about.st_mtime_ns)
    except (OSError, ValueError):
        stamp = ()
    identity = repr((METHOD, os.path.abspath(job.source), stamp, job.key, tuple(job.cut or ())))
    digest = sha256_text(identity, "surrogateescape")[:16]
    return os.path.join(folder, _name(job.speaker) or UNKNOWN_SPEAKER, f"{_name(job.key)}-{digest}.wav")


def _name(text: str) -> str:
    """Return a key or speaker as part of a path; the digest tells apart what begins alike."""
    name = text.replace("/", "_").replace("\0", "_")[:_LONGEST]
    return f"_{name}" if name in (".", "..") else name


def _samples_of(path: str) -> int:
    """Return the samples of a converted clip that is there and whole, else 0."""
    try:
        header = read_header(path)
    except UnreadableError:
        return 0
    whole = header == (header.num_samples, MODEL_SAMPLE_RATE, 1, 0, False)
    return header.num_samples if whole and os.path.getsize(path) == _HEADER + 2 * header.num_samples else 0


def _check_room(folder: Path, jobs: Sequence[Job]) -> None:
    need, free = sum(_HEADER + 2 * MODEL_SAMPLE_RATE * job.seconds for job in jobs), free_disk(folder)
    if need > free:
        raise RecipeError(
            f"{folder}: {len(jobs):,} clips as 16-kHz mono need {need / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free;"
            " make room, or give --out on another disk"
        )


def _work(task: tuple[Job, str]) -> tuple[Made | Failed, int]:
    """In a process of its own: make one file, under a temporary name first; and count samples beyond full scale."""
    job, path = task
    partial = os.path.join(os.path.dirname(path), f".{os.path.basename(path)}.{os.getpid()}.part")
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        read_header(job.source)  # a header that is not a whole file's is an error, though it could be decoded
        samples, beyond = _write(job, partial)
        os.replace(partial, path)
    except UnreadableError as error:
        return Failed(job.key, job.source, error.kind, str(error)), 0
    except OSError as error:
        why = error.strerror or error
        raise RecipeError(f"{path}: cannot be written ({why}); what was made so far is kept") from None
    finally:
        with suppress(OSError):
            os.unlink(partial)
    return Made(path, samples), beyond


def _write(job: Job, path: str) -> tuple[int, int]:
    """Write a clip as 16-kHz mono; return its samples, and how many of them were beyond full scale."""
    from asr.audio.reading import resampled

    beyond = 0
    with open(path, "wb") as stream, wave.open(stream, "wb") as out:
        out.setparams((1, 2, MODEL_SAMPLE_RATE, 0, "NONE", ""))
        for piece in resampled(job.source, job.cut):
            scaled = np.rint(piece * 32768)
            beyond += int(((scaled > 32767) | (scaled < -32768)).sum())
            out.writeframesraw(np.clip(scaled, -32768, 32767).astype("<i2").tobytes())
        samples = out.tell()
    return samples, beyond


def prune(folder: Path, keep: Collection[str]) -> int:
    """Remove converted clips that no manifest names, and what a killed run left half-written; return how many.

    Only files with names that this module makes are touched, and only in the folders of speakers.
    """
    removed = 0
    for speaker in [path for path in folder.glob("*") if path.is_dir() and not path.is_symlink()]:
        for path in list(speaker.iterdir()):
            stale = _MADE.fullmatch(path.name) and str(path) not in keep
            if (stale or _PARTIAL.fullmatch(path.name)) and path.is_file() and not path.is_symlink():
                path.unlink()
                removed += 1
        with suppress(OSError):  # somebody's own file is in it
            speaker.rmdir()
    with suppress(OSError):
        folder.rmdir()
    return removed
