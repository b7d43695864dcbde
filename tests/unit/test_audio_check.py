"""--check-audio: golden counts on clips made by hand, sense on real ones, and no hang when a process is killed."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from asr.audio.check import check_all, findings, measure
from asr.audio.clip import Cut, UnreadableError
from asr.audio.convert import Job, convert
from asr.audio.reading import BLOCK, read_audio
from tests.patience import PATIENCE, wait_until
from tests.stage1 import ROOT, environment, hear_ctrl_c

REAL = ROOT.parent / "shared/real_mandarin/after_catting/1h/Audio"


def tone(seconds=1.0, level=0.3, rate=16000, hertz=440.0):
    return level * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)


def file_of(tmp_path, samples, rate=16000, name="a.wav", **how) -> str:
    soundfile.write(tmp_path / name, samples, rate, **how)
    return str(tmp_path / name)


def kinds(path: str, cut: Cut | None = None) -> list[str]:
    return [kind for kind, _ in findings(measure(path, cut))]


def with_plateaus(value: float, runs: list[int]) -> np.ndarray:
    """Quiet sound with runs of samples at ``value``, 100 samples apart."""
    samples = tone()
    for number, run in enumerate(runs):
        samples[1000 + 100 * number :][:run] = value
    return samples


def test_a_clean_clip_has_no_finding_and_its_level_is_measured(tmp_path):
    sound = measure(file_of(tmp_path, tone(level=0.5)))
    assert sound.peak == pytest.approx(0.5, abs=1e-3)
    assert sound.loudest_db == pytest.approx(20 * np.log10(0.5 / np.sqrt(2)), abs=0.05)
    assert (sound.clipped, findings(sound)) == (0, [])


@pytest.mark.parametrize(
    ("value", "runs", "clipped"),
    [
        (1.0, [3, 4, 5], 12),
        (-1.0, [3, 4, 5], 12),
        (0.6, [10], 10),  # a recorder or a volume control that clips below full scale
        (-0.6, [10], 10),
        (1.0, [2] * 50, 0),  # two samples at the top are no plateau
        (0.9, [1] * 50, 0),
        (0.2, [], 0),
        (1.0, [3, 2, 1, 3], 6),
    ],
)
def test_clipping_counts_the_samples_that_stand_still_at_the_limit(tmp_path, value, runs, clipped):
    samples = with_plateaus(value, runs) * (0.5 if value == 0.2 else 1)
    sound = measure(file_of(tmp_path, samples))
    assert sound.clipped == clipped
    assert "clipping" in [kind for kind, _ in findings(sound)] or clipped < 10


def test_what_stands_still_below_the_limit_is_not_clipping(tmp_path):
    samples = with_plateaus(0.6, [200])
    samples[5000] = 0.7
    assert measure(file_of(tmp_path, samples)).clipped == 0
    assert measure(file_of(tmp_path, np.where(np.abs(tone()) > 0.1, 0.1, 0))).clipped == 0  # a quarter of full scale


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "FLOAT", "PCM_U8", "ULAW", "ALAW"])
def test_clipped_and_clean_in_every_way_that_samples_are_stored(tmp_path, subtype):
    speech = tone(level=0.4) + tone(level=0.2, hertz=130)
    assert kinds(file_of(tmp_path, speech, subtype=subtype)) == []
    loud = np.clip(4 * speech, -1, 1)
    assert kinds(file_of(tmp_path, loud, subtype=subtype)) == ["clipping"]


@pytest.mark.parametrize("name", ["a.flac", "a.ogg"])
def test_clipping_is_still_seen_after_a_codec(tmp_path, name):
    rng = np.random.default_rng(1)
    speech = tone(3) + 0.05 * rng.standard_normal(48000)
    assert kinds(file_of(tmp_path, speech, name=name)) == []
    assert kinds(file_of(tmp_path, np.clip(5 * speech, -1, 1), name=name)) == ["clipping"]


def test_runs_and_windows_cross_the_blocks_in_which_a_file_is_read(tmp_path):
    samples = tone(10)
    samples[BLOCK - 5 : BLOCK + 6] = 1.0
    assert measure(file_of(tmp_path, samples)).clipped == 11
    quiet = np.zeros(2 * BLOCK)
    quiet[BLOCK - 200 : BLOCK + 200] = 0.5 * (-1.0) ** np.arange(400)
    assert measure(file_of(tmp_path, quiet)).loudest_db > -12
    samples = tone(10)
    samples[-4:] = -1.0  # up to the last sample
    samples[:6] = -1.0
    assert measure(file_of(tmp_path, samples)).clipped == 10


def test_silence(tmp_path):
    assert kinds(file_of(tmp_path, np.zeros(16000))) == ["silence"]
    assert "digital zero" in findings(measure(file_of(tmp_path, np.zeros(16000))))[0][1]
    assert kinds(file_of(tmp_path, tone(level=0.0013))) == ["silence"]  # -60.7 dB
    assert kinds(file_of(tmp_path, tone(level=0.0016))) == []  # -58.9 dB
    assert kinds(file_of(tmp_path, 0.2 + tone(level=0.0005))) == ["silence"]  # a constant is no sound
    one_word = np.zeros(160000)
    one_word[80000:81600] = tone(0.1, 0.1)
    assert kinds(file_of(tmp_path, one_word)) == []


def test_a_cut_is_judged_by_what_it_takes(tmp_path):
    left, right = with_plateaus(1.0, [50]), np.zeros(16000)
    path = file_of(tmp_path, np.stack([left, right], axis=1))
    assert kinds(path) == ["clipping"]
    assert kinds(path, Cut(channel=1)) == ["silence"]
    assert kinds(path, Cut(0.5, 0.25, 0)) == []


@pytest.mark.parametrize(
    ("value", "kind", "says"),
    [
        (np.nan, "samples not finite", r"NaN or infinite \(the first wrong one at 6\.25 s\)"),
        (-np.inf, "samples not finite", "NaN or infinite"),
        (1e300, "samples not finite", "NaN or infinite"),  # as a 32-bit float
        (1e30, "samples out of range", r"a sample at 6\.25 s is 1e\+30 times full scale"),
        (-9830.4, "samples out of range", r"9\.83e\+03 times full scale; integers .* are divided by 32768"),
    ],
)
@pytest.mark.parametrize("rate", [16000, 8000])
def test_samples_that_are_no_sound_make_a_clip_unreadable_to_every_stage(tmp_path, value, kind, says, rate):
    samples = tone(8, rate=rate)
    samples[round(6.25 * rate)] = value
    path = file_of(tmp_path, samples, rate, subtype="DOUBLE")
    for read in (measure, read_audio):
        with pytest.raises(UnreadableError, match=says) as caught:
            read(path)
        assert caught.value.kind == kind
    made, failed = convert([Job("k", "s", path, None, 8.0)], tmp_path / "out")
    assert (made, [item.kind for item in failed]) == ({}, [kind])


def test_the_headroom_of_float_files_is_sound(tmp_path):
    loud = tone(level=16.0)  # 24 dB above full scale
    assert np.allclose(read_audio(file_of(tmp_path, loud, subtype="FLOAT")), loud, atol=1e-5)


@pytest.mark.parametrize("at", [0.1, 0.5, 0.9])
def test_a_flac_damaged_in_the_middle_or_broken_off(tmp_path, at):
    rng = np.random.default_rng(0)
    path = Path(file_of(tmp_path, 0.1 * rng.standard_normal(320000), name="a.flac"))
    whole = path.read_bytes()
    place = round(at * len(whole))
    for raw in (whole[:place], whole[:place] + bytes(100) + whole[place + 100 :], whole[:place] + whole[place + 500 :]):
        path.write_bytes(raw)
        with pytest.raises(UnreadableError):
            measure(str(path))


def checked(paths, workers=2) -> list[list[str]]:
    """The kinds of what checking each clip shows."""
    results = check_all([(path, None) for path in paths], workers)
    return [[found.kind] if isinstance(found, UnreadableError) else [kind for kind, _ in found] for found in results]


@pytest.fixture
def clips(tmp_path) -> list[str]:
    """A hundred clips: every tenth silent, every one that ends in 5 clipped, number 42 a broken flac."""
    paths = []
    for number in range(100):
        if number == 42:
            path = Path(file_of(tmp_path, np.random.default_rng(0).standard_normal(9000) / 9, name="42.flac"))
            path.write_bytes(path.read_bytes()[:6000])
            paths.append(str(path))
            continue
        samples = np.zeros(8000) if number % 10 == 0 else tone(0.5)
        samples = np.clip(9 * samples, -1, 1) if number % 10 == 5 else samples
        paths.append(file_of(tmp_path, samples, name=f"{number}.wav"))
    return paths


def test_all_clips_in_order_by_any_number_of_processes(clips):
    right = [[] for _ in clips]
    right[::10] = [["silence"]] * 10
    right[5::10] = [["clipping"]] * 10
    right[42] = ["unreadable audio"]
    for workers in (1, 3, 7):
        assert checked(clips, workers=workers) == right
    assert checked([]) == []


def run_stuck(tmp_path) -> tuple[subprocess.Popen, list[int]]:
    """check_all at a named pipe, which is waited for without end; its process and workers, the waiting one first."""
    paths = [file_of(tmp_path, tone(0.1), name=f"{number}.wav") for number in range(40)]
    os.mkfifo(tmp_path / "stuck.wav")
    paths[20] = str(tmp_path / "stuck.wav")
    code = (
        "import sys; from asr.core import errors; from asr.audio.check import check_all\n"
        "jobs = [(path, None) for path in sys.argv[1:]]\n"
        "errors.run(lambda: print(len(list(check_all(jobs, 2)))))\n"
    )
    words = [sys.executable, "-c", code, *paths]
    child = subprocess.Popen(
        words, cwd=ROOT, env=environment(), stderr=subprocess.PIPE, text=True, preexec_fn=hear_ctrl_c
    )
    children = Path(f"/proc/{child.pid}/task/{child.pid}/children")
    wait_until(lambda: len(children.read_text().split()) == 2, "two workers")

    def waits(pid):  # where Linux has a process wait that opens a pipe nobody writes to
        return Path(f"/proc/{pid}/wchan").read_text() == "wait_for_partner"

    wait_until(lambda: any(map(waits, children.read_text().split())), "the worker at the pipe", child)
    return child, sorted(map(int, children.read_text().split()), key=waits, reverse=True)


def test_a_killed_process_is_one_line_that_names_the_clip(tmp_path):
    child, workers = run_stuck(tmp_path)
    os.kill(workers[0], signal.SIGKILL)
    _, said = child.communicate(timeout=PATIENCE)
    assert child.returncode == 1
    assert said.count("\n") == 1
    assert re.match(
        rf"error: {tmp_path}/(1|stuck)\.wav: a process that was reading it, or a file soon after it, ", said
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL, signal.SIGTERM, signal.SIGHUP])
def test_ctrl_c_stops_at_once_and_no_process_outlives_the_command(tmp_path, number):
    child, workers = run_stuck(tmp_path)
    child.send_signal(number)
    _, said = child.communicate(timeout=PATIENCE)
    assert child.returncode == (-number if number == signal.SIGKILL else 130)
    assert said == ("" if number == signal.SIGKILL else "interrupted\n")
    wait_until(lambda: not any(map(alive, workers)), "the end of the workers")


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.skipif(not REAL.is_dir(), reason="needs ../shared/real_mandarin")
def test_of_real_recordings_the_clipped_ones_are_named():
    """All of speaker 01, whose waveforms stand still at full scale; 24 others reach it without."""
    paths = sorted(map(str, REAL.glob("*/*.wav")))
    found = dict(zip(paths, checked(paths), strict=True))
    flagged = {path: kinds for path, kinds in found.items() if kinds}
    assert len(paths) == 1632
    assert len(flagged) == 26
    assert {Path(path).parent.name for path in flagged} == {"01"}
    assert {tuple(kinds) for kinds in flagged.values()} == {("clipping",)}
