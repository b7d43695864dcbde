"""The bootstrap over utterances against what can be worked out without it."""

import numpy as np
import pytest

from asr.scoring import bootstrap
from asr.scoring.speaker_interval import rate, reduction, relative_reduction


def table(lengths, *errors):
    return np.array([lengths, *errors]).T


def test_resampling_utterances_has_the_closed_form_of_a_mean():
    """Equal lengths: the rate is a mean over utterances, its standard error sd / sqrt(n)."""
    errors = np.random.default_rng(2).binomial(10, 0.3, 500)
    sums = bootstrap.resample_utterances(table([10] * 500, errors), 0, 20_000)
    low, high = bootstrap.interval(sums, rate(0))
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


def test_the_order_of_utterances_changes_nothing_and_the_seed_does():
    chance = np.random.default_rng(3)
    rows = table(chance.integers(1, 9, 300), chance.integers(0, 9, 300))
    order = chance.permutation(300)
    one, two = (bootstrap.resample_utterances(these, 0, 50) for these in (rows, rows[order]))
    assert (one == two).all()
    assert (one != bootstrap.resample_utterances(rows, 1, 50)).any()


def test_systems_are_compared_on_the_same_draws():
    before = np.random.default_rng(0).integers(1, 9, 400)
    sums = bootstrap.resample_utterances(table([20] * 400, 2 * before, before, 2 * before), 0, 500)
    assert bootstrap.interval(sums, reduction(0, 2)) == [0, 0]
    assert bootstrap.interval(sums, relative_reduction(0, 1)) == pytest.approx([0.5, 0.5])


def test_there_is_none_where_a_replicate_has_no_value():
    assert bootstrap.interval(np.array([[4, 1, 1], [4, 2, 1]]), rate(0)) == pytest.approx([0.25625, 0.49375])
    assert bootstrap.interval(np.array([[0, 1, 1], [4, 2, 1]]), rate(0)) is None
    assert bootstrap.interval(np.array([[4, 0, 1], [4, 2, 1]]), relative_reduction(0, 1)) is None
