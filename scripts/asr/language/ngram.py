"""A character n-gram: how likely a character is after those before it, and how likely a text.

Texts are in scoring form (``asr.scoring.normalize``), in which no control character is left: three of these stand for
the sentence's begin and end and for every character that the model does not know. An n-gram is a string.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

BEGIN, END, UNKNOWN = "\x02", "\x03", "\x00"
LEAST_ORDER, MOST_ORDER, DEFAULT_ORDER = 1, 5, 3


@dataclass(frozen=True)
class NGram:
    """A back-off model: natural-log probabilities of n-grams, and natural-log back-off weights of their contexts.

    Every model has the n-grams END and UNKNOWN; a context without a back-off weight has no n-gram that continues it.
    """

    order: int
    log_probs: Mapping[str, float]
    backoffs: Mapping[str, float]
    vocabulary: frozenset[str] = field(init=False)  # the characters that it knows

    def __post_init__(self) -> None:
        known = {gram for gram in self.log_probs if len(gram) == 1} - {BEGIN, END, UNKNOWN}
        object.__setattr__(self, "vocabulary", frozenset(known))

    def frequencies(self) -> dict[str, float]:
        """Return the probability of each character that it knows, whatever is before it."""
        return {char: math.exp(self.log_probs[char]) for char in sorted(self.vocabulary)}

    @property
    def start(self) -> str:
        """Return the state before a text's first character."""
        return self._state(BEGIN)

    def step(self, state: str, char: str) -> tuple[float, str]:
        """Return the natural-log probability of ``char`` (or END) after ``state``, and the state behind it."""
        if char not in self.log_probs:
            char = UNKNOWN
        total, context = 0.0, state
        while (found := self.log_probs.get(context + char)) is None:
            total += self.backoffs.get(context, 0.0)
            context = context[1:]
        return total + found, self._state(state + char)

    def _state(self, history: str) -> str:
        """Return the longest end of ``history`` that is a context: what is before it changes no probability."""
        state = history[max(0, len(history) - self.order + 1) :]
        while state and state not in self.backoffs:
            state = state[1:]
        return state

    def log_prob(self, text: str) -> float:
        """Return the natural-log probability of a text in scoring form, its end included."""
        total, state = 0.0, self.start
        for char in text + END:
            log_prob, state = self.step(state, char)
            total += log_prob
        return total

    def entropy(self, texts: Iterable[str]) -> float:
        """Return the cross-entropy in nats a character, ends counted as characters. ValueError without texts."""
        total = symbols = 0.0
        for text in texts:
            total += self.log_prob(text)
            symbols += len(text) + 1
        if not symbols:
            raise ValueError("no text to measure on")
        return -total / symbols

    def perplexity(self, texts: Iterable[str]) -> float:
        """Return e to the power of ``entropy``."""
        return math.exp(self.entropy(texts))
