"""How sure a text is, by character and by utterance, from what the model held possible there.

- positions: the probability of the character at its position.
- ctc: that at the frame where the greedy path's token peaks (of the frames that it stays on, the likeliest).
- hypotheses: the text's share of the beam's probability, which all its characters have in common.

A text that a search has changed is laid beside the greedy one: a character in another's place has the probability that
the model gave it there, one that was put in has none. Raw figures; ``asr.language.calibration`` makes them shares.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import NamedTuple

from asr.core.nbest import CTC, HYPOTHESES, Candidates, NBest
from asr.scoring.cer import align
from asr.scoring.normalize import scoring_form


class Character(NamedTuple):
    """A character of a text in scoring form, its probability, and the model's other candidates, likeliest first."""

    char: str
    confidence: float
    alternatives: tuple[tuple[str, float], ...] = ()


def characters(item: NBest, text: str | None = None) -> list[Character]:
    """Return the characters of ``text``, the greedy one unless given, in scoring form."""
    form = scoring_form(item.greedy if text is None else text)
    if item.kind == HYPOTHESES:
        share = _share(item.texts, form)
        return [Character(char, share) for char in form]
    places = list(_ctc_places(item) if item.kind == CTC else _position_places(item))
    found, at = [], 0
    for operation, greedy, written in align("".join(char for char, _ in places), form).chunks:
        if operation == "insert":
            found += [Character(char, 0.0) for char in written]
        elif operation != "delete":
            both = zip(written, places[at : at + len(greedy)], strict=True)
            found += [_character(char, probs) for char, (_, probs) in both]
        at += len(greedy)
    return found


def _character(char: str, probs: dict[str, float]) -> Character:
    others = sorted(
        ((other, prob) for other, prob in probs.items() if other != char), key=lambda one: (-one[1], one[0])
    )
    return Character(char, probs.get(char, 0.0), tuple(others))


def _share(texts: Candidates, form: str) -> float:
    """Return the share of the texts' probability that those of this scoring form have."""
    best = max(log_prob for _, log_prob in texts)
    weights = [(scoring_form(text) == form, math.exp(log_prob - best)) for text, log_prob in texts]
    return sum(weight for same, weight in weights if same) / sum(weight for _, weight in weights)


_Place = tuple[str, dict[str, float]]  # a character of the greedy path, and the probabilities of characters there


def _position_places(item: NBest) -> Iterator[_Place]:
    for step in item.steps:
        yield from _places(_best(step), step)


def _ctc_places(item: NBest) -> Iterator[_Place]:
    for token, run in itertools.groupby(item.steps, _best):
        yield from _places(token, max(run, key=lambda step: max(log_prob for _, log_prob in step)))


def _best(step: Candidates) -> str:
    return min(step, key=lambda candidate: (-candidate[1], candidate[0]))[0]


def _places(token: str, step: Candidates) -> Iterator[_Place]:
    """Yield a place for each character that ``token`` writes; candidates of as many characters share them."""
    size = len(scoring_form(token))
    probs: list[dict[str, float]] = [{} for _ in range(size)]
    for candidate, log_prob in step:
        form = scoring_form(candidate)
        if len(form) == size:
            for place, char in zip(probs, form, strict=True):
                place[char] = place.get(char, 0.0) + math.exp(log_prob)
    yield from zip(scoring_form(token), probs, strict=True)


def judged(item: NBest, reference: str, text: str | None = None) -> list[tuple[float, bool]]:
    """Return the confidence of each character of a text, and whether it is right in the alignment of the CER."""
    found = characters(item, text)
    form, at, pairs = "".join(character.char for character in found), 0, []
    for operation, _, written in align(scoring_form(reference), form).chunks:
        pairs += [(character.confidence, operation == "equal") for character in found[at : at + len(written)]]
        at += len(written)
    return pairs
