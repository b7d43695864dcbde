"""What may go wrong while stage 3 trains: each fault ends in one clear line, and the same command goes on.

One tiny training that has no end, in which every test begins by going on from what the test before has left.
"""

from __future__ import annotations

import contextlib
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import torch

from asr.averaging.best import average
from asr.config.load import resolve
from asr.config.stage_files import write_stage_files
from asr.core.errors import RecipeError
from asr.core.manifest import read_manifest
from asr.core.run_records import ResumePoint, read_ranking, read_resume_points
from asr.training.gradients import MOST_SKIPPED
from tests import tiny
from tests.patience import PATIENCE, wait_until

pytestmark = pytest.mark.e2e

CONF = """\
base: none/none
family: paraformer
dataset_conf:
  batch_size: 400
  num_workers: 1
train_conf:
  max_epoch: 1000
  save_checkpoint_interval: 3
  validate_interval: 6
  keep_nbest_models: 3
  avg_nbest_model: 3
optim_conf:
  lr: 0.001
scheduler_conf:
  warmup_steps: 10
"""
CLIPS = 24


class Training:
    """A training of ``base`` in a folder, and what has to hold whenever it has stopped."""

    def __init__(self, root: Path, base: Path, data: Path) -> None:
        self.root, self.base, self.data, self.exp = root, base, data, root / "exp"
        self.watched = root / "watched"
        self.watched.mkdir(parents=True)
        (root / "a.yaml").write_text(CONF, encoding="utf-8")
        self.child: subprocess.Popen[str] | None = None
        self.configure()
        words = ["asr.base_model", "--exp", self.exp, "--base", base]
        subprocess.run([sys.executable, "-m", *words], check=True, capture_output=True)

    def configure(self, *overrides: str) -> None:
        write_stage_files(resolve(self.root / "a.yaml", list(overrides), str(self.base)), self.exp / "conf")

    def start(self, hold: str = "", limit: int | None = None) -> None:
        """Start stage 3, to be held at a place (see tests/hooks); ``limit``: bytes that a file may have."""
        for name in ("hold", "held", "seen"):
            (self.watched / name).unlink(missing_ok=True)
        if hold:
            (self.watched / "hold").write_text(hold)
        path = os.pathsep.join([str(Path(tiny.__file__).parent / "hooks"), os.environ.get("PYTHONPATH", "")])
        more = {"OMP_NUM_THREADS": "1", "PYTHONPATH": path, "WATCHED": str(self.watched)}
        self.child = subprocess.Popen(
            [sys.executable, "-m", "asr.train", "--exp", self.exp, "--data", self.data, "--ngpu", "0"],
            env={**os.environ, **more},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            preexec_fn=limit and (lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))),
        )

    def held(self) -> int:
        """Wait until the training is held; the number of the process that is."""
        wait_until((self.watched / "held").exists, "it was held", self.child)
        return int((self.watched / "held").read_text())

    def release(self) -> None:
        (self.watched / "hold").unlink()

    def ended(self, status: int) -> list[str]:
        """Wait for the training's end, with ``status``; its lines. Nothing half-written, no save that is not whole."""
        said = self.child.communicate(timeout=PATIENCE)[0]
        assert self.child.returncode == status, said
        assert "Traceback" not in said, said
        assert not [path for kind in ("pt*", "json*") for path in self.exp.glob(f".*.{kind}.tmp")]
        for save in read_resume_points(self.exp):
            assert save.damage(self.exp) is None
            weights = torch.load(self.exp / save.weights, weights_only=True)["state_dict"]
            assert all(torch.isfinite(value).all() for value in weights.values())
        lines = said.splitlines()
        assert len([line for line in lines if line.startswith("error: ")]) == (status == 1), said
        return lines

    def stopped_at(self, place: str) -> list[str]:
        """Start, stop at a place, and wait for the end; its lines."""
        self.start(hold=place)
        self.held()
        self.child.terminate()
        self.release()
        return self.ended(130)

    def two_saves(self) -> list[ResumePoint]:
        """The newest two saves; a training that has diverged has left one."""
        if len(read_resume_points(self.exp)) < 2:
            self.stopped_at("train 30")
        return read_resume_points(self.exp)

    def newest(self) -> str:
        return read_resume_points(self.exp)[0].weights

    def seen(self, split: str = "train") -> list[tuple[int, str]]:
        """(epoch, key) of each clip that was read, in order."""
        lines = [line.split() for line in (self.watched / "seen").read_text().splitlines()]
        return [(int(epoch), key) for kind, epoch, key in lines if kind == split]


