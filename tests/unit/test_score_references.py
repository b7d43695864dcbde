"""References and hypotheses of others: the forms that local/score.py reads, and what is not known of them."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys

import pytest

from asr.core.errors import RecipeError
from asr.core.manifest import write_manifest
from asr.scoring.references import read_references
from tests.scored import CLIPS, REFERENCES, ROOT, TRAIN, result_of, run, utterance, write_files, write_hypotheses

TEXTS = {clip[0]: clip[2] for clip in CLIPS}


@pytest.fixture
def files(tmp_path):
    return write_files(tmp_path)


def lines(texts: dict[str, str], form: str = "{key} {text}\n") -> str:
    return "".join(form.format(key=key, text=text) for key, text in texts.items())


def jsonl(**more: object) -> str:
    return "".join(
        json.dumps({"key": key, "target": text, **more}, ensure_ascii=False) + "\n" for key, text in TEXTS.items()
    )


REFERENCE_FILES = {
    "JSONL with key and target alone": ("ref.jsonl", jsonl()),
    "FunASR's own JSONL": ("ref.jsonl", jsonl(source="/none.wav", source_len=100, target_len=2)),
    "JSONL by another name, a mark in front, blank lines": ("ref.txt", "\ufeff" + jsonl().replace("\n", "\n\n")),
    "JSONL with a text beside the target": ("ref.jsonl", jsonl(text="other", speaker=None)),
    "a Kaldi text": ("text", lines(TEXTS)),
    "a label file as Windows writes it": ("02_label.txt", "\ufeff" + lines(TEXTS, "{key}\t{text}\r\n") + "\r\n"),
    "a trn": ("ref.trn", lines(TEXTS, "{text} ({key})\n")),
}


@pytest.mark.parametrize("form", REFERENCE_FILES)
def test_references_of_every_form_have_the_same_cer(files, form):
    """Speakers, lengths and audio that nobody told are not known, and no group is made of them."""
    name, text = REFERENCE_FILES[form]
    (files / "ref.jsonl").unlink()
    (files / name).write_text(text, encoding="utf-8")
    done = run(files, "--ref", files / name)
    assert done.returncode == 0, done.stderr
    found = result_of(files)
    assert [found["systems"]["tuned"][key] for key in ("sub", "del", "ins", "hits")] == [0, 1, 0, 19]
    assert found["reference"]["n_speakers"] == 0
    assert "no figure is over speakers" in done.stderr
    known = form == "FunASR's own JSONL"
    assert found["reference"]["hours"] == (pytest.approx(6 / 3600) if known else None)
    assert sum(row["n_utt"] for row in found["groups"]["duration"].values()) == (6 if known else 0)


def test_speakers_are_those_of_the_jsonl_or_of_an_utt2spk(files):
    (files / "ref.jsonl").write_text(jsonl(speaker=7), encoding="utf-8")
    assert {one.speaker for one in read_references(files / "ref.jsonl")} == {"7"}
    utt2spk = "".join(f"{one.key} {one.speaker}\n" for one in REFERENCES)
    (files / "who").write_text(utt2spk)
    assert [one.speaker for one in read_references(files / "ref.jsonl", files / "who")] == ["02"] * 3 + ["08"] * 3
    (files / "kaldi").mkdir()
    (files / "kaldi/text").write_text(lines(TEXTS), encoding="utf-8")
    (files / "kaldi/utt2spk").write_text(utt2spk)
    assert [one.speaker for one in read_references(files / "kaldi/text")] == ["02"] * 3 + ["08"] * 3
    assert run(files, "--ref", files / "kaldi/text").returncode == 0
    assert sorted(result_of(files)["by_speaker"]) == ["02", "08"]
    (files / "kaldi/utt2spk").write_text(utt2spk.replace("b1 08\n", "").replace("b2 08", "b2"))
    with pytest.raises(RecipeError, match=r"utt2spk: has no speaker for b1 \(and 1 more\); expected '<key> <speaker>'"):
        read_references(files / "kaldi/text")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"key": "a", "text": "x"}\n', r"ref.jsonl:1: no field 'target', only key, text; key and target are needed"),
        ('{"key": "a", "target": "x"}\n\n{"key": "a", "target": "y"}\n', "ref.jsonl:3: duplicate key a, first on line"),
        ('{"key": "a", "target": "x"}\n{"key"', "ref.jsonl:2: not JSON"),
        ('["a", "x"]\n', "ref.jsonl:1: expected a JSON object with 'key' and 'target'"),
        ('{"key": "a b", "target": "x"}\n', "ref.jsonl:1: key 'a b' is empty or holds whitespace"),
        ('{"key": "a", "target": 3}\n', "ref.jsonl:1: field 'target' has the wrong type: 3"),
        ("\n", "ref.jsonl: holds no utterance"),
    ],
)
def test_a_line_that_is_no_reference_is_named(tmp_path, text, says):
    (tmp_path / "ref.jsonl").write_text(text, encoding="utf-8")
    with pytest.raises(RecipeError, match=says):
        read_references(tmp_path / "ref.jsonl")


def test_training_texts_may_be_a_kaldi_text_too(files):
    write_hypotheses(files / "train.txt", {f"t{n}": text for n, text in enumerate(TRAIN)})
    assert run(files, "--train", files / "train.txt").returncode == 0
    assert result_of(files)["groups"]["text"]["seen"]["n_utt"] == 2


def test_hypotheses_of_others_are_read_as_they_are(files):
    honest = run(files) and result_of(files)["systems"]["tuned"]
    for name, form in {
        "blank last lines": "{key} {text}\n",
        "full.txt": "{key}\u3000{text}\r\n",
        "nbsp.txt": "{key}\u00a0{text}\n",
        "tab.txt": "\n{key}\t{text}\n",
        "sclite.trn": "{text} ({key})\n",
    }.items():
        texts = lines({clip[0]: clip[4] for clip in CLIPS}, form) + "\n \n"
        (files / name).write_text(texts, encoding="utf-8")
        done = run(files, "--hyp", files / name)
        assert done.returncode == 0, done.stderr
        assert result_of(files)["systems"]["tuned"] == honest


def test_the_examples_of_help_run_as_they_are_printed(tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "scripts"), "COLUMNS": "80"}
    environment["PATH"] = f"{os.path.dirname(sys.executable)}:{environment['PATH']}"
    shutil.copytree(ROOT / "local", tmp_path / "local")
    said = subprocess.run(
        [sys.executable, "local/score.py", "--help"], cwd=tmp_path, env=environment, capture_output=True, text=True
    ).stdout
    examples = re.findall(r"^    (python (?:.*\\\n)*.*)$", said, re.MULTILINE)
    assert len(examples) == 3, said
    for folder in ("data/mini_dataset/test", "exp/mini/tuned", "exp/mini/baseline"):
        (tmp_path / folder).mkdir(parents=True)
    data = tmp_path / "data/mini_dataset"
    write_manifest(data / "test.jsonl", REFERENCES)
    write_manifest(data / "train.jsonl", [utterance("t", "01", "别的话")])
    (data / "test/text").write_text(lines(TEXTS), encoding="utf-8")
    (data / "test/utt2spk").write_text("".join(f"{one.key} {one.speaker}\n" for one in REFERENCES))
    for name, column in (("baseline", 3), ("tuned", 4)):
        write_hypotheses(tmp_path / f"exp/mini/{name}/hyp.txt", {clip[0]: clip[column] for clip in CLIPS})
    run(write_files(tmp_path), "--ref", data / "test.jsonl", "--out", tmp_path / "exp/mini/score")  # as stage 5 does
    for example in examples:
        done = subprocess.run(["bash", "-c", example], cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
