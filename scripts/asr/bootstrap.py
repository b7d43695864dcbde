"""Confidence intervals of corpus-level error rates by resampling speakers, and by resampling utterances.

Utterances of one speaker are alike, so resampling utterances alone makes intervals that are far too narrow for the
question that matters, "what about the next speaker?". Here a replicate draws speakers with replacement, and within
each drawn speaker its utterances with replacement (a two-level, or nested, bootstrap; Davison and Hinkley 1997,
section 3.8), and the rate is that of the sums. All systems are scored on the same draws, so that they can be compared
(paired, as in Bisani and Ney 2004).

A speaker's utterances are resampled once for each replicate; each time that a speaker is drawn, one of these resamples
is taken at random. So the cost of a replicate does not grow with how often a speaker is drawn, and the same resamples
make the interval of the speaker alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import ArrayLike

MIN_SPEAKERS = 4
REPLICATES = 10_000
_CELLS_AT_ONCE = 1 << 22  # numbers by replicate held at once: 32 MB, whatever the corpus
_BINOMIAL = 9  # what a binomial number costs, in draws of an utterance: by how much multinomials must save draws
_WORD = 62  # bits of an int64 that sums may fill

Interval = tuple[float, float]


def why_not(speakers: int) -> str | None:
    """Why there is no interval over so few speakers; None where there is one."""
    if speakers >= MIN_SPEAKERS:
        return None
    return f"{speakers} speaker{'s' * (speakers != 1)}: an interval over speakers needs at least {MIN_SPEAKERS}"


def resample_utterances(table: ArrayLike, seed: int, count: int = REPLICATES) -> np.ndarray:
    """Column sums of ``count`` replicates: int64 [count, columns] of ``table`` [utterances, columns] of integers >= 0.

    The result depends on the rows and the seed, not on the rows' order.
    """
    return _resampled(np.random.default_rng(seed), np.asarray(table, dtype=np.int64), count)


def resample_speakers(
    table: ArrayLike,
    speakers: Sequence[str],
    seed: int,
    count: int = REPLICATES,
    each: Callable[[str, np.ndarray], None] | None = None,
) -> np.ndarray:
    """The same by the two-level bootstrap; ``speakers`` is [utterances].

    ``each`` is called with every speaker and the sums of its own resamples, [count, columns].
    """
    table = np.asarray(table, dtype=np.int64)
    names, owner = np.unique(np.asarray(speakers), return_inverse=True)
    generator = np.random.default_rng(seed)
    drawn = generator.integers(len(names), size=(count, len(names)))
    sums = np.zeros((count, table.shape[1]), dtype=np.int64)
    for speaker, name in enumerate(names.tolist()):
        own = _resampled(generator, table[owner == speaker], count)
        times = (drawn == speaker).sum(axis=1)
        for turn in range(times.max()):
            now = np.flatnonzero(times > turn)
            sums[now] += own[generator.integers(count, size=len(now))]
        if each:
            each(name, own)
    return sums


def _resampled(generator: np.random.Generator, table: np.ndarray, count: int) -> np.ndarray:
    """Column sums of ``count`` times as many rows as there are, drawn with replacement: int64 [count, columns].

    Drawing n rows is drawing how often each distinct row comes: a multinomial. Many utterances share their few numbers,
    and the multinomial's cost does not grow with the utterances; few are drawn one by one.
    """
    rows, often = np.unique(table, axis=0, return_counts=True)
    size = len(table)
    if len(rows) * _BINOMIAL < size:
        step = max(1, _CELLS_AT_ONCE // len(rows))
        parts = [generator.multinomial(size, often / size, size=many) @ rows for many in _steps(count, step)]
        return np.concatenate(parts)
    ordered, step = np.repeat(rows, often, axis=0), max(1, _CELLS_AT_ONCE // size)
    words = _packed(ordered)
    sums = np.zeros((count, table.shape[1]), dtype=np.int64)
    start = 0
    for many in _steps(count, step):
        drawn = generator.integers(size, size=(many, size), dtype=np.int32)
        for columns, bits, word in words:
            total = word[drawn].sum(axis=1)
            for place, column in enumerate(columns):
                sums[start : start + many, column] = (total >> (place * bits)) & ((1 << bits) - 1)
        start += many
    return sums


def _steps(count: int, step: int) -> Iterator[int]:
    for start in range(0, count, step):
        yield min(step, count - start)


def _packed(table: np.ndarray) -> list[tuple[range, int, np.ndarray]]:
    """Columns side by side in the bits of integers, so that one sum adds several: (columns, bits of each, integers)."""
    bits = max(int(table.max(initial=0)) * len(table), 1).bit_length()
    together = max(_WORD // bits, 1)
    words = []
    for first in range(0, table.shape[1], together):
        columns = range(first, min(first + together, table.shape[1]))
        word = sum(table[:, column] << (place * bits) for place, column in enumerate(columns))
        words.append((columns, bits, word))
    return words


def rates(errors: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Rate of each replicate; nan where it has no reference character."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(lengths > 0, errors / lengths, np.nan)


def interval(values: np.ndarray) -> Interval | None:
    """95 % percentile interval; None where no replicate has a value."""
    known = values[~np.isnan(values)]
    if not len(known):
        return None
    low, high = np.percentile(known, [2.5, 97.5])
    return float(low), float(high)


def relative_interval(before: np.ndarray, after: np.ndarray) -> Interval | None:
    """95 % interval of the relative reduction, paired by replicate; None where a rate before is zero."""
    known = before[~np.isnan(before)]
    if not len(known) or not np.all(known > 0):
        return None
    return interval((before - after) / before)


def probability_of_improvement(before: np.ndarray, after: np.ndarray) -> float | None:
    """Share of the replicates in which ``after`` is lower, a tie counting half (Bisani and Ney 2004, section 4)."""
    known = ~np.isnan(before) & ~np.isnan(after)
    if not known.any():
        return None
    difference = before[known] - after[known]
    return float(np.mean(difference > 0) + np.mean(difference == 0) / 2)
