"""``python -m asr.export``: what it makes, what it refuses in one line, and that nothing unproven takes the name."""

from __future__ import annotations

import argparse
import json
import shutil
import sys

import pytest
import torch

from asr.core.digests import sha256_text
from asr.core.errors import RecipeError, UsageError
from asr.core.files import write_json
from asr.core.kaldi_text import write_text
from asr.core.manifest import Utterance
from asr.export import funasr_onnx, graphs, parity, run
from asr.export.deploy_folder import refuse_additions
from asr.export.graphs import need
from asr.models import families
from asr.models.base_folder import digest
from tests import tiny, tiny_nano
from tests.exported import NEEDS

pytestmark = NEEDS


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    root = tmp_path_factory.mktemp("given")
    tiny.make_data(root / "data", [0.3, 0.9, 1.7, 2.2])
    return tiny.make_model(root / "model"), root / "data" / "test.jsonl"


def export(monkeypatch, *words):
    monkeypatch.setattr(sys, "argv", ["asr.export", *map(str, words)])
    return run.main()


def exported(monkeypatch, given, out, *words):
    return export(monkeypatch, "--model", given[0], "--test", given[1], "--out", out, *words)


def test_what_is_not_proven_does_not_take_the_name(given, tmp_path, monkeypatch, capsys):
    out = tmp_path / "deploy"
    assert exported(monkeypatch, given, out) == 0
    before = (out / "parity.json").read_bytes()
    record = json.loads(before)
    assert {name: rows.get("fp32", {}).get("status") for name, rows in record["runtimes"].items()} == {
        "funasr-onnx": "equal",
        "sherpa-onnx": "equal",
        "web": None,  # 8 bits alone
    }
    assert record["runtimes"]["web"]["int8"]["of"] == 4
    assert record["reference"] == "torch"
    assert record["utterances"] == 4
    assert record["files"].keys() == {
        path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file() and path.parent != out
    }

    def with_bias(*arguments):
        honest(*arguments)
        path = arguments[0] / funasr_onnx.CONFIG
        path.write_text(path.read_text().replace("_bias: 0", "_bias: 1"))

    honest = funasr_onnx.write_beside
    monkeypatch.setattr(funasr_onnx, "write_beside", with_bias)
    capsys.readouterr()
    with pytest.raises(RecipeError, match=r"funasr-onnx writes 4 of 4 texts otherwise: not exported.*deploy\.failed"):
        exported(monkeypatch, given, out)
    said = capsys.readouterr().out
    assert said.count("funasr-onnx fp32 '") == 4  # every difference, with both texts
    assert (out / "parity.json").read_bytes() == before
    failed = json.loads((tmp_path / "deploy.failed/parity.json").read_text())["runtimes"]
    assert failed["funasr-onnx"]["fp32"]["status"] == "differs"
    assert len(failed["funasr-onnx"]["fp32"]["differences"]) == 4
    assert failed["sherpa-onnx"]["fp32"]["status"] == "equal"
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_dir()) == ["deploy", "deploy.failed"]
    monkeypatch.setattr(funasr_onnx, "write_beside", honest)
    assert exported(monkeypatch, given, out, "--clips", "1") == 0
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == ["deploy"]


