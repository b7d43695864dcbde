"""Tests of two systems: the worked example of their literature, and what can be worked out by hand."""

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr.scoring.cer import Chunk, align
from asr.scoring.significance import holm, mapsswe, segments, sign_flip

# The example of Gillick and Cox (1989), as Jurafsky and Martin tell it (Speech and Language Processing, 3rd ed.,
# section 16.5): each word is one character here. "it was the best of times it was the worst of times it was".
WORD_LIST = ("it", "was", "the", "best", "of", "times", "worst", "ITS", "OR", "IS", "WON", "TEST")
WORDS = {word: chr(ord("A") + number) for number, word in enumerate(WORD_LIST)}


def spell(words: str) -> str:
    return "".join(WORDS[word] for word in words.split())


def runs(*parts: tuple[str, str, str]) -> list[Chunk]:
    return [Chunk(kind, spell(said), spell(heard)) for kind, said, heard in parts]


SYSTEM_A = runs(
    ("substitute", "it", "ITS"),
    ("delete", "was", ""),
    ("equal", "the best of times it", "the best of times it"),
    ("substitute", "was", "IS"),
    ("equal", "the worst of times", "the worst of times"),
    ("insert", "", "OR"),
    ("equal", "it was", "it was"),
)
SYSTEM_B = runs(
    ("equal", "it was the best", "it was the best"),
    ("delete", "of", ""),
    ("equal", "times it", "times it"),
    ("substitute", "was", "WON"),
    ("equal", "the", "the"),
    ("substitute", "worst", "TEST"),
    ("equal", "of times it was", "of times it was"),
)


def test_the_segments_of_the_worked_example():
    assert list(segments(SYSTEM_A, SYSTEM_B)) == [(2, 0), (0, 1), (1, 2), (1, 0)]


def test_the_statistic_of_the_worked_example():
    """Z = 2, -1, -1, 1: mean 0.25, variance 2.25, z = 0.25 / (1.5 / 2)."""
    found = mapsswe(segments(SYSTEM_A, SYSTEM_B))
    assert (found["segments"], found["mean_difference"]) == (4, 0.25)
    assert found["z"] == pytest.approx(1 / 3)
    assert found["p"] == pytest.approx(0.7389, abs=1e-4)  # 2 (1 - Phi(1/3)), from a table of the normal distribution
    assert "few" in found["note"]


def test_one_right_character_between_two_errors_joins_them_two_part_them():
    def found(reference, first, second):
        return list(segments(align(reference, first).chunks, align(reference, second).chunks))

    assert found("一二三", "甲二丙", "一二三") == [(2, 0)]
    assert found("一二三四", "甲二三丁", "一二三四") == [(1, 0), (1, 0)]
    assert found("一二三四", "甲二三丁", "一乙三四") == [(2, 1)]  # the other system's error joins them
    assert found("一二三四", "甲二三丁", "一二啊三四") == [(2, 1)]  # so does an insertion between the right ones
    assert found("一二三四", "一二三四", "一二三四") == []
    assert found("", "啊", "") == [(1, 0)]


texts = st.text("一二三四五", max_size=12)


@given(texts, texts, texts)
def test_segments_hold_every_error_once_and_swap_with_the_systems(reference, first, second):
    one, two = align(reference, first), align(reference, second)
    found = list(segments(one.chunks, two.chunks))
    assert [sum(column) for column in zip(*found, strict=True)] == (
        [one.counts.errors, two.counts.errors] if found else []
    )
    assert all(any(pair) for pair in found)
    assert list(segments(two.chunks, one.chunks)) == [pair[::-1] for pair in found]


def test_no_segment_and_no_variance():
    assert mapsswe([]) is None
    same = mapsswe([(1, 0)] * 10)
    assert (same["segments"], same["z"], same["p"]) == (10, None, None)
    assert "nothing to test" in same["note"]


def test_p_is_uniform_where_the_systems_are_alike():
    """Under the null a p below 0.05 comes in about 5 % of the corpora."""
    chance = random.Random(0)
    below = 0
    for _ in range(1000):
        pairs = [(chance.randrange(3), chance.randrange(3)) for _ in range(100)]
        below += mapsswe(pairs)["p"] < 0.05
    assert 30 <= below <= 72  # 50 +- 3 standard deviations


def test_sign_flips_by_hand():
    """|sum| of 3, 1 with all signs: 4, 2, 2, 4; as large as 4 in two of four patterns."""
    assert sign_flip([0.3, 0.1]) == (0.5, 0.5)
    assert sign_flip([0.3, -0.1]) == (1.0, 0.5)
    assert sign_flip([0.5, 0.1, 0.2, 0.3, 0.4]) == (0.0625, 0.0625)  # five speakers cannot reach 0.05
    assert sign_flip([0.0] * 6)[0] == 1.0
    assert sign_flip([]) == (None, None)


def test_many_speakers_are_sampled_and_agree_with_the_normal_approximation():
    chance = random.Random(1)
    values = [chance.gauss(0.05, 0.2) for _ in range(60)]
    p, least = sign_flip(values)
    z = abs(sum(values)) / math.sqrt(sum(value**2 for value in values))
    assert p == pytest.approx(math.erfc(z / math.sqrt(2)), abs=0.01)
    assert least == 1e-5


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03]) == [pytest.approx(0.03), pytest.approx(0.06), pytest.approx(0.06)]
    assert holm([0.5, None, 0.9]) == [1.0, None, 1.0]
