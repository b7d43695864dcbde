"""Phrases of a user's own (names, drugs, places): boosted in the search, and counted where nobody said them.

Contextual biasing by an Aho-Corasick automaton over characters (Aho and Corasick 1975; Zhao et al., Interspeech 2019):
a text gains a phrase's boost, ``weight`` a character, for every time that the phrase stands in it, and nothing else.
While a phrase is only begun, its part of the boost is lent, so that the beam keeps it, and taken back where the phrase
goes on otherwise or the text ends. Phrases that overlap or lie within one another are each boosted.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from asr.core.errors import RecipeError, at
from asr.language.text_files import numbered_lines
from asr.scoring.normalize import scoring_form

WEIGHT = 1.0  # nats a character, where the file gives none (docs/decoding.md has what others find and insert)


class Phrases:
    """The automaton: a state is a number, the longest end of a text that begins a phrase; 0 where none does."""

    def __init__(self, weights: Mapping[str, float]) -> None:
        """Build it of {phrase in scoring form: nats a character}."""
        self.weights = dict(weights)
        self._next: list[dict[str, int]] = [{}]
        self._fail = [0]
        self._done = [0.0]  # the boosts of the phrases that end here
        self._lent = [0.0]  # the part of a boost that is lent here
        for phrase, weight in self.weights.items():
            self._add(phrase, weight)
        self._link()

    def _add(self, phrase: str, weight: float) -> None:
        node = 0
        for length, char in enumerate(phrase, 1):
            if char not in self._next[node]:
                self._next[node][char] = len(self._next)
                self._next.append({})
                self._fail.append(0)
                self._done.append(0.0)
                self._lent.append(0.0)
            node = self._next[node][char]
            if length < len(phrase):
                self._lent[node] = max(self._lent[node], weight * length)
        self._done[node] += weight * len(phrase)

    def _link(self) -> None:
        """Set where each node goes on when none of its own characters follows, breadth first."""
        level = list(self._next[0].values())
        while level:
            for node in level:
                for char, child in self._next[node].items():
                    self._fail[child] = self._go(self._fail[node], char)
            for node in level:
                self._done[node] += self._done[self._fail[node]]
                self._lent[node] = max(self._lent[node], self._lent[self._fail[node]])
            level = [child for node in level for child in self._next[node].values()]

    def _go(self, node: int, char: str) -> int:
        while node and char not in self._next[node]:
            node = self._fail[node]
        return self._next[node].get(char, 0)

    def step(self, node: int, char: str) -> tuple[float, int]:
        """Return what ``char`` adds to the score behind ``node``, and the node behind it."""
        after = self._go(node, char)
        return self._done[after] + self._lent[after] - self._lent[node], after

    def end(self, node: int) -> float:
        """Return what the text's end adds behind ``node``: what was lent is taken back."""
        return -self._lent[node]


def read_phrases(path: str | os.PathLike[str]) -> Phrases:
    """Return the phrases of a file (plain or .gz): one a line, and behind a tab, if any, nats a character.

    RecipeError, with file and line, for a weight that is no number above 0, for a phrase of marks only, for one that
    is there already, and for a file without phrases.
    """
    path = Path(path)
    weights: dict[str, float] = {}
    lines: dict[str, int] = {}
    for number, line in numbered_lines(path):
        if not line.strip():
            continue
        written, tab, weight = line.partition("\t")
        if not tab and re.search(r"\s[\d.]+$", line.rstrip()):
            raise RecipeError(f"{at(path, number)}: put a tab, not a blank, between the phrase and its weight")
        phrase, where = scoring_form(written), at(path, number)
        if not phrase:
            raise RecipeError(f"{where}: no character is left of the phrase as texts are scored; take the line out")
        if (first := lines.setdefault(phrase, number)) != number:
            raise RecipeError(f"{where}: the phrase of line {first} again, as texts are scored; take one out")
        weights[phrase] = _weight(weight, where)
    if not weights:
        raise RecipeError(f"{path}: holds no phrase; write one a line")
    return Phrases(weights)


def _weight(written: str, where: str) -> float:
    if not written.strip():
        return WEIGHT
    try:
        weight = float(written)
    except ValueError:
        weight = math.nan
    if not 0 < weight < math.inf:
        raise RecipeError(
            f"{where}: weight {written.strip()!r}: behind the tab goes a number above 0, such as {WEIGHT}"
        )
    return weight


@dataclass(frozen=True)
class PhraseCounts:
    """How often a phrase was said, was recognised where it was, and was written where nobody said it."""

    said: int
    recognised: int
    inserted: int


def count_phrases(phrases: Phrases, pairs: Iterable[tuple[str, str]]) -> dict[str, PhraseCounts]:
    """Return each phrase's counts over pairs (reference, hypothesis), utterance by utterance, wherever in it."""
    texts = [(scoring_form(reference), scoring_form(hypothesis)) for reference, hypothesis in pairs]
    counts = {}
    for phrase in phrases.weights:
        both = [(reference.count(phrase), hypothesis.count(phrase)) for reference, hypothesis in texts]
        counts[phrase] = PhraseCounts(
            said=sum(said for said, _ in both),
            recognised=sum(map(min, both)),
            inserted=sum(max(0, written - said) for said, written in both),
        )
    return counts
