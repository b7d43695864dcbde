"""The channel of sounds: what is learned from confusions, by hand, and what it adds to the candidates."""

from __future__ import annotations

import math

import pytest

from asr.core.nbest import CTC, POSITIONS, NBest
from asr.language.channel import ALIKE, Channel
from asr.language.kneser_ney import estimate
from asr.language.priors import Priors
from asr.language.search import candidates, search

# shui3, shui4, zi4, si4, zhi4, si1, di4, de5
CHARACTERS = dict.fromkeys("水睡字四制司地的税", 0.1)


def made(*pairs: tuple[str, str]) -> Channel:
    return Channel.estimate(pairs, CHARACTERS)


def test_how_often_a_character_is_right():
    channel = made(("水水水", "水水睡"), ("睡", ""), ("水", "水字"))  # 3 right, 1 wrong; gaps are none
    assert channel.log_prob("水", "水") == pytest.approx(math.log((3 + 1) / (4 + 2)))


@pytest.mark.parametrize("pairs", [[], [("水", "睡")], [("四四四", "字字制"), ("水睡", "睡水"), ("wifi", "水ifi")]])
def test_what_a_character_is_taken_for_sums_to_one(pairs):
    channel = made(*pairs)
    for said in CHARACTERS:
        assert sum(math.exp(channel.log_prob(char, said)) for char in CHARACTERS) == pytest.approx(1)


def test_confusions_by_hand():
    # One confusion, 四 si4 taken for 字 zi4, where there are two characters of each of these syllables.
    channel = Channel.estimate([("四", "字")], dict.fromkeys("四肆字自", 0.25))
    # initial: seen s -> z once. Base of s, from one pair of which none was the same: same (0 + 1) / (1 + 2), else z.
    # Smoothed: (1 + 1 * 2/3) / 2 = 5/6 for z, 1/6 for s. Final and tone are the same, one label each: 1.
    # Syllable si4 -> zi4: seen once, (1 + 1 * 5/6) / 2 = 11/12; -> si4 1/12. Each is shared by two characters, and
    # what falls to 四 itself, 1/24, by the others. Right: (0 + 1) / (1 + 2).
    assert channel.right == pytest.approx(1 / 3)
    for char, share in (("字", 11 / 23), ("自", 11 / 23), ("肆", 1 / 23)):
        assert math.exp(channel.log_prob(char, "四")) == pytest.approx(2 / 3 * share)


def test_a_sound_that_was_confused_is_generalised_to_others():
    channel = made(*[("四", "制")] * 5)  # s -> zh, and nothing of 司 si1
    assert channel.log_prob("制", "司") > channel.log_prob("地", "司")
    before = made()
    assert channel.log_prob("制", "司") > before.log_prob("制", "司")


def test_homophones_are_added_with_shares_of_the_probability():
    channel = made(*[("税水", "睡水")] * 5)
    step = channel.extend((("睡", math.log(0.8)), ("x", math.log(0.15)), ("", math.log(0.05))), 0.4)
    probs = {token: math.exp(log_prob) for token, log_prob in step}
    assert sum(probs.values()) == pytest.approx(1)
    assert (probs["x"], probs[""]) == pytest.approx((0.15, 0.05))  # no sound, no change
    assert probs["睡"] > probs["税"] > probs["水"] > 0
    assert len(probs) <= 3 + ALIKE
    assert dict(channel.extend(((" 睡", -0.1),), 0.4)).keys() >= {" 睡", "税"}


def test_weight_zero_adds_nothing():
    step = (("睡", -0.2), ("水", -1.7))
    assert candidates(step, Priors(channel=made(), channel_weight=0.0)) == list(step)
    assert Priors(channel=made(), channel_weight=0.0).off


@pytest.mark.parametrize("kind", [POSITIONS, CTC])
def test_the_search_finds_a_word_whose_character_was_no_candidate(kind):
    lm = estimate(["报税"] * 10 + ["水", "睡", "报"], 3)
    channel = Channel.estimate([("报税", "报睡")] * 5, lm.frequencies())
    item = NBest("k", kind, "报睡", ((("报", -0.01),), (("睡", -0.01),)))
    assert search(item, Priors(lm, 0.5)) == "报睡"
    assert search(item, Priors(lm, 0.5, channel=channel, channel_weight=0.4)) == "报税"
