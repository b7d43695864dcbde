"""Speaker-dependent splits: which set each text goes to, so that no text is in two sets, whoever says it."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence

from asr.preparation.splits.rules import drawn, place
from asr.preparation.splits.split_file import SPLITS

Counts = Mapping[str, Mapping[str, int]]  # {text: {speaker: clips}}
# Which set gets a text that two of them need alike is drawn as well: else texts that many say would go to the last one.
_ORDERS = tuple(itertools.permutations(SPLITS))
_MOST_PASSES = 50  # two or three are enough as a rule


def targets(clips: int, ratios: Sequence[float]) -> dict[str, float]:
    """Return how many of a speaker's clips each set should have: by ``ratios``, and one at least where there are 3."""
    if clips < len(SPLITS):
        return {"train": 1.0, "val": 0.0, "test": clips - 1.0}
    wanted, shares, rest = {}, dict(zip(SPLITS, ratios, strict=True)), clips
    while low := [name for name, share in shares.items() if rest * share < sum(shares.values())]:
        for name in low:
            wanted[name] = 1.0
            del shares[name]
        rest -= len(low)
    return wanted | {name: rest * share / sum(shares.values()) for name, share in shares.items()}


def divide_texts(counts: Counts, ratios: Sequence[float], seed: int) -> dict[str, str]:
    """Return {text: split} for ``counts``; it depends on the seed and on what was said, not on any order.

    Texts are given out in an order drawn by the seed, each to the set in which it leaves the fewest empty sets of its
    speakers, and among these to the one that brings them nearest to ``targets`` (least squares over clips). Then once
    more, until no text alone would be better elsewhere: so a speaker who says every text once, and shares none, is
    exact to the clip.
    """
    clips: Counter[str] = Counter()
    for by_speaker in counts.values():
        clips.update(by_speaker)
    wanted = {speaker: targets(count, ratios) for speaker, count in clips.items()}
    have = {speaker: dict.fromkeys(SPLITS, 0) for speaker in clips}
    chosen: dict[str, str] = {}

    def cost(name: str, said: Sequence[tuple[str, int]]) -> tuple[int, float]:
        """Return what a text more in set ``name`` changes: sets filled, counted down, and the sum of squares."""
        filled = sum(not have[speaker][name] for speaker, _ in said)
        squares = sum(count * (2 * (have[who][name] - wanted[who][name]) + count) for who, count in said)
        return -filled, round(squares, 6)

    order = drawn(counts, seed)
    for _ in range(_MOST_PASSES):
        moved = False
        for text in order:
            said, old = sorted(counts[text].items()), chosen.get(text, "")
            for speaker, count in said if old else ():
                have[speaker][old] -= count
            names = _ORDERS[int(place(seed, text)[-8:], 16) % len(_ORDERS)]
            new = min((old, *names) if old else names, key=lambda name: cost(name, said))
            for speaker, count in said:
                have[speaker][new] += count
            moved |= new != old
            chosen[text] = new
        if not moved:
            break
    return chosen
