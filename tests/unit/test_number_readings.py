"""A number in digits counts by the nearest of its listed readings, and nothing but its own characters does."""

import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rapidfuzz.distance import Levenshtein

from asr.scoring.normalize import scoring_form, slots
from asr.scoring.number_readings import MOST, nearest, readings
from benchmarks.number_readings import measure, number
from tests.scored import systems_of

DOCS = Path(__file__).resolve().parents[2] / "docs" / "scores.md"


def listed(text: str) -> list[tuple[str, ...]]:
    """The readings of each number of ``text``."""
    return [readings(item.written, item.reading) for item in slots(text, "\ufdd0")[1]]


READ = {  # hypothesis, reference: that which counts
    "二 and 两": ("200块", "二百块"),
    "digit by digit": ("2012", "二零一二"),
    "一 in a telephone number": ("13812345678", "一三八一二三四五六七八"),
    "the last unit left out": ("血压120", "血压一百二"),
    "日 and 号": ("2024-03-05", "二零二四年三月五号"),
    "分 left out": ("8:05", "八点零五"),
    "零 left out": ("8:05", "八点五分"),
    "half past": ("12:30", "十二点半"),
    "money": ("¥100", "一百块"),
    "units": ("3kg", "三公斤"),
    "a range": ("3~5个", "三五个"),
    "several at once": ("200块，8:30，3kg", "二百块八点半三公斤"),
}


@pytest.mark.parametrize(("hypothesis", "reference"), READ.values(), ids=READ)
def test_the_nearest_listed_reading_counts(hypothesis, reference):
    assert nearest(reference, hypothesis) == (reference, True)


KEPT = {
    "a Han numeral that the system wrote": ("两百块", "二百块"),
    "a Han character beside the number": ("3月5日", "三月五号"),
    "what stands within the number": ("1号-5号", "一日到五日"),
    "a reading that is not listed": ("2012", "二千十二"),
    "a number that was not said": ("12个", "十三个"),
}


@pytest.mark.parametrize(("hypothesis", "reference"), KEPT.values(), ids=KEPT)
def test_nothing_else_is_read_otherwise(hypothesis, reference):
    assert nearest(reference, hypothesis)[0] != reference


def test_the_first_reading_counts_where_none_is_nearer():
    assert nearest("今天好", "200") == ("两百", False)
    assert nearest("", "8:30") == ("八点半", True)  # all are insertions: the shortest has the fewest


def test_the_table_of_the_documentation_is_the_code():
    rows = re.findall(r"^\| `([^`]+)` \| ([^|]+) \|", DOCS.read_text(encoding="utf-8").split("### Numbers")[1], re.M)
    assert len(rows) > 20
    for written, read in rows:
        (found,) = listed(written)
        assert "、".join(found) == read.strip(), written


_TEXT = st.text("0123456789.:/-~%¥两二百零一三五十个点年月日号km我，", max_size=12)
_SAID = st.text("零一二三四五六七八九十百两幺个点半年月日号分公斤我", max_size=12)


@settings(deadline=None, max_examples=300)
@given(_SAID, _TEXT)
def test_it_is_impossible_to_gain_anything_but_the_numbers_own_reading(said, written):
    """Best of all spellings out of at most four readings each, and of no others; never worse than the first."""
    read, otherwise = nearest(said, written)
    first = scoring_form(written)
    assert otherwise == (read != first)
    assert Levenshtein.distance(said, read) <= Levenshtein.distance(said, first)
    marked, numbers = slots(written, "\ufdd0")
    rest = scoring_form(marked).split("\ufdd0")
    choices = [readings(item.written, item.reading) for item in numbers]
    assert all(
        1 <= len(options) <= MOST and options[0] == item.reading for options, item in zip(choices, numbers, strict=True)
    )
    spellings = {rest[0]}
    for options, part in zip(choices, rest[1:], strict=True):
        spellings = {text + option + part for text in spellings for option in options}
        if len(spellings) > 5000:
            return
    assert read in spellings | {first}
    if first in spellings:
        assert Levenshtein.distance(said, read) == min(Levenshtein.distance(said, text) for text in spellings)


@settings(deadline=None)
@given(_SAID, st.text("零一二两百十个点半我臺灣，。ab😀", max_size=12), st.sets(st.sampled_from(["erhua", "fillers"])))
def test_a_hypothesis_without_digits_is_scored_as_ever(said, written, without):
    assert nearest(said, written, without) == (scoring_form(written, without), False)


@settings(deadline=None)
@given(_TEXT)
def test_a_number_ends_where_its_own_characters_do(text):
    """Between the numbers everything stays, and no number holds a Han character but one between two of its parts."""
    _, numbers = slots(text, "\ufdd0")
    for item in numbers:
        assert re.fullmatch(r"[^\u3400-\u9fff]*([0-9][\u3400-\u9fff][-~][0-9]+[^\u3400-\u9fff]*)*", item.written)
        assert not re.search("[0-9]", item.reading)


def test_utterances_that_it_touched_are_counted(tmp_path):
    from asr.scoring.score import Request, score
    from asr.scoring.tables import screen_table

    texts = [("二百块", "200块", "200块"), ("两百块", "200块", "二百块"), ("好", "好", "好")]
    texts.append(("三公斤", "3kg", "三公斤"))
    references, systems = systems_of(tmp_path, texts)
    found = score(references, systems, Request(replicates=100))
    assert {name: row["n_number_readings"] for name, row in found["systems"].items()} == {"baseline": 2, "tuned": 1}
    assert {name: row["sub"] for name, row in found["systems"].items()} == {"baseline": 0, "tuned": 1}
    assert "by another listed reading: baseline 2, tuned 1" in screen_table(found)


def test_a_noncharacter_in_the_text_is_no_number():
    assert nearest("好", "\ufdd0好3") == (scoring_form("\ufdd0好3"), False)


def test_numbers_are_spoken_as_they_should_be_in_the_benchmark():
    spoken = {0: "零", 10: "十", 12: "十二", 101: "一百零一", 110: "一百一十", 200: "两百", 1010: "一千零一十"}
    spoken |= {2002: "两千零二", 9999: "九千九百九十九", 20000: "两万", 10500: "一万零五百", -5: "负五"}
    assert {value: number(value) for value in spoken} == spoken
    assert all(scoring_form(str(value)) == number(value) for value in range(0, 10000, 37))


@pytest.mark.slow
def test_numbers_read_back_have_at_most_the_error_of_plain_wetext_in_each_kind():
    rows = measure(each=20)
    assert len(rows) > 10
    for row in rows:
        assert row.texts > 10
        assert row.nearest <= row.first <= row.wetext, row
    assert rows[-1].first < rows[-1].wetext
