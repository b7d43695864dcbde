"""Conversion: the same sound at 16 kHz, made once, whole or not at all, and made anew when its source has changed."""

import ctypes
import os
import signal
import subprocess
import sys
import time
import wave
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr

from asr.audio.clip import Cut
from asr.audio.convert import Failed, Job, convert, prune
from asr.audio.reading import BLOCK, read_audio, resampled
from asr.core.errors import RecipeError
from asr.core.processes import children
from tests.patience import PATIENCE, wait_until
from tests.stage1 import ROOT, environment, hear_ctrl_c


def tone(seconds=1.0, rate=16000, level=0.5, hertz=1000.0):
    return level * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)


def file_of(tmp_path, samples, rate, name="a.wav", **how) -> str:
    soundfile.write(tmp_path / name, samples, rate, **how)
    return str(tmp_path / name)


def job(source, key="k1", cut=None, speaker="01", seconds=2.0) -> Job:
    return Job(key, speaker, str(source), cut, seconds)


def converted(tmp_path, source, cut=None) -> np.ndarray:
    """The samples of a clip that could be converted, read without libsndfile."""
    made, failed = convert([job(source, cut=cut)], tmp_path / "data_audio")
    assert failed == []
    path, samples = made["k1"]
    with wave.open(path) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, 16000)
        assert file.getnframes() == samples
        return np.frombuffer(file.readframes(samples), "<i2") / 32768


