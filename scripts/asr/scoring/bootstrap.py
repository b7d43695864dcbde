"""Confidence intervals of corpus-level figures over utterances: how these speakers would do on other utterances.

A replicate draws as many utterances as there are, with replacement, and the figure is that of the sums; all systems are
scored on the same draws, so that they can be compared (Bisani and Ney 2004). Utterances of one speaker are alike: what
other speakers would give is asr.scoring.speaker_interval's question.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from asr.scoring.speaker_interval import Statistic

REPLICATES = 10_000
_CELLS_AT_ONCE = 1 << 22  # numbers by replicate held at once: 32 MB, whatever the corpus
_BINOMIAL = 9  # what a binomial number costs, in draws of an utterance: by how much multinomials must save draws


def resample_utterances(table: ArrayLike, seed: int, count: int = REPLICATES) -> np.ndarray:
    """Return column sums of replicates: int64 [count, columns] of ``table`` [utterances, columns] of integers.

    The result depends on the rows and the seed, not on the rows' order. Drawing n rows is drawing how often each
    distinct row comes, a multinomial, which costs less where many utterances share their few numbers.
    """
    generator, table = np.random.default_rng(seed), np.asarray(table, dtype=np.int64)
    rows, often = np.unique(table, axis=0, return_counts=True)
    size, by_multinomial = len(table), len(rows) * _BINOMIAL < len(table)
    columns = np.repeat(rows, often, axis=0).T
    step = max(1, _CELLS_AT_ONCE // (len(rows) if by_multinomial else size))
    parts = []
    for start in range(0, count, step):
        many = min(step, count - start)
        if by_multinomial:
            parts.append(generator.multinomial(size, often / size, size=many) @ rows)
        else:
            drawn = generator.integers(size, size=(many, size), dtype=np.int32)
            parts.append(np.stack([column[drawn].sum(axis=1) for column in columns], axis=1))
    return np.concatenate(parts)


def interval(sums: np.ndarray, statistic: Statistic, lowest: float = -np.inf) -> list[float] | None:
    """Return the 95 % percentile interval of a statistic; None where a replicate has no value."""
    values = statistic(sums)
    if not np.isfinite(values).all():
        return None
    low, high = np.percentile(values, [2.5, 97.5])
    return [max(float(low), lowest), float(high)]
