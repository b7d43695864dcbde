"""Confidence of characters and utterances, calibration on posteriors of known calibration, and what measures it."""

from __future__ import annotations

import json
import math
import random

import pytest

from asr.core.nbest import CTC, HYPOTHESES, POSITIONS, NBest
from asr.language.calibration import (
    ISOTONIC,
    NONE,
    TEMPERATURE,
    Calibration,
    auc,
    calibration_error,
    evaluate,
    fit,
    risk_coverage,
)
from asr.language.confidence import Character, characters, judged


def step(**probs: float) -> tuple[tuple[str, float], ...]:
    return tuple((token.replace("blank", ""), math.log(prob)) for token, prob in probs.items())


def sure(item: NBest, text: str | None = None) -> list[tuple[str, float]]:
    return [(character.char, pytest.approx(character.confidence)) for character in characters(item, text)]


PLACES = NBest("k", POSITIONS, "你好", (step(你=0.7, 尼=0.2), step(blank=0.9, 号=0.1), step(好=0.6, 号=0.3)))
FRAMES = NBest(
    "k",
    CTC,
    "你你",
    (step(你=0.6, blank=0.4), step(你=0.9, 尼=0.1), step(blank=0.8, 你=0.1), step(你=0.5, 泥=0.3), step(blank=1.0)),
)
BEAM = NBest(
    "k", HYPOTHESES, "你好", texts=(("你好", math.log(0.3)), ("你号", math.log(0.1)), ("你好。", math.log(0.2)))
)


def test_positions_take_their_own_probability():
    assert characters(PLACES) == [
        Character("你", pytest.approx(0.7), (("尼", pytest.approx(0.2)),)),
        Character("好", pytest.approx(0.6), (("号", pytest.approx(0.3)),)),
    ]


def test_ctc_takes_the_peak_of_each_stay():
    assert sure(FRAMES) == [("你", 0.9), ("你", 0.5)]
    assert characters(FRAMES)[1].alternatives == (("泥", pytest.approx(0.3)),)


def test_hypotheses_share_the_probability_of_the_beam():
    assert sure(BEAM) == [("你", 5 / 6), ("好", 5 / 6)]
    assert sure(BEAM, "你号") == [("你", 1 / 6), ("号", 1 / 6)]


def test_a_text_that_a_search_has_changed():
    assert sure(PLACES, "尼好") == [("尼", 0.2), ("好", 0.6)]
    assert sure(PLACES, "你坏") == [("你", 0.7), ("坏", 0.0)]
    assert sure(PLACES, "你很好") == [("你", 0.7), ("很", 0.0), ("好", 0.6)]
    assert sure(PLACES, "好") == [("好", 0.6)]
    assert sure(PLACES, "") == []


def test_tokens_of_several_characters_and_forms():
    item = NBest("k", POSITIONS, "Hello 2", (step(Hello=0.7, hella=0.2, 好=0.1), step(**{"2": 0.9})))
    found = sure(item)
    assert found == [
        *((char, pytest.approx(prob)) for char, prob in zip("hello", (0.9,) * 4 + (0.7,), strict=True)),
        ("二", 0.9),
    ]


def test_judged_by_the_alignment_of_the_cer():
    assert judged(PLACES, "你号") == [(pytest.approx(0.7), True), (pytest.approx(0.6), False)]
    assert judged(PLACES, "你") == [(pytest.approx(0.7), True), (pytest.approx(0.6), False)]
    assert judged(PLACES, "我和你好") == [(pytest.approx(0.7), True), (pytest.approx(0.6), True)]


# Calibration -------------------------------------------------------------------------------------------------------


def draw(size: int, seed: int, distort) -> list[tuple[float, bool]]:
    """Characters that are right with probability p, and whose confidence is ``distort(p)``."""
    chance = random.Random(seed)
    probs = [chance.betavariate(2, 1) for _ in range(size)]
    return [(distort(prob), chance.random() < prob) for prob in probs]


def sharpened(factor: float):
    """Odds to the power of ``factor``: a model that is ``factor`` times too sure."""
    return lambda prob: 1 / (1 + ((1 - prob) / prob) ** factor)


@pytest.mark.parametrize("factor", [0.5, 1.0, 3.0])
def test_temperature_finds_how_much_too_sure_a_model_is(factor):
    calibration = fit(draw(999, 1, sharpened(factor)))
    assert calibration.method == TEMPERATURE
    assert calibration.temperature == pytest.approx(factor, rel=0.2)
    fresh = draw(20_000, 2, sharpened(factor))
    after = list(zip(calibration(confidence for confidence, _ in fresh), (right for _, right in fresh), strict=True))
    assert calibration_error(after) < 0.03
    assert factor == 1.0 or calibration_error(after) < calibration_error(fresh) / 2
    assert auc(after) == pytest.approx(auc(fresh), abs=1e-4)  # it changes no order


