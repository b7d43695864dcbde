"""Merging runs: what may be merged, the greedy choice, and a folder that is decoded like any run's."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml

from asr.audio.reading import read_audio
from asr.averaging import soup
from asr.averaging.best import average_run
from asr.core.errors import RecipeError, UsageError
from asr.core.files import write_json
from asr.core.made_by import RUN, mark
from asr.core.manifest import corpus_digest, read_manifest
from asr.models import base_folder
from asr.models.lineage import refuse
from asr.models.loading import load
from asr.training.checkpoints import checkpoint
from tests import tiny

CONF = {
    "base": {"base": "base", "family": "paraformer"},
    "average": {"avg_nbest_model": 2},
    "decode": {"decode_conf": {"batch_seconds": 60}},
}


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return tiny.make_model(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return tiny.make_data(tmp_path_factory.mktemp("data"), [0.4, 0.9, 1.5])


@pytest.fixture
def make_run(tmp_path, base, data):
    """make_run(name, scales, **tied) -> a run after stage 4 whose checkpoints are the base's weights times a scale."""

    def make(name, scales=(1.0, 1.02), **tied):
        exp = tmp_path / name
        base_folder.link(base, exp)
        digest = base_folder.digest(base)["digest"]
        write_json(exp / "base.json", {"id": "base", "digest": digest})
        mark(exp / "conf", RUN)
        for stage, values in CONF.items():
            (exp / "conf" / f"{stage}.yaml").write_text(yaml.safe_dump(values))
        shutil.copytree(data, exp / "manifest")
        same = {
            "base model": digest,
            "validation data": corpus_digest(read_manifest(data / "val.jsonl")),
            "training data": name,
            "family": "paraformer",
            "architecture": {},
        }
        write_json(exp / "run.json", {"tied_to": {**same, **tied}, "settings": {}, "history": []})
        state, values = torch.load(base / "model.pt")["state_dict"], {}
        for number, scale in enumerate(scales, 1):
            values[f"model.pt.ep{number}"] = number / 10
            scaled = {key: value * scale for key, value in state.items()}
            checkpoint.save({"state_dict": scaled}, exp / f"model.pt.ep{number}")
        checkpoint.write_ranking(exp, "cer", values, len(scales), True)
        average_run(exp, None)
        return exp

    return make


def test_uniform_weighs_each_run_the_same_and_the_folder_loads(make_run, tmp_path, base, data):
    a, b = make_run("A", (1.0, 1.02)), make_run("B", (1.1,))
    out = tmp_path / "MERGED"
    (a / "command").write_text("CDSD_ROOT='/d/C D' bash /r/run.sh --tag A --part 10h\n")
    record = soup.merge_runs([a, b], out, "uniform", 0)
    assert (out / "command").read_text() == f"CDSD_ROOT='/d/C D' bash /r/run.sh --tag {out.name} --part 10h\n"
    key = next(iter(torch.load(base / "model.pt")["state_dict"]))
    merged = torch.load(out / "model" / "model.pt")["state_dict"][key]
    assert torch.allclose(merged, torch.load(base / "model.pt")["state_dict"][key] * (1.01 + 1.1) / 2, atol=1e-6)
    assert record == json.loads((out / "avg.json").read_text())
    assert (record["file"], record["how"], record["runs"]) == ("model.pt.avg2", "uniform", ["A", "B"])
    assert [item["file"] for item in record["checkpoints"]] == ["A/model.pt.avg2", "B/model.pt.avg1"]
    clip = read_audio(read_manifest(data / "test.jsonl")[0].source)
    assert load(out / "model").transcribe([clip]) == load(a / "model").transcribe([clip])  # scaled weights, same text
    with pytest.raises(RecipeError, match="were trained on"):
        refuse(out / "model", "MERGED", data / "train.jsonl")
    refuse(out / "model", "MERGED", data / "test.jsonl")
    assert not (out / "run.json").exists()


