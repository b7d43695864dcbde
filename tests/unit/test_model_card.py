"""The model card: its figures are score.json's and parity.json's, hubs read its head, and it gives away no licence."""

from __future__ import annotations

import copy
import re

import pytest
from huggingface_hub import ModelCard

from asr.core.manifest import Utterance
from asr.export.card import Facts, card, head
from asr.pages.html import Table
from asr.scoring.score import Request, score, score_hypotheses

PROVENANCE = {
    "commit": "0123abc",
    "corpus": {
        "name": "CDSD",
        "simulated": False,
        "split": "split.yaml",
        "splits": {"train": {"speakers": 35, "utterances": 45327, "hours": 35.7}},
    },
    "base": {"id": "iic/speech_paraformer-large"},
}
PARITY = {
    "utterances": 30,
    "runtimes": {
        "funasr-onnx": {
            "fp32": {"status": "equal", "equal": 30, "of": 30},
            "int8": {"status": "differs", "equal": 28, "of": 30, "cer": 0.2345, "ci95": [0.1, 0.3]},
        },
        "sherpa-onnx": {"status": "not offered", "reason": "its features are others"},
    },
    "files": {"funasr-onnx/model.onnx": {"bytes": 1234567, "sha256": "ab" * 32}},
}
HASHES = Table(["file", "bytes", "sha256"], [["model.onnx", "1,234,567", "ab" * 32]])


@pytest.fixture(scope="module")
def scored(tmp_path_factory) -> dict:
    """Five speakers of six utterances of ten characters; the tuned model leaves out none to four."""
    references = [
        Utterance(f"{speaker}-{number}", "/a.wav", "一二三四五六七八九十", 100, 10, f"{speaker:02d}", 1.0, 16000)
        for speaker in range(5)
        for number in range(6)
    ]
    hypotheses = {
        "baseline": {item.key: "一二三四五" for item in references},
        "tuned": {item.key: "一二三四五六七八九十"[: 10 - int(item.speaker)] for item in references},
    }
    request, systems = Request(references[:1], replicates=500), {}
    for name, texts in hypotheses.items():
        file = tmp_path_factory.mktemp(name) / "hyp.txt"
        file.write_text("".join(f"{key} {text}\n" for key, text in texts.items()), encoding="utf-8")
        systems[name] = score_hypotheses(references, file, request)
    return score(references, systems, request)


def made(scored: dict | None, **changes) -> str:
    facts = Facts("paraformer_finetune_1h", "paraformer", scored, PROVENANCE, PARITY)
    return card(facts._replace(**changes), HASHES)


def test_hubs_read_the_head_and_find_the_figures_in_it(scored):
    data = ModelCard(made(scored)).data
    assert (data.language, data.library_name, data.pipeline_tag) == (["zh"], "funasr", "automatic-speech-recognition")
    result = data.eval_results[0]
    assert (result.metric_type, result.metric_value) == ("cer", round(100 * scored["systems"]["tuned"]["cer"], 2))
    low, high = (100 * bound for bound in scored["systems"]["tuned"]["ci95"])
    assert f"{low:.2f} to {high:.2f}" in result.metric_name
    assert result.dataset_name == "CDSD, test set"


@pytest.mark.parametrize("name", ["CDSD", "own corpus", "mini"])
def test_no_licence_is_named_and_the_card_says_why(scored, name):
    provenance = copy.deepcopy(PROVENANCE)
    provenance["corpus"]["name"] = name
    text = made(scored, provenance=provenance)
    assert not any("licen" in key for key in head(Facts("x", "paraformer", scored, provenance, None)))
    assert "**No licence is named here.**" in text
    assert ("CDSD's terms forbid passing on its audio and transcripts" in text) == (name == "CDSD")


def test_a_runtime_has_its_equal_texts_and_its_cer_and_one_that_is_not_offered_its_reason(scored):
    text = made(scored)
    rows = [re.sub(" +", " ", line) for line in text.splitlines()]
    assert "| funasr-onnx | fp32 | equal | 30 of 30 | |" in rows
    assert "| funasr-onnx | int8 | differs | 28 of 30 | 23.45 (10.00 to 30.00) |" in rows
    assert "| sherpa-onnx | | not offered | | its features are others |" in rows
    assert "from funasr_onnx import Paraformer" in text
    assert "import sherpa_onnx" not in text


def test_simulated_speech_is_never_taken_for_a_patients(scored):
    provenance = copy.deepcopy(PROVENANCE)
    provenance["corpus"] |= {"name": "mini", "simulated": True}
    text = made(scored, provenance=provenance)
    assert "stand for no clinical claim" in text
    assert "simulated-speech" in ModelCard(text).data.tags
    assert "impaired-speech" not in ModelCard(text).data.tags
    assert "simulated" in ModelCard(text).data.eval_results[0].dataset_name


def test_a_second_text_stands_beside_the_greedy_one(scored):
    row = {"cer": 0.0812, "ci95": None, "text": {"training": None, "lm": None, "unseen": {"cer": 0.0913}}}
    text = made({**scored, "second_texts": {"tuned_lm": row}})
    line = next(re.sub(" +", " ", line) for line in text.splitlines() if "this model, second text" in line)
    assert line.endswith("| 8.12 | none | n/a | 9.13 |")
    assert "exported models do not write it" in text


def test_a_model_without_a_run_has_no_figures_and_says_so():
    text = card(Facts("model", "sensevoice", None, {}, None), HASHES)
    assert "Not known: this folder is of no run" in text
    assert "CER %" not in text
    assert ModelCard(text).data.eval_results is None
