"""So many minutes of each speaker's to train and validate by: what a person has to record before a model is theirs."""

from __future__ import annotations

from collections.abc import Sequence

from asr.core.manifest import Utterance
from asr.preparation.splits.rules import place
from asr.preparation.splits.split_file import Split


def budget_of(split: Split) -> dict[str, float]:
    """Return the seconds of each speaker's that train and val may have: the budget, divided as the split's ratios."""
    assert split.budget
    assert split.ratios
    train, val, _ = split.ratios
    return {"train": split.budget * train / (train + val), "val": split.budget * val / (train + val)}


def within_budget(utterances: Sequence[Utterance], seconds: float, seed: int) -> set[str]:
    """Return the keys of each speaker's first utterances that fit into ``seconds``, one at least.

    The order is drawn by the seed and the budget has no part in it: a larger one holds all that a smaller one does.
    """
    spent: dict[str, float] = {}
    full: set[str] = set()
    kept = set()
    for item in sorted(utterances, key=lambda item: (place(seed, item.key), item.key)):
        total = spent.get(item.speaker, 0.0) + item.duration
        if item.speaker in full or (total > seconds and item.speaker in spent):
            full.add(item.speaker)
            continue
        spent[item.speaker] = total
        kept.add(item.key)
    return kept
