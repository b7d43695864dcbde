"""Confidence intervals over speakers: by how much a figure of the whole moves when one speaker is left out.

The delete-one jackknife's standard error (Efron and Tibshirani 1993, chapter 11; about the figure itself, which is
never narrower than about the mean of the others), a speaker being the unit, times
Student's t; its degrees of freedom are the effective number of speakers less one, 1 / sum of squared shares of the
characters - 1 (Kish 1965). How often it holds the truth: benchmarks/interval_coverage.py. Where every speaker has the
same figure there is no interval: these are too few to show how much speakers differ.

A statistic takes sums [..., 1 + systems] (reference characters, then the errors of each system) and gives [...]; nan
where there is no value.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

MIN_SPEAKERS = 4
NO_CHARACTER = "the references have no character"
ONE_SPEAKER = "one speaker has most of the characters"
NO_SPREAD = "all speakers have the same rate: their spread cannot be estimated"
_LEAST_SPREAD = 1e-12  # of a fraction; below it is rounding

Statistic = Callable[[np.ndarray], np.ndarray]


def why_not(sums: np.ndarray) -> str | None:
    """Return why there is no interval over speakers whose sums are these; None where there is one."""
    speakers = np.count_nonzero(sums[:, 0])
    if not speakers:
        return NO_CHARACTER
    if speakers < MIN_SPEAKERS:
        return f"{speakers} speaker{'s' * (speakers != 1)}, at least {MIN_SPEAKERS} are needed"
    return ONE_SPEAKER if freedom(sums) < 1 else None


def freedom(sums: np.ndarray) -> float:
    """Return the degrees of freedom of speakers whose sums are these."""
    return 1 / np.square(sums[:, 0] / sums[:, 0].sum()).sum() - 1


def _over(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, out=np.full(np.shape(part), np.nan), where=np.asarray(whole) > 0)


def rate(system: int) -> Statistic:
    """Return the statistic: the error rate of a system."""
    return lambda sums: _over(sums[..., 1 + system], sums[..., 0])


def reduction(before: int, after: int) -> Statistic:
    """Return the statistic: by how much the error rate of ``after`` is lower."""
    return lambda sums: _over(sums[..., 1 + before] - sums[..., 1 + after], sums[..., 0])


def relative_reduction(before: int, after: int) -> Statistic:
    """Return the statistic: that reduction as a share of the rate of ``before``."""
    return lambda sums: _over(sums[..., 1 + before] - sums[..., 1 + after], sums[..., 1 + before])


def speaker_sums(table: np.ndarray, speakers: ArrayLike) -> np.ndarray:
    """Return the sums of the rows of ``table`` [utterances, columns] by speaker: int64 [speakers, columns]."""
    names, owner = np.unique(np.asarray(speakers), return_inverse=True)
    sums = np.zeros((len(names), table.shape[1]), dtype=np.int64)
    np.add.at(sums, owner, table)
    return sums


def interval(sums: ArrayLike, statistic: Statistic, lowest: float = -np.inf) -> list[float] | None:
    """Return the 95 % interval of ``statistic`` over speakers, whose sums are [speakers, 1 + systems].

    None where ``why_not`` says so, where the statistic has no value without one of them, and where all speakers have
    the same (``NO_SPREAD``). It is symmetric about the statistic, but ends at ``lowest``: 0 for a rate, which cannot be
    below.
    """
    sums = np.asarray(sums)
    sums = sums[sums.any(axis=1)]  # of this text or group some speakers may have said nothing
    if why_not(sums):
        return None
    count, total = len(sums), sums.sum(axis=0)
    value, without = statistic(total), statistic(total - sums)
    error = np.sqrt((count - 1) / count * np.square(without - value).sum())
    if not error > _LEAST_SPREAD:  # nan too
        return None
    from scipy.special import stdtrit  # half a second that only an interval costs

    half = float(stdtrit(freedom(sums), 0.975) * error)
    return [max(float(value) - half, lowest), float(value) + half]
