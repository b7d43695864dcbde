"""Tests of two systems on the same utterances: matched pairs of segments, and sign flips over speakers."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from asr.scoring.cer import Chunk

MIN_GOOD = 2  # characters in a row that both systems have right end a segment
FEW_SEGMENTS = 50
_EXACT_SPEAKERS = 16  # 65,536 sign patterns
_PATTERNS = 100_000
LEAST_P = 1 / _PATTERNS  # that so many patterns can give

Difference = tuple[int, int]  # errors of the first and of the second system in one segment


def segments(first: Sequence[Chunk], second: Sequence[Chunk], min_good: int = MIN_GOOD) -> Iterator[Difference]:
    """Yield the errors of two systems in each segment of an utterance; alignments are with the same reference.

    A segment is a stretch between ``min_good`` or more reference characters that both systems have right, with nothing
    inserted among them, in which at least one system errs (Gillick and Cox 1989; the utterance's ends end a segment
    too). Errors in one segment may depend on each other; those of different segments are taken as independent.
    """
    errors, good = [0, 0], 0
    for (inserted_1, wrong_1), (inserted_2, wrong_2) in zip(_events(first), _events(second), strict=True):
        if any(errors) and good >= min_good:
            yield errors[0], errors[1]
            errors = [0, 0]
        if inserted_1 or inserted_2:
            good = 0
        errors[0] += inserted_1 + wrong_1
        errors[1] += inserted_2 + wrong_2
        good = 0 if wrong_1 or wrong_2 else good + 1
    if any(errors):
        yield errors[0], errors[1]


def _events(chunks: Sequence[Chunk]) -> list[tuple[int, int]]:
    """Return for each reference character, and once more behind the last: insertions before it, and if it is wrong."""
    events, inserted = [], 0
    for operation, reference, hypothesis in chunks:
        if operation == "insert":
            inserted += len(hypothesis)
        for _ in reference:
            events.append((inserted, int(operation != "equal")))
            inserted = 0
    return [*events, (inserted, 0)]


def mapsswe(differences: Iterable[Difference]) -> dict[str, Any] | None:
    """Return the matched-pairs sentence-segment test, two-sided; None where there is no segment.

    With Z the difference of the errors in a segment, z = mean(Z) / (sd(Z) / sqrt(n)) is compared with the normal
    distribution (Gillick and Cox, "Some statistical issues in the comparison of speech recognition algorithms", ICASSP
    1989). ``mean_difference`` is errors a segment, first - second.
    """
    values = [before - after for before, after in differences]
    count = len(values)
    if not count:
        return None
    mean = sum(values) / count
    variance = sum((value - mean) ** 2 for value in values) / (count - 1) if count > 1 else 0.0
    z = p = note = None
    if variance:
        z = mean / math.sqrt(variance / count)
        p = math.erfc(abs(z) / math.sqrt(2))
        if count < FEW_SEGMENTS:
            note = f"{count} segments are few for the normal distribution that the test assumes"
    else:
        note = "every segment differs by the same number of errors: nothing to test with"
    return {"segments": count, "mean_difference": mean, "z": z, "p": p, "note": note}


def sign_flip(differences: Sequence[float], seed: int = 0) -> tuple[float | None, float | None]:
    """Two-sided sign-flip (paired permutation) test of a mean difference over speakers: p, and the least p possible.

    Exact up to 16 speakers, by 100,000 seeded patterns above. With 5 speakers there are 2^5 patterns of signs, so that
    p cannot be below 2/32 = 0.0625, however large the difference is.
    """
    values, count = np.asarray(differences, dtype=float), len(differences)
    if not count:
        return None, None
    if count <= _EXACT_SPEAKERS:
        signs = np.array(list(itertools.product((-1.0, 1.0), repeat=count)))
        least = 2.0 / len(signs)
    else:
        signs = np.random.default_rng(seed).choice((-1.0, 1.0), size=(_PATTERNS, count))
        signs[0] = 1.0  # the pattern that was seen is one of them
        least = LEAST_P
    sums = np.abs(signs @ values)
    return float(np.mean(sums >= abs(values.sum()) - 1e-12)), least


def holm(values: Sequence[float | None]) -> list[float | None]:
    """Return p values adjusted for having made several tests (Holm 1979); None stays None."""
    adjusted: list[float | None] = [None] * len(values)
    ascending = sorted((value, place) for place, value in enumerate(values) if value is not None)
    largest = 0.0
    for rank, (value, place) in enumerate(ascending):
        largest = max(largest, min(1.0, (len(ascending) - rank) * value))
        adjusted[place] = largest
    return adjusted


def p_value(p: float | None) -> str:
    """Return a p value in three digits, ``< 0.0001`` below that, ``n/a`` where there is none."""
    if p is None:
        return "n/a"
    return "< 0.0001" if p < 0.0001 else f"{p:.3g}"


def p_equals(p: float | None) -> str:
    """Return ``p = 0.125``, ``p < 0.0001``, ``p n/a``."""
    value = p_value(p)
    return f"p {value}" if value.startswith(("<", "n")) else f"p = {value}"
