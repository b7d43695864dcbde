"""lineage.json: test clips that a model, or one it comes from, was trained on are found, whatever they are called."""

import json
import subprocess
import sys

import numpy as np
import pytest
import soundfile

from asr.averaging import soup
from asr.averaging.best import average_run
from asr.core.errors import RecipeError
from asr.core.files import write_json
from asr.core.made_by import RUN, mark
from asr.core.manifest import read_manifest, write_manifest
from asr.models import base_folder, lineage
from asr.models.package import package
from tests.stage1 import ROOT, environment
from tests.unit.test_soup import base, data, make_run  # noqa: F401 - fixtures


def written(folder):
    return json.loads((folder / "lineage.json").read_text(encoding="utf-8"))


def clips_of(manifest):
    return sorted(clip.digest for clip in lineage.identify(read_manifest(manifest)))


def test_a_clip_has_one_digest_in_every_container(tmp_path):
    chance = np.random.default_rng(0)
    samples = chance.integers(-32768, 32767, 8000).astype("<i2")
    both = np.stack([samples, samples], axis=1)
    soundfile.write(tmp_path / "16.wav", samples, 16000, subtype="PCM_16")
    soundfile.write(tmp_path / "24.wav", samples.astype("<i4") << 16, 16000, subtype="PCM_24")
    soundfile.write(tmp_path / "float.wav", samples / np.float32(32768), 16000, subtype="FLOAT")
    soundfile.write(tmp_path / "stereo.flac", both, 16000)
    soundfile.write(tmp_path / "other.wav", samples[:-1], 16000)
    soundfile.write(tmp_path / "silence.wav", samples * 0, 16000)
    (tmp_path / "broken.wav").write_bytes(b"RIFF")
    names = ("16.wav", "24.wav", "float.wav", "stereo.flac", "other.wav", "silence.wav", "broken.wav", "none.wav")
    item = read_manifest(_one(tmp_path))[0]
    clips = lineage.identify(item._replace(source=str(tmp_path / name)) for name in names)
    found = [clip and clip.digest for clip in clips]
    # By hand: the sha256 of the 16-bit samples, little-endian.
    import hashlib

    assert found[:4] == [hashlib.sha256(samples.tobytes()).hexdigest()] * 4
    assert len(set(found[:5])) == 2
    assert found[5:] == ["", "", None]


def _one(folder):
    line = '{"key": "k", "source": "x", "target": "好", "source_len": 1, "target_len": 1, "speaker": "s",'
    (folder / "one.jsonl").write_text(line + ' "duration": 1.0, "num_samples": 1}\n', encoding="utf-8")
    return folder / "one.jsonl"


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("iic/speech_paraformer", "iic/speech_paraformer"),
        ("mini/base", "mini/base"),
        ("exp/mini/model", "mini"),
        ("/home/somebody/exp/mini/model", "mini"),
        ("/data/somebody/paraformer/", "paraformer"),
        ("./base", "base"),
    ],
)
def test_ancestors_have_names_and_no_paths(given, name):
    assert lineage.name_of(given) == name


def test_a_run_has_its_clips_and_its_bases_and_a_merge_has_all(make_run, tmp_path, data):  # noqa: F811
    first = make_run("A")
    train = data / "train.jsonl"
    assert written(first / "model") == {
        "schema_version": 1,
        "ancestors": ["base"],
        "not_known": ["base"],
        "clips": clips_of(train),
        "fingerprints": sorted({clip.fingerprint for clip in lineage.identify(read_manifest(train))} - {""}),
        "texts": len({item.target for item in read_manifest(train)}),
        "own": {"clips": len(read_manifest(train)), "known_before": 0},
    }
    text = (first / "model/lineage.json").read_text(encoding="utf-8")
    for item in read_manifest(train):
        assert not any(word in text for word in (item.key, item.target, "/", item.source))
    second = make_run("B")  # as if it went on from A
    base_folder.link((first / "model").resolve(), second)
    write_json(
        second / "base.json", {"id": str(first / "model"), "digest": base_folder.digest(second / "base")["digest"]}
    )
    (second / "conf/base.yaml").write_text(f"base: {first / 'model'}\nfamily: paraformer\n")
    run = json.loads((second / "run.json").read_text())
    run["tied_to"]["base model"] = json.loads((second / "base.json").read_text())["digest"]
    write_json(second / "run.json", run)
    more = [
        *read_manifest(data / "val.jsonl"),
        *(item._replace(key=f"again{item.key}") for item in read_manifest(train)[:2]),
    ]
    write_manifest(second / "manifest/train.jsonl", more)
    average_run(second, None)
    found = written(second / "model")
    assert found["own"] == {"clips": len(more), "known_before": 2}
    assert (found["ancestors"], found["not_known"]) == (["base", "A"], ["base"])
    assert found["clips"] == sorted([*clips_of(train), *clips_of(data / "val.jsonl")])
    third = make_run("C")
    write_manifest(third / "manifest/train.jsonl", read_manifest(data / "test.jsonl"))
    average_run(third, None)
    with pytest.raises(RecipeError, match="another clip"):  # the tiny corpora call their clips alike
        soup.merge_runs([first, third], tmp_path / "MERGED", "uniform", 0)
    before = [lineage.read(exp / "model", exp.name) for exp in (first, third)]
    (tmp_path / "M/manifest").mkdir(parents=True)
    write_manifest(tmp_path / "M/manifest/train.jsonl", read_manifest(train))
    lineage.write(tmp_path / "M", before, ["A", "C"], [])
    merged = written(tmp_path / "M")
    assert merged["ancestors"] == ["base", "A", "C"]
    assert "own" not in merged
    assert merged["clips"] == sorted([*clips_of(train), *clips_of(data / "test.jsonl")])