def test_an_interrupted_export_leaves_what_was_there(given, tmp_path, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(graphs, "quantise", interrupted)
    with pytest.raises(KeyboardInterrupt):
        exported(monkeypatch, given, tmp_path / "deploy")
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == []


def test_another_ones_folder_is_not_replaced(given, tmp_path, monkeypatch):
    out = tmp_path / "deploy"
    out.mkdir()
    (out / "thesis.txt").write_text("mine")
    with pytest.raises(RecipeError, match=r"holds thesis\.txt.*not replaced"):
        exported(monkeypatch, given, out)
    assert (out / "thesis.txt").read_text() == "mine"


def test_what_somebody_has_put_into_an_export_is_not_removed_by_the_next(tmp_path):
    write_json(tmp_path / "parity.json", {"schema_version": 1, "runtimes": {}, "files": {"web/sw.js": {}}})
    (tmp_path / "web").mkdir()
    (tmp_path / "web/sw.js").write_text("ours")
    refuse_additions(tmp_path)
    (tmp_path / "web/notes.txt").write_text("mine")
    with pytest.raises(RecipeError, match=r"web/notes\.txt: is not of the export"):
        refuse_additions(tmp_path)


def test_a_damaged_package_is_named_before_anything_is_done(tmp_path, monkeypatch):
    (tmp_path / "a_broken_package.py").write_text("raise ImportError('lib.so: no such file')")
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("a_broken_package", "a_package_that_is_not_there"):
        with pytest.raises(RecipeError, match=rf"{name} cannot be imported .*install\.sh --deploy"):
            need(name)


def arguments(**given):
    return argparse.Namespace(**{**dict.fromkeys(("exp", "model", "out", "test", "clips", "phrases")), **given})


def test_texts_are_proven_by_clips(given, tmp_path):
    with pytest.raises(UsageError, match=r"--test FILE\.jsonl"):
        run.read_job(arguments(model=given[0]))
    with pytest.raises(UsageError, match="is a model, not a run"):
        run.read_job(arguments(exp=given[0]))
    with pytest.raises(UsageError, match="--clips 0"):
        run.read_job(arguments(model=given[0], clips=0))
    with pytest.raises(RecipeError, match="not a FunASR model folder"):
        run.read_job(arguments(exp=tmp_path))
    shutil.copytree(given[0], tmp_path / "model")
    with pytest.raises(RecipeError, match=r"has no scored texts.*--stage 5"):
        run.read_job(arguments(exp=tmp_path))


def test_the_test_set_is_the_one_that_stage_5_decoded(given, tmp_path):
    exp = tmp_path / "exp/run"
    digest = sha256_text("one clip")
    write_json(exp / "tuned/decode.json", {"inputs": {"manifest": digest}})
    lines = ["command evaluate 0", "input sha256 a data/a.jsonl", f"input sha256 {digest} data of mine/b.jsonl"]
    (exp / "stamps").mkdir()
    (exp / "stamps/stage5").write_text("\n".join(lines))
    with pytest.raises(RecipeError, match="not where it was; give it: --test"):
        run.test_set(exp)
    (tmp_path / "data of mine").mkdir()
    (tmp_path / "data of mine/b.jsonl").write_text("one clip")
    assert run.test_set(exp) == tmp_path / "data of mine/b.jsonl"
    (tmp_path / "data of mine/b.jsonl").write_text("another split's clips, of which some were trained on")
    with pytest.raises(RecipeError, match=r"b\.jsonl: is another test set than the one .*--stage 5.*--test FILE"):
        run.test_set(exp)


def test_what_is_not_exported_says_so_in_a_line(given, tmp_path, monkeypatch):
    nano = tiny_nano.make_model(tmp_path / "nano", list("一二三"))
    with pytest.raises(RecipeError, match="from_funasr_nano reads them"):
        exported(monkeypatch, (nano, given[1]), tmp_path / "deploy")
    adapted = shutil.copytree(given[0], tmp_path / "adapted")
    state = torch.load(adapted / "model.pt", weights_only=True)["state_dict"]
    torch.save({"state_dict": {**state, "encoder.x.lora_A": torch.zeros(1)}}, adapted / "model.pt")
    with pytest.raises(RecipeError, match="adapters that are not merged"):
        exported(monkeypatch, (adapted, given[1]), tmp_path / "deploy")
    monkeypatch.setitem(sys.modules, "sherpa_onnx", None)
    with pytest.raises(RecipeError, match=r"sherpa_onnx cannot be imported .*: bash scripts/install\.sh --deploy"):
        exported(monkeypatch, given, tmp_path / "deploy")
    assert not (tmp_path / "deploy").exists()


def clip(key, speaker):
    return Utterance(key, "x.wav", "一", 100, 1, speaker, 1.0, 16000)


def test_clips_are_drawn_in_turn_of_each_speaker():
    clips = [clip(f"{speaker}{number}", speaker) for speaker in "ab" for number in range(5)]
    chosen, how = parity.drawn(clips, 3)
    assert [item.key for item in chosen] == ["a0", "b0", "a1"]
    assert how.startswith("3 of 10")
    assert parity.drawn(clips, 99) == (clips, "all")


@pytest.fixture
def scored(given, tmp_path):
    """A run with a model and scored texts."""
    model, exp = shutil.copytree(given[0], tmp_path / "exp/model"), tmp_path / "exp"
    family = families.of_folder(model)
    write_text(exp / "tuned/hyp.txt", [("k", "一")])
    inputs = {"model": digest(model)["digest"], "manifest": "m", "method": family.method(family.options({}))}
    record = {"inputs": inputs, "hyp_sha256": parity.sha256_file(exp / "tuned/hyp.txt")}

    def texts(**changed):
        record["inputs"].update(changed)
        (exp / "tuned/decode.json").write_text(json.dumps(record))
        return parity.scored_texts(exp, model, "m", family)

    texts.exp = exp
    return texts


def test_scored_texts_are_the_reference_where_they_can_be(scored):
    assert scored() == ({"k": "一"}, "")
    assert "of other clips" in scored(manifest="n")[1]
    assert "was decoded by beam" in scored(manifest="m", method="beam")[1]


def test_scored_texts_of_another_model_or_changed_since_are_refused(scored):
    with pytest.raises(RecipeError, match=r"of another model.*--stage 5"):
        scored(model="0")
    write_text(scored.exp / "tuned/hyp.txt", [("k", "二")])
    with pytest.raises(RecipeError, match="not as it was decoded"):
        scored()


def test_torch_itself_must_write_what_was_scored(tmp_path, capsys):
    assert parity.wrong_reference({"a": "一"}, {"a": "一"}, None) == []
    two = {"a": "一", "b": "二"}, {"a": "一", "b": "三"}
    assert parity.wrong_reference(*two, None) == ["torch itself writes 1 of 2 texts otherwise than hyp.txt"]
    assert "b: scored '二', torch '三'" in capsys.readouterr().out
    write_json(tmp_path / "tuned/decode.json", {"device": "cuda"})
    (said,) = parity.wrong_reference(*two, tmp_path)
    assert "decoded on cuda; on this processor: rm -r" in said
    assert said.endswith("--stage 5 --stop-stage 5 --ngpu 0)")


def test_no_text_is_in_parity_json():
    clips = [clip("a", "s"), clip("b", "s")]
    found = parity.result(clips, {"a": "一", "b": "二"}, {"a": "一", "b": "三"})
    assert (found["status"], found["equal"], found["of"], found["differences"]) == ("differs", 1, 2, ["b"])
    assert not {"一", "二", "三"} & set(json.dumps(found, ensure_ascii=False))
    assert found["cer"] == 0.5
