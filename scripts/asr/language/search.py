"""The text that fits both the sound and what is known of texts: a search over a model's candidates.

- positions: the best sequence of one candidate a position; sequences that end in the same state go on as one (Viterbi),
  at most ``beam`` of them.
- ctc: prefix beam search (Hannun et al. 2014, arXiv 1408.2873, algorithm 1): a text's probability is the sum over its
  alignments. A token that is more than ``WIDEST`` below the frame's best, how far its text is below the beam's best
  counted in, is not tried.
- hypotheses: the beam's texts, scored anew.

Where nothing is known beside the sound the greedy text is returned as it is. So it is where the search finds a text
that scores the same: it then has the spelling that the model's own inference gives it. Of equals the one met first is
taken; candidates are met in order of probability, then of code points.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TypeAlias

from asr.core.nbest import CTC, HYPOTHESES, Candidates, NBest
from asr.language.priors import Priors, State
from asr.scoring.normalize import scoring_form

BEAM = 16
WIDEST = 7.0  # nats: about a thousandth


def search(item: NBest, priors: Priors, beam: int = BEAM) -> str:
    """Return the text of an utterance."""
    if priors.off:
        return item.greedy
    text = (_rescore if item.kind == HYPOTHESES else _ctc if item.kind == CTC else _positions)(item, priors, beam)
    text = text.strip()
    return item.greedy if scoring_form(text) == scoring_form(item.greedy) else text


def search_all(items: Iterable[NBest], priors: Priors, beam: int = BEAM) -> dict[str, str]:
    """Return {key: text}, in order."""
    return {item.key: search(item, priors, beam) for item in items}


def candidates(step: Candidates, priors: Priors) -> list[tuple[str, float]]:
    """Return a step's candidates, likeliest first, with those that only sound like one of them.

    Tokens that stand for the same text, such as all those that write nothing, are one, of their probabilities' sum.
    """
    found: Iterable[tuple[str, float]] = step
    if len({token for token, _ in step}) < len(step):
        probs: dict[str, float] = {}
        for token, log_prob in step:
            probs[token] = probs.get(token, 0.0) + math.exp(log_prob)
        found = step = tuple((token, math.log(prob)) for token, prob in probs.items() if prob)
    if priors.channel and priors.channel_weight:
        found = priors.channel.extend(step, priors.channel_weight)
    return sorted(found, key=lambda candidate: (-candidate[1], candidate[0]))


def _rescore(item: NBest, priors: Priors, beam: int) -> str:
    ordered = sorted(item.texts, key=lambda candidate: (-candidate[1], candidate[0]))[:beam]
    return max(ordered, key=lambda candidate: candidate[1] + priors.score(candidate[0]))[0]


# A sequence of tokens from its end: the last token and the sequence before it.
_Chain: TypeAlias = "tuple[str, _Chain | None]"


def _spell(chain: _Chain | None) -> str:
    tokens = []
    while chain:
        token, chain = chain
        tokens.append(token)
    return "".join(reversed(tokens))


def _positions(item: NBest, priors: Priors, beam: int) -> str:
    paths: list[tuple[State, float, _Chain | None]] = [(priors.start, 0.0, None)]
    for step in item.steps:
        best: dict[State, tuple[State, float, _Chain | None]] = {}
        options = candidates(step, priors)
        for state, total, chain in paths:
            arcs = state.arcs
            for token, log_prob in options:
                added, after = arcs.get(token) or priors.arc(state, token)
                score = total + log_prob + added
                if after not in best or score > best[after][1]:
                    best[after] = (after, score, (token, chain))
        paths = sorted(best.values(), key=lambda path: -path[1])[:beam]
    return _spell(max(paths, key=lambda path: path[1] + path[0].end)[2])


class _Prefix:
    """A text of the prefix beam: its probability by alignments that end in a blank, and in its last token.

    ``next_blank`` and ``next_last`` are the frame's that is being read. Probabilities are scaled: the likeliest is 1.
    ``gap`` is how far its score is below the beam's best.
    """

    __slots__ = ("blank", "chain", "children", "gap", "last", "next_blank", "next_last", "prior", "state", "token")

    def __init__(self, token: str, chain: _Chain | None, prior: float, state: State) -> None:
        self.token, self.chain, self.prior, self.state = token, chain, prior, state
        self.children: dict[str, _Prefix] | None = None  # most are never gone on from
        self.blank = self.last = self.next_blank = self.next_last = self.gap = 0.0

    def child(self, token: str, priors: Priors) -> _Prefix:
        """Return the text with one token more."""
        added, after = self.state.arcs.get(token) or priors.arc(self.state, token)
        return _Prefix(token, (token, self.chain), self.prior + added, after)


def _ctc(item: NBest, priors: Priors, beam: int) -> str:
    root = _Prefix("", None, 0.0, priors.start)
    root.blank, paths = 1.0, [root]
    for step in item.steps:
        options = candidates(step, priors)
        first = options[0][1]
        gaps = [(first - log_prob, token, math.exp(log_prob)) for token, log_prob in options]
        gaps = [option for option in gaps if option[0] <= WIDEST]
        if gaps[-1][1] or gaps[0][1]:
            paths = _best(_read_frame(paths, gaps, priors), beam)
        else:  # nothing but blank
            for path in paths:
                path.blank, path.last = path.blank + path.last, 0.0
    best = max(paths, key=lambda path: path.state.end - path.gap)
    return _spell(best.chain)


def _read_frame(paths: list[_Prefix], options: list[tuple[float, str, float]], priors: Priors) -> list[_Prefix]:
    """Set ``next_blank`` and ``next_last`` of all texts that a frame can lead to, and return these."""
    probs = {token: prob for _, token, prob in options}
    blank = probs.get("", 0.0)
    met: list[_Prefix] = []
    for path in paths:
        total = path.blank + path.last
        again = path.last * probs.get(path.token, 0.0)
        if (blank or again) and not path.next_last:  # else it was met as another's child
            met.append(path)
        path.next_blank = total * blank
        path.next_last += again
        widest = WIDEST - path.gap
        children = path.children
        if children is None:
            children = path.children = {}
        for gap, token, prob in options:
            if gap > widest:
                break
            mass = (path.blank if token == path.token else total) * prob if token else 0.0
            if mass:
                child = children.get(token)
                if child is None:
                    child = children[token] = path.child(token, priors)
                if not (child.next_last or child.next_blank):
                    met.append(child)
                child.next_last += mass
    return met


def _best(met: list[_Prefix], beam: int) -> list[_Prefix]:
    """Return the ``beam`` best texts, the frame read; the others forget it."""
    log = math.log
    masses = [(path.next_blank + path.next_last, at) for at, path in enumerate(met)]
    # On a long steady sound a text that is left behind falls below the smallest number there is.
    ranked = sorted([(-log(mass) - met[at].prior, at) for mass, at in masses if mass])[:beam]
    best = [met[at] for _, at in ranked]
    scale = 1 / max(path.next_blank + path.next_last for path in best)
    for (score, _), path in zip(ranked, best, strict=True):
        path.gap = score - ranked[0][0]
        path.blank, path.last = path.next_blank * scale, path.next_last * scale
    for path in met:
        path.next_blank = path.next_last = 0.0
    return best
