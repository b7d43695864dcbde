"""Confidences made true on validation, and how good they are: calibration error, AUC, risk by coverage.

Temperature (Guo et al., ICML 2017, on the odds of the one character) has one number to fit and is taken where
validation is small; isotonic regression, which can take any rising form, from ``MANY`` characters on (Niculescu-Mizil
and Caruana, ICML 2005, found it the better from about there). Below ``LEAST`` characters or ``LEAST_WRONG`` wrong ones
nothing is fitted, and that is said.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from asr.core.nbest import NBest
from asr.language.confidence import characters, judged
from asr.scoring.cer import align
from asr.scoring.normalize import scoring_form
from asr.scoring.number_readings import nearest

LEAST, LEAST_WRONG, MANY = 200, 20, 1000
NONE, TEMPERATURE, ISOTONIC = "none", "temperature", "isotonic"
BINS = 15
COVERAGES = tuple(number / 10 for number in range(1, 11))
_EDGE = 1e-6  # probabilities are kept so far from 0 and 1 before odds are taken


@dataclass(frozen=True)
class Calibration:
    """How confidences are changed, and what it was fitted on; ``method`` none: not at all, for want of characters.

    ``points`` are isotonic regression's (confidence, share of right ones), between which a line is drawn.
    """

    method: str
    characters: int
    wrong: int
    temperature: float = 1.0
    points: tuple[tuple[float, float], ...] = ()

    def __call__(self, confidences: Iterable[float]) -> list[float]:
        """Return the calibrated confidences."""
        probs = np.fromiter(confidences, float)
        if self.method == TEMPERATURE:
            probs = _tempered(probs, 1 / self.temperature)
        elif self.method == ISOTONIC:
            probs = np.interp(probs, [x for x, _ in self.points], [y for _, y in self.points])
        return probs.tolist()

    def utterance(self, confidences: Iterable[float]) -> float:
        """Return the share of an utterance's characters that is expected to be right; 0 where there are none."""
        probs = self(confidences)
        return sum(probs) / len(probs) if probs else 0.0

    def as_dict(self) -> dict[str, Any]:
        """Return what is recorded, and what ``from_dict`` reads."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Calibration:
        """Return the calibration that ``as_dict`` has written. ValueError, KeyError or TypeError for anything else."""
        made = cls(**{**values, "points": tuple((float(x), float(y)) for x, y in values["points"])})
        if made.method not in (NONE, TEMPERATURE, ISOTONIC) or not made.temperature > 0:
            raise ValueError(f"no calibration: {values}")
        if made.method == ISOTONIC and not made.points:
            raise ValueError("isotonic regression without a point")
        return made


def _tempered(probs: np.ndarray, inverse: float) -> np.ndarray:
    clipped = np.clip(probs, _EDGE, 1 - _EDGE)
    return 1 / (1 + ((1 - clipped) / clipped) ** inverse)


def fit(pairs: Sequence[tuple[float, bool]]) -> Calibration:
    """Return the calibration of (confidence, whether right) pairs of characters of validation."""
    confidences = np.array([confidence for confidence, _ in pairs], float)
    right = np.array([is_right for _, is_right in pairs], float)
    wrong = int(len(pairs) - right.sum())
    if len(pairs) < LEAST or wrong < LEAST_WRONG or right.sum() < LEAST_WRONG:
        return Calibration(NONE, len(pairs), wrong)
    if len(pairs) < MANY:
        return Calibration(TEMPERATURE, len(pairs), wrong, _fit_temperature(confidences, right))
    return Calibration(ISOTONIC, len(pairs), wrong, points=_fit_isotonic(confidences, right))


def _fit_temperature(confidences: np.ndarray, right: np.ndarray) -> float:
    """Return the temperature under which the answers are likeliest; the loss is convex in its inverse."""
    from scipy.optimize import minimize_scalar

    clipped = np.clip(confidences, _EDGE, 1 - _EDGE)
    log_odds = np.log(clipped) - np.log1p(-clipped)
    wrong_way = np.where(right > 0, -log_odds, log_odds)

    def loss(inverse: float) -> float:
        return float(np.mean(np.logaddexp(0, inverse * wrong_way)))

    return 1 / float(minimize_scalar(loss, bounds=(0.01, 20), method="bounded").x)  # type: ignore[union-attr]


def _fit_isotonic(confidences: np.ndarray, right: np.ndarray) -> tuple[tuple[float, float], ...]:
    """Return the ends of the level stretches; no share is closer to 0 or 1 than so many characters can show."""
    from scipy.optimize import isotonic_regression

    values, index, times = np.unique(confidences, return_inverse=True, return_counts=True)
    shares = np.bincount(index, weights=right) / times
    fitted = np.clip(isotonic_regression(shares, weights=times).x, 1 / (len(right) + 2), 1 - 1 / (len(right) + 2))
    change = np.flatnonzero(np.diff(fitted))
    ends = np.unique(np.concatenate([[0], change, change + 1, [len(values) - 1]]))
    return tuple((float(values[at]), float(fitted[at])) for at in ends)


# How good confidences are ------------------------------------------------------------------------------------------


def reliability(pairs: Sequence[tuple[float, bool]], bins: int = BINS) -> list[dict[str, float]]:
    """Return the bins of equal width that hold something: mean confidence, share of right ones, count."""
    rows = []
    confidences = np.array([confidence for confidence, _ in pairs], float)
    right = np.array([is_right for _, is_right in pairs], float)
    place = np.minimum((confidences * bins).astype(int), bins - 1)
    for number in range(bins):
        inside = place == number
        if inside.any():
            row = {"confidence": float(confidences[inside].mean()), "right": float(right[inside].mean())}
            rows.append({**row, "count": int(inside.sum())})
    return rows


def calibration_error(pairs: Sequence[tuple[float, bool]], bins: int = BINS) -> float | None:
    """Return the expected calibration error (Guo et al. 2017); None without characters."""
    if not pairs:
        return None
    return sum(row["count"] * abs(row["confidence"] - row["right"]) for row in reliability(pairs, bins)) / len(pairs)


def auc(pairs: Sequence[tuple[float, bool]]) -> float | None:
    """Return how often a right character is surer than a wrong one, ties by half; None where there are not both."""
    from scipy.stats import rankdata

    right = np.array([is_right for _, is_right in pairs], bool)
    positives, negatives = int(right.sum()), int((~right).sum())
    if not positives or not negatives:
        return None
    ranks = rankdata([confidence for confidence, _ in pairs])
    return float((ranks[right].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def risk_coverage(utterances: Sequence[tuple[float, int, int]]) -> list[dict[str, float | None]]:
    """Return the CER of the surest tenth, two tenths, … of (confidence, errors, reference length).

    Utterances that are equally sure count by the mean of their order: all of them add their average.
    """
    tied: dict[float, list[int]] = {}
    for confidence, errors, length in utterances:
        row = tied.setdefault(confidence, [0, 0, 0])
        row[:] = row[0] + 1, row[1] + errors, row[2] + length
    rows: list[dict[str, float | None]] = []
    for coverage in COVERAGES:
        left, errors, length = coverage * len(utterances), 0.0, 0.0
        for confidence in sorted(tied, reverse=True):
            count, wrong, size = tied[confidence]
            part = max(0.0, min(1.0, left / count))
            left, errors, length = left - count, errors + part * wrong, length + part * size
        rows.append({"coverage": coverage, "cer": errors / length if length else None})
    return rows


def evaluate(
    items: Sequence[NBest],
    references: Mapping[str, str],
    calibration: Calibration,
    texts: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Return how good the confidences of ``texts`` are, the greedy ones unless given: what the report shows.

    ``raw`` and ``calibrated``: calibration error, AUC, bins. ``risk_coverage``: CER of the surest utterances.
    """
    raw: list[tuple[float, bool]] = []
    utterances = []
    for item in items:
        text = item.greedy if texts is None else texts[item.key]
        raw += judged(item, references[item.key], text)
        form = scoring_form(references[item.key])
        counts = align(form, nearest(form, text)[0]).counts
        sure = calibration.utterance(character.confidence for character in characters(item, text))
        utterances.append((sure, counts.errors, counts.ref_len))
    calibrated = list(zip(calibration(confidence for confidence, _ in raw), (right for _, right in raw), strict=True))
    return {
        "characters": len(raw),
        "wrong": sum(not right for _, right in raw),
        **{name: _quality(pairs) for name, pairs in (("raw", raw), ("calibrated", calibrated))},
        "risk_coverage": risk_coverage(utterances),
    }


def _quality(pairs: Sequence[tuple[float, bool]]) -> dict[str, Any]:
    return {"calibration_error": calibration_error(pairs), "auc": auc(pairs), "bins": reliability(pairs)}
