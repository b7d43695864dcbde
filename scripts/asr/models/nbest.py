"""What a model held possible beside its text: the candidates of each position or frame, or a beam's texts.

Read off the scores that greedy decoding computes anyway; ``asr.core.nbest`` is what they become in a file.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor

from asr.core.nbest import CTC, HYPOTHESES, POSITIONS

CANDIDATES = 8
CERTAIN = math.log(0.999)  # a frame that is blank with more is blank whatever is searched for

Ids = list[int]
Step = list[tuple[int, float]]


class Decoded(NamedTuple):
    """A clip's token ids, text alone, and what else there might have been, likeliest first.

    Attributes:
        kind: POSITIONS, CTC or HYPOTHESES of asr.core.nbest.
        steps: (id, natural log-probability) of each position or frame.
        beam: (ids, log-probability) of each text of a beam.
        blank: CTC's id for nothing.
    """

    ids: Ids
    kind: str = HYPOTHESES
    steps: Sequence[Step] = ()
    beam: Sequence[tuple[Ids, float]] = ()
    blank: int | None = None


def of_positions(ids: Ids, scores: Tensor) -> Decoded:
    """Return a clip's candidates of (N, V) log-probabilities, a row a token."""
    return Decoded(ids, POSITIONS, _candidates(scores))


def of_frames(ids: Ids, scores: Tensor, blank: int) -> Decoded:
    """Return a clip's candidates of CTC's (T, V) log-probabilities.

    Of frames in a row that are blank beyond doubt one is kept: it keeps what is repeated apart.
    """
    certain = scores[:, blank] > CERTAIN
    repeated = certain & certain.roll(1)
    repeated[:1] = False
    return Decoded(ids, CTC, _candidates(scores[~repeated]), blank=blank)


def _candidates(scores: Tensor) -> list[Step]:
    values, ids = scores.float().clamp(max=0).topk(min(CANDIDATES, scores.size(-1)))
    return [list(zip(*row, strict=True)) for row in zip(ids.tolist(), values.tolist(), strict=True)]


def of_beam(ids: Ids, beam: Sequence[tuple[Ids, float]]) -> Decoded:
    """Return a clip's text and the beam's, each text once."""
    best: dict[tuple[int, ...], tuple[Ids, float]] = {}
    for each, score in beam:
        best.setdefault(tuple(each), (each, score))
    return Decoded(ids, HYPOTHESES, beam=list(best.values())[:CANDIDATES] or [(ids, 0.0)])
