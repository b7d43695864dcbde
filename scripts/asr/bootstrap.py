"""Confidence intervals of corpus-level error rates by resampling speakers.

Utterances of one speaker are alike, so resampling utterances alone makes intervals that are far too narrow for the
question that matters, "what about the next speaker?". Here a replicate draws speakers with replacement, and within
each drawn speaker its utterances with replacement (a two-level, or nested, bootstrap; Davison and Hinkley 1997,
section 3.8), and the rate is that of the sums. All systems are scored on the same draws, so that they can be compared.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

MIN_SPEAKERS = 4
REPLICATES = 10_000
_DRAWS_AT_ONCE = 1 << 21  # keeps memory flat, whatever the corpus


@dataclass(frozen=True)
class Replicates:
    """Rates of each replicate: float [replicates, systems]; nan where a replicate has no reference character."""

    rates: np.ndarray

    def interval(self, system: int) -> tuple[float, float]:
        """95 % percentile interval of one system's rate."""
        return _percentiles(self.rates[:, system])

    def reduction(self, before: int, after: int) -> tuple[float, float]:
        """95 % interval of the absolute reduction of the rate, paired by replicate."""
        return _percentiles(self.rates[:, before] - self.rates[:, after])

    def relative_reduction(self, before: int, after: int) -> tuple[float, float] | None:
        """95 % interval of the relative reduction; None where a replicate's rate before is zero."""
        base = self.rates[:, before]
        if not np.all(base[~np.isnan(base)] > 0):
            return None
        return _percentiles((base - self.rates[:, after]) / base)


def _percentiles(values: np.ndarray) -> tuple[float, float]:
    low, high = np.nanpercentile(values, [2.5, 97.5])
    return float(low), float(high)


def why_not(speakers: int) -> str | None:
    """Why there is no interval over so few speakers; None where there is one."""
    if speakers >= MIN_SPEAKERS:
        return None
    return f"{speakers} speaker{'s' * (speakers != 1)}: an interval over speakers needs at least {MIN_SPEAKERS}"


def resample_speakers(
    errors: Sequence[Sequence[int]], lengths: Sequence[int], speakers: Sequence[str], seed: int, count: int = REPLICATES
) -> Replicates:
    """Two-level bootstrap of the rates sum(errors) / sum(lengths).

    ``errors`` is [systems][utterances]; ``lengths`` and ``speakers`` are [utterances]. The result depends on the seed
    and on the utterances' order within a speaker, not on the order of the speakers' rows.
    """
    table = np.array([lengths, *errors], dtype=np.int64).T  # [utterances, 1 + systems]
    names, owner = np.unique(np.asarray(speakers), return_inverse=True)
    generator = np.random.default_rng(seed)
    drawn = generator.integers(len(names), size=(count, len(names)))
    sums = np.zeros((count, table.shape[1]), dtype=np.int64)
    for speaker in range(len(names)):
        replicate = np.repeat(np.arange(count), (drawn == speaker).sum(axis=1))
        own = table[owner == speaker]
        step = max(1, _DRAWS_AT_ONCE // len(own))
        for start in range(0, len(replicate), step):
            rows = replicate[start : start + step]
            picked = generator.integers(len(own), size=(len(rows), len(own)), dtype=np.int32)
            totals = np.stack([own[:, column][picked].sum(axis=1) for column in range(own.shape[1])], axis=1)
            np.add.at(sums, rows, totals)
    with np.errstate(divide="ignore", invalid="ignore"):
        rates = sums[:, 1:] / np.where(sums[:, :1] > 0, sums[:, :1], np.nan)
    return Replicates(rates)
