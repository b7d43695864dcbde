"""Clips that training cannot take as they are, made into 16-kHz mono files once, beside the data.

    <out>_audio/<speaker>/<key>-<digest>.wav       16-bit PCM

The digest covers the source file (its path, size and time), the piece that was cut, and how it was made. A file that is
there, whole, and made since its source last changed is kept; any other is made anew, under a temporary name that is
then changed. Files are not forced to the disk one by one, which would take longer than all the rest: what a power cut
leaves of one has a size that its header contradicts, and is made anew.
"""

from __future__ import annotations

import contextlib
import filecmp
import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from asr.audio.headers import AudioError, read_header
from asr.core.errors import RecipeError
from asr.core.manifest import MODEL_SAMPLE_RATE
from asr.preparation.corpus import UNKNOWN_SPEAKER, Cut
from asr.preparation.header_cache import stamp_of

METHOD = "soxr-hq-1"  # changes with whatever changes the samples
_MADE = re.compile(r".+-[0-9a-f]{16}\.wav", re.DOTALL)
_PARTIAL = re.compile(r"\..+-[0-9a-f]{16}\.wav\.[^.]+\.part", re.DOTALL)
_LONGEST = 200  # bytes of a key or a speaker in a file name; file systems take 255
_BLOCK = 4096  # bytes that a file system gives out at a time
_HEADER = 44  # bytes


class Job(NamedTuple):
    """What to make: an utterance's key and speaker, its file, what of it, and how long that lasts in seconds."""

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


def convert(jobs: Sequence[Job], folder: Path, workers: int | None = None) -> tuple[dict[str, Made], list[Failed]]:
    """Convert what is not there yet, by several processes: what was made by key, and what could not be.

    Samples beyond full scale are cut off at it; how many there were is printed. RecipeError where the disk has too
    little room, the folder cannot be written, or a process was killed; what was made so far is kept.
    """
    made: dict[str, Made] = {}
    failed: list[Failed] = []
    new: list[tuple[Job, str]] = []
    for job in jobs:
        path = path_of(job, folder)
        samples = _samples_of(job, path)
        if samples:
            made[job.key] = Made(path, samples)
        else:
            new.append((job, path))
    if new:
        _check_room(folder, [job for job, _ in new])
        _convert_all(new, workers, made, failed)
    return made, failed


def path_of(job: Job, folder: Path) -> str:
    """Where the converted clip lies. A source that cannot be looked at has a name too; converting it then fails."""
    stamp = (stamp_of(job.source) or ())[:2]
    identity = repr((METHOD, os.path.abspath(job.source), stamp, job.key, tuple(job.cut or ())))
    digest = hashlib.sha256(identity.encode("utf-8", "surrogateescape")).hexdigest()[:16]
    return os.path.join(folder, _name(job.speaker) or UNKNOWN_SPEAKER, f"{_name(job.key)}-{digest}.wav")


def _name(text: str) -> str:
    """A key or speaker as part of a path, of at most 200 bytes; what is longer ends in a digest of the whole."""
    text = text.replace("/", "_").replace("\0", "_")
    raw = text.encode("utf-8", "surrogateescape")
    if len(raw) > _LONGEST:
        end = f"~{hashlib.sha256(raw).hexdigest()[:8]}"
        text = raw[: _LONGEST - len(end)].decode("utf-8", "ignore") + end
    return f"_{text}" if text in (".", "..") else text


def _samples_of(job: Job, path: str) -> int:
    """The samples of a converted clip that is there, whole and up to date, else 0."""
    made, source = stamp_of(path), stamp_of(job.source)
    # The change time, which cannot be set, tells of a source that was replaced with its old size and time kept.
    if made is None or source is None or made[2] <= source[2]:
        return 0
    try:
        header = read_header(path)
    except AudioError:
        return 0
    whole = header[1:] == (MODEL_SAMPLE_RATE, 1, 0, False) and made[0] == _HEADER + 2 * header.num_samples
    return header.num_samples if whole else 0


