"""Attacks by audio, checkpoints and decoding: a clip that was trained on, a baseline that is another, a chosen ranking.

Each is refused in a line or named in one, as its name says.
"""

import json
import os
import shutil

import numpy as np
import pytest
import soundfile
import torch

from asr.audio.unreadable import MAX_SHARE, Unreadable
from asr.averaging import best, soup
from asr.core.errors import RecipeError, UsageError
from asr.core.files import write_json
from asr.core.made_by import RUN, mark
from asr.core.manifest import Utterance, write_manifest
from asr.core.nbest import NBest
from asr.decoding import run
from asr.decoding.partial import Partial
from asr.models import lineage
from asr.models.training_step import accuracy
from asr.preparation.prepare import Options, prepare
from asr.preparation.splits.rules import parse_request
from cdsd import CDSD
from tests import cdsd_tree
from tests.unit.test_names import small


def clip(path, key="k", target="好"):
    return Utterance(key, str(path), target, 50, len(target), "s", 0.5, 8000)


# Test clips that a model was trained on, under other keys -------------------------------------------------------------


@pytest.fixture
def trained(tmp_path):
    """A model's folder whose lineage has one clip, train.wav; and the clip's samples."""
    samples = np.random.default_rng(1).integers(-20000, 20000, 8000).astype("<i2")
    soundfile.write(tmp_path / "train.wav", samples, 16000, subtype="PCM_16")
    (tmp_path / "model").mkdir()
    record = {"schema_version": 1, "ancestors": ["base"], "not_known": [], "texts": 1}
    (known,) = lineage.identify([clip(tmp_path / "train.wav", "t")])
    record |= {"clips": [known.digest], "fingerprints": [known.fingerprint]}
    write_json(tmp_path / "model/lineage.json", record)
    return tmp_path, samples


def test_a_model_and_clips_from_elsewhere(trained):
    folder, samples = trained
    soundfile.write(folder / "test.wav", samples[::-1], 16000, subtype="PCM_16")
    write_manifest(folder / "test.jsonl", [clip(folder / "test.wav")])
    lineage.refuse(folder / "model", "tag", folder / "test.jsonl")


SAME_CLIP = {
    "its file": lambda folder, samples: folder / "train.wav",
    "a copy": lambda folder, samples: shutil.copy(folder / "train.wav", folder / "x.wav"),
    "a link": lambda folder, samples: (folder / "x.wav").symlink_to(folder / "train.wav") or folder / "x.wav",
    "a hard link": lambda folder, samples: os.link(folder / "train.wav", folder / "x.wav") or folder / "x.wav",
    "FLAC": lambda folder, samples: write(folder / "x.flac", samples),
    "24 bits": lambda folder, samples: write(folder / "x.wav", samples.astype("<i4") << 16, subtype="PCM_24"),
    "floats": lambda folder, samples: write(folder / "x.wav", samples / np.float32(32768), subtype="FLOAT"),
    "two channels": lambda folder, samples: write(folder / "x.wav", np.stack([samples, samples], axis=1)),
    "AIFF": lambda folder, samples: write(folder / "x.aiff", samples),
}


def write(path, samples, **options):
    soundfile.write(path, samples, 16000, **options)
    return path


@pytest.mark.parametrize("name", SAME_CLIP)
def test_a_clip_that_was_trained_on_is_refused_as(trained, name):
    folder, samples = trained
    path = SAME_CLIP[name](folder, samples)
    write_manifest(folder / "test.jsonl", [clip(path, "another", "别的")])
    with pytest.raises(RecipeError, match=r"1 of its 1 clips were trained on \(by one of tag, base\), first another"):
        lineage.refuse(folder / "model", "tag", folder / "test.jsonl")