def test_greedy_decodes_and_says_what_it_tried(make_run, tmp_path, capsys):
    a, b = make_run("A"), make_run("B", (1.0,))
    record = soup.merge_runs([a, b], tmp_path / "MERGED", "greedy", 0)
    assert [len(item["runs"]) for item in record["attempts"]] == [1, 2]
    assert record["attempts"][0]["kept"]
    assert capsys.readouterr().out.count("validation CER") == 3
    assert len(record["checkpoints"]) == 1 + record["attempts"][1]["kept"]
    assert all(isinstance(item["value"], float) for item in record["checkpoints"])
    assert not (tmp_path / "MERGED" / ".trial").exists()


def test_greedy_takes_in_what_does_not_make_it_worse():
    cers = {(1, 2): 0.2, (1, 2, 0): 0.25, (1, 2, 3): 0.19}
    chosen, attempts = soup.greedy([0.3, 0.2, 0.25, 0.4], lambda indices: cers[tuple(indices)])
    assert chosen == [1, 2, 3]
    assert [(item["runs"], item["kept"]) for item in attempts] == [
        ([1], True),
        ([1, 2], True),  # an equal CER is not worse
        ([1, 2, 0], False),
        ([1, 2, 3], True),
    ]


@pytest.mark.parametrize("what", ["base model", "validation data", "family", "architecture"])
def test_runs_that_do_not_belong_together_are_refused(make_run, tmp_path, what):
    a, b = make_run("A"), make_run("B")
    record = json.loads((b / "run.json").read_text())
    record["tied_to"][what] = "another"
    write_json(b / "run.json", record)
    message = "another base model than stage 0" if what == "base model" else f"B: has another {what} than .*A; only"
    with pytest.raises(RecipeError, match=message):
        soup.merge_runs([a, b], tmp_path / "MERGED", "uniform", 0)
    assert not (tmp_path / "MERGED").exists()


def test_what_is_missing_or_in_the_way_is_named(make_run, tmp_path):
    a, b = make_run("A"), make_run("B")
    with pytest.raises(UsageError, match="given twice"):
        soup.merge_runs([a, a], tmp_path / "MERGED", "uniform", 0)
    with pytest.raises(RecipeError, match="A: is a run of its own; give --out a new name"):
        soup.merge_runs([a, b], a, "uniform", 0)
    (b / "model" / "model.pt").write_bytes((a / "model.pt.ep1").read_bytes())
    with pytest.raises(RecipeError, match=r"B/model/model\.pt: is not the file that was written there"):
        soup.merge_runs([a, b], tmp_path / "MERGED", "uniform", 0)
    assert not list((tmp_path / "MERGED").glob("model.pt*"))
    (b / "model" / "model.pt").unlink()
    with pytest.raises(RecipeError, match=r"B/model: model\.pt or config\.yaml is not there; run stage 4"):
        soup.merge_runs([a, b], tmp_path / "MERGED", "uniform", 0)
    (b / "avg.json").unlink()
    with pytest.raises(RecipeError, match=r"B/avg\.json: no such file; run stage 4"):
        soup.merge_runs([a, b], tmp_path / "MERGED", "uniform", 0)


def test_the_command_line(make_run, tmp_path):
    a, b = make_run("A"), make_run("B")

    def run(*words):
        command = [sys.executable, "-m", "asr.average", *map(str, words)]
        scripts = Path(__file__).resolve().parents[2] / "scripts"
        return subprocess.run(command, capture_output=True, text=True, env={"PYTHONPATH": str(scripts), "PATH": ""})

    done = run("--exp", a, b, "--out", tmp_path / "MERGED")
    assert done.returncode == 0, done.stderr
    assert "merged 2 of 2 runs (A, B)" in done.stdout
    done = run("--exp", a, b, "--out", tmp_path / "GREEDY", "--how", "greedy")
    assert "launch.json: no such file" in done.stderr  # on what to decode is read from the run
    for words, message in (
        (("--exp", a, b), "give --out"),
        (("--exp", a, "--out", tmp_path / "X"), "more than one"),
        (("--exp", a, "--n", "0"), "from 1"),
    ):
        done = run(*words)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
        assert message in done.stderr
