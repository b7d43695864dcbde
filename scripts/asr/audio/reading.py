"""Reading audio the way training and decoding take it: one channel, 16 kHz, as 32-bit floats between -1 and 1.

Every stage reads samples here, and here they are checked: one that is no sound (NaN, infinite, far beyond full scale)
makes its clip unreadable, as a damaged file does. Block by block, so that a clip cut from an hour's recording does not
bring the hour into memory. The one resampler of the recipe: soxr at its high quality, streamed.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile
import soxr

from asr.audio import phones
from asr.audio.clip import TOLERANCE, Cut, UnreadableError, frames_of, sound_error
from asr.audio.headers import read_header
from asr.audio.unreadable import check_folder
from asr.core.manifest import MODEL_SAMPLE_RATE

BLOCK = 1 << 16  # samples of one channel read at a time
LOUDEST = 100.0  # times full scale: headroom of float files stays far below, integers stored as floats lie above
QUALITY = "HQ"


def _check(block: np.ndarray, end: int, rate: int) -> None:
    """UnreadableError where a sample of a block, which ends at the file's frame ``end``, is no sound."""
    if block.min() >= -LOUDEST and block.max() <= LOUDEST:  # False for NaN
        return
    first = int(np.argmax(~(np.abs(block).max(axis=1) <= LOUDEST)))
    seconds, value = (end - len(block) + first) / rate, float(np.abs(block[first]).max())
    if not np.isfinite(block).all():
        detail = f"a sample is NaN or infinite (the first wrong one at {seconds:.2f} s)"
        raise UnreadableError(detail, "samples not finite")
    detail = f"a sample at {seconds:.2f} s is {value:.3g} times full scale"
    raise UnreadableError(f"{detail}; integers stored as floats are divided by 32768", "samples out of range")


def blocks(path: str | Path, cut: Cut | None = None) -> Iterator[tuple[np.ndarray, int]]:
    """Yield (samples [frames, channels] float32, the file's rate) of a clip, block by block, with all its channels.

    UnreadableError where the file cannot be decoded, ends before its header or the cut says, or holds what is no sound.
    """
    if phones.is_phones(path):
        yield from _phones_blocks(path, cut)
        return
    try:
        with soundfile.SoundFile(path) as file:
            rate = file.samplerate
            first, wanted = frames_of(cut, file.frames, rate, file.channels)
            if not wanted:
                raise UnreadableError("its header counts no samples")
            if first:
                file.seek(first)
            while wanted:
                block = file.read(min(BLOCK, wanted), dtype="float32", always_2d=True)
                if not len(block):
                    raise UnreadableError(f"it breaks off {wanted / rate:.2f} s before its header says")
                _check(block, file.tell(), rate)
                wanted -= len(block)
                yield block, rate
    except (soundfile.SoundFileError, OSError, RuntimeError) as error:
        raise UnreadableError(f"cannot be decoded: {sound_error(error)}") from None


def _phones_blocks(path: str | Path, cut: Cut | None) -> Iterator[tuple[np.ndarray, int]]:
    first, last, end = 0, None, 0
    if cut:
        header = read_header(os.fspath(path))
        first, wanted = frames_of(cut, header.num_samples, header.sample_rate, header.channels)
        last = first + wanted
    for block, rate in phones.decoded(path):
        begin, end = end, end + len(block)
        piece = block[max(first - begin, 0) : None if last is None else max(last - begin, 0)]
        if len(piece):
            _check(piece, end, rate)
            yield piece, rate


def mono(block: np.ndarray, channel: int | None) -> np.ndarray:
    """Return [frames]: one channel of [frames, channels], or the mean of all."""
    return block.mean(axis=1) if channel is None else block[:, channel]


def resampled(path: str | Path, cut: Cut | None = None) -> Iterator[np.ndarray]:
    """Yield the clip as 16-kHz mono, in blocks of [samples] float32. A file that is so already comes out as it is."""
    stream = None
    for block, rate in blocks(path, cut):
        samples = mono(block, cut and cut.channel)
        if rate == MODEL_SAMPLE_RATE:
            yield samples
            continue
        stream = stream or soxr.ResampleStream(rate, MODEL_SAMPLE_RATE, 1, dtype="float32", quality=QUALITY)
        yield stream.resample_chunk(np.ascontiguousarray(samples))
    if stream:
        yield stream.resample_chunk(np.zeros(0, np.float32), last=True)


def read_audio(path: str | os.PathLike[str], seconds: float | None = None) -> np.ndarray:
    """Return [samples] float32 of a whole file as 16-kHz mono.

    UnreadableError where it cannot be read, or does not last the ``seconds`` that it did in stage 1. RecipeError where
    its folder is gone.
    """
    try:
        samples = np.concatenate(list(resampled(os.fspath(path))))
    except UnreadableError as error:
        check_folder(path)
        raise error if os.path.exists(path) else UnreadableError("is not there any more") from None
    now = len(samples) / MODEL_SAMPLE_RATE
    if seconds is not None and abs(now - seconds) > TOLERANCE:  # a cut WAV decodes without an error
        raise UnreadableError(f"has {now:.2f} s now, and had {seconds:.2f} s in stage 1")
    return samples