def test_isotonic_mends_what_no_temperature_can():
    pairs = draw(5000, 1, lambda prob: 0.2 + prob / 2)
    calibration = fit(pairs)
    assert calibration.method == ISOTONIC
    fresh = draw(20_000, 2, lambda prob: 0.2 + prob / 2)
    after = list(zip(calibration(confidence for confidence, _ in fresh), (right for _, right in fresh), strict=True))
    assert calibration_error(fresh) > 0.1
    assert calibration_error(after) < 0.03
    probs = calibration([0.0, 0.3, 0.5, 0.7, 1.0])
    assert probs == sorted(probs)
    assert 0 < probs[0] < probs[-1] < 1


@pytest.mark.parametrize(
    "pairs",
    [
        [],
        [(0.9, True)] * 170 + [(0.5, False)] * 29,
        [(0.9, True)] * 981 + [(0.5, False)] * 19,
        [(0.9, True)] * 19 + [(0.5, False)] * 981,
    ],
)
def test_too_little_to_calibrate_on_changes_nothing_and_is_said(pairs):
    calibration = fit(pairs)
    assert (calibration.method, calibration.characters) == (NONE, len(pairs))
    assert calibration([0.3, 0.0, 1.0]) == [0.3, 0.0, 1.0]


def test_a_record_is_the_calibration():
    for size in (10, 500, 3000):
        calibration = fit(draw(size, 3, sharpened(2)))
        assert Calibration.from_dict(json.loads(json.dumps(calibration.as_dict()))) == calibration


def test_an_utterance_is_as_sure_as_its_characters_on_average():
    calibration = Calibration(NONE, 0, 0)
    assert calibration.utterance([0.5, 1.0]) == 0.75
    assert calibration.utterance([]) == 0.0


# Measures ----------------------------------------------------------------------------------------------------------


def test_calibration_error_by_hand():
    pairs = [(0.95, True), (0.95, False), (0.15, False), (0.1, False)]
    # of ten bins the last is 0.95 sure and 0.5 right, the second 0.125 and 0
    assert calibration_error(pairs, bins=10) == pytest.approx((2 * 0.45 + 2 * 0.125) / 4)
    assert calibration_error([(1.0, True)]) == 0.0
    assert calibration_error([]) is None


def test_auc_by_hand():
    assert auc([(0.9, True), (0.8, True), (0.7, False)]) == 1.0
    assert auc([(0.9, False), (0.8, True)]) == 0.0
    assert auc([(0.5, True), (0.5, False), (0.9, True), (0.1, False)]) == pytest.approx(3.5 / 4)
    assert auc([(0.5, True)]) is None


def test_risk_by_coverage_by_hand():
    rows = risk_coverage([(0.9, 0, 4), (0.5, 2, 4), (0.1, 4, 4), (0.2, 3, 4), (0.3, 1, 4)])
    found = {row["coverage"]: row["cer"] for row in rows}
    assert found[0.2] == 0.0
    assert found[0.4] == pytest.approx(2 / 8)
    assert found[1.0] == pytest.approx(10 / 20)
    # Of two that are equally sure none comes first.
    tied = {row["coverage"]: row["cer"] for row in risk_coverage([(0.5, 4, 4), (0.5, 0, 4)])}
    assert tied[0.5] == pytest.approx(0.5)
    assert {row["cer"] for row in risk_coverage([])} == {None}


def test_all_of_it_on_utterances():
    items = [PLACES, NBest("e", POSITIONS, "", ())]
    result = evaluate(items, {"k": "你号", "e": "水"}, Calibration(NONE, 0, 0))
    assert (result["characters"], result["wrong"]) == (2, 1)
    assert result["raw"]["auc"] == 1.0
    assert result["risk_coverage"][4] == {"coverage": 0.5, "cer": 0.5}  # the surer one: one of two wrong
    assert result["risk_coverage"][-1]["cer"] == pytest.approx(2 / 3)
    changed = evaluate(items, {"k": "你号", "e": "水"}, Calibration(NONE, 0, 0), {"k": "你号", "e": ""})
    assert (changed["wrong"], changed["risk_coverage"][4]["cer"]) == (0, 0.0)


def test_the_temperature_of_a_model_that_is_too_sure_is_above_one():
    """Nearly all confidences are at the end where odds have no room; nine in ten are right."""
    chance = random.Random(0)
    pairs = [(chance.uniform(0.98, 0.9999), chance.random() < 0.9) for _ in range(600)]
    fitted = fit(pairs)
    assert fitted.method == "temperature"
    assert fitted.temperature > 1.5
    after = list(zip(fitted(confidence for confidence, _ in pairs), (right for _, right in pairs), strict=True))
    assert calibration_error(after) < calibration_error(pairs) / 2
    assert fit([(1.0, chance.random() < 0.9) for _ in range(600)]).temperature > 1