def _check_room(folder: Path, jobs: Sequence[Job]) -> None:
    sizes = (_HEADER + 2 * MODEL_SAMPLE_RATE * job.seconds for job in jobs)
    need = sum(-(-size // _BLOCK) * _BLOCK for size in sizes)
    there = folder.absolute()
    while not there.exists():
        there = there.parent
    free = shutil.disk_usage(there).free
    if need > free:
        raise RecipeError(
            f"{folder}: {len(jobs):,} clips as 16-kHz mono need {need / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free;"
            " make room, or give --out on another disk"
        )


def _convert_all(
    new: Sequence[tuple[Job, str]], workers: int | None, made: dict[str, Made], failed: list[Failed]
) -> None:
    import soundfile  # noqa: F401  # before the workers fork, so that they are loaded once
    import soxr  # noqa: F401

    from asr.preparation.workers import CHUNK, Progress, Workers

    for parent in {os.path.dirname(path) for _, path in new}:
        os.makedirs(parent, exist_ok=True)
    beyond: list[int] = []
    chunks = [new[at : at + CHUNK] for at in range(0, len(new), CHUNK)]
    with Workers(_work, lambda item: item[0].source, workers) as pool, Progress("audio converted", len(new)) as bar:
        for chunk, results in zip(chunks, pool.run(chunks), strict=True):
            for (job, path), result in zip(chunk, results, strict=True):
                if isinstance(result, Failed):
                    failed.append(result)
                    continue
                samples, over = result
                made[job.key] = Made(path, samples)
                if over:
                    beyond.append(over)
            bar.update(len(chunk))
    if beyond:
        print(
            f"audio converted: {sum(beyond):,} samples of {len(beyond):,} clips were beyond full scale: cut off at it"
        )


def _work(item: tuple[Job, str]) -> Failed | tuple[int, int]:
    """In a worker: make one file. Its samples, and how many of them were beyond full scale; or why there is none."""
    job, path = item
    try:
        before = stamp_of(job.source)
        _check(job)
        handle, partial = tempfile.mkstemp(
            prefix=f".{os.path.basename(path)[-48:]}.", suffix=".part", dir=os.path.dirname(path)
        )
        try:
            with open(handle, "wb") as stream:
                result = _write(job, stream)
            if stamp_of(job.source) != before:
                raise AudioError("unreadable audio", "it changed while it was being read; run it again")
            _put(partial, path)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(partial)
            raise
    except AudioError as error:
        return Failed(job.key, job.source, error.kind, error.detail)
    except OSError as error:
        raise RecipeError(
            f"{path}: cannot be written ({error.strerror or error}); what was made so far is kept"
        ) from None
    return result


def _put(partial: str, path: str) -> None:
    """Give the file its name. Where the same is there already, its time stays: nothing that depends on it is stale."""
    umask = os.umask(0)
    os.umask(umask)
    os.chmod(partial, 0o666 & ~umask)
    with contextlib.suppress(FileNotFoundError):
        if filecmp.cmp(partial, path, shallow=False):
            about = os.stat(path)
            os.utime(partial, ns=(about.st_atime_ns, about.st_mtime_ns))
    os.replace(partial, path)


def _check(job: Job) -> None:
    """AudioError where the header is that of no whole file, or the cut is not in it."""
    header, cut = read_header(job.source), job.cut or Cut()
    if not 0 <= (cut.channel or 0) < header.channels:
        raise AudioError("cut beyond the end", f"channel {cut.channel} of a file that has {header.channels}")
    end = cut.start + (cut.seconds or 0)
    whole = header.num_samples / header.sample_rate
    if (cut.start and cut.start >= whole) or end > whole + 0.0201:  # asr.audio.reading.TOLERATED, and half a sample
        raise AudioError("cut beyond the end", f"{cut.start:.2f} s to {end:.2f} s of a file of {whole:.2f} s")


def _write(job: Job, stream: Any) -> tuple[int, int]:
    import wave

    import numpy as np

    from asr.audio.reading import UnreadableError, resampled

    start, seconds, channel = job.cut or Cut()
    beyond = 0
    with wave.open(stream, "wb") as out:
        out.setparams((1, 2, MODEL_SAMPLE_RATE, 0, "NONE", ""))
        try:
            for piece in resampled(job.source, start, seconds, channel):
                scaled = np.rint(piece * 32768)
                beyond += int(((scaled > 32767) | (scaled < -32768)).sum())
                out.writeframesraw(np.clip(scaled, -32768, 32767).astype("<i2").tobytes())
        except UnreadableError as error:
            raise AudioError(error.kind, str(error)) from None
        samples = out.tell()
    return samples, beyond


def prune(folder: Path, keep: Collection[str]) -> int:
    """Remove converted clips that no manifest names, and what a killed run left half-written; how many there were.

    Only files with names that this module makes are touched, and only in the folders of speakers.
    """
    removed = 0
    with contextlib.suppress(FileNotFoundError):
        for speaker in list(os.scandir(folder)):
            if not speaker.is_dir(follow_symlinks=False):
                continue
            for entry in list(os.scandir(speaker.path)):
                stale = _MADE.fullmatch(entry.name) and entry.path not in keep
                if (stale or _PARTIAL.fullmatch(entry.name)) and entry.is_file(follow_symlinks=False):
                    os.unlink(entry.path)
                    removed += 1
            with contextlib.suppress(OSError):  # somebody's own file is in it
                os.rmdir(speaker.path)
        with contextlib.suppress(OSError):
            os.rmdir(folder)
    return removed
