"""The weights of language model and channel: one of each for a system, chosen on validation from one grid.

The same grid for every system, so that none is tuned more than another. All of it is returned, for the record.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from asr.core.nbest import NBest
from asr.language.channel import Channel
from asr.language.ngram import NGram
from asr.language.priors import Priors
from asr.language.search import BEAM, search
from asr.scoring.cer import ErrorCounts, align
from asr.scoring.normalize import scoring_form
from asr.scoring.number_readings import nearest

LM_WEIGHTS = (0.0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0)
CHANNEL_WEIGHTS = (0.0, 0.1, 0.2, 0.4)


@dataclass(frozen=True)
class Cell:
    """Validation's errors at a pair of weights."""

    lm_weight: float
    channel_weight: float
    errors: int
    ref_len: int

    @property
    def cer(self) -> float | None:
        """Return the character error rate, a fraction."""
        return self.errors / self.ref_len if self.ref_len else None


@dataclass(frozen=True)
class Choice:
    """The chosen cell, every cell of the grid, and the priors to search with."""

    best: Cell
    grid: tuple[Cell, ...]
    priors: Priors

    def as_dict(self) -> dict[str, Any]:
        """Return what is recorded."""
        rows = [{**asdict(cell), "cer": cell.cer} for cell in self.grid]
        weights = {"lm_weight": self.best.lm_weight, "channel_weight": self.best.channel_weight}
        return {**weights, "bonus": self.priors.bonus, "grid": rows}


def count_errors(items: Sequence[NBest], references: Mapping[str, str], texts: Mapping[str, str]) -> ErrorCounts:
    """Return the errors of ``texts`` as scoring counts them, over the utterances that have candidates."""
    return ErrorCounts.total(_counts(references[item.key], texts[item.key]) for item in items)


def _counts(reference: str, text: str) -> ErrorCounts:
    form = scoring_form(reference)
    return align(form, nearest(form, text)[0]).counts


def choose(
    items: Sequence[NBest],
    references: Mapping[str, str],
    lm: NGram | None,
    with_channel: bool = False,
    beam: int = BEAM,
) -> Choice:
    """Return the weights with the fewest errors on validation; of equals the smaller, the language model's first.

    ``references`` is {key: text}. While its weight is chosen, the channel of every other utterance is made of the
    rest, so that no utterance is searched with its own errors; the channel to search with is made of all.
    """
    bonus = lm.entropy(map(scoring_form, (references[item.key] for item in items))) if lm and items else 0.0
    halves: list[Channel | None] = [None, None]
    whole = None
    if with_channel:
        pairs = [(references[item.key], item.greedy) for item in items]
        frequencies = lm.frequencies() if lm else {}
        whole = Channel.estimate(pairs, frequencies)
        halves = [Channel.estimate(pairs[1 - part :: 2], frequencies) for part in (0, 1)]
    cells = []
    lm_weights, channel_weights = (LM_WEIGHTS if lm else (0.0,)), (CHANNEL_WEIGHTS if with_channel else (0.0,))
    for lm_weight, channel_weight in itertools.product(lm_weights, channel_weights):
        priors = [Priors(lm, lm_weight, bonus, half, channel_weight) for half in dict.fromkeys(halves)]
        texts = {item.key: search(item, priors[at % len(priors)], beam) for at, item in enumerate(items)}
        counts = count_errors(items, references, texts)
        cells.append(Cell(lm_weight, channel_weight, counts.errors, counts.ref_len))
    best = min(cells, key=lambda cell: (cell.errors, cell.lm_weight, cell.channel_weight))
    return Choice(best, tuple(cells), Priors(lm, best.lm_weight, bonus, whole, best.channel_weight))
