"""Every stage is stopped once, and goes on when the same command is given again."""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import time

import pytest

from asr.core.kaldi_text import read_text

pytestmark = pytest.mark.e2e

SHORT = ("++train_conf.max_epoch=5", "++train_conf.log_interval=2")


@pytest.fixture(scope="module")
def tag(recipe, mini):
    """A tag of its own with stages 0-2 done, so that the mini run stays as it is."""
    done = recipe.run("--tag", "stopped", "--stop-stage", "2", *SHORT)
    assert done.returncode == 0, done.stdout + done.stderr
    return recipe.root / "exp/stopped"


def test_ctrl_c_in_training_is_one_message_and_the_same_command_goes_on(recipe, tag):
    words = ("--tag", "stopped", *SHORT, "--stage", "3", "--stop-stage", "3")
    status, said = recipe.run_and_stop(*words, when=(tag / "model.pt").is_file, how=signal.SIGINT)
    assert status == 130, said
    assert "the same command resumes from the newest checkpoint" in said
    assert "stage 3 (fine-tune: torchrun on FunASR's train_ds) was interrupted" in said
    assert "Traceback" not in said
    assert not list(tag.glob(".*.tmp"))
    done = recipe.run(*words)
    assert done.returncode == 0, done.stdout + done.stderr
    # Within an epoch: saved by the stop, not at the end of the epoch before.
    assert re.search(r"resumed from stopped/model\.pt\.ep\d+\.\d+ at epoch \d+, step \d+", done.stdout), done.stdout
    ranking = recipe.json("exp/stopped/checkpoints.json")
    assert ranking["finished"]
    assert len(ranking["checkpoints"]) == 5


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_to_run_sh_alone_stops_training_with_a_save(recipe, tag, how):
    """kill PID, docker stop; a lost connection."""
    words = ("--tag", "stopped", "++train_conf.max_epoch=20", "++train_conf.log_interval=2")
    child = recipe.start(*words, "--stage", "3", "--stop-stage", "3")
    said = ""
    while "step 4/" not in said:
        line = child.stdout.readline()
        assert line, said
        said += line
    child.send_signal(how)
    said = child.communicate()[0]
    assert child.returncode == 130, said
    assert "stopped; the same command resumes from the newest checkpoint" in said
    assert "stage 3 (fine-tune: torchrun on FunASR's train_ds) was interrupted" in said
    assert "Traceback" not in said
    save = recipe.json("exp/stopped/saves.json")[0]["weights"]
    assert re.fullmatch(r"model\.pt\.ep\d+\.\d+", save)  # within an epoch: by the stop


def test_a_killed_training_goes_on(recipe, tag):
    words = ("--tag", "stopped", "++train_conf.max_epoch=7", "--stage", "3", "--stop-stage", "3")
    status, said = recipe.run_and_stop(*words, when=(tag / "model.pt.ep6").is_file, how=signal.SIGKILL)
    assert status == -signal.SIGKILL, said
    done = recipe.run(*words)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "resumed from stopped/model.pt.ep" in done.stdout
    assert len(recipe.json("exp/stopped/checkpoints.json")["checkpoints"]) == 7


@pytest.mark.parametrize("stage", [0, 1, 2, 4, 5])
def test_a_killed_stage_is_not_taken_for_done(recipe, mini, stage):
    """Kill at a random moment of the stage; the same stage alone must then end with what an unkilled one ends with."""
    exp = recipe.root / "exp/killed"
    if not exp.exists():
        shutil.copytree(recipe.root / "exp/mini", exp, symlinks=True)
    (exp / "stamps" / f"stage{stage}").unlink(missing_ok=True)
    log = exp / "log" / f"stage{stage}.log"
    log.unlink(missing_ok=True)
    words = ("--tag", "killed", "--stage", str(stage), "--stop-stage", str(stage))
    delay = random.Random(stage + os.getpid()).uniform(0.0, 1.0 if stage < 2 else 4.0)

    def soon() -> bool:
        if not log.exists():
            return False
        time.sleep(delay)
        return True

    recipe.run_and_stop(*words, when=soon, how=signal.SIGKILL, may_end_first=True)
    done = recipe.run(*words)
    assert done.returncode == 0, f"killed after {delay:.2f} s: {done.stdout}{done.stderr}"
    for name in ("baseline/hyp.txt", "tuned/hyp.txt"):
        assert read_text(exp / name) == read_text(recipe.root / "exp/mini" / name)
    assert recipe.json("exp/killed/score/score.json")["systems"] == recipe.json("exp/mini/score/score.json")["systems"]