CHANGED_CLIP = {
    "cut by a sample": lambda folder, samples: write(folder / "x.wav", samples[1:]),
    "cut at its end": lambda folder, samples: write(folder / "x.wav", samples[:-80]),
    "louder": lambda folder, samples: write(folder / "x.wav", (samples * 1.01).astype("<i2")),
    "a tenth as loud": lambda folder, samples: write(folder / "x.wav", samples // 10),
    "Ogg": lambda folder, samples: write(folder / "x.ogg", samples, format="OGG", subtype="VORBIS"),
    "8 bits": lambda folder, samples: write(folder / "x.wav", samples, subtype="PCM_U8"),
}


@pytest.mark.parametrize("name", CHANGED_CLIP)
def test_a_clip_that_was_trained_on_is_refused_when_changed(trained, name):
    folder, samples = trained
    write_manifest(folder / "test.jsonl", [clip(CHANGED_CLIP[name](folder, samples), "another")])
    with pytest.raises(RecipeError, match=r"1 of its 1 clips were trained on .*, first another \(a copy of one, cut"):
        lineage.refuse(folder / "model", "tag", folder / "test.jsonl")


def test_a_lineage_without_fingerprints_still_tells_the_same_samples(trained):
    folder, samples = trained
    record = json.loads((folder / "model/lineage.json").read_text())
    del record["fingerprints"]
    write_json(folder / "model/lineage.json", record)
    write_manifest(folder / "test.jsonl", [clip(write(folder / "x.wav", samples[1:]))])
    lineage.refuse(folder / "model", "tag", folder / "test.jsonl")
    write_manifest(folder / "test.jsonl", [clip(folder / "train.wav")])
    with pytest.raises(RecipeError, match="were trained on"):
        lineage.refuse(folder / "model", "tag", folder / "test.jsonl")


def test_a_lineage_that_was_taken_away_is_named(trained, capsys):
    folder, _ = trained
    write_manifest(folder / "test.jsonl", [clip(folder / "train.wav")])
    (folder / "model/lineage.json").unlink()
    lineage.refuse(folder / "model", "tag", folder / "test.jsonl")
    assert "what tag was trained on is not known: test clips may be among it" in capsys.readouterr().out


def test_a_lineage_of_another_version_is_refused(trained):
    folder, _ = trained
    write_manifest(folder / "test.jsonl", [clip(folder / "train.wav")])
    write_json(folder / "model/lineage.json", {"schema_version": 0, "clips": [], "ancestors": [], "not_known": []})
    with pytest.raises(RecipeError, match="not of schema_version 1"):
        lineage.refuse(folder / "model", "tag", folder / "test.jsonl")


# Stage 1 --------------------------------------------------------------------------------------------------------------

SPLIT = "train: ['01', '02']\nval: ['03']\ntest: ['04']\n"


def prepared(root, split=SPLIT, **options):
    if split:
        (root / "split.yaml").write_text(split)
        options["request"] = parse_request(str(root / "split.yaml"))
    return prepare(Options(root / "corpus", ("1h",), None, CDSD, **options))


def test_clips_of_one_set_each_are_no_problem(tmp_path):
    small(tmp_path / "corpus")
    assert prepared(tmp_path).problems == []


@pytest.mark.parametrize("how", [os.link, os.symlink, shutil.copyfile])
@pytest.mark.parametrize(("of", "kind"), [("02", "same audio in two sets"), ("04", "same audio twice in test")])
def test_a_recording_under_two_keys_is_named(tmp_path, of, kind, how):
    """An easy clip of the test set once more, or a clip of train, put in the place of a test clip."""
    part = small(tmp_path / "corpus")
    said = {"S04_1": "好天", "S04_9": "好天"}
    source = part / f"Audio/{of}/S{of}_1.wav"
    with open(part / "Text/04_label.txt", "a", encoding="utf-8") as stream:
        stream.write(f"S04_9 {said['S04_9']}\n")
    how(source, part / "Audio/04/S04_9.wav")
    (problem,) = prepared(tmp_path).problems
    assert (problem.severity, problem.kind, problem.key) == ("warning", kind, "S04_9")


def test_a_recording_twice_in_train_is_nobodys_gain(tmp_path):
    part = small(tmp_path / "corpus")
    with open(part / "Text/02_label.txt", "a", encoding="utf-8") as stream:
        stream.write("S02_9 好天\n")
    os.link(part / "Audio/02/S02_1.wav", part / "Audio/02/S02_9.wav")
    assert prepared(tmp_path).problems == []


def test_a_test_speaker_in_train_is_refused(tmp_path):
    small(tmp_path / "corpus")
    with pytest.raises(RecipeError, match="04"):
        prepared(tmp_path, "train: ['01', '04']\nval: ['03']\ntest: ['04']\n")


def test_a_hard_speaker_left_out_is_named(tmp_path):
    small(tmp_path / "corpus")
    (problem,) = prepared(tmp_path, "train: ['01']\nval: ['03']\ntest: ['04']\n").problems
    assert (problem.kind, problem.key) == ("speaker in no split", "02")
    assert "3 utterances left out" in problem.detail


def test_hard_clips_broken_are_named(tmp_path):
    part = small(tmp_path / "corpus")
    os.truncate(part / "Audio/04/S04_1.wav", 60)
    (problem,) = prepared(tmp_path).problems
    assert (problem.severity, problem.key) == ("error", "S04_1")


def test_hard_clips_without_a_transcript_are_named(tmp_path):
    part = small(tmp_path / "corpus")
    path = part / "Text/04_label.txt"
    path.write_text("".join(path.read_text(encoding="utf-8").splitlines(True)[:-1]), encoding="utf-8")
    (problem,) = prepared(tmp_path).problems
    assert (problem.kind, problem.key) == ("wav without transcript", "S04_2")


def test_a_base_model_that_cannot_write_the_test_set_is_refused(tmp_path):
    """And so the references without its characters are not what is scored."""
    small(tmp_path / "corpus")
    (tmp_path / "tokens.json").write_text(json.dumps(["<blank>", "<s>", "</s>", "天", "<unk>"]), encoding="utf-8")
    with pytest.raises(RecipeError, match="the base model has no token for many characters"):
        prepared(tmp_path, tokens=tmp_path / "tokens.json")


def test_tags_in_transcripts_are_named(tmp_path):
    part = small(tmp_path / "corpus")
    path = part / "Text/04_label.txt"
    path.write_text(path.read_text(encoding="utf-8").replace("好", "<unk>"), encoding="utf-8")
    assert {item.kind for item in prepared(tmp_path).problems} >= {"annotation tag in transcript"}


def test_the_test_texts_of_a_text_disjoint_split_are_taken_from_train(tmp_path):
    cdsd_tree.small(tmp_path / "corpus", speakers=10, said="今天天气很好")
    with pytest.raises(RecipeError, match="train split is empty"):
        prepare(Options(tmp_path / "corpus", ("1h",), None, CDSD, parse_request("seeded+text-disjoint")))


# Decoding: the baseline is this baseline ------------------------------------------------------------------------------


@pytest.fixture
def exp(tmp_path):
    """exp/TAG with a baseline and a tuned decode, as stages 2 and 5 write them, of models of a few bytes."""
    items = [clip(tmp_path / f"{n}.wav", f"k{n}") for n in range(4)]
    write_manifest(tmp_path / "test.jsonl", items)
    exp = tmp_path / "exp"
    for name, weights in (("base", b"base"), ("model", b"tuned")):
        (exp / name).mkdir(parents=True)
        (exp / name / "config.yaml").write_text("model: Paraformer\n")
        (exp / name / "model.pt").write_bytes(weights)
    write_json(exp / "base.json", {"id": "base", **run.digest(exp / "base")})
    mark(exp / "conf", RUN)
    (exp / "conf/base.yaml").write_text("base: base\nfamily: paraformer\n")
    for name, model, text in (("baseline", "base", "坏"), ("tuned", "model", "好")):
        inputs = run.fingerprint(exp / model, tmp_path / "test.jsonl", run.DEFAULTS)
        (exp / name).mkdir()
        run.write_results(exp / name, items, [NBest(item.key, "positions", text) for item in items], {"inputs": inputs})
    return exp


def check(exp, **options):
    run.refuse_another_baseline(exp, exp.parent / "test.jsonl", {**run.DEFAULTS, **options})


def edit(path, old, new):
    path.write_text(path.read_text(encoding="utf-8").replace(old, new, 1), encoding="utf-8")


def swap(exp):
    (exp / "baseline").rename(exp / "other")
    (exp / "tuned").rename(exp / "baseline")
    (exp / "other").rename(exp / "tuned")


BASELINES = {
    "edited": lambda exp: edit(exp / "baseline/hyp.txt", "坏", "坏坏"),
    "with a text fewer": lambda exp: edit(exp / "baseline/hyp.txt", "k0 坏\n", ""),
    "swapped with the tuned model's": swap,
    "of another base model": lambda exp: write_json(exp / "base.json", {"id": "base", "digest": "0" * 64}),
    "of other references": lambda exp: edit(exp.parent / "test.jsonl", "好", "坏"),
    "of fewer clips": lambda exp: edit(exp.parent / "test.jsonl", '{"key": "k0"', '{"key": "k9"'),
    "without its record": lambda exp: (exp / "baseline/decode.json").unlink(),
}


def test_the_baseline_that_was_decoded_is_taken(exp):
    check(exp)


@pytest.mark.parametrize("name", BASELINES)
def test_a_baseline_is_refused(exp, name):
    BASELINES[name](exp)
    with pytest.raises(RecipeError, match=r"baseline/hyp\.txt: not as stage 2 wrote it, or of another base model"):
        check(exp)


def test_a_baseline_decoded_otherwise_is_refused(exp):
    with pytest.raises(RecipeError, match="other decoding options"):
        check(exp, dither=1.0)


def test_tuned_texts_that_were_edited_are_decoded_again(exp):
    inputs = run.fingerprint(exp / "model", exp.parent / "test.jsonl", run.DEFAULTS)
    assert run.is_up_to_date(exp / "tuned", inputs)
    edit(exp / "tuned/hyp.txt", "好", "好好")
    assert not run.is_up_to_date(exp / "tuned", inputs)


def test_looping_clips_without_a_result_are_refused(exp):
    items = run.read_manifest(exp.parent / "test.jsonl")
    with pytest.raises(RecipeError, match="no result for 1 clips, first k2"):
        run.in_order(items, {"k0": "", "k1": "", "k3": ""}, Unreadable("decoded", 4, MAX_SHARE, print))


def test_hard_clips_that_cannot_be_read_are_named_then_refused(capsys, tmp_path):
    (tmp_path / "there").touch()
    unreadable = Unreadable("decoded", 100, MAX_SHARE, print)
    for number in range(3):
        unreadable.add(f"k{number}", str(tmp_path / "k.wav"), "broken")
        assert f"utterance k{number}: broken" in capsys.readouterr().out
    with pytest.raises(RecipeError, match="4 clips of the decoded set cannot be read"):
        unreadable.add("k3", str(tmp_path / "k.wav"), "broken")


def test_what_another_model_has_decoded_is_not_gone_on_with(tmp_path):
    with Partial(tmp_path, {"model": "good"}, ["k0"]) as partial:
        partial.add({"k0": NBest("k0", "positions", "好")})
    with Partial(tmp_path, {"model": "poor"}, ["k0"]) as partial:
        assert (partial.results, "thrown away" in partial.notes[0]) == ({}, True)


def test_half_of_a_decode_that_was_edited_is_named_and_decoded_again(tmp_path):
    with Partial(tmp_path, {"model": "poor"}, ["k0"]) as partial:
        partial.add({"k0": NBest("k0", "positions", "坏")})
    edit(tmp_path / "hyp.partial", "坏", "好")
    with Partial(tmp_path, {"model": "poor"}, ["k0"]) as partial:
        assert partial.results == {}
        assert "k0 is not as it was written; decoded again" in partial.notes[0]


# Ranking and averaging ------------------------------------------------------------------------------------------------


def test_a_character_without_a_token_is_never_right():
    """Scores of 4 places and 3 tokens, of which 2 is <unk>: two are right, of which one says <unk> for <unk>."""
    said = torch.tensor([[0, 2, 1, 2]])
    scores = torch.nn.functional.one_hot(torch.tensor([[0, 2, 0, 1]]), 3).float()
    assert accuracy(scores, said, -1, 2) == 0.25
    assert accuracy(scores, said, -1) == 0.5


def test_a_ranking_by_checkpoints_that_are_gone_is_named(tmp_path, capsys):
    ranked = [{"file": f"model.pt.ep{number}", "value": number / 10} for number in (1, 2, 3)]
    for number in (2, 3):
        (tmp_path / f"model.pt.ep{number}").touch()
    assert best.best(tmp_path, ranked, 1) == ranked[1:2]
    assert capsys.readouterr().out == "model.pt.ep1: file missing; averaged without it\n"


def test_a_ranking_of_which_nothing_is_there_is_refused(tmp_path):
    with pytest.raises(RecipeError, match="all 1 ranked checkpoints are missing"):
        best.best(tmp_path, [{"file": "model.pt.ep1", "value": 0.1}], 1)


def test_a_run_that_is_merged_with_itself_is_refused(exp):
    with pytest.raises(UsageError, match="the same run is given twice"):
        soup.check_together([exp, exp.parent / "." / "exp"])


@pytest.mark.parametrize("what", ["base model", "validation data"])
def test_runs_of_another_base_or_validation_set_are_not_merged(exp, what):
    """Where validation sets differ, a greedy merge would choose by figures that do not compare."""
    tied = {"base model": json.loads((exp / "base.json").read_text())["digest"], "validation data": "a"}
    other = shutil.copytree(exp, exp.parent / "other")
    write_json(exp / "run.json", {"tied_to": tied})
    write_json(other / "run.json", {"tied_to": {**tied, what: "b"}})
    with pytest.raises(RecipeError, match=f"another {what}|trained with another {what}"):
        soup.check_together([exp, other])
