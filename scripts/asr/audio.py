"""Reading audio the way training and decoding take it: one channel, 16 kHz, as 32-bit floats between -1 and 1.

Block by block, so that a clip cut from an hour's recording does not bring the hour into memory. The one resampler of
the recipe: soxr at its high quality, streamed.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile
import soxr

from asr.manifest import MODEL_SAMPLE_RATE

BLOCK = 1 << 16  # samples of one channel read at a time
TOLERATED = 0.02  # seconds by which a cut may overshoot its file: times in manifests are rounded
QUALITY = "HQ"


class UnreadableError(Exception):
    """The file cannot be read as asked; the message says why, without the file's name."""


def blocks(path: str | Path, start: float = 0.0, seconds: float | None = None) -> Iterator[tuple[np.ndarray, int]]:
    """(samples [frames, channels] float32, the file's rate) of a piece of a file, block by block.

    UnreadableError where it cannot be decoded, ends before its header says, or before the piece does.
    """
    try:
        with soundfile.SoundFile(path) as file:
            rate, first = file.samplerate, round(start * file.samplerate)
            wanted = file.frames - first if seconds is None else round(seconds * rate)
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
