"""Stage 3 before the first step: what is checked, what may change while a run goes on, what may not."""

import errno
import json
import re

import pytest
import torch

from asr.core.errors import RecipeError
from asr.core.manifest import Utterance
from asr.core.out_of_memory import TooLarge, all_too_large, keep_too_large
from asr.data.manifests import dataset_conf, fit, warn_of_warm_up
from asr.reporting.provenance import times
from asr.training.building import check_finite
from asr.training.checkpoints.checkpoint import write_ranking
from asr.training.start import changes, failure, identity, start_or_resume
from asr.training.worker import explained

VALUES = {
    "family": "paraformer",
    "seed": 0,
    "dataset_conf": {"batch_size": 6000, "batch_type": "token"},
    "train_conf": {
        "max_epoch": 5,
        "resume": True,
        "use_deepspeed": False,
        "avg_keep_nbest_models_type": "cer",
    },
    "optim": "adam",
    "optim_conf": {"lr": 1},
}
TIED = identity({"digest": "b"}, VALUES, {"train": "t", "val": "v"})


def clip(frames, key="k", text="好"):
    return Utterance(key, f"/corpus/{key}.wav", text, frames, len(text), "01", frames / 100, frames * 160)


def trained(tmp_path):
    start_or_resume(tmp_path, TIED, VALUES, False)
    (tmp_path / "model.pt").write_bytes(b"x")
    (tmp_path / "saves.json").write_text("[]")
    return tmp_path


def test_lr_and_batch_size_may_change_and_are_named(tmp_path, capsys):
    new = {**VALUES, "dataset_conf": {"batch_size": 4000}, "optim_conf": {"lr": 0.5}}
    start_or_resume(trained(tmp_path), TIED, new, False)
    said = capsys.readouterr().out
    assert "dataset_conf.batch_size 6000 -> 4000" in said
    assert "optim_conf.lr 1 -> 0.5" in said
    assert json.loads((tmp_path / "run.json").read_text())["settings"] == new


@pytest.mark.parametrize(
    ("name", "tied"),
    [
        ("base model", identity({"digest": "c"}, VALUES, {"train": "t", "val": "v"})),
        ("training data", identity({"digest": "b"}, VALUES, {"train": "u", "val": "v"})),
        ("architecture", identity({"digest": "b"}, {**VALUES, "encoder_conf": {"a": 1}}, {"train": "t", "val": "v"})),
    ],
)
def test_another_base_data_or_architecture_is_refused_and_restart_throws_away(tmp_path, name, tied):
    trained(tmp_path)
    before = (tmp_path / "run.json").read_bytes()
    with pytest.raises(RecipeError, match=rf"another {name}; keep it and give --tag .*--restart"):
        start_or_resume(tmp_path, tied, VALUES, False)
    assert (tmp_path / "run.json").read_bytes() == before
    start_or_resume(tmp_path, tied, VALUES, True)
    assert [path.name for path in tmp_path.iterdir()] == ["run.json"]


def test_what_did_not_fit_is_forgotten_when_stage_3_starts_again(tmp_path):
    """Another program's memory, or a larger batch, may have been the cause."""
    trained(tmp_path)
    keep_too_large(tmp_path, "a card", TooLarge(100, "then"))
    assert start_or_resume(tmp_path, TIED, VALUES, False)
    assert not all_too_large(tmp_path)


def test_a_run_that_never_saved_may_change_anything(tmp_path):
    start_or_resume(tmp_path, TIED, VALUES, False)
    start_or_resume(tmp_path, {**TIED, "base model": "other"}, VALUES, False)


def test_changes_in_words():
    assert changes({"a": {"b": 1, "c": 2}}, {"a": {"b": 1, "c": 3}, "d": 4}) == ["a.c 2 -> 3", "d unset -> 4"]


LIMITS = {"batch_size": 6000, "batch_type": "token", "min_source_length": 0, "max_source_length": None}


