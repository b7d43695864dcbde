"""A clip that cannot be read is left out by itself, in training, validation and decoding; too many end the run."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from asr.audio.unreadable import Unreadable, check_folder, remedy
from asr.core.errors import RecipeError
from asr.core.manifest import read_manifest
from asr.models.loading import load
from asr.training.batch_parts import normaliser
from asr.training.trainer import Trainer
from tests import tiny, trained
from tests.patience import PATIENCE
from tests.trained import NO_CHANCE
from tests.unit.test_paraformer_training import batch

BATCH = {"batch_type": "example", "batch_size": 2, "num_workers": 0}


def spoil(path: str, how: str) -> None:
    """Plant a fault in a clip."""
    audio, rate = soundfile.read(path)
    if how == "nan":
        audio[len(audio) // 2] = np.nan
        soundfile.write(path, audio, rate, "FLOAT")
    elif how == "flac":  # damaged in its middle, under the name that the manifest has
        soundfile.write(path, audio, rate, format="FLAC")
        raw = Path(path).read_bytes()
        Path(path).write_bytes(raw[: len(raw) // 2] + bytes(100) + raw[len(raw) // 2 + 100 :])
    else:
        Path(path).unlink()


@pytest.mark.parametrize(
    ("clips", "share", "allowed"),
    [(45327, 0.01, 453), (1000, 0.01, 10), (100, 0.01, 3), (100, 0.0, 3), (3, 0.01, 2), (1, 1.0, 0), (100, 0.5, 50)],
)
def test_as_many_clips_as_the_limit_allows_are_named_and_one_more_ends_the_run(clips, share, allowed):
    told: list[str] = []
    unreadable = Unreadable("training", clips, share, told.append)
    for number in range(allowed):
        for _ in range(2):  # in the next epoch it is not said again
            unreadable.add(f"k{number}", f"/c/{number}.wav", "is broken")
    assert len(told) == allowed
    for number, line in enumerate(told):
        assert line == (
            f"/c/{number}.wav: utterance k{number}: is broken; left out, {number + 1} of {clips} clips of the training"
            " set so far"
            + (f" (for good: {remedy()}; a run that was trained on them then needs a new --tag)" if not number else "")
        )
    says = rf"^/c/x\.wav: utterance x: is gone; {allowed + 1} clips of the training set cannot be read, and max_unread"
    with pytest.raises(RecipeError, match=says):
        unreadable.add("x", "/c/x.wav", "is gone")


def test_the_remedy_is_the_users_own_command(monkeypatch):
    monkeypatch.setenv("ASR_COMMAND", "bash run.sh --tag 'my tag'")
    assert remedy() == "bash run.sh --tag 'my tag' --check-audio --stage 1 --stop-stage 1"


def test_a_folder_that_is_gone_or_an_empty_mount_point_is_no_matter_of_a_clip(tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "there/b.wav").touch()
    check_folder(tmp_path / "there/a.wav")
    (tmp_path / "empty").mkdir()
    for name in ("empty", "gone"):
        with pytest.raises(RecipeError, match=rf"^{tmp_path}/{name}: not there any more, or empty; mount its disk"):
            check_folder(tmp_path / name / "a.wav")


def cut_down(folder: Path, names: dict[str, set[str]]) -> None:
    """Take clips out of a data folder's manifests."""
    for name, keys in names.items():
        path = folder / "data" / f"{name}.jsonl"
        lines = path.read_text().splitlines(keepends=True)
        path.write_text("".join(line for line in lines if not any(f'"{key}"' in line for key in keys)))


@pytest.mark.slow
def test_training_goes_on_without_them_and_resumes_exactly(tmp_path):
    """A NaN, a damaged FLAC and a missing clip; batches of one clip, so that some have nothing in them."""
    blocks = {**NO_CHANCE, "dataset_conf": {**BATCH, "batch_size": 1}}
    exp = trained.lay_out(tmp_path, "through", clips=8, train_conf={"max_epoch": 2}, **blocks)
    train, val = (read_manifest(tmp_path / "data" / f"{name}.jsonl") for name in ("train", "val"))
    spoilt = [(train[1], "nan"), (train[5], "flac"), (val[2], "nan"), (val[6], "gone")]
    for item, how in spoilt:
        spoil(item.source, how)
    said = trained.train(exp)
    for item, _ in spoilt:
        assert said.count(f"{item.source}: utterance {item.key}: ") >= 1
    assert "clips of the training set so far" in said
    assert "non-finite" not in said  # no gradient of a batch, which would have been skipped as a whole
    parts = trained.lay_out(tmp_path, "parts", train_conf={"max_epoch": 1}, **blocks)
    trained.train(parts)
    trained.lay_out(tmp_path, "parts", train_conf={"max_epoch": 2}, **blocks)
    assert "resumed from" in trained.train(parts)
    one, two = (trained.weights(path / "model.pt") for path in (exp, parts))
    assert all(torch.equal(one[name], two[name]) for name in one)


