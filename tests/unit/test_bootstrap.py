"""The speaker bootstrap against what can be worked out without it."""

import numpy as np
import pytest

from asr import bootstrap


def interval(errors, lengths, speakers, seed=0, count=4000):
    return bootstrap.resample_speakers([errors], lengths, speakers, seed, count).interval(0)


def test_equal_speakers_have_the_closed_form_of_a_mean_over_speakers():
    """Utterances of a speaker all alike and speakers of one size: the rate is a mean of speakers' rates."""
    rates = np.linspace(0.1, 0.5, 30)
    errors = np.repeat(np.round(rates * 1000).astype(int), 4)
    low, high = interval(errors, [1000] * 120, np.repeat(np.arange(30).astype(str), 4), count=20_000)
    half = 1.96 * rates.std() / np.sqrt(30)
    assert low == pytest.approx(rates.mean() - half, abs=0.004)
    assert high == pytest.approx(rates.mean() + half, abs=0.004)


def test_the_variance_is_that_between_speakers_plus_that_within():
    chance = np.random.default_rng(1)
    speakers, each = 20, 25
    rates = np.repeat(chance.uniform(0.1, 0.6, speakers), each)
    errors = chance.binomial(10, rates)
    owner = np.repeat(np.arange(speakers).astype(str), each)
    found = bootstrap.resample_speakers([errors], [10] * len(errors), owner, 0, 20_000).rates[:, 0].var()
    table = (errors / 10).reshape(speakers, each)
    expected = table.mean(axis=1).var() / speakers + table.var(axis=1).mean() / (speakers * each)
    assert found == pytest.approx(expected, rel=0.05)


def test_coverage_at_twenty_speakers():
    """Of 200 corpora whose true rate is known, about 95 % have it in their interval."""
    inside = 0
    for seed in range(200):
        chance = np.random.default_rng(seed)
        rates = np.repeat(chance.beta(4, 8, 20), 15)
        low, high = interval(
            chance.binomial(6, rates), [6] * 300, np.repeat(np.arange(20).astype(str), 15), seed, count=500
        )
        inside += low <= 4 / 12 <= high
    assert 0.90 <= inside / 200 <= 0.99


def test_systems_are_compared_on_the_same_draws():
    chance = np.random.default_rng(0)
    before = chance.integers(1, 9, 400)
    owner = np.repeat(np.arange(8).astype(str), 50)
    both = bootstrap.resample_speakers([before, before], [10] * 400, owner, 0, 500)
    assert both.reduction(0, 1) == (0, 0)
    assert both.interval(0) == both.interval(1)
    halved = bootstrap.resample_speakers([2 * before, before], [20] * 400, owner, 0, 500)
    assert halved.relative_reduction(0, 1) == pytest.approx((0.5, 0.5))


def test_seeded():
    errors = np.random.default_rng(0).integers(0, 50, 60)
    arguments = (errors, [50] * 60, list("abcdef") * 10)
    assert interval(*arguments, seed=1) == interval(*arguments, seed=1)
    assert interval(*arguments, seed=1) != interval(*arguments, seed=2)


def test_no_error_before_leaves_no_relative_interval():
    perfect = bootstrap.resample_speakers([[0] * 8, [1] * 8], [5] * 8, list("aabbccdd"), 0, 100)
    assert perfect.relative_reduction(0, 1) is None


def test_too_few_speakers_says_why():
    assert bootstrap.why_not(4) is None
    assert bootstrap.why_not(1) == "1 speaker: an interval over speakers needs at least 4"
