"""Recordings as phones write them: read and converted where PyAV is installed, and named with what to do where not."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from asr.audio.check import measure
from asr.audio.clip import Cut, UnreadableError
from asr.audio.convert import Job, convert
from asr.audio.headers import read_header
from asr.audio.reading import read_audio, resampled
from tests import cdsd_tree
from tests.stage1 import command, problems

RATE = 44100
CODECS = {".m4a": "aac", ".aac": "aac", ".3gp": "amr_nb", ".amr": "amr_nb", ".wma": "wmav2"}
WITHOUT = (
    "import runpy, sys; sys.modules['av'] = None; del sys.argv[0]; sys.path.insert(0, sys.argv[0].rpartition('/')[0]);"
    " runpy.run_path(sys.argv[0], None, '__main__')"
)


def record(path: Path, seconds: float = 2.0, channels: int = 1) -> Path:
    """Write a tone of 440 Hz, of 880 Hz from the middle on, as a phone would."""
    av = pytest.importorskip("av", reason="PyAV is not installed: bash scripts/install.sh --phone")
    codec = CODECS[path.suffix.lower()]
    rate = 8000 if codec == "amr_nb" else RATE
    time = np.arange(round(seconds * rate)) / rate
    tone = 0.4 * np.sin(2 * np.pi * np.where(time < seconds / 2, 440, 880) * time)
    with av.open(str(path), "w") as container:
        layout = "mono" if channels == 1 else "stereo"
        stream = container.add_stream(codec, rate=rate, layout=layout)
        stream.bit_rate = 12200 if codec == "amr_nb" else 64000
        samples = np.repeat((tone * 32767).astype(np.int16)[None], channels, axis=0).T.reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples), format="s16", layout=layout)
        frame.sample_rate = rate
        size = stream.codec_context.frame_size or 1024
        resampler = av.AudioResampler(stream.format, layout, rate, frame_size=size)
        for part in [*resampler.resample(frame), *resampler.resample(None)]:
            container.mux(stream.encode(part))
        container.mux(stream.encode(None))
    return path


def loudest_tone(samples: np.ndarray) -> float:
    return float(np.fft.rfftfreq(len(samples), 1 / 16000)[np.abs(np.fft.rfft(samples)).argmax()])


@pytest.mark.parametrize("extension", [".m4a", ".M4A", ".aac", ".amr", ".3gp", ".wma"])
def test_what_phones_write_is_read_as_the_sound_that_it_is(tmp_path, extension):
    path = record(tmp_path / f"录音 1{extension}")
    header, samples = read_header(str(path)), read_audio(path)
    assert header.num_samples / header.sample_rate == pytest.approx(2, abs=0.15)
    assert len(samples) / 16000 == pytest.approx(header.num_samples / header.sample_rate, abs=0.001)
    assert loudest_tone(samples[4000:12000]) == pytest.approx(440, abs=4)
    assert loudest_tone(samples[20000:28000]) == pytest.approx(880, abs=4)
    assert np.sqrt(np.mean(samples[4000:12000] ** 2)) == pytest.approx(0.4 / np.sqrt(2), rel=0.25)
    assert measure(str(path)).clipped == 0


def test_a_piece_of_one_channel_is_cut_where_it_is(tmp_path):
    path = record(tmp_path / "a.m4a", channels=2)
    assert read_header(str(path)).channels == 2
    piece = np.concatenate(list(resampled(str(path), Cut(1.25, 0.5, 1))))
    assert len(piece) == 8000
    assert loudest_tone(piece) == pytest.approx(880, abs=4)
    with pytest.raises(UnreadableError, match=r"1\.00 s to 9\.00 s of a file of 2\.0"):
        list(resampled(str(path), Cut(1.0, 8.0)))
    made, failed = convert([Job("k", "s", str(path), Cut(0.0, 1.0), 1.0)], tmp_path / "made", workers=1)
    assert failed == []
    assert soundfile.info(made["k"].path).frames == made["k"].num_samples == 16000


def test_a_damaged_one_is_named(tmp_path):
    path = record(tmp_path / "a.m4a")
    content = path.read_bytes()
    (tmp_path / "text.m4a").write_bytes(b"no sound at all")
    path.write_bytes(content[: len(content) // 2])
    for name in ("a.m4a", "text.m4a"):
        with pytest.raises(UnreadableError, match="cannot be decoded: Invalid data found"):
            read_header(str(tmp_path / name))


def recorded_corpus(root: Path) -> Path:
    """CDSD's layout, one clip of each speaker as a phone wrote it."""
    cdsd_tree.small(root)
    for number, folder in enumerate((root / "after_catting/1h/Audio").iterdir()):
        clip = sorted(folder.iterdir())[0]
        clip.unlink()
        record(clip.with_suffix(".m4a"), 1.5 + number / 10)
    return root


def test_such_clips_go_through_stage_1(tmp_path):
    corpus, out = recorded_corpus(tmp_path / "corpus"), tmp_path / "data"
    done = subprocess.run(command("--corpus", corpus, "--out", out), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "total         6          24" in done.stdout
    assert "converted audio (16 kHz, mono): 6 clips" in done.stdout
    assert {row["kind"] for row in problems(out)} == {"rate not 16 kHz"}


def test_without_pyav_each_is_named_with_both_commands(tmp_path):
    corpus, out = cdsd_tree.small(tmp_path / "my corpus"), tmp_path / "data"
    clips = sorted((corpus / "after_catting/1h/Audio/04").iterdir())[:2]
    for clip in clips:
        clip.rename(clip.with_suffix(".m4a"))
    words = [sys.executable, "-c", WITHOUT, *command("--corpus", corpus, "--out", out)[1:]]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    rows = {row["key"]: row["detail"] for row in problems(out)}
    assert rows.keys() == {clip.stem for clip in clips}
    old, new = (shlex.quote(f"{clips[0].with_suffix('')}{extension}") for extension in (".m4a", ".wav"))
    ffmpeg = f"or convert it: ffmpeg -i {old} -ar 16000 -ac 1 {new}"
    assert rows[clips[0].stem] == f"to have such files read: bash scripts/install.sh --phone; {ffmpeg}"
