"""Stage 5 compares with this baseline and no other: one manifest, one set of decoding options, texts as decoded."""

import json
import re
import shutil
import subprocess
import sys

import pytest

from asr.core.errors import RecipeError
from asr.core.files import write_json
from asr.decoding import run
from tests import tiny, trained
from tests.stage1 import ROOT, environment

AGAIN = "decode it again: bash run.sh --tag exp ++decode_conf.dither=0 --stage 2 --stop-stage 2"


@pytest.fixture(scope="module")
def decoded(tmp_path_factory):
    """exp/TAG after stages 0 to 4, with a baseline; its model is of other weights."""
    folder = tmp_path_factory.mktemp("baseline")
    exp = trained.lay_out(folder, clips=4)
    run.run(exp / "base", folder / "data/test.jsonl", exp / "baseline", 0, run.DEFAULTS)
    tiny.make_model(exp / "model", seed=1)
    (exp / "command").write_text("bash run.sh --tag exp ++decode_conf.dither=0\n")
    return exp


@pytest.fixture
def exp(decoded, tmp_path):
    return shutil.copytree(decoded, tmp_path / "exp", symlinks=True)


def evaluate(exp, *words):
    """Stage 5's first command."""
    data = exp.resolve().parent / "data"
    command = ["-m", "asr.decode", "--model", exp / "model", "--manifest", data / "test.jsonl", "--out", exp / "tuned"]
    done = subprocess.run(
        [sys.executable, *map(str, command), "--exp", str(exp), "--ngpu", "0", *words],
        cwd=ROOT, env=environment(), capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.returncode, done.stderr.strip().splitlines()[-1:]


def asked_again(exp, decoded, conf=run.DEFAULTS, manifest=None):
    with pytest.raises(RecipeError, match=f"baseline/hyp.txt: not as stage 2 wrote it.*{re.escape(AGAIN)}$"):
        run.refuse_another_baseline(exp, manifest or decoded.parent / "data/test.jsonl", conf)


def test_the_baseline_that_was_decoded_is_taken(exp, decoded):
    run.refuse_another_baseline(exp, decoded.parent / "data/test.jsonl", run.DEFAULTS)
    speed = {**run.DEFAULTS, "batch_seconds": 5.0, "cpu_processes": 2}  # never the text
    run.refuse_another_baseline(exp, decoded.parent / "data/test.jsonl", speed)
    shutil.rmtree(exp / "baseline")  # nothing to compare with, which the scorer says
    run.refuse_another_baseline(exp, decoded.parent / "data/test.jsonl", run.DEFAULTS)


def test_an_edited_baseline_is_asked_for_again(exp, decoded):
    path = exp / "baseline/hyp.txt"
    path.write_text(path.read_text(encoding="utf-8") + "\n", encoding="utf-8")
    asked_again(exp, decoded)
    shutil.copy(decoded / "baseline/hyp.txt", path)
    record = exp / "baseline/decode.json"
    whole = json.loads(record.read_text())
    for changed in ({**whole, "inputs": {**whole["inputs"], "model": "0" * 64}}, {**whole, "inputs": {}}, {}):
        write_json(record, changed)
        asked_again(exp, decoded)
    record.write_text("{half")
    asked_again(exp, decoded)
    record.unlink()  # as a decode that was killed leaves it
    asked_again(exp, decoded)


def test_other_clips_options_or_base_are_not_this_baseline(exp, decoded):
    asked_again(exp, decoded, {**run.DEFAULTS, "dither": 1.0})
    asked_again(exp, decoded, manifest=decoded.parent / "data/val.jsonl")
    base = json.loads((exp / "base.json").read_text())
    write_json(exp / "base.json", {**base, "digest": "1" * 64})
    asked_again(exp, decoded)


def test_stage_5_stops_before_it_decodes_and_the_baseline_decoded_again_is_taken(decoded):
    path = decoded / "baseline/hyp.txt"
    path.write_text(path.read_text(encoding="utf-8").replace("\n", " 一\n"), encoding="utf-8")
    status, last = evaluate(decoded)
    assert (status, AGAIN in last[0]) == (1, True)
    assert not (decoded / "tuned").exists()
    run.run(decoded / "base", decoded.parent / "data/test.jsonl", decoded / "baseline", 0, run.DEFAULTS)
    status, last = evaluate(decoded)
    assert status == 0, last
    assert (decoded / "tuned/hyp.txt").is_file()
