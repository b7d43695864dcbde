"""Reading audio the way training and decoding take it: one channel, 16 kHz, as 32-bit floats between -1 and 1.

Every stage reads samples here, and here they are checked: one that is no sound (NaN, infinite, far beyond full scale)
makes its clip unreadable, as a damaged file is; what follows from that is in asr.audio.unreadable. Block by block, so
that a clip cut from an hour's recording does not bring the hour into memory. The one resampler of the recipe: soxr at
its high quality, streamed.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile
import soxr

from asr.audio.unreadable import check_folder
from asr.core.manifest import MODEL_SAMPLE_RATE

BLOCK = 1 << 16  # samples of one channel read at a time
TOLERATED = 0.02  # seconds between what a manifest says and its file has: times are rounded, and resamplers round too
LOUDEST = 100.0  # times full scale: headroom of float files stays far below, integers stored as floats lie above
QUALITY = "HQ"


class UnreadableError(Exception):
    """The file cannot be read as asked; the message says why, without the file's name. ``kind``: as in problems.tsv."""

    def __init__(self, message: str, kind: str = "unreadable audio") -> None:
        super().__init__(message)
        self.kind = kind


def _check(block: np.ndarray, place: int, rate: int) -> None:
    """UnreadableError where a sample of a block, which ends at the file's sample ``place``, is no sound."""
    if block.min() >= -LOUDEST and block.max() <= LOUDEST:  # False for NaN
        return
    wrong = ~(np.abs(block).max(axis=1) <= LOUDEST)
    first = int(np.argmax(wrong))
    where, value = (place - len(block) + first) / rate, float(np.abs(block[first]).max())
    if not np.isfinite(block).all():
        raise UnreadableError(
            f"a sample is NaN or infinite (the first wrong one at {where:.2f} s)", "samples not finite"
        )
    raise UnreadableError(
        f"a sample at {where:.2f} s is {value:.3g} times full scale; integers stored as floats are divided by 32768",
        "samples out of range",
    )


def blocks(path: str | Path, start: float = 0.0, seconds: float | None = None) -> Iterator[tuple[np.ndarray, int]]:
    """(samples [frames, channels] float32, the file's rate) of a piece of a file, block by block.

    UnreadableError where it cannot be decoded, ends before its header says, or before the piece does, and where a
    sample is no sound.
    """
    try:
        with soundfile.SoundFile(path) as file:
            rate, first = file.samplerate, round(start * file.samplerate)
            wanted = file.frames - first if seconds is None else round(seconds * rate)
            if not file.frames:
                raise UnreadableError("its header counts no samples")
            if first and first < file.frames:
                file.seek(first)
            if first + wanted > file.frames + TOLERATED * rate or wanted <= 0:
                raise UnreadableError(f"it has {file.frames / rate:.2f} s, and the clip goes from {start:.2f} s to"
                                      f" {(first + wanted) / rate:.2f} s")  # fmt: skip
            wanted = min(wanted, file.frames - first)
            while wanted:
                block = file.read(min(BLOCK, wanted), dtype="float32", always_2d=True)
                if not len(block):
                    raise UnreadableError(f"it breaks off {wanted / rate:.2f} s before its header says")
                _check(block, file.tell(), rate)
                wanted -= len(block)
                yield block, rate
    except (soundfile.SoundFileError, OSError, RuntimeError) as error:
        detail = str(getattr(error, "error_string", "") or error).removeprefix("Error : ").rstrip(". ")
        raise UnreadableError(f"cannot be decoded: {detail}") from None


def mono(block: np.ndarray, channel: int | None) -> np.ndarray:
    """[frames]: one channel of [frames, channels], or the mean of all."""
    if channel is not None or block.shape[1] == 1:
        return block[:, channel or 0]
    total = block[:, 0].copy()
    for other in range(1, block.shape[1]):  # thirty times as fast as mean(axis=1)
        total += block[:, other]
    return total / block.shape[1]


def resampled(
    path: str | Path, start: float = 0.0, seconds: float | None = None, channel: int | None = None
) -> Iterator[np.ndarray]:
    """The piece as 16-kHz mono, in blocks of [samples] float32. A file that is so already comes out as it is."""
    stream = None
    for block, rate in blocks(path, start, seconds):
        samples = mono(block, channel)
        if rate == MODEL_SAMPLE_RATE:
            yield samples
            continue
        stream = stream or soxr.ResampleStream(rate, MODEL_SAMPLE_RATE, 1, dtype="float32", quality=QUALITY)
        yield stream.resample_chunk(np.ascontiguousarray(samples))
    if stream:
        yield stream.resample_chunk(np.zeros(0, np.float32), last=True)


def read_audio(path: str | os.PathLike[str], seconds: float | None = None) -> np.ndarray:
    """[samples] float32 of a whole file as 16-kHz mono.

    UnreadableError where it cannot be read, or does not last the ``seconds`` that it did in stage 1. RecipeError where
    its folder is gone (``asr.audio.unreadable.check_folder``).
    """
    try:
        samples = np.concatenate(list(resampled(os.fspath(path))))
    except UnreadableError as error:
        check_folder(path)
        raise error if os.path.exists(path) else UnreadableError("is not there any more") from None
    now = len(samples) / MODEL_SAMPLE_RATE
    if seconds is not None and abs(now - seconds) > TOLERATED:  # a cut WAV decodes without an error, and to less
        raise UnreadableError(f"has {now:.2f} s now, and had {seconds:.2f} s in stage 1")
    return samples