def error(lines: list[str]) -> str:
    return next(line for line in lines if line.startswith("error: "))


def gone_on(lines: list[str]) -> str:
    """The save that was gone on from."""
    found = [re.search(r"resumed from exp/(\S+) at epoch", line) for line in lines]
    return next((match[1] for match in found if match), "")


@pytest.fixture(scope="module")
def training(tmp_path_factory) -> Training:
    """A training that has saved more than once, and was then stopped."""
    root = tmp_path_factory.mktemp("faults")
    data = tiny.make_data(root / "data", [0.5 + n % 7 / 5 for n in range(CLIPS)])
    made = Training(root / "run", tiny.make_model(root / "base"), data)
    made.stopped_at("train 60")
    assert len(read_resume_points(made.exp)) == 2
    return made


@pytest.fixture(autouse=True)
def settings(training):
    """The settings as they were; no training outlives its test."""
    training.configure()
    yield
    if training.child.poll() is None:
        training.child.kill()
        training.child.communicate()


def test_a_disk_that_is_full_during_a_save_is_one_line(training):
    before, names = training.newest(), {path.name for path in training.exp.glob("*.pt*")}
    saves = (training.exp / "saves.json").read_bytes()
    weights = (training.exp / before).stat().st_size
    training.start(limit=weights + 1000)  # the weights find room, the optimizer's state does not
    lines = training.ended(1)
    assert gone_on(lines) == before
    assert re.fullmatch(
        rf"error: {training.exp}/state\.pt\.ep[\d.]+: could not be written \(.*File too large.*; \d+ MB free\); make"
        " room and give the same command again: training is resumed from the checkpoint before",
        error(lines),
    )
    assert (training.exp / "saves.json").read_bytes() == saves
    assert names <= {path.name for path in training.exp.glob("*.pt*")}


def test_a_data_worker_that_is_killed_is_one_line(training):
    before = training.newest()
    training.start(hold="train 7")
    os.kill(training.held(), signal.SIGKILL)
    lines = training.ended(1)
    assert gone_on(lines) == before
    assert error(lines) == (
        "error: training: a data worker was killed, most likely out of memory: close other programs that use it, or"
        " lower dataset_conf.num_workers (now 1); the same command resumes from the newest checkpoint"
    )


def test_a_clip_that_is_cut_short_is_named_and_the_training_goes_on_without_it(training):
    before = training.newest()
    training.start(hold="train 7")
    training.held()
    cut = read_manifest(training.data / "train.jsonl")[5]
    raw = Path(cut.source).read_bytes()
    Path(cut.source).write_bytes(raw[:-8000])  # a quarter of a second; read again in the next epoch at the latest
    training.release()
    named = f"{cut.source}: utterance {cut.key}: has "
    log = training.exp / "train.log"
    wait_until(lambda: named in log.read_text(), "the clip was named", training.child)
    training.child.terminate()
    lines = training.ended(130)
    Path(cut.source).write_bytes(raw)
    assert gone_on(lines) == before
    assert training.newest() != before
    assert [line.startswith(named) for line in lines].count(True) == 1


@pytest.mark.parametrize("place", ["val 5", "save 1"])
def test_a_stop_in_validation_or_in_a_save_is_saved(training, place):
    before = read_resume_points(training.exp)[0]
    lines = training.stopped_at(place)
    assert gone_on(lines) == before.weights
    assert "stopped; the same command resumes from the newest checkpoint" in lines
    # Resumed where a validation was due, and stopped in it: the same step is saved again, its state beside the first.
    assert read_resume_points(training.exp)[0] != before


