"""The searches: by hand, against all paths of small lattices, and the greedy text where nothing is known."""

from __future__ import annotations

import itertools
import math
import random
from collections import defaultdict
from collections.abc import Iterator

import pytest

from asr.core.nbest import CTC, HYPOTHESES, POSITIONS, NBest
from asr.language.kneser_ney import estimate
from asr.language.ngram import NGram
from asr.language.phrases import Phrases
from asr.language.priors import Priors
from asr.language.search import search, search_all

TOKENS = ("a", "b", "c", "")
TEXTS = ["abc", "abcb", "ab", "cab", "acb", "bca"] * 3


def logs(**probs: float) -> tuple[tuple[str, float], ...]:
    """A step; ``blank`` is the token that writes nothing."""
    return tuple((token.replace("blank", ""), math.log(prob)) for token, prob in probs.items())


def lattice(kind: str, seed: int, length: int) -> NBest:
    chance = random.Random(f"{kind} {seed}")
    steps = []
    for _ in range(length):
        weights = [chance.uniform(0.02, 1) for _ in TOKENS]
        steps.append(
            tuple((token, math.log(weight / sum(weights))) for token, weight in zip(TOKENS, weights, strict=True))
        )
    return NBest("k", kind, "greedy", tuple(steps))


def paths(item: NBest) -> Iterator[tuple[tuple[str, ...], float]]:
    """Every sequence of candidates with its log-probability."""
    for path in itertools.product(*item.steps):
        yield tuple(token for token, _ in path), sum(log_prob for _, log_prob in path)


def best_by_hand(item: NBest, priors: Priors) -> str:
    """The best text of all paths: their best one of positions, the sum of their probabilities of ctc."""
    totals: dict[str, list[float]] = defaultdict(list)
    for tokens, log_prob in paths(item):
        if item.kind == CTC:
            tokens = tuple(token for token, _ in itertools.groupby(tokens))
        totals["".join(tokens)].append(log_prob)
    if item.kind == CTC:
        sums = {text: math.log(sum(map(math.exp, found))) for text, found in totals.items()}
    else:
        sums = {text: max(found) for text, found in totals.items()}
    return max(sums, key=lambda text: sums[text] + priors.score(text))


@pytest.fixture(scope="module")
def model() -> NGram:
    return estimate(TEXTS, 3)


def test_positions_by_hand():
    # Unigrams of "a": a counts 1, end 1, discounts 0.5: freed 0.5 over three symbols. P(a) = P(end) = 5/12, P(b) = 1/6.
    lm = estimate(["a"], 1)
    item = NBest("k", POSITIONS, "b", (logs(a=0.3, b=0.6),))
    # b 0.6 against a 0.3: a wins where (5/12 / (1/6)) ** weight = 2.5 ** weight > 2, from a weight of 0.756 on
    assert search(item, Priors(lm, 0.75)) == "b"
    assert search(item, Priors(lm, 0.76)) == "a"


def test_a_bonus_pays_for_characters():
    lm = estimate(["a"], 1)
    for kind in (POSITIONS, CTC):
        item = NBest("k", kind, "", (logs(a=0.6, blank=0.4),))
        assert search(item, Priors(lm, 1.0)) == ""  # 0.6 * 5/12 = 0.25 < 0.4
        assert search(item, Priors(lm, 1.0, bonus=math.log(12 / 5))) == "a"  # 0.6 > 0.4


def test_ctc_sums_alignments_by_hand():
    # a: aa, a-, -a = 0.16 + 0.24 + 0.24 = 0.64; blank twice 0.36, which is the best single path
    item = NBest("k", CTC, "", (logs(blank=0.6, a=0.4), logs(blank=0.6, a=0.4)))
    lm = estimate(["a"], 1)
    assert search(item, Priors(lm, 1e-9)) == "a"
    # with the model 0.64 * 5/12 = 0.27 < 0.36
    assert search(item, Priors(lm, 1.0)) == ""


def test_ctc_writes_a_character_twice_only_across_a_blank():
    one, two = logs(a=0.98, blank=0.02), logs(blank=0.98, a=0.02)
    lm = estimate(["a"], 1)
    assert search(NBest("k", CTC, "", (one, one, one)), Priors(lm, 1e-9)) == "a"
    assert search(NBest("k", CTC, "", (one, two, one)), Priors(lm, 1e-9)) == "aa"
    assert search(NBest("k", CTC, "", (one, logs(blank=1.0), one)), Priors(lm, 1e-9)) == "aa"


def test_hypotheses_by_hand():
    lm = estimate(["a"], 1)
    item = NBest("k", HYPOTHESES, "b", texts=(("b", -1.0), ("a", -1.5)))
    # 0.5 against weight * ln 2.5 = 0.916
    assert search(item, Priors(lm, 0.5)) == "b"
    assert search(item, Priors(lm, 0.6)) == "a"