def test_a_clip_longer_than_a_batch_is_named(tmp_path):
    # FunASR's sampler would put out an empty batch before it, and crash.
    with pytest.raises(RecipeError, match=r"/corpus/long\.wav: 61\.0 s .*batch_size 6000"):
        fit([clip(100), clip(6100, "long")], LIMITS, "train", tmp_path)


def test_a_clip_that_would_outgrow_its_batch_at_the_slowest_speed_is_named(tmp_path):
    conf = {**LIMITS, "speed_perturb": [0.9, 1.0]}
    with pytest.raises(RecipeError, match=r"long\.wav: 55\.0 s \(5500 frames, 6112 at the slowest speed_perturb\)"):
        fit([clip(100), clip(5500, "long")], conf, "train", tmp_path)
    assert len(fit([clip(5500, "long")], conf, "val", tmp_path)) == 1  # validation is never slowed
    assert len(fit([clip(5399, "long")], conf, "train", tmp_path)) == 1


def test_clips_beyond_the_limit_are_listed_not_lost(tmp_path, capsys):
    conf = {**LIMITS, "max_source_length": 500, "min_source_length": 20}
    kept = fit([clip(100), clip(501, "long"), clip(19, "short")], conf, "train", tmp_path)
    assert [item.key for item in kept] == ["k"]
    assert "2 of 3 clips" in capsys.readouterr().out
    listed = (tmp_path / "left_out.train.tsv").read_text().splitlines()
    assert [line.split("\t")[0] for line in listed] == ["long", "short"]
    fit([clip(100)], conf, "train", tmp_path)
    assert not (tmp_path / "left_out.train.tsv").exists()


def test_funasrs_own_limits_drop_nothing():
    # Its defaults drop clips above 20.48 s without a word: one of 25 s must stay in.
    long, texty = clip(2500, "a"), clip(300, "b")._replace(target_len=3000)
    conf = dataset_conf(VALUES, {"train": [long], "val": [texty]})
    for item in (long, texty):
        assert item.source_len <= conf["max_source_length"]
        assert item.target_len <= conf["max_target_length"]
        assert item.source_len + item.target_len <= conf["max_token_length"]


def test_funasrs_limits_admit_the_slowest_speed_and_speeds_may_change_within_a_run(tmp_path, capsys):
    new = {**VALUES, "dataset_conf": {"batch_size": 6000, "speed_perturb": [0.8, 1.0], "gain_db": 6}}
    assert dataset_conf(new, {"train": [clip(2500)], "val": [clip(300)]})["max_source_length"] >= 2500 / 0.8
    assert identity({"digest": "b"}, new, {"train": "t", "val": "v"}) == TIED
    start_or_resume(trained(tmp_path), TIED, new, False)
    assert "dataset_conf.speed_perturb unset -> [0.8, 1.0]" in capsys.readouterr().out


def test_a_finished_run_does_not_take_new_settings_for_its_own(tmp_path, capsys):
    (trained(tmp_path) / "model.pt.ep5").write_bytes(b"x")
    write_ranking(tmp_path, "cer", {"model.pt.ep5": 0.1}, 5, True)
    new = {**VALUES, "optim_conf": {"lr": 0.5}}
    assert start_or_resume(tmp_path, TIED, new, False) is False
    assert "nothing left to train: 5 epochs are done (optim_conf.lr 1 -> 0.5: not used)" in capsys.readouterr().out
    assert json.loads((tmp_path / "run.json").read_text())["settings"] == VALUES
    assert (
        start_or_resume(tmp_path, TIED, {**new, "train_conf": {**VALUES["train_conf"], "max_epoch": 6}}, False) is True
    )


def test_what_changed_while_training_went_on_is_kept(tmp_path):
    trained(tmp_path)
    for rate in (0.5, 0.25):
        start_or_resume(tmp_path, TIED, {**VALUES, "optim_conf": {"lr": rate}}, False)
    history = json.loads((tmp_path / "run.json").read_text())["history"]
    assert history == [["optim_conf.lr 1 -> 0.5"], ["optim_conf.lr 0.5 -> 0.25"]]


