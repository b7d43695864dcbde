"""Sample count, rate and channels of a clip from its header, without decoding the sound.

Plain WAV (PCM, float, A-law, mu-law) is read here, about ten times faster than through libsndfile, which takes
everything else: flac, ogg, opus, compressed or very large WAV.
"""

from __future__ import annotations

import os
import struct
from typing import NamedTuple

from asr.audio.clip import UnreadableError, sound_error

EXTENSIONS = (".wav", ".flac", ".ogg", ".opus")  # in order of preference where one id has several

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
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name, or a lone surrogate
        raise UnreadableError(getattr(error, "strerror", None) or str(error)) from None
    try:
        size = os.fstat(descriptor).st_size
        head = os.read(descriptor, 128)
        if not head:
            raise UnreadableError("the file has 0 bytes", "zero-length audio")
        header = _wav_header(descriptor, head, size)
    except OSError as error:
        raise UnreadableError(error.strerror or str(error)) from None
    finally:
        os.close(descriptor)
    header = header or _any_header(path)
    if header.num_samples <= 0:
        raise UnreadableError("the header counts 0 samples", "zero-length audio")
    return header


def _wav_header(descriptor: int, head: bytes, size: int) -> Header | None:
    """Walk a RIFF file's chunks to its ``data``; None where libsndfile should look instead."""
    if head[:4] != b"RIFF" or head[8:12] != b"WAVE":
        return None
    position, layout = 12, None
    for _ in range(_MAX_CHUNKS):
        if position + 8 > size:
            break
        chunk = _bytes(descriptor, head, position, 8)
        length = int.from_bytes(chunk[4:8], "little")
        if chunk[:4] == b"fmt ":
            layout = _layout(_bytes(descriptor, head, position + 8, min(length, 40)))
        elif chunk[:4] == b"data":
            return _sized(descriptor, layout, length, position + 8, size)
        position += 8 + length + length % 2
    return None


def _bytes(descriptor: int, head: bytes, position: int, count: int) -> bytes:
    end = position + count
    return head[position:end] if end <= len(head) else os.pread(descriptor, count, position)


def _layout(body: bytes) -> tuple[int, int, int, bool] | None:
    """Return (sample rate, channels, bytes for one sample of all channels, floating point) of a ``fmt `` chunk."""
    if len(body) < 16:
        return None
    codec, channels, rate, _, block, bits = struct.unpack_from("<HHIIHH", body)
    if codec == _EXTENSIBLE and len(body) >= 26:
        codec = int.from_bytes(body[24:26], "little")
    if codec not in _FIXED_SIZE_CODECS or not rate or not channels or block != channels * ((bits + 7) // 8):
        return None
    return rate, channels, block, codec == _FLOAT


def _sized(
    descriptor: int, layout: tuple[int, int, int, bool] | None, length: int, start: int, size: int
) -> Header | None:
    if layout is None or length >= _STREAMED:
        return None
    rate, channels, block, floating = layout
    there = size - start
    if length - there > start:  # more than the header itself, which telephones' recorders count as sound
        detail = f"the header says {length:,} bytes of sound, the file has {there:,}"
        raise UnreadableError(detail, "truncated audio")
    if length > there:
        return Header(there // block, rate, channels, there - length, floating)
    piece = block * max(rate // 100, 1)  # 10 ms: recorders pad
    unread = 0
    if there - length >= piece and not _are_chunks(descriptor, start + length + length % 2, size):
        unread = there - length
    if unread and length < block:
        detail = (
            f"the header counts 0 samples, and {unread:,} bytes follow: its length was never written; write the file"
            " anew (ffmpeg -i OLD.wav NEW.wav)"
        )
        raise UnreadableError(detail, "header disagrees with size")
    return Header(length // block, rate, channels, unread, floating)


def _are_chunks(descriptor: int, position: int, size: int) -> bool:
    """Return whether what follows the sound is RIFF chunks: four printable characters and a length that fits, each."""
    for _ in range(_MAX_CHUNKS):
        if position + 8 > size:
            return True
        chunk = os.pread(descriptor, 8, position)
        length = int.from_bytes(chunk[4:8], "little")
        if not all(0x20 <= byte < 0x7F for byte in chunk[:4]) or position + 8 + length > size:
            return False
        position += 8 + length + length % 2
    return False


def _any_header(path: str) -> Header:
    import soundfile  # 0.3 s to import, and seldom needed

    try:
        info = soundfile.info(path)
    except (soundfile.SoundFileError, RuntimeError) as error:
        raise UnreadableError(sound_error(error)) from None
    if info.frames > _MAX_SAMPLES or info.samplerate <= 0:
        raise UnreadableError("the header does not say how long the clip is")
    return Header(info.frames, info.samplerate, info.channels, floating=info.subtype in ("FLOAT", "DOUBLE"))
