"""dataset_conf.extra: each clip as often as its weight says, the same on every machine, and none that is held out."""

import shutil

import pytest

from asr.config.load import resolve
from asr.config.stage_files import write_stage_files
from asr.core.errors import RecipeError
from asr.core.manifest import read_manifest, write_manifest
from asr.data.extra import extra_clips, refuse_held_out
from tests import tiny
from tests.trained import NO_CHANCE, lay_out, train, weights


@pytest.fixture
def more(tmp_path):
    """A manifest of 40 clips."""
    clips = tiny.make_clips(tmp_path / "more", [0.5] * 4)
    write_manifest(tmp_path / "more.jsonl", [clips[n % 4]._replace(key=f"m{n}") for n in range(40)])
    return tmp_path / "more.jsonl"


def keys(more, weight, seed=0):
    return [clip.key for clip in extra_clips({"extra": [{"manifest": str(more), "weight": weight}]}, seed)]


def test_a_weight_is_how_often_a_clip_is_in_an_epoch(more):
    once = [f"extra1-m{n}" for n in range(40)]
    assert keys(more, 1) == once
    assert keys(more, 2) == [*once, *(f"extra1x2-m{n}" for n in range(40))]
    quarter = keys(more, 0.25)
    assert 4 <= len(quarter) <= 16
    assert set(quarter) < set(once)
    assert keys(more, 1.25) == [*once, *(key.replace("extra1", "extra1x2") for key in quarter)]
    assert keys(more, 0.25) == quarter != keys(more, 0.25, seed=1)
    two = {"extra": [{"manifest": str(more), "weight": 1}] * 2}
    assert [clip.key for clip in extra_clips(two, 0)] == [*once, *(f"extra2-m{n}" for n in range(40))]
    assert extra_clips({}, 0) == extra_clips({"extra": None}, 0) == []


@pytest.mark.parametrize("name", ["val", "test"])
def test_a_clip_that_is_held_out_is_named_whatever_its_key_and_file(more, tmp_path, name):
    clips = tiny.make_clips(tmp_path / "held", [0.6, 0.7], seed=5)
    write_manifest(tmp_path / f"{name}.jsonl", clips)
    refuse_held_out(read_manifest(more), tmp_path)
    shutil.copy(clips[1].source, tmp_path / "copy.wav")
    copied = clips[1]._replace(key="other", source=str(tmp_path / "copy.wav"))
    with pytest.raises(RecipeError, match=rf"copy\.wav is clip {clips[1].key} of {tmp_path}/{name}\.jsonl; take what"):
        refuse_held_out([copied], tmp_path)


def test_the_manifest_must_be_there_and_its_content_is_of_stage_3(more, tmp_path):
    words = lambda path: [f"++dataset_conf.extra=[{{manifest: {path}}}]"]  # noqa: E731
    with pytest.raises(RecipeError, match=r"dataset_conf\.extra: .*gone\.jsonl: no such file"):
        write_stage_files(resolve("conf/mini.yaml", words(tmp_path / "gone.jsonl")), tmp_path / "conf")
    texts = []
    for _ in range(2):
        write_stage_files(resolve("conf/mini.yaml", words(more)), tmp_path / "conf")
        texts.append((tmp_path / "conf/train.yaml").read_text())
        write_manifest(more, read_manifest(more)[:9])
    assert texts[0] != texts[1]


@pytest.mark.slow
def test_what_is_trained_on_has_them_and_another_weight_is_another_run(more, tmp_path):
    own = {
        "dataset_conf": {"extra": [{"manifest": str(more), "weight": 1}]},
        "train_conf": {"max_epoch": 1},
        **NO_CHANCE,
    }
    exp = lay_out(tmp_path, "exp", clips=8, **own)
    assert "train: 8 clips and 40 of dataset_conf.extra" in train(exp)
    assert len(read_manifest(exp / "manifest/train.jsonl")) == 48
    plain = lay_out(tmp_path, "plain", clips=8, train_conf={"max_epoch": 1}, **NO_CHANCE)
    train(plain)
    assert weights(plain / "model.pt.ep1").keys() == weights(exp / "model.pt.ep1").keys()
    own["dataset_conf"]["extra"][0]["weight"] = 0.5
    lay_out(tmp_path, "exp", clips=8, **own)
    with pytest.raises(AssertionError, match="training data"):
        train(exp)
