"""The speaker bootstrap against what can be worked out without it."""

import numpy as np
import pytest

from asr import bootstrap


def table(lengths, *errors):
    return np.array([lengths, *errors]).T


def rates(errors, lengths, speakers, seed=0, count=4000):
    sums = bootstrap.resample_speakers(table(lengths, errors), speakers, seed, count)
    return bootstrap.rates(sums[:, 1], sums[:, 0])


def interval(errors, lengths, speakers, seed=0, count=4000):
    return bootstrap.interval(rates(errors, lengths, speakers, seed, count))


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
    errors = chance.binomial(10, np.repeat(chance.uniform(0.1, 0.6, speakers), each))
    owner = np.repeat(np.arange(speakers).astype(str), each)
    found = rates(errors, [10] * len(errors), owner, 0, 20_000).var()
    of_each = (errors / 10).reshape(speakers, each)
    expected = of_each.mean(axis=1).var() / speakers + of_each.var(axis=1).mean() / (speakers * each)
    assert found == pytest.approx(expected, rel=0.05)


def test_coverage_at_twenty_speakers():
    """Of 200 corpora whose true rate is known, about 95 % have it in their interval."""
    inside = 0
    for seed in range(200):
        chance = np.random.default_rng(seed)
        errors = chance.binomial(6, np.repeat(chance.beta(4, 8, 20), 15))
        low, high = interval(errors, [6] * 300, np.repeat(np.arange(20).astype(str), 15), seed, count=500)
        inside += low <= 4 / 12 <= high
    assert 0.90 <= inside / 200 <= 0.99


def test_resampling_utterances_has_the_closed_form_of_a_mean():
    """Equal lengths: the rate is a mean over utterances, its standard error sd / sqrt(n)."""
    errors = np.random.default_rng(2).binomial(10, 0.3, 500)
    sums = bootstrap.resample_utterances(table([10] * 500, errors), 0, 20_000)
    low, high = bootstrap.interval(bootstrap.rates(sums[:, 1], sums[:, 0]))
    mean, half = errors.mean() / 10, 1.96 * errors.std() / 10 / np.sqrt(500)
    assert (low, high) == (pytest.approx(mean - half, abs=0.001), pytest.approx(mean + half, abs=0.001))


def test_a_replicate_draws_as_many_utterances_as_there_are_and_only_those():
    rows = np.array([[1, 5], [1, 7], [1, 7], [1, 100]])
    sums = bootstrap.resample_utterances(rows, 0, 2000)
    assert set(sums[:, 0]) == {4}
    assert sums[:, 1].min() == 4 * 5
    assert sums[:, 1].max() == 4 * 100
    assert sums[:, 1].mean() == pytest.approx(rows[:, 1].sum(), rel=0.05)


@pytest.mark.parametrize("high", [3, 200, 10**6])
def test_one_by_one_and_by_multinomials_have_one_distribution(high, monkeypatch):
    """Means, variances and covariances of both ways, and of the closed form n times those of a row."""
    rows = np.random.default_rng(5).integers(0, high, (40, 5))
    expected = 40 * np.cov(rows, rowvar=False, bias=True)
    for binomial in (0, 1000):
        monkeypatch.setattr(bootstrap, "_BINOMIAL", binomial)
        sums = bootstrap.resample_utterances(rows, 0, 40_000)
        assert sums.mean(axis=0) == pytest.approx(rows.sum(axis=0), rel=0.01)
        assert np.cov(sums, rowvar=False) == pytest.approx(expected, abs=0.05 * expected.max())


def test_each_speaker_is_told_its_own_resamples():
    own = {}
    rows, owner = table([1] * 30, [0] * 10 + [1] * 20), ["a"] * 10 + ["b"] * 20
    bootstrap.resample_speakers(rows, owner, 0, 100, own.__setitem__)
    assert {name: set(map(tuple, sums)) for name, sums in own.items()} == {"a": {(10, 0)}, "b": {(20, 20)}}


def test_a_replicate_of_speakers_draws_whole_speakers():
    """Speakers of 1, 10 and 100 utterances: each sum of lengths is made of three of these."""
    owner = np.repeat(["a", "b", "c"], [1, 10, 100])
    sums = bootstrap.resample_speakers(table([1] * 111, [0] * 111), owner, 0, 1000)[:, 0]
    possible = {a + 10 * b + 100 * (3 - a - b) for a in range(4) for b in range(4 - a)}
    assert set(sums) == possible
    assert sums.mean() == pytest.approx(111, rel=0.05)


def test_the_order_of_utterances_and_of_speakers_changes_nothing():
    chance = np.random.default_rng(3)
    rows, owner = table(chance.integers(1, 9, 300), chance.integers(0, 9, 300)), chance.integers(0, 6, 300).astype(str)
    order = chance.permutation(300)
    assert (bootstrap.resample_utterances(rows, 0, 50) == bootstrap.resample_utterances(rows[order], 0, 50)).all()
    one = bootstrap.resample_speakers(rows, owner, 0, 50)
    assert (one == bootstrap.resample_speakers(rows[order], owner[order], 0, 50)).all()


def test_systems_are_compared_on_the_same_draws():
    chance = np.random.default_rng(0)
    before = chance.integers(1, 9, 400)
    owner = np.repeat(np.arange(8).astype(str), 50)
    sums = bootstrap.resample_speakers(table([20] * 400, 2 * before, before, 2 * before), owner, 0, 500)
    first, half, same = (bootstrap.rates(sums[:, column], sums[:, 0]) for column in (1, 2, 3))
    assert bootstrap.interval(first - same) == (0, 0)
    assert bootstrap.relative_interval(first, half) == pytest.approx((0.5, 0.5))
    assert bootstrap.probability_of_improvement(first, half) == 1
    assert bootstrap.probability_of_improvement(first, same) == 0.5  # a tie counts half
    assert bootstrap.probability_of_improvement(half, first) == 0


def test_seeded():
    errors = np.random.default_rng(0).integers(0, 50, 60)
    arguments = (errors, [50] * 60, list("abcdef") * 10)
    assert interval(*arguments, seed=1) == interval(*arguments, seed=1)
    assert interval(*arguments, seed=1) != interval(*arguments, seed=2)


def test_no_error_before_leaves_no_relative_interval():
    assert bootstrap.relative_interval(np.array([0.0, 0.1]), np.array([0.1, 0.1])) is None


def test_replicates_without_a_character_are_left_out():
    found = bootstrap.rates(np.array([1, 2]), np.array([0, 4]))
    assert np.isnan(found[0])
    assert bootstrap.interval(found) == (0.5, 0.5)
    assert bootstrap.interval(np.array([np.nan])) is None
    assert bootstrap.probability_of_improvement(np.array([np.nan]), np.array([0.1])) is None


def test_too_few_speakers_says_why():
    assert bootstrap.why_not(4) is None
    assert bootstrap.why_not(1) == "1 speaker: an interval over speakers needs at least 4"
