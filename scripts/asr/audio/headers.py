"""Sample count, rate and channels of a clip from its header, without decoding the sound.

Plain WAV (PCM, float, A-law, mu-law) is read here, in less than half of the time that libsndfile needs, which takes
everything else: flac, ogg, opus, mp3, compressed or very large WAV. What phones write is decoded by PyAV.
"""

from __future__ import annotations

import os
import stat
import struct
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from asr.audio import phones
from asr.audio.clip import UnreadableError, sound_error

ESTIMATED = (".mp3", *phones.EXTENSIONS)  # headers may only estimate the length: such clips are converted once
EXTENSIONS = (".wav", ".flac", ".ogg", ".opus", *ESTIMATED)  # in order of preference where one id has several
_Layout = tuple[int, int, int, bool]  # sample rate, channels, bytes for one sample of all channels, floating point
_FIXED_SIZE_CODECS = {1, 3, 6, 7}  # PCM, IEEE float, A-law, mu-law: every sample takes the same room
_FLOAT, _EXTENSIBLE = 3, 0xFFFE
_STREAMED = 0x7FFF0000  # encoders that write to a pipe leave a length near 2 or 4 GiB in the header
_MAX_CHUNKS = 100  # garbage after a RIFF header could otherwise be walked for minutes
_MAX_SAMPLES = 1 << 40  # libsndfile's answer where a file does not say how long it is


class Header(NamedTuple):
    """``num_samples`` counts one channel, at the file's own rate.

    ``unread``: bytes behind the sound that no chunk of the file accounts for, where they would last 10 ms or more;
    below 0: bytes that the header counts and the file does not have. ``floating``: samples that may be NaN.
    """

    num_samples: int
    sample_rate: int
    channels: int
    unread: int = 0
    floating: bool = False


def read_header(path: str) -> Header:
    """Read a clip's header. UnreadableError where it is damaged, without sound, or shorter than its header says."""
    try:
        about = os.stat(path)
        if not stat.S_ISREG(about.st_mode):
            raise UnreadableError("a directory, or another thing that is no file")
        if not about.st_size:
            raise UnreadableError("the file has 0 bytes", "zero-length audio")
        with open(path, "rb") as file:
            header = _wav_header(file, about.st_size) or _any_header(path)
    except FileNotFoundError:
        raise UnreadableError(f"No such file or directory{_why_missing(path)}") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name, or a lone surrogate
        raise UnreadableError(getattr(error, "strerror", None) or str(error)) from None
    if header.num_samples <= 0:
        raise UnreadableError("the header counts 0 samples", "zero-length audio")
    return header


def _why_missing(path: str) -> str:
    if "\\" in path:
        return "; write paths with / in place of Windows' \\"
    ending = next((ending for ending in EXTENSIONS if os.path.isfile(path + ending)), "")
    return ending and f"; {os.path.basename(path)}{ending} is there: write the ending too"


def _wav_header(file: BinaryIO, size: int) -> Header | None:
    """Walk a RIFF file's chunks to its ``data``; None where libsndfile should look instead."""
    head, layout = file.read(12), None
    if head[:4] == b"RIFF" and head[8:] == b"WAVE":
        for name, length, start in _chunks(file, 12, size):
            if name == b"fmt ":
                layout = _layout(file.read(min(length, 40)))
            elif name == b"data":
                return _sized(file, layout, length, start, size) if layout and length < _STREAMED else None
    return None


def _chunks(file: BinaryIO, position: int, size: int) -> Iterator[tuple[bytes, int, int]]:
    """Yield (name, length, first byte) of the chunks from ``position`` on, with the file at the first byte."""
    for _ in range(_MAX_CHUNKS):
        if position + 8 > size:
            return
        file.seek(position)
        name, length = struct.unpack("<4sI", file.read(8))
        yield name, length, position + 8
        position += 8 + length + length % 2


def _layout(body: bytes) -> _Layout | None:
    """Return the layout that a ``fmt `` chunk states; None where samples do not take the same room each."""
    if len(body) < 16:
        return None
    codec, channels, rate, _, block, bits = struct.unpack_from("<HHIIHH", body)
    if codec == _EXTENSIBLE and len(body) >= 26:
        codec = int.from_bytes(body[24:26], "little")
    if codec not in _FIXED_SIZE_CODECS or not rate or not channels or block != channels * ((bits + 7) // 8):
        return None
    return rate, channels, block, codec == _FLOAT


def _sized(file: BinaryIO, layout: _Layout, length: int, start: int, size: int) -> Header:
    """Compare the ``length`` of the sound, which begins at ``start``, with the file's ``size``; all in bytes."""
    rate, channels, block, floating = layout
    there = size - start
    if length - there > start:  # more than the header itself, which telephones' recorders count as sound
        detail = f"the header says {length:,} bytes of sound, the file has {there:,}"
        raise UnreadableError(detail, "truncated audio")
    if length > there:
        return Header(there // block, rate, channels, there - length, floating)
    unread = there - length
    if unread < block * max(rate // 100, 1) or _are_chunks(file, start + length + length % 2, size):  # recorders pad
        unread = 0
    if unread and length < block:
        detail = (
            f"the header counts 0 samples, and {unread:,} bytes follow: its length was never written; write the file"
            " anew (ffmpeg -i OLD.wav NEW.wav)"
        )
        raise UnreadableError(detail, "header disagrees with size")
    return Header(length // block, rate, channels, unread, floating)


def _are_chunks(file: BinaryIO, position: int, size: int) -> bool:
    """Return whether what follows the sound is RIFF chunks: four printable characters and a length that fits, each."""
    return all(
        all(0x20 <= byte < 0x7F for byte in name) and start + length <= size
        for name, length, start in _chunks(file, position, size)
    )


def _any_header(path: str) -> Header:
    if phones.is_phones(path):
        shapes = [(*block.shape, rate) for block, rate in phones.decoded(path)]
        return Header(sum(frames for frames, *_ in shapes), shapes[0][2], shapes[0][1]) if shapes else Header(0, 1, 1)
    import soundfile  # slow to import, and seldom needed

    try:
        info = soundfile.info(path)
    except (soundfile.SoundFileError, RuntimeError) as error:
        raise UnreadableError(sound_error(error)) from None
    if info.frames > _MAX_SAMPLES or info.samplerate <= 0:
        raise UnreadableError("the header does not say how long the clip is")
    return Header(info.frames, info.samplerate, info.channels, floating=info.subtype in ("FLOAT", "DOUBLE"))