def test_one_of_two_processes_that_is_killed_is_one_line(training):
    training.configure("++cpu_processes=2", "++dataset_conf.num_workers=0")
    before = training.newest()
    training.start(hold="train 9")
    os.kill(training.held(), signal.SIGKILL)
    lines = training.ended(1)
    assert gone_on(lines) == before
    assert re.fullmatch(
        "error: a training process was killed, most likely out of memory; the same command resumes from the newest"
        r" checkpoint; see \S+/log/torchrun\.log",
        error(lines),
    )


def test_weights_of_another_model_and_lost_files_are_named(training, capsys):
    newest, older = training.two_saves()[0].weights, training.two_saves()[1]
    ranked = [item["file"] for item in read_ranking(training.exp)["checkpoints"]]
    before = torch.load(training.exp / older.state, weights_only=False)["ranking"][
        "ranked"
    ]  # at most one came in since
    lost = next(name for name in ranked if name in before and name not in (newest, older.weights))
    for name in (newest, lost, "model.pt"):
        (training.exp / name).unlink()  # model.pt is the same file as the newest
    other = tiny.make_model(training.root / "other", seed=1) / "model.pt"
    shutil.copyfile(other, training.exp / newest)
    with contextlib.suppress(RecipeError):  # where the newest is ranked, it is not what was written
        average(training.exp, 99)
    assert f"{lost}: file missing; averaged without it\n" in capsys.readouterr().out
    lines = training.stopped_at("train 30")
    damaged = rf"{newest}: damaged \({other.stat().st_size:,} bytes, another sha256 than when it was written\)"
    assert any(re.match(damaged, line) for line in lines)
    assert gone_on(lines) == older.weights
    assert f"{lost}: file missing; removed from the ranking" in lines
    assert os.path.samefile(training.exp / "model.pt", training.exp / training.newest())
    assert average(training.exp, 3)["checkpoints"]


def test_a_lost_state_file_is_named_and_the_save_before_gone_on_from(training):
    newest, older = training.two_saves()
    (training.exp / newest.state).unlink()
    lines = training.stopped_at("train 30")
    assert f"{newest.state}: file missing; trying the checkpoint before" in lines
    assert gone_on(lines) == older.weights


def test_a_training_that_diverges_goes_on_from_before_it_did(training):
    before = training.newest()
    training.configure("++optim_conf.lr=1e30", "++train_conf.validate_interval=300")
    training.start()
    lines = training.ended(1)  # which sees to it that no save is left with a weight that is no number
    assert len([line for line in lines if line.endswith("step skipped")]) == MOST_SKIPPED, lines
    steps = rf"no finite gradient in {MOST_SKIPPED} steps up to epoch \d+ step \d+"
    then = r"lower optim_conf\.lr, or look for damaged clips \(stage 1 with --check-audio\)"
    assert re.fullmatch(rf"error: training: {steps}; {then}; the same command resumes from {before}", error(lines))
    assert training.newest() == before


def test_another_batch_size_and_number_of_processes_within_an_epoch_lose_and_repeat_no_clip(training):
    # Without workers a clip is read when its batch is trained, and no sooner.
    settings = ("++dataset_conf.num_workers=0", "++train_conf.validate_interval=300")
    state = torch.load(training.exp / read_resume_points(training.exp)[0].state, weights_only=False)
    epoch = state["epoch"] + (state["step"] is not None)
    training.configure(*settings)
    training.stopped_at(f"train@{epoch} 9")
    first = [key for number, key in training.seen() if number == epoch]
    assert 9 < len(first) < CLIPS
    training.configure(
        *settings, "++cpu_processes=2", "++dataset_conf.batch_size=300", f"++train_conf.max_epoch={epoch + 1}"
    )
    training.start()
    lines = training.ended(0)
    assert any("dataset_conf.batch_size 400 -> 300" in line for line in lines)
    assert {number for number, _ in training.seen()} == {epoch}
    assert Counter(first + [key for _, key in training.seen()]) == Counter(
        item.key for item in read_manifest(training.data / "train.jsonl")
    )
