"""Stage 3 under torchrun with a tiny model: clips varied, and a disk that vanishes on the way."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests import tiny
from tests.patience import PATIENCE, wait_until

pytestmark = pytest.mark.e2e

CONF = """\
base: none/none
family: paraformer
cpu_processes: 2
dataset_conf:
  batch_size: 400
  num_workers: 1
  speed_perturb: [0.9, 1.0, 1.1]
  gain_db: 6
train_conf:
  max_epoch: {epochs}
  keep_nbest_models: 2
  avg_nbest_model: 2
optim_conf:
  lr: 0.001
scheduler_conf:
  warmup_steps: 10
"""


@pytest.fixture
def train(tmp_path):
    """A function that starts training for so many epochs on 24 clips, in two processes."""
    model = tiny.make_model(tmp_path / "base")
    tiny.make_data(tmp_path / "data", [0.5 + n % 7 / 5 for n in range(24)])

    def start(epochs):
        exp = tmp_path / "exp"
        (tmp_path / "a.yaml").write_text(CONF.format(epochs=epochs), encoding="utf-8")
        for words in (
            ["asr.config", "--conf", tmp_path / "a.yaml", "--out", exp / "conf", "--base", model],
            ["asr.base_model", "--exp", exp, "--base", model],
        ):
            subprocess.run([sys.executable, "-m", *words], check=True, capture_output=True)
        command = [sys.executable, "-m", "asr.train", "--exp", exp, "--data", tmp_path / "data", "--ngpu", "0"]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        return subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, **pipes)

    return start


def test_training_ends_and_leaves_no_process(train, tmp_path):
    child = train(3)
    said = child.communicate(timeout=PATIENCE)[0]
    assert child.returncode == 0, said
    assert "trained: 2 checkpoints" in said
    left = subprocess.run(["pgrep", "-f", str(tmp_path / "exp" / "launch.json")], capture_output=True, text=True)
    assert left.stdout == ""


def test_a_disk_that_vanishes_while_training_ends_it_in_one_clear_line(train, tmp_path):
    child = train(1000)
    wait_until(lambda: (tmp_path / "exp" / "model.pt").exists() or child.poll() is not None, "a checkpoint")
    (tmp_path / "data" / "train").rename(tmp_path / "unmounted")
    said = child.communicate(timeout=PATIENCE)[0]
    assert child.returncode == 1, said
    told = [line for line in said.splitlines() if "rror" in line or "Traceback" in line]
    assert told == [f"error: {tmp_path}/data/train: not there any more, or empty; mount its disk, or put it back"]
