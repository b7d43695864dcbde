"""Decoding in several processes: the same file whatever their number, and none that dies goes unnoticed or is left."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from asr.core.kaldi_text import read_text
from asr.core.manifest import read_manifest, write_manifest
from asr.decoding.run import DEFAULTS, unreadable_before
from asr.decoding.run import run as decode_run
from asr.decoding.shards import process_count
from asr.models.loading import load
from asr.models.skeleton import write_cmvn
from tests import tiny
from tests.patience import PATIENCE, wait_until
from tests.stage1 import hear_ctrl_c

PARTIAL, FAULT = "hyp.partial", "decode_fault.txt"
STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
SECONDS = [1.3, 0.3, 2.9, 0.5, 0.7, 1.1, 0.06, 2.0, 0.4, 1.7, 0.9, 0.1]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny.make_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clips")
    write_manifest(folder / "test.jsonl", tiny.make_clips(folder, SECONDS))
    return folder / "test.jsonl"


@pytest.fixture(scope="module")
def expected(model, manifest):
    """Each clip in a batch of its own, in this process."""
    return tiny.decode(load(model), read_manifest(manifest), 0.01)


def command(model, manifest, out, *words):
    words = ("--model", model, "--manifest", manifest, "--out", out, *words)
    return [sys.executable, "-m", "asr.decode", *map(str, words)]


def run(*words):
    return subprocess.run(command(*words), capture_output=True, text=True)


def error_of(done):
    """The one line of a decode that failed."""
    assert done.returncode == 1, done.stderr
    lines = done.stderr.splitlines()
    assert [line for line in lines if "Traceback" in line or line.startswith("error:")] == lines[-1:], done.stderr
    return lines[-1]


@pytest.mark.slow
@pytest.mark.parametrize(("processes", "seconds"), [(2, 0.01), (3, 4)])
def test_hyp_txt_is_the_same_whatever_the_batches_and_the_processes(
    model, manifest, expected, tmp_path, processes, seconds
):
    done = run(model, manifest, tmp_path, "--ngpu", 0, "--processes", processes, "--batch-seconds", seconds)
    assert done.returncode == 0, done.stderr
    assert list(read_text(tmp_path / "hyp.txt").items()) == list(expected.items())  # and in the manifest's order
    record = json.loads((tmp_path / "decode.json").read_text())
    assert record["shards"] == processes
    assert (record["utterances"], record["kept"], record["device"]) == (len(SECONDS), 0, "cpu")
    assert record["audio_seconds"] == record["decoded_audio_seconds"] == pytest.approx(sum(SECONDS), abs=0.01)
    assert record["real_time_factor"] == pytest.approx(record["decode_seconds"] / sum(SECONDS), abs=0.001)
    assert 0 < record["decode_seconds"] < record["load_seconds"]
    assert done.stdout.startswith(f"{len(SECONDS)} clips, 0.2 min of audio in ")
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        ".made_by_decode",
        "decode.json",
        "hyp.txt",
        "nbest.jsonl",
    ]


class Stuck:
    """A decode of two processes that has decoded all clips but the last, which is a pipe that nobody writes to."""

    def __init__(self, model, manifest, tmp_path):
        folder = tmp_path / "clips"
        items = tiny.make_clips(folder, [*SECONDS, 0.02], seed=1)
        self.last = Path(items[-1].source)
        self.audio = self.last.read_bytes()
        self.last.unlink()
        os.mkfifo(self.last)
        write_manifest(folder / "test.jsonl", items)
        self.items, self.out = items, tmp_path / "out"
        self.words = (model, folder / "test.jsonl", self.out, "--ngpu", "0", "--processes", "2", "--batch-seconds", 0.1)
        self.process = subprocess.Popen(
            command(*self.words),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            preexec_fn=hear_ctrl_c,
        )

    def wait_until_stuck(self):
        def stuck():
            partial = self.out / PARTIAL
            return partial.is_file() and partial.read_bytes().count(b"\n") == len(SECONDS) + 1

        wait_until(stuck, "the last clip", self.process)

    def children(self):
        """The decoding processes; multiprocessing's own tracker of resources is none."""
        every = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return [int(pid) for pid in every if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]

    def finish(self):
        """(status, stdout, stderr), once all that it started are gone."""
        children = self.children()
        assert len(children) == 2
        yield children
        stdout, stderr = self.process.communicate(timeout=PATIENCE)
        wait_until(
            lambda: not any(Path(f"/proc/{pid}").exists() and not _zombie(pid) for pid in children),
            "the end of the decoding processes, which may not outlive their parent",
        )
        yield self.process.returncode, stdout, stderr