def test_runs_that_are_merged_and_one_from_random_weights(make_run, tmp_path):  # noqa: F811
    one, two = make_run("A"), make_run("B")
    (two / "model/lineage.json").unlink()  # of an earlier recipe
    soup.merge_runs([one, two], tmp_path / "MERGED", "uniform", 0)
    found = written(tmp_path / "MERGED/model")
    assert (found["ancestors"], found["not_known"]) == (["base", "A", "B"], ["base", "B"])
    assert found["clips"] == written(one / "model")["clips"]
    record = json.loads((one / "base.json").read_text())
    write_json(one / "base.json", {**record, "from_scratch": True})
    lineage.write_of_run(one)
    assert (written(one)["ancestors"], written(one)["not_known"]) == ([], [])
    (one / "lineage.json").unlink()
    write_json((one / "base").resolve() / "lineage.json", {"schema_version": 1})
    try:
        package(one, one / "model.pt.ep1", one / "model", {})
        assert not (one / "model/lineage.json").exists()  # the base's is not the model's
    finally:
        ((one / "base").resolve() / "lineage.json").unlink()


def test_a_clip_that_is_gone_after_training_leaves_the_run_not_known(make_run):  # noqa: F811
    exp = make_run("A")
    items = read_manifest(exp / "manifest/train.jsonl")
    write_manifest(exp / "manifest/train.jsonl", [items[0]._replace(source="/gone.wav"), *items[1:]])
    lineage.write_of_run(exp)
    assert written(exp)["not_known"] == ["base", "A"]
    assert written(exp)["own"] == {"clips": len(items), "known_before": 0}
    assert len(written(exp)["clips"]) == len(items) - 1


def decoded(exp, model, manifest):
    words = ["--model", exp / model, "--manifest", manifest, "--out", exp / "out", "--exp", exp, "--ngpu", "0"]
    done = subprocess.run(
        [sys.executable, "-m", "asr.decode", *map(str, words)],
        cwd=ROOT, env=environment(), capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr.strip()


def test_stages_2_and_5_stop_where_a_test_clip_was_trained_on(make_run, tmp_path, data):  # noqa: F811
    """One training clip among the test clips, under another key and in another container."""
    exp = make_run("A")
    test, (heard, *_) = read_manifest(data / "test.jsonl"), read_manifest(data / "train.jsonl")
    samples, rate = soundfile.read(heard.source, dtype="int16")
    soundfile.write(tmp_path / "copy.flac", samples, rate)
    write_manifest(tmp_path / "seen.jsonl", [*test, heard._replace(key="copy", source=str(tmp_path / "copy.flac"))])
    status, _, error = decoded(exp, "model", tmp_path / "seen.jsonl")
    assert status == 1
    assert error == (
        f"error: {tmp_path}/seen.jsonl: 1 of its {len(test) + 1} clips were trained on (by one of A, base), first copy:"
        " a score of them is worth nothing; give another --split or another --base, and a new --tag"
    )
    assert not (exp / "out").exists()
    status, output, _ = decoded(exp, "base", tmp_path / "seen.jsonl")  # which nobody knows of the untouched base
    assert status == 0
    assert "note: what base was trained on is not known: test clips may be among it\n" in output
    status, output, _ = decoded(exp, "model", data / "test.jsonl")
    assert status == 0
    personal = tmp_path / "personal"
    base_folder.link((exp / "model").resolve(), personal)
    (personal / "conf").mkdir()
    (personal / "conf/base.yaml").write_text("base: exp/A/model\nfamily: paraformer\n")
    (personal / "conf/decode.yaml").write_text("{}\n")
    mark(personal / "conf", RUN)
    write_json(personal / "base.json", {"id": "exp/A/model", "digest": "0"})
    status, _, error = decoded(personal, "base", tmp_path / "seen.jsonl")
    assert (status, "trained on (by one of A, base), first copy" in error) == (1, True)
    assert decoded(personal, "base", data / "test.jsonl")[0] == 0


def test_a_lineage_of_another_version_is_refused_and_the_mini_bases_is_honest(tmp_path):
    write_json(tmp_path / "lineage.json", {"schema_version": 2})
    with pytest.raises(RecipeError, match=r"lineage.json: is not of schema_version 1"):
        lineage.read(tmp_path, "x")
    found = lineage.read(ROOT / "mini/base", "x")
    assert (found["not_known"], found["clips"], found["ancestors"]) == (["mini/base"], [], [])