@pytest.mark.slow
def test_the_weights_are_those_of_a_corpus_that_never_had_the_clip(tmp_path):
    """All clips in one batch: what is left of it is weighted as what is there."""
    whole = {**NO_CHANCE, "dataset_conf": {**BATCH, "batch_size": 8}, "train_conf": {"max_epoch": 2}}
    whole |= {"optim": "sgd", "optim_conf": {"lr": 0.1}}  # Adam makes steps of rounding errors
    exp = trained.lay_out(tmp_path, "spoilt", clips=8, **whole)
    train, val = (read_manifest(tmp_path / "data" / f"{name}.jsonl") for name in ("train", "val"))
    spoil(train[3].source, "nan")
    spoil(val[3].source, "flac")
    trained.train(exp)
    cut_down(tmp_path, {"train": {train[3].key}, "val": {val[3].key}})
    never = trained.lay_out(tmp_path, "never", **whole)
    trained.train(never)
    one, two = (trained.weights(path / "model.pt") for path in (exp, never))
    base = trained.weights(tmp_path / "base" / "model.pt")
    assert any(not torch.allclose(one[name], base[name], atol=1e-4) for name in one)
    assert all(torch.allclose(one[name], two[name], atol=1e-6) for name in one)
    assert trained.scalars(exp, "validation/cer") == trained.scalars(never, "validation/cer")


@pytest.mark.slow
def test_two_processes_stay_in_step_where_one_has_nothing_to_train_on(tmp_path):
    blocks = {**NO_CHANCE, "dataset_conf": {**BATCH, "batch_size": 1}, "cpu_processes": 2}
    often = {"max_epoch": 2, "find_unused_parameters": True}
    exp = trained.lay_out(tmp_path, clips=6, train_conf=often, **blocks)
    item = read_manifest(tmp_path / "data/train.jsonl")[2]
    spoil(item.source, "nan")
    said = trained.train(exp)
    assert f"{item.source}: utterance {item.key}: a sample is NaN or infinite" in said
    assert all(torch.isfinite(value).all() for value in trained.weights(exp / "model.pt").values())


@pytest.mark.slow
def test_more_than_the_limit_end_the_training_in_one_line(tmp_path):
    exp = trained.lay_out(tmp_path, clips=8, **NO_CHANCE)
    items = read_manifest(tmp_path / "data/train.jsonl")
    for item in items[:4]:
        spoil(item.source, "nan")
    child = trained.start(exp)
    said = child.communicate(timeout=PATIENCE)[0]
    assert child.returncode == 1
    errors = [line for line in said.splitlines() if "Traceback" in line or line.startswith("error:")]
    assert len(errors) == 1, said
    assert "4 clips of the training set cannot be read, and max_unreadable allows 3 of 8" in errors[0]
    assert errors[0].endswith("bash run.sh --check-audio --stage 1 --stop-stage 1")


@pytest.mark.parametrize("validating", [False, True])
def test_a_batch_of_which_nothing_could_be_read_weighs_nothing(tmp_path, validating):
    loaded = load(tiny.make_model(tmp_path / "model"))
    model = loaded.model.train()
    trainer = Trainer(output_dir=str(tmp_path), log_interval=1)
    trainer.engine.attach(model, None, None)
    trainer.validator.tokenizer = loaded.tokenizer
    made = {**batch(clips=1), "target": ["一二三"]}
    lost = {"unreadable": [(400, "k1", "/c/1.wav", "is broken")], "blank": True}
    for more, weight in (({}, 1), (lost, 0)):
        data = {**made, **more}
        model.zero_grad()
        if validating:
            trainer.before_validation_batch(data, True)
            loss, _ = trainer.validator.batch(data, 0)
            loss.backward()
        else:
            trainer.before_training_batch(data)
            loss, _ = trainer.accumulator.add(data, True)
        moved = sum(float(value.grad.abs().sum()) for value in model.parameters() if value.grad is not None)
        assert (float(loss) > 0, moved > 0) == (weight == 1, weight == 1)
    assert trainer.validator.errors.ref_len == (3 if validating else 0)  # of the first alone
    assert normaliser(model, {**made, **lost}) == 0
    assert {name: found.found for name, found in trainer.unreadable.items()} == {
        "validation" if validating else "training": {"k1": "is broken"}
    }
