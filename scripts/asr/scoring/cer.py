"""Character error counts: a type that is added and never averaged, and the alignment that makes it."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np


@dataclass(frozen=True, slots=True)
class ErrorCounts:
    """Substitutions, deletions, insertions and hits of one or many utterances.

    Add them and take the rate of the sum: ``ErrorCounts.total(counts).cer``. A mean of the rates of short utterances
    is another, far less stable number.
    """

    sub: int = 0
    del_: int = 0
    ins: int = 0
    hits: int = 0

    @property
    def errors(self) -> int:
        """Substitutions, deletions and insertions together: the edit distance."""
        return self.sub + self.del_ + self.ins

    @property
    def ref_len(self) -> int:
        """Characters of the reference."""
        return self.sub + self.del_ + self.hits

    @property
    def cer(self) -> float | None:
        """Errors per reference character, as a fraction; may exceed 1. None where the reference has no character.

        An empty reference with a non-empty hypothesis still adds its insertions to a sum that it is part of.
        """
        return self.errors / self.ref_len if self.ref_len else None

    def __add__(self, other: ErrorCounts) -> ErrorCounts:
        if not isinstance(other, ErrorCounts):
            return NotImplemented
        return ErrorCounts(self.sub + other.sub, self.del_ + other.del_, self.ins + other.ins, self.hits + other.hits)

    @classmethod
    def total(cls, counts: Iterable[ErrorCounts]) -> ErrorCounts:
        """Return the sum."""
        return sum(counts, cls())

    def as_dict(self) -> dict[str, Any]:
        """Return the fields of score.json."""
        return {
            "cer": self.cer,
            "sub": self.sub,
            "del": self.del_,
            "ins": self.ins,
            "hits": self.hits,
            "ref_len": self.ref_len,
        }


class Chunk(NamedTuple):
    """A run of one operation: ``equal``, ``substitute``, ``delete`` or ``insert``."""

    operation: str
    reference: str
    hypothesis: str


class Alignment(NamedTuple):
    """The counts and the runs of an alignment, in order; the runs spell both texts."""

    counts: ErrorCounts
    chunks: tuple[Chunk, ...]


@functools.lru_cache(maxsize=1 << 16)
def align(reference: str, hypothesis: str) -> Alignment:
    """Align two texts character by character (Unicode code points) as they are: normalise them first.

    Of the alignments with the fewest errors the one with the most hits, which has the fewest substitutions: Kaldi,
    SpeechColab and meeteval decide so among equals.
    """
    chunks = []
    for operation, steps in itertools.groupby(_steps(reference, hypothesis), key=lambda step: step[0]):
        _, *texts = map("".join, zip(*steps, strict=True))
        chunks.append(Chunk(operation, *texts))
    return Alignment(count_errors(chunks), tuple(chunks))


def count_errors(chunks: Iterable[Chunk]) -> ErrorCounts:
    """Return the errors and hits of an alignment."""
    size: dict[str, int] = dict.fromkeys(("substitute", "delete", "insert", "equal"), 0)
    for operation, reference, hypothesis in chunks:
        size[operation] += max(len(reference), len(hypothesis))
    return ErrorCounts(*size.values())


def align_all(pairs: Iterable[tuple[str, str]]) -> list[Alignment]:
    """Return ``align`` of each pair (reference, hypothesis), in order."""
    return [align(*pair) for pair in pairs]


def _steps(reference: str, hypothesis: str) -> Iterator[tuple[str, str, str]]:
    """Yield (operation, reference character, hypothesis character) from left to right; "" where one side has none."""
    left = _common_prefix(reference, hypothesis)
    right = _common_prefix(reference[left:][::-1], hypothesis[left:][::-1])
    yield from (("equal", char, char) for char in reference[:left])
    yield from _middle(reference[left : len(reference) - right], hypothesis[left : len(hypothesis) - right])
    yield from (("equal", char, char) for char in reference[len(reference) - right :])


def _common_prefix(one: str, two: str) -> int:
    """Return the number of characters with which both begin."""
    return next((n for n, (a, b) in enumerate(zip(one, two, strict=False)) if a != b), min(len(one), len(two)))


def _middle(reference: str, hypothesis: str) -> list[tuple[str, str, str]]:
    """Return ``_steps`` of two texts that begin and end differently.

    By Wagner and Fischer's table of least costs, a row at a time. A gap costs ``unit`` and a substitution one more:
    no number of substitutions adds up to another error.
    """
    i, j = len(reference), len(hypothesis)
    unit = min(i, j) + 1
    codes, gaps = np.fromiter(map(ord, hypothesis), np.int64, j), np.arange(j + 1) * unit
    table = np.empty((i + 1, j + 1), np.int64)
    table[0] = gaps
    for number, char in enumerate(reference):
        row = table[number] + unit
        np.minimum(row[1:], table[number, :-1] + (codes != ord(char)) * (unit + 1), out=row[1:])
        table[number + 1] = np.minimum.accumulate(row - gaps) + gaps
    steps = []
    while i or j:
        ref, hyp = reference[i - 1 : i], hypothesis[j - 1 : j]
        if i and table[i, j] == table[i - 1, j] + unit:
            steps.append(("delete", ref, ""))
            i -= 1
        elif j and table[i, j] == table[i, j - 1] + unit:
            steps.append(("insert", "", hyp))
            j -= 1
        else:
            steps.append(("equal" if ref == hyp else "substitute", ref, hyp))
            i, j = i - 1, j - 1
    return steps[::-1]
