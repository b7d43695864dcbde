"""What an error sounds like, worked out by hand: 妈 ma1, 马 ma3, 四 si4, 十 shi2."""

import json
import random
import subprocess
import sys
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pypinyin import Style, lazy_pinyin
from pypinyin.contrib.tone_convert import to_initials

from asr.scoring.cer import align
from asr.scoring.mandarin import INITIALS, TONES, analyse, character_confusions, read
from asr.scoring.normalize import scoring_form
from asr.scoring.notes import note

MATRICES = {"tone": "syllables", "initial": "pairs", "final": "pairs"}


def confused(result, kind):
    """{(said, heard): count} of the cells off the diagonal."""
    table = result["confusions"][kind]
    return {
        (said, heard): count
        for said, row in zip(table["labels"], table["matrix"], strict=True)
        for heard, count in zip(table["labels"], row, strict=True)
        if count and said != heard
    }


def counts(result, name):
    return tuple(result[name][kind] for kind in ("sub", "del", "ins", "hits"))


def test_right_syllable_wrong_tone():
    result = analyse([("妈", "马")])
    assert counts(result, "syllable") == (1, 0, 0, 0)
    assert counts(result, "syllable_toneless") == (0, 0, 0, 1)
    assert result["tone"] == {"errors": 1, "syllables": 1, "rate": 1.0}
    assert confused(result, "tone") == {("1", "3"): 1}
    assert result["initial"] == result["final"] == {"errors": 0, "pairs": 1, "rate": 0.0}
    assert result["homophones"] == {"substitutions": 1, "same_syllable": 1, "same_tone": 0, "share": 0.0}


def test_wrong_initial():
    result = analyse([("四", "十")])
    assert counts(result, "syllable_toneless") == (1, 0, 0, 0)
    assert result["tone"] == {"errors": 0, "syllables": 0, "rate": None}  # the syllable is wrong
    assert confused(result, "initial") == {("s", "sh"): 1}
    assert result["final"]["errors"] == 0
    assert result["confusions"]["final"] == {"labels": ["i"], "matrix": [[1]]}


def test_wrong_final_and_u_with_two_dots():
    result = analyse([("绿", "路"), ("鱼", "无")])
    assert confused(result, "final") == {("v", "u"): 2}
    assert result["initial"] == {"errors": 0, "pairs": 2, "rate": 0.0}
    assert result["confusions"]["initial"]["matrix"][INITIALS.index("∅")][INITIALS.index("∅")] == 1


def test_homophones():
    result = analyse([("银行", "银航"), ("他", "她"), ("妈", "马"), ("四", "十"), ("好", "k"), ("在", "")])
    assert result["homophones"] == {"substitutions": 4, "same_syllable": 3, "same_tone": 2, "share": 0.5}


@pytest.mark.parametrize(
    ("reference", "hypothesis", "errors"),
    [
        ("了解", "了", 1),  # liao3 is not le5 where the rest is gone
        ("还钱", "还有钱", 1),  # huan2, hai2
        ("长大", "长", 1),  # zhang3, chang2
        ("很长", "长", 1),
        ("行走", "行", 1),  # xing2
        ("银行", "行", 1),  # hang2
    ],
)
def test_a_polyphone_recognised_right_is_no_error(reference, hypothesis, errors):
    result = analyse([(reference, hypothesis)])
    assert sum(counts(result, "syllable")[:3]) == errors
    assert result["tone"]["errors"] == result["initial"]["errors"] == result["final"]["errors"] == 0


def test_polyphones_are_read_in_context():
    def readings(text):
        return [(item.initial, item.final, item.tone) for item in read(text)]

    assert readings("银行") == [("∅", "in", "2"), ("h", "ang", "2")]
    assert readings("行走") == [("x", "ing", "2"), ("z", "ou", "3")]
    assert readings("长大")[0] == ("zh", "ang", "3")
    assert readings("了解")[0] == ("l", "iao", "3")
    assert readings("看了")[1] == ("l", "e", "5")  # neutral


def test_read_as_pypinyin_reads_a_whole_text():
    """Words are read one by one and kept: faster, and the same."""
    text = "银行里排着长队我还没有还钱就长大了重新得到了重要的音乐会"
    whole = lazy_pinyin(text, style=Style.TONE3, neutral_tone_with_five=True)
    assert [item.tone for item in read(text)] == [reading[-1] for reading in whole]
    assert [item.initial.replace("∅", "") for item in read(text)] == [to_initials(reading) for reading in whole]


def test_no_sandhi():
    assert [item.tone for item in read("一个不是")] == ["1", "4", "4", "4"]
    assert [item.tone for item in read("你好")] == ["3", "3"]


def test_strict_initials_and_finals():
    said = {char: (read(char)[0].initial, read(char)[0].final) for char in "有文王云儿女军字知嗯"}
    assert said == {
        "有": ("∅", "iou"),
        "文": ("∅", "uen"),
        "王": ("∅", "uang"),
        "云": ("∅", "vn"),
        "儿": ("∅", "er"),
        "女": ("n", "v"),
        "军": ("j", "vn"),
        "字": ("z", "i"),
        "知": ("zh", "i"),
        "嗯": ("∅", "n"),
    }


