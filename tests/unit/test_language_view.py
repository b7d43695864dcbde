"""What the pages say of second texts and confidences: every figure from score.json and language.json, none typed."""

import pytest

from asr.pages.svg import Pen, drawing, svg
from asr.reporting import language_view as view
from asr.reporting.confidence_figure import confidence as figure

ROW = {
    "from": "tuned",
    "n_utt": 30,
    "ref_len": 100,
    "greedy_cer": 0.2,
    "cer": 0.15,
    "absolute_reduction": 0.05,
    "absolute_ci95": [0.01, 0.09],
}
SCORE = {
    "second_texts": {
        "tuned_lm": {
            **ROW,
            "text": {
                "training": {**ROW, "n_utt": 20, "cer": 0.1},
                "lm": None,
                "unseen": {**ROW, "n_utt": 10, "cer": 0.21},
            },
        }
    }
}


def quality(method="temperature", **more):
    bins = [{"confidence": 0.25, "right": 0.5, "count": 4}, {"confidence": 0.9, "right": 0.95, "count": 400}]
    shown = {"calibration_error": 0.0412, "auc": 0.8651, "bins": bins}
    return {
        "calibration": {"method": method, "characters": 1367, "wrong": 71, "temperature": 0.7, "points": []},
        "characters": 404,
        "wrong": 22,
        "raw": {**shown, "calibration_error": 0.0884},
        "calibrated": shown,
        "risk_coverage": [{"coverage": n / 10, "cer": n / 50} for n in range(1, 11)],
        **more,
    }


def test_second_texts_stand_beside_the_greedy_ones_and_by_what_was_read_before():
    table = view.second_texts(SCORE)
    assert [cell.en for cell in table.columns[-3:]] == [
        "in training (utterances)", "only in the LM's text", "unseen by both"
    ]  # fmt: skip
    (row,) = table.rows
    assert row[0].en == "tuned, with language model"
    assert row[1:] == ["20.00", "15.00", "5.00", "1.00 to 9.00", "20.00 → 10.00 (20)", "n/a", "20.00 → 21.00 (10)"]
    assert view.second_texts({}).rows == []


def test_the_sentence_has_the_surest_60_percent_and_both_calibration_errors():
    said = view.confidence({"confidence": quality()})
    assert said.en.startswith("The surest 60 % of the utterances have a CER of 12.00 %.")
    assert "by a temperature (1,367 characters)" in " ".join(said.en.split())
    assert "goes from 8.8 to 4.1 %" in said.en
    assert said.en.endswith("characters: 0.87.")
    assert "60 %" in said.zh
    assert "12.00 %" in said.zh


def test_what_is_not_calibrated_is_said_to_be_so():
    said = view.confidence({"confidence": quality("none")})
    assert said.en == "Confidences are not calibrated: validation has 71 wrong of 1,367 characters, too few."
    assert view.confidence(None) is None
    assert view.confidence({"confidence": None}) is None
    assert view.risk_coverage(None).rows == []


@pytest.mark.parametrize(
    ("about", "said"),
    [
        ({"lm": {"train_lines": 360, "file_lines": 5000}}, "a character 3-gram of 5,360 lines (perplexity 11.5 on"),
        ({"phrases": 12}, "finds with 12 phrases."),
        ({"lm": {"train_lines": 1, "file_lines": 0}, "sounds_alike": True}, ", what validation shows to sound alike."),
    ],
)
def test_second_texts_say_what_they_are_made_with(about, said):
    about = {"lm": None, "order": 3, "perplexity": 11.48, "sounds_alike": False, "phrases": 0, **about}
    note = view.second_texts_note({"second_texts": about})
    assert said in " ".join(note.en.split())
    assert view.second_texts_note({"second_texts": None}) is None


def test_the_figure_marks_every_point_with_its_value():
    with drawing():
        pen = Pen()
        drawn = svg(figure(quality(), pen), "picture-confidence", pen)
    assert "60 %: 12.00 %" in drawn
    assert "25 %: 50 % (4)" in drawn
    with drawing():
        pen = Pen()
        assert svg(figure(quality(risk_coverage=[{"coverage": 0.1, "cer": None}]), pen), "x", pen)
