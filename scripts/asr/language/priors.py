"""What is known of a text beside its sound, as one automaton that the searches walk: language model and phrases.

A text's score is the model's own log-probability, and for each of its characters c after h

    weight * (ln P(c | h) + bonus)  +  what phrases add,

and weight * ln P(end | h) at its end. ``bonus`` is the language model's cross-entropy a character on validation
(``NGram.entropy``): a character of average surprise then costs nothing, so that the weight alone makes texts neither
shorter nor longer, and no second weight has to be chosen.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from asr.language.ngram import END, NGram
from asr.language.phrases import Phrases
from asr.scoring.normalize import scoring_form

if TYPE_CHECKING:
    from asr.language.channel import Channel


class State:
    """A state of the automaton. ``arcs``: {token: (what it adds, the state behind it)}, filled as tokens are met."""

    __slots__ = ("arcs", "end", "lm", "phrase")

    def __init__(self, lm: str, phrase: int, end: float) -> None:
        self.lm, self.phrase, self.end = lm, phrase, end
        self.arcs: dict[str, tuple[float, State]] = {}


@dataclass(frozen=True, eq=False)
class Priors:
    """A language model, what sounds alike, and phrases, each with its weight; what is None or 0 is off."""

    lm: NGram | None = None
    lm_weight: float = 0.0
    bonus: float = 0.0  # nats a character
    channel: Channel | None = None
    channel_weight: float = 0.0
    phrases: Phrases | None = None
    _states: dict[tuple[str, int], State] = field(default_factory=dict, init=False, repr=False)

    @property
    def off(self) -> bool:
        """Return whether nothing is known beside the sound: the text is the greedy one, as it is."""
        uses_lm = self.lm is not None and self.lm_weight != 0
        uses_channel = self.channel is not None and self.channel_weight != 0
        return not (uses_lm or uses_channel or self.phrases)

    @property
    def start(self) -> State:
        """Return the state before a text."""
        return self._state(self.lm.start if self.lm and self.lm_weight else "", 0)

    def arc(self, state: State, token: str) -> tuple[float, State]:
        """Return what ``token``, any string, adds to the score behind ``state``, and the state behind it."""
        found = state.arcs.get(token)
        if found is None:
            found = state.arcs[token] = self.walk(state, token)
        return found

    def walk(self, state: State, text: str) -> tuple[float, State]:
        """Do what ``arc`` does without keeping it: for whole texts."""
        lm, phrase, total = state.lm, state.phrase, 0.0
        for char in scoring_form(text):
            if self.lm and self.lm_weight:
                log_prob, lm = self.lm.step(lm, char)
                total += self.lm_weight * (log_prob + self.bonus)
            if self.phrases:
                boost, phrase = self.phrases.step(phrase, char)
                total += boost
        return total, self._state(lm, phrase)

    def score(self, text: str) -> float:
        """Return what is added to a whole text's log-probability, its end included."""
        total, state = self.walk(self.start, text)
        return total + state.end

    def _state(self, lm: str, phrase: int) -> State:
        state = self._states.get((lm, phrase))
        if state is None:
            end = self.phrases.end(phrase) if self.phrases else 0.0
            if self.lm and self.lm_weight:
                end += self.lm_weight * self.lm.step(lm, END)[0]
            state = self._states[lm, phrase] = State(lm, phrase, end)
        return state