@pytest.mark.parametrize("kind", [POSITIONS, CTC])
@pytest.mark.parametrize("weight", [0.01, 0.3, 1.0])
def test_the_search_finds_the_best_of_all_paths(model, kind, weight):
    phrases = Phrases({"bc": 0.7, "cab": 1.1, "b": 0.2})
    for seed in range(25):
        item = lattice(kind, seed, 5)
        for priors in (Priors(model, weight, 1.5), Priors(model, weight, phrases=phrases), Priors(phrases=phrases)):
            assert search(item, priors, beam=1000) == best_by_hand(item, priors), seed


@pytest.mark.parametrize("kind", [POSITIONS, CTC])
def test_the_usual_beam_seldom_misses_it(model, kind):
    priors = Priors(model, 0.5, 1.5)
    items = [lattice(kind, seed, 6) for seed in range(40)]
    found = [search(item, priors) == best_by_hand(item, priors) for item in items]
    assert sum(found) >= 38


@pytest.mark.parametrize("kind", [POSITIONS, CTC, HYPOTHESES])
def test_weight_zero_is_the_greedy_text_as_it_is(model, kind):
    item = NBest("k", kind, " as <it> is ", lattice(POSITIONS, 0, 3).steps, (("b", -1.0),))
    for priors in (Priors(), Priors(model), Priors(model, 0.0, 3.0)):
        assert priors.off
        assert search(item, priors) == " as <it> is "


def test_the_greedy_text_keeps_its_spelling_where_the_search_finds_it(model):
    steps = (logs(a=1.0), ((" b", 0.0),), ((" c", 0.0),))
    for greedy in ("a bc", "A, bc."):
        assert search(NBest("k", POSITIONS, greedy, steps), Priors(model, 0.1)) == greedy
    assert search(NBest("k", POSITIONS, "acb", steps), Priors(model, 0.1)) == "a b c"


def test_a_token_is_a_string_of_characters_in_the_form_that_is_scored(model):
    one = NBest("k", POSITIONS, "?", (logs(abc=0.5, cbb=0.5),))
    assert search(one, Priors(model, 0.5)) == "abc"
    assert Priors(model, 0.5).score("A，b C。") == pytest.approx(Priors(model, 0.5).score("abc"))


@pytest.mark.parametrize("kind", [POSITIONS, CTC])
def test_tokens_of_the_same_text_are_one(kind):
    lm = estimate(["ab"], 1)
    nothing = (("", math.log(0.3)), ("a", math.log(0.4)), ("", math.log(0.3)))
    assert search(NBest("k", kind, "b", (nothing,)), Priors(lm, 1e-9)) == ""
    twice = (("", math.log(0.4)), ("a", math.log(0.3)), ("a", math.log(0.3)))
    assert search(NBest("k", kind, "b", (twice,)), Priors(lm, 1e-9)) == "a"


def test_order_of_candidates_and_utterances_changes_nothing(model):
    priors = Priors(model, 0.4, 1.5)
    for kind in (POSITIONS, CTC):
        items = [lattice(kind, seed, 6) for seed in range(20)]
        items = [NBest(str(number), kind, "", item.steps) for number, item in enumerate(items)]
        texts = search_all(items, priors)
        assert list(texts) == [item.key for item in items]
        turned = [NBest(item.key, kind, "", tuple(step[::-1] for step in item.steps)) for item in reversed(items)]
        assert search_all(turned, Priors(model, 0.4, 1.5)) == texts


def test_equals_are_decided_by_code_point():
    lm = estimate(["ab", "ba"], 1)
    for kind in (POSITIONS, CTC):
        for step in (logs(a=0.5, b=0.5), logs(b=0.5, a=0.5)):
            assert search(NBest("k", kind, "", (step,)), Priors(lm, 0.5)) == "a"


def test_an_utterance_of_no_steps_is_empty(model):
    for kind in (POSITIONS, CTC):
        assert search(NBest("k", kind, "", ()), Priors(model, 0.5)) == ""


def test_a_long_silence_and_a_sure_model_do_not_underflow(model):
    sure = tuple(((token, -0.0), *((other, -900.0) for other in "abc" if other != token)) for token in "abcb")
    steps = (*sure, *([logs(blank=0.5, a=0.25, b=0.25)] * 3000))
    assert search(NBest("k", CTC, "", steps), Priors(model, 0.5)).startswith("abcb")


@pytest.mark.parametrize(("frames", "share"), [(120, 0.999), (300, 0.99)])
def test_a_sound_that_is_held_for_long_leaves_texts_behind_that_have_no_mass_left(frames, share):
    step = (("啊", math.log(share)), ("", math.log(1 - share)))
    item = NBest("a", "ctc", "啊", (step,) * frames)
    assert set(search(item, Priors(phrases=Phrases({"好": 1.0})))) == {"啊"}