def loudness_at(samples: np.ndarray, hertz: float) -> float:
    """The amplitude of a tone, from the middle of the clip."""
    middle = samples[len(samples) // 4 : len(samples) * 3 // 4]
    wave_ = np.exp(-2j * np.pi * hertz * np.arange(len(middle)) / 16000)
    window = np.hanning(len(middle))
    return 2 * abs((middle * window * wave_).sum()) / window.sum()


@pytest.mark.parametrize(
    ("rate", "name", "how"),
    [
        (44100, "a.wav", {}),
        (48000, "a.wav", {"subtype": "PCM_24"}),
        (8000, "a.wav", {}),
        (8000, "a.wav", {"subtype": "ULAW"}),
        (11025, "a.wav", {"subtype": "FLOAT"}),
        (96000, "a.flac", {}),
        (44100, "a.ogg", {}),
        (48000, "a.opus", {"format": "OGG", "subtype": "OPUS"}),
        (16000, "a.flac", {"subtype": "PCM_24"}),
    ],
)
@pytest.mark.parametrize("channels", [1, 2])
def test_the_same_tone_at_the_same_level_and_of_the_exact_length(tmp_path, rate, name, how, channels):
    frames = 2 * rate + 7
    source = file_of(tmp_path, np.stack([tone(3, rate)[:frames]] * channels, axis=1), rate, name, **how)
    samples = converted(tmp_path, source)
    assert len(samples) == (frames * 16000 + rate // 2) // rate
    assert loudness_at(samples, 1000) == pytest.approx(0.5, rel=0.02)
    rest = samples[8000:24000] - samples[8000:24000].mean()
    assert np.sqrt((rest**2).mean()) == pytest.approx(0.5 / np.sqrt(2), rel=0.02)  # and nothing else is in it


def test_what_16_khz_cannot_carry_is_taken_out_and_not_folded_down(tmp_path):
    source = file_of(tmp_path, tone(2, 44100, hertz=10000) + tone(2, 44100, 0.1), 44100, subtype="FLOAT")
    samples = converted(tmp_path, source)
    assert loudness_at(samples, 6000) < 1e-4
    assert loudness_at(samples, 1000) == pytest.approx(0.1, rel=0.02)


def test_block_by_block_is_the_same_as_at_once_and_the_same_as_decoding_hears(tmp_path):
    rng = np.random.default_rng(0)
    source = file_of(tmp_path, 0.1 * rng.standard_normal(3 * BLOCK + 12345), 44100, subtype="FLOAT")
    at_once = soxr.resample(soundfile.read(source, dtype="float32")[0], 44100, 16000, quality="HQ")
    assert np.array_equal(np.concatenate(list(resampled(source))), at_once)
    assert np.array_equal(read_audio(source), at_once)
    assert np.abs(converted(tmp_path, source) - at_once).max() <= 0.5 / 32768


def test_cuts_take_their_piece_and_their_channel_to_the_sample(tmp_path):
    rng = np.random.default_rng(0)
    sound = rng.integers(-20000, 20000, (5 * 16000, 2)).astype("int16")
    for name in ("a.wav", "a.flac"):
        source = file_of(tmp_path, sound, 16000, name)
        assert np.array_equal(converted(tmp_path, source, Cut(1.25, 0.5, 1)) * 32768, sound[20000:28000, 1])
        assert np.array_equal(converted(tmp_path, source, Cut(4.0, None, 0)) * 32768, sound[64000:, 0])
        mean = sound[1600:3200].mean(axis=1)
        assert np.abs(converted(tmp_path, source, Cut(0.1, 0.1)) * 32768 - mean).max() <= 0.5
        assert np.array_equal(converted(tmp_path, source, Cut(4.0, 1.02, 0)) * 32768, sound[64000:, 0])  # 20 ms over
        for cut in (Cut(4.0, 1.021), Cut(5.0), Cut(7.0, 1.0), Cut(0.0, 1.0, 2)):
            _, failed = convert([job(source, cut=cut)], tmp_path / "data_audio")
            assert [item[:3] for item in failed] == [("k1", source, "cut beyond the end")]


def test_what_is_beyond_full_scale_is_cut_off_at_it_and_said(tmp_path, capsys):
    source = file_of(tmp_path, np.array([0.5, 1.5, -1.5, 32766.5 / 32768, -1.0] * 4000), 16000, subtype="FLOAT")
    samples = converted(tmp_path, source) * 32768
    assert samples[:5].tolist() == [16384, 32767, -32768, 32766, -32768]
    assert "audio converted: 8,000 samples of 1 clips were beyond full scale" in capsys.readouterr().out


def test_a_file_that_is_there_is_kept_and_its_source_is_not_read(tmp_path):
    source = file_of(tmp_path, tone(2, 8000), 8000)
    time.sleep(0.02)
    libc = ctypes.CDLL(None)
    watch = libc.inotify_init1(os.O_NONBLOCK)
    libc.inotify_add_watch(watch, os.fsencode(source), 0x20)  # IN_OPEN
    first = convert([job(source)], tmp_path / "out")
    assert os.read(watch, 4096)  # it was opened
    inode = os.stat(first[0]["k1"].path).st_ino
    assert convert([job(source)], tmp_path / "out") == first
    with pytest.raises(BlockingIOError):
        os.read(watch, 4096)
    os.close(watch)
    assert os.stat(first[0]["k1"].path).st_ino == inode


def test_a_changed_source_is_converted_anew(tmp_path):
    source = file_of(tmp_path, tone(2, 8000), 8000)
    first = convert([job(source)], tmp_path / "data_audio")[0]["k1"]
    assert first.num_samples == 32000
    soundfile.write(source, tone(3, 8000), 8000)
    made = convert([job(source)], tmp_path / "data_audio")[0]["k1"]
    assert made.num_samples == 48000
    assert len(list((tmp_path / "data_audio").rglob("*.wav"))) == 2
    assert prune(tmp_path / "data_audio", {made.path}) == 1


@pytest.mark.parametrize("left", [0, 20, 44, 10000])
def test_what_a_power_cut_left_of_a_file_is_not_taken_for_a_whole_one(tmp_path, left):
    source = file_of(tmp_path, tone(2, 8000), 8000)
    path = convert([job(source)], tmp_path / "out")[0]["k1"].path
    whole = Path(path).read_bytes()
    os.truncate(path, left)
    convert([job(source)], tmp_path / "out")
    assert Path(path).read_bytes() == whole


def test_a_source_that_breaks_off_does_not_stop_the_others(tmp_path):
    rng = np.random.default_rng(0)
    good, torn = (file_of(tmp_path, rng.standard_normal(48000) / 9, 48000, name) for name in ("good.flac", "torn.flac"))
    Path(torn).write_bytes(Path(torn).read_bytes()[:60000])
    short = file_of(tmp_path, tone(2, 8000), 8000, "short.wav")
    os.truncate(short, 20000)
    strange = file_of(tmp_path, np.array([0.1, np.nan] * 8000), 8000, "nan.wav", subtype="FLOAT")
    sources = {"a": good, "b": torn, "c": short, "d": strange, "e": str(tmp_path / "gone.wav"), "f": good}
    made, failed = convert([job(path, key) for key, path in sources.items()], tmp_path / "out")
    assert set(made) == {"a", "f"}
    assert [(item.key, item.kind) for item in failed] == [
        ("b", "unreadable audio"),
        ("c", "truncated audio"),
        ("d", "samples not finite"),
        ("e", "unreadable audio"),
    ]
    assert all(isinstance(item, Failed) and item.source == sources[item.key] for item in failed)
    names = [path.name for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert sorted(names) == sorted(os.path.basename(item.path) for item in made.values())


@pytest.mark.parametrize("key", ["k" * 300, "好" * 100, "e\u0301 -~'\"*?", ".", "..", "a\U0001f600b", "x.wav"])
def test_any_name_becomes_a_file_within_the_folder(tmp_path, key):
    source = file_of(tmp_path, tone(0.1, 8000), 8000)
    jobs = [job(source, key, speaker=key), job(source, key + "2", speaker=key)]
    made, failed = convert(jobs, tmp_path / "out")
    assert failed == []
    paths = {Path(item.path) for item in made.values()}
    assert len(paths) == 2
    assert {path.parents[1] for path in paths} == {tmp_path / "out"}
    assert all(len(os.fsencode(path.name)) <= 255 for path in (tmp_path / "out").rglob("*"))
    assert prune(tmp_path / "out", set()) == 2
    assert not (tmp_path / "out").exists()


def test_a_full_disk_is_said_before_anything_is_written(tmp_path):
    source = file_of(tmp_path, tone(0.1, 8000), 8000)
    jobs = [job(source, f"k{number}", seconds=3600 * 24 * 365) for number in range(100)]
    with pytest.raises(
        RecipeError, match=r"100 clips as 16-kHz mono need 100\d{3}\.\d GB, and \d+\.\d GB are free; make"
    ):
        convert(jobs, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def run(code: str, *words: object, **how) -> subprocess.Popen:
    before = (
        "import sys, resource; from pathlib import Path; from asr.core import errors\n"
        "from asr.audio.convert import Job, convert\n"
        "jobs = [Job(f'k{number}', '01', sys.argv[1], None, 2.0) for number in range(400)]\n"
    )
    command = [sys.executable, "-c", before + code, *map(str, words)]
    how.setdefault("preexec_fn", hear_ctrl_c)
    return subprocess.Popen(command, cwd=ROOT, env=environment(), stderr=subprocess.PIPE, text=True, **how)


GO = "errors.run(lambda: print(len(convert(jobs, Path(sys.argv[2]))[0])))"


def test_a_file_that_cannot_be_written_to_its_end_is_one_line(tmp_path):
    source = file_of(tmp_path, tone(2, 8000), 8000)
    child = run(f"resource.setrlimit(resource.RLIMIT_FSIZE, (9999, 9999)); {GO}", source, tmp_path / "out")
    _, said = child.communicate(timeout=PATIENCE)
    assert child.returncode == 1
    assert said.startswith(f"error: {tmp_path}/out/01/k")
    assert "cannot be written (File too large)" in said
    assert said.count("\n") == 1
    assert [path for path in (tmp_path / "out").rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_killed_run_leaves_only_whole_files_and_the_next_goes_on_from_there(tmp_path, number):
    rng = np.random.default_rng(0)
    source = file_of(tmp_path, rng.standard_normal((480000, 2)) / 9, 48000)
    out = tmp_path / "out"
    child = run(GO, source, out)
    wait_until(lambda: list(out.glob("01/k*.wav")), "the first converted clip")
    workers = children(child.pid)
    child.send_signal(number)
    child.communicate(timeout=PATIENCE)
    wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers), "the workers, which die with it")
    whole = list(out.glob("01/k*.wav"))
    assert 0 < len(whole) < 400
    assert {path.stat().st_size for path in whole} == {44 + 2 * 160000}
    times = {path: path.stat().st_mtime_ns for path in whole}
    made, failed = convert([job(source, f"k{number}") for number in range(len(whole) + 20)], out)
    assert (len(made), failed) == (len(whole) + 20, [])
    assert {path: path.stat().st_mtime_ns for path in whole} == times
    prune(out, {item.path for item in made.values()} | set(map(str, whole)))
    assert all(path.name.startswith("k") for path in (out / "01").iterdir())


def test_prune_touches_nothing_that_it_did_not_make(tmp_path):
    out = tmp_path / "out"
    source = file_of(tmp_path, tone(0.1, 8000), 8000)
    made, _ = convert([job(source, key) for key in ("keep", "go")], out)
    partial = out / "01/.go-0123456789abcdef.wav.x1y2z3.part"
    theirs = [
        out / "notes.txt",
        out / "a-0123456789abcdef.wav",
        out / "01/a.wav",
        out / "01/a-0123.wav",
        out / "01/b/c",
    ]
    for path in (partial, *theirs):
        path.parent.mkdir(exist_ok=True)
        path.touch()
    (out / "01/link-0123456789abcdef.wav").symlink_to(source)
    (out / "02").symlink_to(tmp_path)
    outside = tmp_path / "k-0123456789abcdef.wav"
    outside.touch()
    assert prune(out, {made["keep"].path}) == 2
    assert not partial.exists()
    assert not os.path.exists(made["go"].path)
    assert all(path.exists() for path in (*theirs, outside, out / "01/link-0123456789abcdef.wav"))
    assert prune(tmp_path / "not there", set()) == 0
