"""What sounds alike: how likely a character is recognised where another was said, learned from a system's own errors.

A noisy channel over Mandarin syllables (``asr.scoring.mandarin``). With probability ``right`` a character is recognised
as itself; otherwise its syllable becomes one by the confusions of validation, each of whose characters is as likely:

    P(r | s) = (1 - right) P(syllable r | syllable s) / (characters of syllable r),   r not s, made to sum to one.

Of syllables little is seen, so their confusions are smoothed (Witten and Bell 1991) towards the product of those of
initial, final and tone, and these towards "as often the same as in all pairs, else as often as it is recognised".

In the search a candidate r shares its probability p(r) with the characters s that may have been said:

    p'(s) = (1 - weight) p(s) + weight * sum over r of p(r) P(r | s) / (sum of P(r | s') over r's candidates s')

over r itself and the ``ALIKE`` characters s most likely behind it among those that the language model knows; which of
them it is, the language model says. ``weight`` 0 changes nothing.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping

import numpy as np

from asr.core.nbest import Candidates
from asr.scoring.cer import align
from asr.scoring.mandarin import Syllable, read
from asr.scoring.normalize import scoring_form

ALIKE = 10
_LEAST = 0.01  # probability of a candidate that is looked behind
_FACTORS = ("initial", "final", "tone")
_Pairs = Counter[tuple[Syllable, Syllable]]  # (said, recognised)


class Channel:
    """P(recognised | said) over the characters of ``frequencies`` and the syllables of the confusions."""

    def __init__(self, confusions: _Pairs, right: float, frequencies: Mapping[str, float]) -> None:
        self.right = right
        self.frequencies = dict(frequencies)
        self._syllable = {char: read(char)[0] for char in sorted(frequencies) if read(char)[0].tone}
        both = {syllable for pair in confusions for syllable in pair}
        table = sorted(both | set(self._syllable.values()))
        self._row = {syllable: row for row, syllable in enumerate(table)}
        self._matrix = _syllable_matrix(confusions, table)
        self._homophones = Counter(self._syllable.values())
        self._example = {syllable: char for char, syllable in self._syllable.items()}
        known = [self._row[syllable] for syllable in self._homophones]
        self._mass = self._matrix[:, known].sum(axis=1)  # by row: of syllables that have a character
        self._behind: dict[str, list[tuple[str, float]]] = {}

    @classmethod
    def estimate(cls, pairs: Iterable[tuple[str, str]], frequencies: Mapping[str, float]) -> Channel:
        """Return the channel of pairs (reference, hypothesis); ``frequencies`` are the language model's characters'."""
        confusions: _Pairs = Counter()
        hits = wrong = 0
        for reference, hypothesis in ((scoring_form(one), scoring_form(other)) for one, other in pairs):
            said, recognised, i, j = read(reference), read(hypothesis), 0, 0
            for operation, ref, hyp in align(reference, hypothesis).chunks:
                if operation == "substitute":
                    both = zip(said[i : i + len(ref)], recognised[j : j + len(hyp)], strict=True)
                    confusions.update((one, other) for one, other in both if one.tone and other.tone)
                hits += len(ref) if operation == "equal" else 0
                wrong += len(ref) if operation == "substitute" else 0
                i, j = i + len(ref), j + len(hyp)
        return cls(confusions, (hits + 1) / (hits + wrong + 2), frequencies)

    def log_prob(self, recognised: str, said: str) -> float:
        """Return ln P(recognised | said); ``said`` is a character of the language model."""
        if recognised == said:
            return math.log(self.right)
        prob = self._confused(self._syllable.get(recognised) or read(recognised)[0], said)
        return math.log(prob) if prob else -math.inf

    def _confused(self, recognised: Syllable, said: str) -> float:
        """Return P(a character of ``recognised``, other than ``said`` | said)."""
        own = self._syllable.get(said)
        if own is None or recognised not in self._row:
            return 0.0
        at = self._row[own]
        others = self._mass[at] - self._matrix[at, at] / self._homophones[own]
        share = self._matrix[at, self._row[recognised]] / max(1, self._homophones[recognised])
        return float((1 - self.right) * share / others) if others > 0 else 0.0

    def extend(self, step: Candidates, weight: float) -> list[tuple[str, float]]:
        """Return a step's candidates with those that sound like them, log-probabilities of p' above."""
        probs: dict[str, float] = {}
        for token, log_prob in step:
            prob = math.exp(log_prob)
            behind = self._said_behind(token.strip()) if prob >= _LEAST else []
            probs[token] = probs.get(token, 0.0) + (prob if not behind else (1 - weight) * prob)
            for said, share in behind:
                spelt = token if said == token.strip() else said
                probs[spelt] = probs.get(spelt, 0.0) + weight * prob * share
        return [(token, math.log(prob)) for token, prob in probs.items() if prob > 0]

    def _said_behind(self, recognised: str) -> list[tuple[str, float]]:
        """Return what may have been said where ``recognised`` was, with shares that sum to one; nothing of no Han."""
        found = self._behind.get(recognised)
        if found is None:
            found = self._behind[recognised] = self._look_behind(recognised)
        return found

    def _look_behind(self, recognised: str) -> list[tuple[str, float]]:
        if len(recognised) != 1 or not read(recognised)[0].tone:
            return []
        syllable = self._syllable.get(recognised) or read(recognised)[0]
        by_syllable = {said: self._confused(syllable, self._example[said]) for said in self._homophones}
        probs = {char: by_syllable[own] for char, own in self._syllable.items() if char != recognised}
        likely = sorted(probs, key=lambda char: (-probs[char] * self.frequencies[char], char))[:ALIKE]
        shares = {recognised: self.right, **{char: probs[char] for char in likely if probs[char] > 0}}
        return [(char, share / sum(shares.values())) for char, share in shares.items()]


def _syllable_matrix(confusions: _Pairs, table: list[Syllable]) -> np.ndarray:
    """Return P(syllable of the column | syllable of the row) where a character was taken for another."""
    product = np.ones((len(table), len(table)))
    for name in _FACTORS:
        labels = sorted({getattr(syllable, name) for syllable in table})
        counts: Counter[tuple[str, str]] = Counter()
        for (said, recognised), times in confusions.items():
            counts[getattr(said, name), getattr(recognised, name)] += times
        at = [labels.index(getattr(syllable, name)) for syllable in table]
        product *= _smoothed(_as_matrix(counts, labels), _base(_as_matrix(counts, labels)))[np.ix_(at, at)]
    product /= product.sum(axis=1, keepdims=True)  # over the syllables that there are
    return _smoothed(_as_matrix(confusions, table), product)


def _as_matrix(counts: Mapping[tuple, int], labels: list) -> np.ndarray:
    index = {label: number for number, label in enumerate(labels)}
    matrix = np.zeros((len(labels), len(labels)))
    for (said, recognised), times in counts.items():
        matrix[index[said], index[recognised]] = times
    return matrix


def _base(counts: np.ndarray) -> np.ndarray:
    """Return the distribution of one label for another where a label itself was not seen: one share of "the same"."""
    same = (np.trace(counts) + 1) / (counts.sum() + 2)
    often = counts.sum(axis=0) + 1
    others = np.tile(often, (len(often), 1)) * (1 - np.eye(len(often)))
    total = others.sum(axis=1, keepdims=True)
    others = np.divide(others, total, out=np.zeros_like(others), where=total > 0)
    base = same * np.eye(len(often)) + (1 - same) * others
    return base / base.sum(axis=1, keepdims=True)


def _smoothed(counts: np.ndarray, base: np.ndarray) -> np.ndarray:
    """Return Witten and Bell's mixture: a row that has seen many different labels trusts its base the more."""
    kinds = np.maximum((counts > 0).sum(axis=1, keepdims=True), 1)
    return (counts + kinds * base) / (counts.sum(axis=1, keepdims=True) + kinds)
