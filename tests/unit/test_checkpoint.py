"""Checkpoints are whole or not there, and the ranking says what is best."""

import errno
import json
import os
import resource
import signal
import subprocess
import sys

import pytest
import torch

from asr.core.errors import RecipeError
from asr.core.run_records import read_ranking
from asr.training.checkpoints import checkpoint


def test_a_failed_write_leaves_the_old_checkpoint_and_one_line(tmp_path):
    # A file-size limit is a full disk that a test can have: the write fails in the middle.
    path = tmp_path / "model.pt"
    checkpoint.save({"w": torch.ones(10)}, path)
    before = path.read_bytes()
    code = (
        "import torch; from asr.core import errors; from asr.training.checkpoints import checkpoint;"
        f"errors.run(lambda: checkpoint.save({{'w': torch.ones(10**6)}}, {str(path)!r}))"
    )

    def limit():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, preexec_fn=limit)
    assert done.returncode == 1, done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith(f"error: {path}: could not be written")
    assert "make room" in done.stderr
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["model.pt"]


def test_a_link_replaces_the_old_one(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).write_text(name)
        checkpoint.link(tmp_path / name, tmp_path / "best")
        assert (tmp_path / "best").read_text() == name
    assert sorted(os.listdir(tmp_path)) == ["a", "b", "best"]


def test_a_link_that_a_kill_left_is_in_nobodys_way(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).write_text(name)
    (tmp_path / ".best.link").hardlink_to(tmp_path / "a")
    checkpoint.link(tmp_path / "b", tmp_path / "best")
    assert (tmp_path / "best").read_text() == "b"
    assert sorted(os.listdir(tmp_path)) == ["a", "b", "best"]


def test_a_link_to_what_it_is_already_leaves_nothing_behind(tmp_path):
    (tmp_path / "a").write_text("a")
    for _ in range(2):
        checkpoint.link(tmp_path / "a", tmp_path / "best")
    assert sorted(os.listdir(tmp_path)) == ["a", "best"]


@pytest.mark.parametrize(
    ("number", "says"),
    [
        (errno.ENOSPC, r"No space left on device; \d+ MB free\); make room and give the same command again: training"),
        (errno.EDQUOT, r"Disk quota exceeded; \d+ MB free\); make room and"),
        (errno.EROFS, r"Read-only file system; \d+ MB free\); see to the folder and its disk and give the same"),
    ],
)
def test_what_could_not_be_written_says_why_and_what_to_do(tmp_path, number, says):
    with pytest.raises(RecipeError, match=says) as caught, checkpoint.writing(tmp_path / "model.pt.ep1"):
        raise OSError(number, os.strerror(number))
    assert str(caught.value).startswith(f"{tmp_path}/model.pt.ep1: could not be written (")


def test_an_error_that_is_none_of_the_disks_is_left_alone(tmp_path):
    with pytest.raises(RuntimeError, match="shapes differ"), checkpoint.writing(tmp_path / "model.pt"):
        raise RuntimeError("shapes differ")


def test_a_folder_that_takes_no_file_is_one_line(tmp_path):
    (tmp_path / "exp").write_text("a file, which takes no other even from root")
    with pytest.raises(
        RecipeError, match=r"exp/model\.pt: could not be written \(.*\); see to the folder and its disk"
    ):
        checkpoint.save({"w": torch.ones(3)}, tmp_path / "exp" / "model.pt")


def test_a_data_worker_that_dies_during_a_save_is_not_a_full_disk(tmp_path):
    class Dies:
        def __reduce__(self):
            raise RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed. ")

    with pytest.raises(RuntimeError, match=r"^DataLoader worker"):
        checkpoint.save({"w": torch.ones(10), "x": Dies()}, tmp_path / "model.pt")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("metric", "order"), [("cer", ["b", "a", "c"]), ("loss", ["b", "a", "c"]), ("acc", ["c", "a", "b"])]
)
def test_the_best_comes_first(tmp_path, metric, order):
    checkpoint.write_ranking(tmp_path, metric, {"a": 0.2, "b": 0.1, "c": 0.3}, 3, False)
    assert [item["file"] for item in read_ranking(tmp_path)["checkpoints"]] == order


def test_among_equals_the_newest_comes_first(tmp_path):
    checkpoint.write_ranking(
        tmp_path, "cer", {"model.pt.ep9": 0.0, "model.pt.ep10": 0.0, "model.pt.ep11": 0.1}, 11, True
    )
    files = [item["file"] for item in read_ranking(tmp_path)["checkpoints"]]
    assert files == ["model.pt.ep10", "model.pt.ep9", "model.pt.ep11"]


def test_ctrl_c_in_the_middle_of_a_save_is_not_a_full_disk(tmp_path):
    checkpoint.save({"w": torch.ones(10)}, tmp_path / "model.pt")
    before = (tmp_path / "model.pt").read_bytes()

    class Stops:
        def __reduce__(self):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        checkpoint.save({"w": torch.ones(10), "x": Stops()}, tmp_path / "model.pt")
    assert (tmp_path / "model.pt").read_bytes() == before
    assert os.listdir(tmp_path) == ["model.pt"]


def test_a_missing_or_broken_ranking_is_one_line(tmp_path):
    with pytest.raises(RecipeError, match="run stage 3 first"):
        read_ranking(tmp_path)
    (tmp_path / "checkpoints.json").write_text(json.dumps({"a": 1})[:-1])
    with pytest.raises(RecipeError, match="not JSON"):
        read_ranking(tmp_path)
