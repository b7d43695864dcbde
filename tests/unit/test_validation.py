"""Validation's CER is that of decoding and scoring: what ranks checkpoints is what they are judged by."""

import json
import shutil
import subprocess
import sys

import pytest
import torch

from asr.core.manifest import Utterance, source_len, write_manifest
from asr.data.dataset import RecipeAudioDataset
from asr.models import families
from asr.models.loading import load
from asr.models.package import package
from asr.models.training_step import accuracy, count_unknown
from asr.scoring.cer import ErrorCounts, align
from asr.scoring.normalize import normalize
from asr.training.validation import count_errors
from tests import tiny, trained
from tests.families import CASES
from tests.stage1 import ROOT, environment

KNOWN = "一二三四五"  # of the ten that tests.tiny says; the others have no token
FAMILIES = ("paraformer", "conformer", "sensevoice", "nano", "whisper")


def batch_of(recogniser, family, items, folder):
    lines = [item._replace(extra=family.manifest_fields(item)) for item in items]
    write_manifest(folder / "val.jsonl", lines)
    dataset = RecipeAudioDataset(
        str(folder / "val.jsonl"),
        frontend=recogniser.frontend,
        tokenizer=recogniser.tokenizer,
        is_training=False,
        family=family.name,
    )
    return dataset.collator([dataset[number] for number in range(len(items))])


def lean_to_unknown(recogniser, much: float) -> None:
    """Let a random model write <unk> more often than anything else."""
    unknown = recogniser.tokenizer.unk_id
    layer = getattr(recogniser.model.ctc, "ctc_lo", None) if recogniser.family.name == "conformer" else None
    for one in filter(None, (layer, recogniser.model.decoder.output_layer)):
        with torch.no_grad():
            one.bias[unknown] += much


@pytest.mark.parametrize("name", FAMILIES)
def test_errors_are_those_of_the_decoded_texts(tmp_path, name):
    """Where references hold characters without a token, and hypotheses <unk>."""
    recogniser = load(CASES[name].make_model(tmp_path / "base", list(KNOWN)))
    family, items = families.of(name), tiny.make_clips(tmp_path / "clips", [0.5 + n % 7 / 5 for n in range(12)])
    if name in ("paraformer", "conformer"):
        lean_to_unknown(recogniser, 0.3)
    batch = batch_of(recogniser, family, items, tmp_path)
    said = batch.pop("target")
    assert said == [item.target for item in items]
    assert not set("".join(said)) <= set(KNOWN)
    counted = family, recogniser.tokenizer, recogniser.model, {**batch, "target": said}
    found = count_errors(*counted)
    texts = tiny.decode(recogniser, items, 60.0)
    assert found == ErrorCounts.total(align(item.target, normalize(texts[item.key])).counts for item in items)
    assert found.ref_len == sum(item.target_len for item in items)
    assert not any("unk" in text for text in texts.values())
    diverged = count_errors(*counted, finite=False)
    assert diverged == ErrorCounts(del_=found.ref_len)


@pytest.mark.parametrize("quick", [True, False])
@pytest.mark.parametrize("name", ["paraformer", "conformer"])
def test_a_model_that_writes_nothing_is_never_accurate(tmp_path, name, quick):
    """All that is said has no token, and the model says <unk>: every token but the sentence's end is wrong."""
    recogniser = load(CASES[name].make_model(tmp_path / "base", list(KNOWN)))
    items = [item._replace(target="甲乙") for item in tiny.make_clips(tmp_path / "clips", [0.6, 0.9])]
    lean_to_unknown(recogniser, 50.0)
    batch = batch_of(recogniser, recogniser.family, items, tmp_path)
    assert set(batch["text"].flatten().tolist()) == {recogniser.tokenizer.unk_id}
    if quick:
        recogniser.family.optimise_for_training(recogniser.model)
    count_unknown(recogniser.model, recogniser.tokenizer)
    batch.pop("target")
    with torch.no_grad():
        assert float(recogniser.model(**batch)[1]["acc"]) == 0


def test_accuracy_by_hand():
    scores = torch.eye(3)[[0, 1, 2, 2]]
    targets = torch.tensor([[0, 2], [2, -1]])
    assert accuracy(scores, targets, -1, None).item() == pytest.approx(2 / 3)
    assert accuracy(scores, targets, -1, 2).item() == pytest.approx(1 / 3)  # 2 is no character that could be named


def mini_clips(speakers: str) -> list[Utterance]:
    """The first 12 clips of a mini speaker, as they lie in the repository."""
    import soundfile

    folder, found = ROOT / "mini/corpus/after_catting/1h", []
    for speaker in speakers.split():
        for line in (folder / f"Text/{speaker}_label.txt").read_text(encoding="utf-8").splitlines()[:12]:
            key, text = line.split()
            path = folder / "Audio" / speaker / f"{key}.opus"
            size = soundfile.info(str(path)).frames
            found.append(
                Utterance(key, str(path), text, source_len(size, 16000), len(text), speaker, size / 16000, size)
            )
    return found


def test_the_cer_of_a_validation_is_the_scorers_of_the_same_weights(tmp_path):
    """The mini base without five of its characters, one of which it writes <unk> for, trained at no learning rate."""
    base = tmp_path / "base"
    shutil.copytree(ROOT / "mini/base", base)
    tokens = json.loads((base / "tokens.json").read_text(encoding="utf-8"))
    val = mini_clips("01 06")
    often = sorted(set("".join(item.target for item in val)), key="".join(item.target for item in val).count)[-5:]
    unknown = tokens.index("<unk>")
    for number, char in enumerate(often):
        tokens[tokens.index(char)] = f"<gone{number}>"
    tokens[unknown], tokens[tokens.index("<gone4>")] = "<gone5>", "<unk>"  # it hears the commonest, and writes <unk>
    (base / "tokens.json").write_text(json.dumps(tokens, ensure_ascii=False), encoding="utf-8")
    write_manifest(tmp_path / "data/train.jsonl", mini_clips("02")[:4])
    write_manifest(tmp_path / "data/val.jsonl", val)
    still = {"optim_conf": {"lr": 1e-9}, "scheduler_conf": {"warmup_steps": 1}}
    exp = trained.lay_out(tmp_path, **still, train_conf={"max_epoch": 1})
    trained.train(exp)
    (ranked,) = json.loads((exp / "checkpoints.json").read_text())["checkpoints"]
    package(exp, exp / ranked["file"], exp / "model", {})
    heard, score = exp / "heard", exp / "score"
    commands = (
        ["-m", "asr.decode", "--model", exp / "model", "--manifest", tmp_path / "data/val.jsonl", "--out", heard],
        ["local/score.py", "--ref", tmp_path / "data/val.jsonl", "--hyp", heard / "hyp.txt", "--out", score],
    )
    for words in commands:
        more = ["--ngpu", "0"] if "-m" in words else []
        done = subprocess.run(
            [sys.executable, *map(str, words), *more], cwd=ROOT, env=environment(), capture_output=True
        )
        assert done.returncode == 0, done.stderr
    truth = json.loads((score / "score.json").read_text())["systems"]["tuned"]
    assert ranked["value"] == pytest.approx(truth["cer"], abs=1e-9)
    assert truth["hits"] > 20  # it is no model that has everything wrong
    assert trained.scalars(exp, "validation/cer") == [pytest.approx(truth["cer"], abs=1e-6)]
