"""The interval over speakers against what can be worked out without it, and how often it holds the truth."""

import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from asr.scoring.speaker_interval import (
    ONE_SPEAKER,
    interval,
    rate,
    reduction,
    relative_reduction,
    speaker_sums,
    why_not,
)

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))
from interval_coverage import coverage

T3 = 3.182446305284263  # the 97.5 % quantile of t with 3 degrees of freedom, from tables
# Four speakers of 100 characters: 10, 20, 30 and 40 errors before, 5, 10, 30 and 15 after.
SUMS = np.array([[100, 10, 5], [100, 20, 10], [100, 30, 30], [100, 40, 15]])


def test_four_speakers_by_hand():
    """Rates .1 .2 .3 .4: mean .25, sd of it sqrt(.05 / 3 / 4); gains .05 .1 0 .25: mean .1, sum of squares .035."""
    half = T3 * (0.05 / 12) ** 0.5
    assert interval(SUMS, rate(0)) == pytest.approx([0.25 - half, 0.25 + half])
    half = T3 * (0.035 / 12) ** 0.5
    assert interval(SUMS, reduction(0, 1)) == pytest.approx([0.1 - half, 0.1 + half])


def test_a_relative_reduction_by_hand():
    """Of 100 errors 60 are left. Without a speaker 55/90, 50/80, 30/70, 45/60 of them: reductions by hand."""
    left_out = [1 - 55 / 90, 1 - 50 / 80, 1 - 30 / 70, 1 - 45 / 60]
    half = T3 * (3 / 4 * sum((value - 0.4) ** 2 for value in left_out)) ** 0.5
    assert interval(SUMS, relative_reduction(0, 1)) == pytest.approx([0.4 - half, 0.4 + half])


def test_unequal_speakers_have_fewer_degrees_of_freedom():
    """Shares .4 .2 .2 .2: 1 / (.16 + .12) - 1 degrees."""
    sums = np.array([[200, 20], [100, 20], [100, 30], [100, 40]])
    value, left_out = 110 / 500, [90 / 300, 90 / 400, 80 / 400, 70 / 400]
    half = stats.t.ppf(0.975, 1 / 0.28 - 1) * (3 / 4 * sum((one - value) ** 2 for one in left_out)) ** 0.5
    assert interval(sums, rate(0)) == pytest.approx([value - half, value + half])


def test_a_rate_is_not_below_nothing_and_a_reduction_may_be():
    sums = SUMS[:, [0, 1, 1]] * [1, 1, 1]
    sums[0] = [100, 90, 1]
    assert interval(sums, rate(0), 0.0)[0] == 0.0
    assert interval(sums, rate(0))[0] < 0
    assert interval(sums, reduction(1, 0))[0] < 0


speakers = st.lists(st.tuples(st.just(50), st.integers(0, 50), st.integers(0, 50)), min_size=4, max_size=9)


@given(rows=speakers)
def test_speakers_of_one_size_have_the_t_interval_of_a_mean(rows):
    each = np.array(rows)[:, 1] / 50
    if len(set(each)) == 1:  # no spread: a point would claim certainty
        assert interval(rows, rate(0)) is None
        return
    low, high = interval(rows, rate(0))
    half = stats.t.ppf(0.975, len(rows) - 1) * each.std(ddof=1) / len(rows) ** 0.5
    assert (low, high) == (pytest.approx(each.mean() - half, abs=1e-9), pytest.approx(each.mean() + half, abs=1e-9))


@given(rows=speakers, chance=st.randoms())
def test_neither_order_nor_scale_nor_a_speaker_who_said_nothing_changes_it(rows, chance):
    ends = interval(rows, reduction(0, 1))
    other = [tuple(7 * value for value in row) for row in rows] + [(0, 0, 0)]
    chance.shuffle(other)
    if len({before - after for _, before, after in rows}) == 1:
        assert ends is interval(other, reduction(0, 1)) is interval(rows, reduction(1, 0)) is None
        return
    assert interval(other, reduction(0, 1)) == pytest.approx(ends, abs=1e-9)
    assert interval(rows, reduction(1, 0)) == pytest.approx([-ends[1], -ends[0]], abs=1e-9)


@given(sizes=st.lists(st.integers(1, 60), min_size=4, max_size=9), errors=st.integers(0, 12))
def test_speakers_with_one_rate_have_no_interval_whatever_their_sizes(sizes, errors):
    """Of 7 characters ``errors`` are wrong, with every speaker: that others are like that is not shown by it."""
    rows = np.array([(7 * size, errors * size, 0) for size in sizes])
    assert interval(rows, rate(0), 0.0) is None
    assert interval(rows, reduction(0, 1)) is None
    if max(sizes) < 30 and why_not(rows) is None:
        rows[0, 1] += 1
        assert interval(rows, rate(0), 0.0) is not None


def test_where_there_is_none_the_reason_is_said():
    assert why_not(SUMS) is None
    assert why_not(SUMS[:3]) == "3 speakers, at least 4 are needed"
    assert why_not(SUMS[:1]) == "1 speaker, at least 4 are needed"
    assert interval(SUMS[:3], rate(0)) is None
    heavy = SUMS * [[1], [1], [1], [50]]
    assert why_not(heavy) == ONE_SPEAKER
    assert interval(heavy, rate(0)) is None
    assert interval([[9, 0, 1], [9, 0, 1], [9, 0, 1], [9, 3, 1]], relative_reduction(0, 1)) is None
    assert interval(np.zeros((5, 2), int), rate(0)) is None


def test_sums_are_by_speaker():
    assert speaker_sums(np.array([[1, 2], [3, 4], [5, 6]]), ["b", "a", "b"]).tolist() == [[3, 4], [6, 8]]


CORPORA = 400


@pytest.mark.parametrize("cdsd", [False, True])
@pytest.mark.parametrize("gain", [None, 0.1])
@pytest.mark.parametrize("number", [4, 5, 20])
def test_it_holds_the_truth_as_often_as_it_says(number, gain, cdsd):
    """Of 400 corpora with their seeds: 93 to 97 %, and three standard deviations of a binomial number beside that."""
    chance = 3 * (0.95 * 0.05 / CORPORA) ** 0.5
    assert 0.93 - chance <= coverage(number, cdsd, 0.13, gain, CORPORA) <= 0.97 + chance