def _zombie(pid):
    """Whether it has ended and only its parent's notice is wanting."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


@pytest.mark.slow
def test_a_process_that_is_killed_ends_the_decode_and_the_next_goes_on_from_what_was_done(model, manifest, tmp_path):
    stuck = Stuck(model, manifest, tmp_path)
    stuck.wait_until_stuck()
    finish = stuck.finish()
    children = next(finish)
    os.kill(children[0], signal.SIGKILL)
    status, stdout, stderr = next(finish)
    assert status == 1
    assert stderr.splitlines() == [
        "error: a decoding process was killed, most likely out of memory (lower decode_conf.batch_seconds or"
        " --processes); the same command resumes from what is done"
    ]
    assert stdout == ""
    assert {path.name for path in stuck.out.iterdir()} == {".made_by_decode", PARTIAL}  # nothing like a result
    stuck.last.unlink()
    stuck.last.write_bytes(stuck.audio)
    done = run(*stuck.words)
    assert done.returncode == 0, done.stderr
    assert f"{PARTIAL}: {len(SECONDS)} of {len(SECONDS) + 1} clips are decoded already; resuming" in done.stdout
    assert f"1 clips ({len(SECONDS)} more were decoded before)" in done.stdout
    assert dict(read_text(stuck.out / "hyp.txt")) == tiny.decode(load(model), stuck.items, 100)
    record = json.loads((stuck.out / "decode.json").read_text())
    assert (record["kept"], record["decoded_audio_seconds"]) == (len(SECONDS), 0.02)
    assert not (stuck.out / PARTIAL).exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "status", "told"),
    [*((number, 130, ["interrupted"]) for number in STOPS), (signal.SIGKILL, -9, [])],
)
def test_ctrl_c_or_a_kill_leaves_no_process_behind_and_nothing_half_written(
    model, manifest, tmp_path, number, status, told
):
    stuck = Stuck(model, manifest, tmp_path)
    stuck.wait_until_stuck()
    finish = stuck.finish()
    next(finish)
    if number in STOPS:
        os.killpg(stuck.process.pid, number)  # as a terminal does: the children get it too
    else:
        os.kill(stuck.process.pid, number)
    found, _, stderr = next(finish)
    assert found == status
    # After a kill multiprocessing's tracker says that it has tidied up, and nobody else says anything.
    assert [line for line in stderr.splitlines() if "resource_tracker" not in line] == told
    assert {path.name for path in stuck.out.iterdir()} == {".made_by_decode", PARTIAL}


@pytest.mark.slow
def test_a_clip_that_cannot_be_read_has_no_hypothesis_and_one_too_many_ends_the_decode(model, expected, tmp_path):
    items = tiny.make_clips(tmp_path / "clips", SECONDS)
    broken, manifest, out = items[4], tmp_path / "test.jsonl", tmp_path / "exp/baseline"
    whole = Path(broken.source).read_bytes()
    Path(broken.source).write_bytes(b"RIFF")
    write_manifest(manifest, items)
    words = ("--ngpu", 0, "--processes", 2, "--batch-seconds", 4)
    done = run(model, manifest, out, *words)
    assert done.returncode == 0, done.stderr
    assert f"{broken.source}: utterance {broken.key}: cannot be decoded" in done.stdout
    others = {key: text for key, text in expected.items() if key != broken.key}
    assert list(read_text(out / "hyp.txt").items()) == list(others.items())
    assert list(json.loads((out / "decode.json").read_text())["unreadable"]) == [broken.key]
    assert unreadable_before(out).keys() == {broken.key}
    Path(broken.source).write_bytes(whole)  # put back: the same command decodes it, and the other model's texts
    tuned = tmp_path / "exp/tuned"
    decode_run(model, manifest, tuned, 0, DEFAULTS, unreadable_before(out))  # of the same clips, or they do not compare
    assert read_text(tuned / "hyp.txt") == others
    assert run(model, manifest, out, *words).returncode == 0
    assert unreadable_before(out) == {}
    decode_run(model, manifest, tuned, 0, DEFAULTS, unreadable_before(out))
    assert read_text(tuned / "hyp.txt") == read_text(out / "hyp.txt") == expected
    for item in items[:4]:
        Path(item.source).write_bytes(b"RIFF")
    done = run(model, manifest, tmp_path / "out", *words)
    assert re.match(r"error: \S+: utterance \S+: .*; 4 clips of the decoded set cannot be read, and ", error_of(done))
    assert not (tmp_path / "out/hyp.txt").exists()


@pytest.mark.slow
def test_a_fault_of_the_program_is_one_line_and_its_traceback_is_in_a_file(manifest, tmp_path):
    model = tiny.make_model(tmp_path / "model")
    write_cmvn(model / "am.mvn", np.zeros(7), np.ones(7))  # the features have 560 values
    done = run(model, manifest, tmp_path / "out", "--ngpu", 0)
    fault = tmp_path / "out" / FAULT
    assert error_of(done).startswith("error: a decoding process failed (")
    assert error_of(done).endswith(f"its traceback is in {fault}")
    assert "Traceback (most recent call last)" in fault.read_text()


@pytest.mark.slow
def test_gpus_that_are_not_there_are_an_error_and_no_decode_on_the_processor(model, manifest, tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    done = run(model, manifest, tmp_path / "out", "--ngpu", 2)
    assert "a GPU was asked for (--ngpu 2), and torch" in error_of(done)
    assert not (tmp_path / "out/hyp.txt").exists()


@pytest.mark.parametrize("words", [("--ngpu", -1), ("--ngpu", 1, "--processes", 2), ("--ngpu", 0, "--processes", 0)])
def test_a_wrong_number_of_processes_is_wrong_usage(model, manifest, tmp_path, words):
    done = run(model, manifest, tmp_path, *words)
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1), done.stderr
    assert words[-2] in done.stderr


def test_as_many_processes_as_asked_for_but_never_more_than_batches():
    asked = ((0, 1, 9), (0, 3, 9), (4, 1, 9), (4, 1, 2), (0, 3, 0))
    assert [process_count(*words) for words in asked] == [1, 3, 4, 2, 1]
