"""Second texts and confidences of a run: weights from validation alone, hyp.txt as it was, and no leak of the test."""

import json
import math

import pytest

from asr.core.errors import RecipeError
from asr.core.kaldi_text import read_text
from asr.core.nbest import NBest, write_nbest
from asr.core.run_folder import DecodeFolder
from asr.decoding import second_text
from asr.language.arpa import write_arpa
from asr.language.calibration import Calibration
from asr.language.sources import build, read_lm_text

SAID = ["妈妈喝水", "妈妈喝茶", "爸爸喝水", "爸爸喝茶", "奶奶喝水", "奶奶喝茶"]
CONF = {"lm": ["train"], "lm_order": 3, "phrases": "", "sounds_alike": False}


def step(best, other, share):
    return (best, math.log(share)), (other, math.log(1 - share))


def item(key, text, share=0.55):
    """What a model held possible that takes 喝 for 和 with ``share``."""
    steps = tuple(step("和", "喝", share) if char == "喝" else step(char, "吗", 0.99) for char in text)
    return NBest(key, "positions", text.replace("喝", "和"), steps)


@pytest.fixture
def folder(tmp_path):
    made = DecodeFolder(tmp_path / "tuned")
    made.path.mkdir()
    write_nbest(made.nbest, [item(f"t{n}", text) for n, text in enumerate(SAID)])
    return made


def second(lines, **more):
    return second_text.Second(build(read_lm_text([]), lines), None, False, **more)


def test_a_language_model_that_helps_on_validation_changes_the_second_texts(folder):
    validation = [item(f"v{n}", text) for n, text in enumerate(SAID)]
    references = {f"v{n}": text for n, text in enumerate(SAID)}
    row = second_text.second_texts("tuned", folder, validation, references, second(SAID * 3))
    assert row["lm_weight"] > 0
    assert row["changed"] == len(SAID)
    assert list(read_text(folder.second).items()) == [(f"t{n}", text) for n, text in enumerate(SAID)]
    assert row["grid"][0] == {"lm_weight": 0.0, "channel_weight": 0.0, "errors": 6, "ref_len": 24, "cer": 0.25}


def test_one_that_does_not_help_on_validation_gets_no_weight_and_the_texts_stay(folder):
    said = [text.replace("喝", "和") for text in SAID]  # here the model is right
    references = {f"v{n}": text for n, text in enumerate(said)}
    validation = [item(f"v{n}", text) for n, text in enumerate(SAID)]
    row = second_text.second_texts("tuned", folder, validation, references, second(SAID * 3))
    assert (row["lm_weight"], row["changed"]) == (0.0, 0)
    assert list(read_text(folder.second).values()) == said


def test_a_file_that_holds_the_test_set_is_refused_and_one_that_holds_little_of_it_is_counted(tmp_path):
    texts = {
        "train": {"a": "今天天气很好"},
        "val": {"v": "今天天气"},
        "test": {f"t{n}": f"第{n}句话是新的" for n in "一二三四五六七八九十"},
    }
    lines = list(texts["test"].values())
    held = tmp_path / "held.txt"
    held.write_text("\n".join([*lines[:2], "别的话"]))
    _, about = second_text._sources({**CONF, "lm": ["train", str(held)]}, texts)
    assert (about["leakage"]["inside"], about["leakage"]["of"]) == (2, 10)
    assert about["lm"] == {"train_lines": 1, "file_lines": 3, "models": 0}
    held.write_text("\n".join(lines[:3]))
    with pytest.raises(RecipeError, match=rf"{held}: holds 3 of the 10 test utterances"):
        second_text._sources({**CONF, "lm": ["train", str(held)]}, texts)


def test_train_adds_no_text_of_validation_or_test():
    texts = {name: {"a": text} for name, text in (("train", "一二三"), ("val", "四五六"), ("test", "七八九"))}
    made, about = second_text._sources(CONF, texts)
    assert made.lm.vocabulary == set("一二三")
    assert about["perplexity"] > 1
    assert second_text._text_groups(CONF, texts) == {"a": "unseen"}


def test_of_a_finished_model_nobody_knows_what_it_has_read(tmp_path, capsys):
    texts = {name: {"a": text} for name, text in (("train", "一二三"), ("val", "四五六"), ("test", "七八九"))}
    write_arpa(tmp_path / "x.arpa", build(read_lm_text([]), ["七八九"]))
    conf = {**CONF, "lm": [str(tmp_path / "x.arpa")]}
    made, about = second_text._sources(conf, texts)
    assert made.lm.vocabulary == set("七八九")
    assert about["leakage"]["unchecked"] == 1
    assert second_text._text_groups(conf, texts) == {}
    assert "whether it has read the test set cannot be seen" in capsys.readouterr().out


def test_confidences_are_a_line_an_utterance_with_alternatives(tmp_path):
    path = tmp_path / "confidence.jsonl"
    second_text.write_confidences(
        path, [item("a", "喝水", 0.6), NBest("b", "positions", "")], Calibration("none", 0, 0)
    )
    first, empty = map(json.loads, path.read_text().splitlines())
    assert first == {
        "key": "a",
        "confidence": pytest.approx((0.6 + 0.99) / 2, abs=1e-3),
        "characters": [["和", 0.6, [["喝", 0.4]]], ["水", 0.99, [["吗", pytest.approx(0.01, abs=1e-4)]]]],
    }
    assert empty == {"key": "b", "confidence": 0.0, "characters": []}


def test_the_alternatives_share_what_the_chosen_character_leaves():
    fitted = Calibration("isotonic", 2000, 90, points=((0.3, 0.25), (0.9, 0.95)))
    one = NBest("a", "positions", "走", ((("走", math.log(0.5)), ("想", math.log(0.3)), ("上", math.log(0.2))),))
    ((char, sure, others),) = second_text.describe(one, fitted)["characters"]
    assert char == "走"
    assert sure == pytest.approx(0.4833, abs=1e-4)
    assert sure + sum(share for _, share in others) == pytest.approx(1, abs=1e-3)
    assert [share / others[1][1] for _, share in others] == pytest.approx([1.5, 1], abs=1e-2)