def test_of_two_minimal_alignments_the_one_with_the_right_tones_counts():
    result = analyse([("妈马", "马")])
    assert counts(result, "syllable") == counts(result, "syllable_toneless") == (0, 1, 0, 1)
    assert result["tone"] == {"errors": 0, "syllables": 1, "rate": 0.0}


def test_other_characters_are_tokens_and_nothing_else():
    result = analyse([("听mp三", "听ap三")])
    assert counts(result, "syllable") == (1, 0, 0, 3)
    assert result["initial"]["pairs"] == result["final"]["pairs"] == result["tone"]["syllables"] == 2
    assert result["homophones"]["substitutions"] == 0
    assert counts(analyse([("啊", "a")]), "syllable_toneless") == (1, 0, 0, 0)  # the letter is not the syllable
    assert counts(analyse([("龦", "龧")]), "syllable") == (1, 0, 0, 0)  # Han that the dictionary cannot read


def test_empty_texts():
    nothing = analyse([])
    assert nothing == analyse([("", "")])
    assert nothing["syllable"] == {"rate": None, "sub": 0, "del": 0, "ins": 0, "hits": 0, "ref_len": 0}
    assert nothing["homophones"]["share"] is nothing["tone"]["rate"] is None
    assert nothing["confusions"]["final"] == {"labels": [], "matrix": []}
    assert counts(analyse([("你好", ""), ("", "好")]), "syllable") == (0, 2, 1, 0)


def test_labels_stand_in_their_order():
    result = analyse([("绿色的安全带", "绿色的安全带")])
    assert result["confusions"]["tone"]["labels"] == list(TONES) == ["1", "2", "3", "4", "5"]
    assert " ".join(result["confusions"]["initial"]["labels"]) == "b p m f d t n l g k h j q x zh ch sh r z c s ∅"
    assert result["confusions"]["final"]["labels"] == ["e", "ai", "an", "v", "van"]


def test_confusions_of_characters():
    pairs = [("银行好", "银航"), ("银行好", "银航"), ("好", "很好")]
    assert character_confusions(pairs) == {("行", "航"): 2, ("好", ""): 2, ("", "很"): 1}


def test_the_approximation_is_stated():
    stated = note("syllables")
    assert "pypinyin" in stated["en"]
    assert "sandhi" in stated["en"]
    assert "pypinyin" in stated["zh"]
    assert "变调" in stated["zh"]


_TEXT = st.text("妈马骂四十是银行航长大很了解还钱有一不个绿路嗯儿aÉ龦", max_size=12) | st.text(
    st.characters(codec=None), max_size=6
)
_PAIRS = st.lists(st.tuples(_TEXT, _TEXT), max_size=8)


@settings(deadline=None)
@given(_PAIRS)
def test_everything_adds_up(pairs):
    result = analyse(pairs)
    for name in ("syllable", "syllable_toneless"):
        sub, deleted, inserted, hits = counts(result, name)
        assert sub + deleted + hits == result[name]["ref_len"] == sum(len(said) for said, _ in pairs)
        assert sub + inserted + hits == sum(len(heard) for _, heard in pairs)
    assert result["syllable_toneless"]["hits"] >= result["tone"]["syllables"]
    assert result["initial"]["pairs"] == result["final"]["pairs"] >= result["tone"]["syllables"]
    for name, base in MATRICES.items():
        assert sum(map(sum, result["confusions"][name]["matrix"])) == result[name][base]
        assert sum(confused(result, name).values()) == result[name]["errors"]
    homophones = result["homophones"]
    assert homophones["same_tone"] <= homophones["same_syllable"] <= homophones["substitutions"]
    assert analyse(random.sample(pairs, len(pairs))) == result
    json.dumps(result, allow_nan=False)


@settings(deadline=None)
@given(_TEXT, _TEXT)
def test_syllables_are_never_worse_than_characters(said, heard):
    """Right characters are right syllables, and without tones no more is wrong than with them."""
    result = analyse([(said, heard)])
    wrong = [sum(counts(result, name)[:3]) for name in ("syllable_toneless", "syllable")]
    assert wrong[0] <= wrong[1] <= align(said, heard).counts.errors


@settings(deadline=None)
@given(st.lists(_TEXT, max_size=5))
def test_nothing_is_wrong_with_equal_texts(texts):
    result = analyse([(text, text) for text in texts])
    assert counts(result, "syllable")[:3] == counts(result, "syllable_toneless")[:3] == (0, 0, 0)
    assert not any(confused(result, name) for name in MATRICES)
    assert not character_confusions([(text, text) for text in texts])


@settings(deadline=None)
@given(_PAIRS)
def test_confusions_are_the_errors_of_the_cer(pairs):
    """The same alignment as the CER's."""
    expected = Counter()
    for pair in pairs:
        for operation, said, heard in align(*pair).chunks:
            if operation != "equal":
                width = max(len(said), len(heard))
                expected.update(zip(said or [""] * width, heard or [""] * width, strict=True))
    assert character_confusions(pairs) == expected


@settings(deadline=None)
@given(st.text(st.characters(codec=None)))
def test_one_token_a_character(text):
    assert len(read(text)) == len(text)
    assert len(read(scoring_form(text))) == len(scoring_form(text))


def test_the_dictionary_is_loaded_only_where_something_is_read():
    code = """
import sys
from asr.scoring.mandarin import analyse
analyse([])
assert "pypinyin" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)
