"""Interpolated modified Kneser-Ney: a character n-gram from lines of text.

Chen and Goodman, "An empirical study of smoothing techniques for language modeling", Computer Speech and Language 13
(1999), section 3: three discounts an order, taken from counts of counts, and lower orders counted by how many different
characters stand before an n-gram. As in KenLM (Heafield et al., ACL 2013) n-grams at a sentence's begin keep their own
counts, single characters are interpolated with the uniform distribution, whose share of one symbol is that of unknown
characters, and an order in which nothing occurs once, twice, three or four times takes fixed discounts.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping

from asr.core.errors import RecipeError
from asr.language.ngram import BEGIN, DEFAULT_ORDER, END, LEAST_ORDER, MOST_ORDER, UNKNOWN, NGram

Discounts = tuple[float, float, float]  # of n-grams counted once, twice, and three times or more
FALLBACK: Discounts = (0.5, 1.0, 1.5)  # KenLM's --discount_fallback


def estimate(texts: Iterable[str], order: int = DEFAULT_ORDER) -> NGram:
    """Return the model of ``texts``, each in scoring form; empty ones do not count.

    RecipeError where no text is left, and for an order that is not 1 to 5.
    """
    if not LEAST_ORDER <= order <= MOST_ORDER:
        raise RecipeError(f"an n-gram of order {order}: choose {LEAST_ORDER} to {MOST_ORDER}")
    counts = adjusted_counts(texts, order)
    if not counts[0]:
        raise RecipeError("the text for the language model holds no character; give one with a sentence a line")
    probs = _unigrams(counts[0])
    log_backoffs: dict[str, float] = {}
    for grams in counts[1:]:
        backoffs = _backoffs(grams)
        discounts = discounts_of(grams)
        totals = _totals(grams)
        for gram, count in grams.items():
            context = gram[:-1]
            own = (count - _discount(count, discounts)) / totals[context]
            probs[gram] = own + backoffs[context] * probs[gram[1:]]
        log_backoffs |= {context: math.log(weight) for context, weight in backoffs.items()}
    return NGram(order, {gram: math.log(prob) for gram, prob in probs.items()}, log_backoffs)


def adjusted_counts(texts: Iterable[str], order: int) -> list[dict[str, int]]:
    """Return the counts of every order from 1 to ``order``, BEGIN alone left out.

    Of the highest order and at a sentence's begin: how often an n-gram occurs; else how many symbols occur before it.
    """
    highest, begins = Counter[str](), Counter[str]()
    for text in texts:
        if text:
            sentence = BEGIN + text + END
            highest.update(sentence[at : at + order] for at in range(len(sentence) - order + 1))
            begins.update(sentence[:length] for length in range(2, min(order, len(sentence) + 1)))
    highest.pop(BEGIN, None)
    counts: list[dict[str, int]] = [highest]
    for length in range(order - 1, 0, -1):
        lower = Counter(gram[1:] for gram in counts[0])
        lower.update({gram: count for gram, count in begins.items() if len(gram) == length})
        counts.insert(0, lower)
    return counts


def discounts_of(counts: Mapping[str, int]) -> Discounts:
    """Return Chen and Goodman's discounts of an order; ``FALLBACK`` where its counts are too few to estimate them."""
    times = Counter(counts.values())
    one, two, three, four = (times[number] for number in range(1, 5))
    if not (one and two and three and four):
        return FALLBACK
    share = one / (one + 2 * two)
    discounts = (1 - 2 * share * two / one, 2 - 3 * share * three / two, 3 - 4 * share * four / three)
    return discounts if all(0 < value < number for number, value in enumerate(discounts, 1)) else FALLBACK


def _discount(count: int, discounts: Discounts) -> float:
    return discounts[min(count, 3) - 1]


def _totals(grams: Mapping[str, int]) -> dict[str, int]:
    totals: defaultdict[str, int] = defaultdict(int)
    for gram, count in grams.items():
        totals[gram[:-1]] += count
    return totals


def _backoffs(grams: Mapping[str, int]) -> dict[str, float]:
    """Return what the discounts have freed in each context, as a share: the weight of the next lower order."""
    discounts, freed = discounts_of(grams), defaultdict[str, float](float)
    for gram, count in grams.items():
        freed[gram[:-1]] += _discount(count, discounts)
    totals = _totals(grams)
    return {context: value / totals[context] for context, value in freed.items()}


def _unigrams(counts: Mapping[str, int]) -> dict[str, float]:
    """Return the probabilities of the characters, END and UNKNOWN, interpolated with the uniform distribution."""
    discounts, total = discounts_of(counts), sum(counts.values())
    uniform = _backoffs(counts)[""] / (len(counts) + 1)
    probs = {char: (count - _discount(count, discounts)) / total + uniform for char, count in counts.items()}
    return {**probs, UNKNOWN: uniform}
