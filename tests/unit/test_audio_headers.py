"""Header lengths agree with libsndfile wherever both read a file, and no damaged file passes for a whole one."""

import os
import struct
import time

import numpy as np
import pytest
import soundfile

from asr.audio.clip import UnreadableError
from asr.audio.headers import read_header
from asr.audio.reading import read_audio
from tests import cdsd_tree

WAVE = np.linspace(-0.5, 0.5, 4000)


def file_of(tmp_path, raw: bytes, name: str = "a.wav") -> str:
    path = tmp_path / name
    path.write_bytes(raw)
    return str(path)


def whole(samples: int = 4000) -> bytes:
    return cdsd_tree.wav_header(samples) + b"\1\0" * samples


def kind_of(path: str) -> str:
    with pytest.raises(UnreadableError) as caught:
        read_header(path)
    return caught.value.kind


@pytest.mark.parametrize("rate", [8000, 16000, 44100])
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize(
    ("container", "subtype"),
    [("WAV", name) for name in ("PCM_16", "PCM_24", "PCM_U8", "FLOAT", "DOUBLE", "ULAW", "ALAW", "IMA_ADPCM")]
    + [("WAVEX", "PCM_16"), ("WAVEX", "FLOAT"), ("RF64", "PCM_16"), ("FLAC", "PCM_16"), ("OGG", "VORBIS")],
)
def test_same_answer_as_libsndfile(tmp_path, container, subtype, rate, channels):
    path = str(tmp_path / "clip")
    soundfile.write(path, np.stack([WAVE] * channels, axis=1), rate, subtype=subtype, format=container)
    info = soundfile.info(path)
    floating = subtype in ("FLOAT", "DOUBLE")
    assert read_header(path) == (info.frames, info.samplerate, info.channels, 0, floating)


def test_opus(tmp_path):
    path = str(tmp_path / "a.opus")
    soundfile.write(path, WAVE, 16000, format="OGG", subtype="OPUS")
    assert read_header(path) == (4000, 16000, 1, 0, False)


def test_chunks_before_and_after_the_sound(tmp_path):
    raw = whole()
    odd = b"LIST" + struct.pack("<I", 3) + b"abc\0"
    long = b"bext" + struct.pack("<I", 602) + b"\xff" * 602
    for after in (odd, long, odd + long, long + b"\0" * 7):
        assert read_header(file_of(tmp_path, raw[:12] + odd * 20 + raw[12:] + after))[:4] == (4000, 16000, 1, 0)


@pytest.mark.parametrize(("more", "unread"), [(2, 0), (318, 0), (320, 320), (8000, 8000)])
def test_sound_that_the_header_does_not_count_is_said_from_ten_milliseconds_on(tmp_path, more, unread):
    assert read_header(file_of(tmp_path, whole() + b"\x80" * more))[:4] == (4000, 16000, 1, unread)


def test_a_length_that_was_never_written(tmp_path):
    path = file_of(tmp_path, cdsd_tree.wav_header(0) + b"\x80" * 8000)
    with pytest.raises(UnreadableError, match="counts 0 samples, and 8,000 bytes follow") as caught:
        read_header(path)
    assert caught.value.kind == "header disagrees with size"


@pytest.mark.parametrize("cut", [45, 1000, 7999])
def test_truncated(tmp_path, cut):
    assert kind_of(file_of(tmp_path, whole()[:-cut])) == "truncated audio"


PCM = struct.pack("<HHIIHH", 1, 1, 16000, 32000, 2, 16)


def wav(*chunks: tuple[bytes, bytes, int], codec: bytes = PCM) -> bytes:
    """A file of fmt and the given chunks: name, content, and how much more than that the chunk's length says."""
    chunks = ((b"fmt ", codec, 0), *chunks)
    body = b"".join(name + struct.pack("<I", len(what) + more) + what for name, what, more in chunks)
    return b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WAVE" + body


SOUND, LIST = b"\1\0" * 4000, b"INFOISFT\x0e\0\0\0Lavf59.27.100\0"
EXTENSIBLE = struct.pack("<HHIIHHHHI", 0xFFFE, 1, 16000, 32000, 2, 16, 22, 16, 4) + bytes.fromhex(
    "0100000000001000800000aa00389b71"
)


@pytest.mark.parametrize(
    ("raw", "samples", "unread"),
    [
        (wav((b"data", SOUND, 36)), 4000, -36),  # the header counts itself, as telephones' recorders do
        (wav((b"data", SOUND, 44)), 4000, -44),
        (wav((b"LIST", LIST, 0), (b"data", SOUND, 78)), 4000, -78),  # with what else is in it
        (wav((b"data", SOUND, 68), codec=EXTENSIBLE), 4000, -68),
        (wav((b"data", SOUND + b"\1", 43)), 4000, -43),  # half a sample is none
        (wav((b"data", SOUND, 44), (b"LIST", LIST, 0)), 4017, -10),  # and what stands behind is taken for sound
        (wav((b"data", SOUND, 0), (b"LIST", LIST, 0)), 4000, 0),
        (wav((b"data", SOUND + b"\1", 0)), 4000, 0),
        (wav((b"data", SOUND, 0xFFFFFFFF - 8000)), 4000, 0),  # written to a pipe
        (wav((b"LIST", LIST, 0), (b"data", SOUND, 0xFFFFFFFF - 8000)), 4000, 0),
        (wav((b"data", SOUND, 0x7FFFF000 - 8000)), 4000, 0),
        (b"RIFF\0\0\0\0" + wav((b"data", SOUND, 0))[8:], 4000, 0),
        (b"RIFF\xff\xff\xff\xff" + wav((b"data", SOUND, 44))[8:], 4000, -44),
    ],
)
def test_lengths_that_recorders_write_wrong_give_the_samples_that_are_there_to_every_reader(
    tmp_path, raw, samples, unread
):
    path = file_of(tmp_path, raw)
    assert read_header(path) == (samples, 16000, 1, unread, False)
    assert len(read_audio(path, samples / 16000)) == soundfile.info(path).frames == samples


@pytest.mark.parametrize("raw", [b"", whole(0)])
def test_without_sound(tmp_path, raw):
    assert kind_of(file_of(tmp_path, raw)) == "zero-length audio"


@pytest.mark.parametrize("raw", [b"hello", whole()[:30], whole()[:36], b"RIFF\0\0\0\0WAVE", b"fLaC" + b"\0" * 50])
def test_not_audio(tmp_path, raw):
    assert kind_of(file_of(tmp_path, raw)) == "unreadable audio"


def test_not_a_file(tmp_path):
    (tmp_path / "dir.wav").mkdir()
    (tmp_path / "dangling.wav").symlink_to("nowhere.wav")
    os.mkfifo(tmp_path / "pipe.wav")
    assert kind_of(str(tmp_path / "dir.wav")) == "unreadable audio"
    assert kind_of(str(tmp_path / "dangling.wav")) == "unreadable audio"
    assert kind_of(str(tmp_path / "pipe.wav")) in ("unreadable audio", "zero-length audio")  # and does not wait


def test_length_left_open_by_an_encoder_that_wrote_to_a_pipe(tmp_path):
    raw = whole()
    assert read_header(file_of(tmp_path, raw[:40] + b"\xff" * 4 + raw[44:])).num_samples == 4000


def test_garbage_after_a_riff_header_is_not_walked_for_ever(tmp_path):
    path = file_of(tmp_path, b"RIFF\0\0\0\0WAVE")
    os.truncate(path, 1 << 30)
    begun = time.process_time()
    assert kind_of(path) == "unreadable audio"
    assert time.process_time() - begun < 5  # seconds of this process's own work
