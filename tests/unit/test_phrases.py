"""Phrases of one's own: what they add to a text, how they turn a search, and how often nobody said them."""

from __future__ import annotations

import random

import pytest

from asr.core.errors import RecipeError
from asr.core.nbest import CTC, POSITIONS, NBest
from asr.language.phrases import WEIGHT, PhraseCounts, Phrases, count_phrases, read_phrases
from asr.language.priors import Priors
from asr.language.search import search


def walk(phrases: Phrases, text: str) -> list[float]:
    """What each character adds, and the end."""
    node, added = 0, []
    for char in text:
        score, node = phrases.step(node, char)
        added.append(score)
    return [*added, phrases.end(node)]


def occurrences(text: str, phrase: str) -> int:
    return sum(text.startswith(phrase, at) for at in range(len(text)))


def test_a_boost_is_lent_and_taken_back_by_hand():
    phrases = Phrases({"abc": 1.0})
    assert walk(phrases, "abc") == [1, 1, 1, 0]
    assert walk(phrases, "abx") == [1, 1, -2, 0]
    assert walk(phrases, "ab") == [1, 1, -2]
    assert walk(phrases, "aabc") == [1, 0, 1, 1, 0]  # the second a takes the first one's place
    assert walk(Phrases({"abc": 1.0, "bd": 2.0}), "abd") == [1, 1, 2, 0]  # what is lent of abc goes on as bd's


@pytest.mark.parametrize("seed", range(20))
def test_a_text_gains_each_phrase_as_often_as_it_stands_in_it(seed):
    chance = random.Random(seed)
    weights = {
        "".join(chance.choices("ab", k=chance.randint(1, 5))): chance.uniform(0.1, 2)
        for _ in range(chance.randint(1, 6))
    }
    phrases = Phrases(weights)
    for _ in range(50):
        text = "".join(chance.choices("abc", k=chance.randint(0, 12)))
        due = sum(weight * len(phrase) * occurrences(text, phrase) for phrase, weight in weights.items())
        assert sum(walk(phrases, text)) == pytest.approx(due)


@pytest.mark.parametrize("kind", [POSITIONS, CTC])
def test_the_search_takes_a_phrase_that_is_near_and_leaves_one_that_is_not(kind):
    steps = ((("沙", -0.2), ("阿", -2.0)), (("司", -0.5), ("四", -1.0)), (("匹", -0.7), ("皮", -0.8)), (("林", -0.1),))
    item = NBest("k", kind, "沙司匹林", steps)
    boosted = Priors(phrases=Phrases({"阿司匹林": 0.5}))
    assert search(item, boosted) == "阿司匹林"  # 1.8 behind in sound, 4 * 0.5 = 2 ahead as a phrase
    assert search(item, Priors(phrases=Phrases({"阿司匹林": 0.4}))) == "沙司匹林"  # 1.6
    assert search(item, Priors(phrases=Phrases({"阿司匹灵": 0.5}))) == "沙司匹林"  # refunded: 灵 is no candidate


def test_a_file_of_phrases(tmp_path):
    path = tmp_path / "phrases.txt"
    path.write_text("\ufeff阿司匹林\n\nWi-Fi\t2\n語音，識別\t0.5\r\n海淀区\t\n", encoding="utf-8")
    assert read_phrases(path).weights == {"阿司匹林": WEIGHT, "wifi": 2.0, "语音识别": 0.5, "海淀区": WEIGHT}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("水\t-1\n", "phrases.txt:1: weight '-1'"),
        ("水\n药\tmuch\n", "phrases.txt:2: weight 'much'"),
        ("水\tnan\n", "phrases.txt:1: weight 'nan'"),
        ("水\n。！\n", "phrases.txt:2: no character is left"),
        ("語音\n水\n语 音\n", "phrases.txt:3: the phrase of line 1 again"),
        ("\n\n", "phrases.txt: holds no phrase"),
    ],
)
def test_a_file_that_cannot_be_meant_is_refused(tmp_path, text, said):
    path = tmp_path / "phrases.txt"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(RecipeError) as error:
        read_phrases(path)
    assert said in str(error.value)
    assert "語" not in str(error.value)


def test_phrases_that_nobody_said_are_counted():
    phrases = Phrases({"阿司匹林": 1.0, "海淀": 1.0, "水": 1.0})
    pairs = [("给我阿司匹林", "给我阿司匹林"), ("阿姨四匹", "阿司匹林"), ("海淀区", "海边区"), ("水，水", "水水水")]
    assert count_phrases(phrases, pairs) == {
        "阿司匹林": PhraseCounts(said=1, recognised=1, inserted=1),
        "海淀": PhraseCounts(said=1, recognised=0, inserted=0),
        "水": PhraseCounts(said=2, recognised=2, inserted=1),
    }