def test_a_warm_up_longer_than_half_the_run_is_said(capsys):
    values = {**VALUES, "train_conf": {**VALUES["train_conf"], "accum_grad": 1}}
    for warm_up, accum_grad, says in ((2000, 1, "about 250 updates"), (100, 1, ""), (100, 2, "about 125 updates")):
        values["train_conf"]["accum_grad"] = accum_grad
        values["scheduler_conf"] = {"warmup_steps": warm_up}
        warn_of_warm_up(values, [clip(300)] * 1000, 1)  # 50 batches an epoch, 5 epochs
        said = capsys.readouterr().out
        assert (f"warmup_steps {warm_up} is more than half of the run's {says}" in said) if says else said == ""


@pytest.mark.parametrize(
    ("log", "says"),
    [
        ("failed (exitcode: -9) local_rank: 0", "was killed, most likely out of memory"),
        ("Traceback (most recent call last):", r"its traceback is in .*torchrun\.log"),
    ],
)
def test_a_failure_that_the_worker_did_not_explain_is_one_line(tmp_path, log, says):
    (tmp_path / "torchrun.log").write_text(log)
    with pytest.raises(RecipeError, match=says):
        raise failure(tmp_path / "torchrun.log")


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (
            RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed. "),
            r"was killed, .*num_workers \(now 3\)",
        ),
        (
            RuntimeError("DataLoader worker (pid(s) 7, 8) exited unexpectedly"),
            "was killed, most likely out of mem",
        ),
        (
            RuntimeError("DataLoader worker (pid 7) is killed by signal: Segmentation fault. "),
            "died .Segmentation fault.",
        ),
        (ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"), "a data worker was killed, most likely"),
        (EOFError(), "a data worker was killed, most likely"),
        (OSError(errno.ENOSPC, "No space left on device"), r"train\.log: could not be written \(No space left"),
        (OSError(errno.ENOSPC, "No space left on device"), r"it may be /dev/shm that is full.*docker: --shm-size"),
        (torch.OutOfMemoryError("CUDA out of memory."), r"out of GPU memory: lower .*batch_size \(now 6000\)"),
    ],
)
def test_what_torch_says_of_memory_and_a_data_worker_and_python_of_a_full_disk_is_one_line(tmp_path, error, says):
    conf = {"num_workers": 3, "batch_size": 6000}
    told = explained(error, {"output_dir": str(tmp_path), "device": "cuda", "dataset_conf": conf})
    assert re.search(says, str(told))
    assert "\n" not in str(told)


def test_errors_that_are_not_known_are_left_as_they_are(tmp_path):
    for error in (RuntimeError("shapes differ"), OSError(errno.ENOSPC, "full", "a.txt")):
        assert explained(error, {"output_dir": str(tmp_path), "dataset_conf": {}}) is None


def test_base_weights_that_contain_nan_are_refused():
    model = torch.nn.Linear(2, 2)
    check_finite(model, "base/model.pt")
    model.bias.data[1] = float("nan")
    with pytest.raises(RecipeError, match=r"base/model\.pt: tensor bias contains NaN or Inf"):
        check_finite(model, "base/model.pt")


def test_the_time_of_a_training_is_that_of_all_its_continuations(tmp_path):
    """run.sh writes a line more for each run of stage 3; what was thrown away, or never saved, is no part of it."""
    log = tmp_path / "log/stage3.seconds"
    log.parent.mkdir()
    log.write_text("7\n")  # stopped before there was anything to go on from
    trained(tmp_path)
    assert not log.exists()
    log.write_text("100\n20\n")
    (log.parent / "stage1.seconds").write_text("3\n")
    start_or_resume(tmp_path, TIED, VALUES, False)
    assert times(tmp_path) == {"stage1": 3, "stage3": 120}
    start_or_resume(tmp_path, TIED, VALUES, True)
    assert times(tmp_path) == {"stage1": 3}
