"""Character n-grams: Kneser-Ney by hand and against KenLM, and ARPA files that other tools read."""

from __future__ import annotations

import gzip
import math
import random

import pytest

from asr.core.errors import RecipeError
from asr.language.arpa import is_arpa, read_arpa, write_arpa
from asr.language.kneser_ney import FALLBACK, adjusted_counts, discounts_of, estimate
from asr.language.ngram import BEGIN, END, UNKNOWN, NGram

LINES = ("给我水", "给我毛巾", "我要水", "我要喝水", "给他水", "他要毛巾", "我不要水", "给我水", "给我水")
# What KenLM's lmplz -o 3 --discount_fallback makes of LINES: log10 of n-gram and of its back-off weight.
KENLM = {
    "水": (-0.7480495, -0.42596874),
    "毛": (-1.1612815, -0.30103),
    "我水": (-0.66894907, -0.28082666),
    "喝水": (-0.22965309, -0.14612803),
    "毛巾": (-0.26324144, -0.544068),
    "给我水": (-0.31911346, 0),
    "我要水": (-0.4142862, 0),
    "他要毛": (-0.39833602, 0),
    f"他水{END}": (-0.12458021, 0),
}


def prob(model: NGram, context: str, char: str) -> float:
    """The probability of ``char`` after all of ``context``, whose first character may be BEGIN."""
    state = model.start if context.startswith(BEGIN) else ""
    for before in context.removeprefix(BEGIN):
        _, state = model.step(state, before)
    return math.exp(model.step(state, char)[0])


def random_texts(seed: int, size: int = 200) -> list[str]:
    chance = random.Random(seed)
    return ["".join(chance.choices("abcdefgh", range(1, 9), k=chance.randint(0, 9))) for _ in range(size)]


def test_a_bigram_by_hand():
    model = estimate(["ab", "ab", "ac"], 2)
    # Unigrams by what stands before: a 1 (begin), b 1, c 1, end 2 (b, c); too few for discounts: 0.5, 1, 1.5.
    # Freed (0.5 + 0.5 + 0.5 + 1) / 5 = 0.5, for five symbols 0.1 each.
    assert prob(model, "", "a") == pytest.approx(0.5 / 5 + 0.1)
    assert prob(model, "", END) == pytest.approx(1 / 5 + 0.1)
    assert prob(model, "", "z") == pytest.approx(0.1)
    # After a: b 2, c 1; freed (1 + 0.5) / 3 = 0.5.
    assert prob(model, "a", "b") == pytest.approx(1 / 3 + 0.5 * 0.2)
    assert prob(model, "a", "c") == pytest.approx(0.5 / 3 + 0.5 * 0.2)
    assert prob(model, "a", END) == pytest.approx(0.5 * 0.3)  # backed off
    assert prob(model, BEGIN, "a") == pytest.approx(1.5 / 3 + 0.5 * 0.2)
    assert prob(model, "b", END) == pytest.approx(1 / 2 + 0.5 * 0.3)
    assert math.exp(model.log_prob("ab")) == pytest.approx(0.6 * (1 / 3 + 0.1) * 0.65)
    assert model.perplexity(["ab"]) == pytest.approx((0.6 * (1 / 3 + 0.1) * 0.65) ** (-1 / 3))
    assert model.vocabulary == {"a", "b", "c"}


def test_lower_orders_count_what_stands_before_and_a_sentences_begin_how_often_it_occurs():
    one, two, three = adjusted_counts(["ab", "ab", "cb"], 3)
    assert three == {f"{BEGIN}ab": 2, f"{BEGIN}cb": 1, f"ab{END}": 2, f"cb{END}": 1}
    assert two == {f"{BEGIN}a": 2, f"{BEGIN}c": 1, "ab": 1, "cb": 1, f"b{END}": 2}
    assert one == {"a": 1, "c": 1, "b": 2, END: 1}


def test_discounts_by_hand():
    # n1 4, n2 2, n3 1, n4 1: Y = 4 / (4 + 2 * 2) = 0.5
    counts = dict(zip("abcdefgh", (1, 1, 1, 1, 2, 2, 3, 4), strict=True))
    assert discounts_of(counts) == pytest.approx((1 - 2 * 0.5 * 2 / 4, 2 - 3 * 0.5 * 1 / 2, 3 - 4 * 0.5 * 1 / 1))
    assert discounts_of({"a": 1, "b": 2, "c": 3}) == FALLBACK  # none occurs four times
    # Y = 1 / 11, D2 = 2 - 3 Y 30 / 5 > 0, D3 = 3 - 4 Y 90 / 30 > 0; but with n3 60: D2 = 2 - 3 Y 60 / 5 < 0
    counts = {f"{number}{at}": number for number, size in ((1, 1), (2, 5), (3, 60), (4, 90)) for at in range(size)}
    assert discounts_of(counts) == FALLBACK


@pytest.mark.parametrize("order", [1, 2, 3, 4, 5])
def test_what_follows_a_context_sums_to_one(order):
    model = estimate(random_texts(order), order)
    symbols = [*model.vocabulary, END, UNKNOWN]
    contexts = set(model.backoffs) | {"", "zz", "aaaaa", f"{BEGIN}h"}
    assert len(contexts) > 4 ** (order - 1)
    for context in contexts:
        assert sum(prob(model, context, symbol) for symbol in symbols) == pytest.approx(1, abs=1e-9)


def test_a_state_is_as_good_as_the_whole_history():
    texts = random_texts(7)
    model = estimate(texts, 4)
    chance = random.Random(1)
    for _ in range(300):
        history = BEGIN + "".join(chance.choices("abcdefghz", k=6))
        state = model.start
        for char in history[1:]:
            _, state = model.step(state, char)
        whole = history.replace("z", UNKNOWN)[-3:]
        for char in "abhz":
            direct, context = 0.0, whole
            while context + char not in model.log_probs and context:
                direct, context = direct + model.backoffs.get(context, 0.0), context[1:]
            direct += model.log_probs.get(context + char, model.log_probs[UNKNOWN])
            assert model.step(state, char)[0] == pytest.approx(direct)


def test_more_context_is_the_better_model_of_text_that_has_it():
    texts = ["abcabcabc"] * 3 + ["bcabca", "acb"] * 4
    assert (
        estimate(texts, 3).perplexity(texts)
        < estimate(texts, 2).perplexity(texts)
        < estimate(texts, 1).perplexity(texts)
    )


def test_texts_shorter_than_the_order_and_empty_ones():
    model = estimate(["a", "", "b"], 5)
    assert sum(prob(model, BEGIN, symbol) for symbol in ("a", "b", END, UNKNOWN)) == pytest.approx(1)
    assert prob(model, f"{BEGIN}a", END) > prob(model, "", END)
    with pytest.raises(RecipeError, match="holds no character"):
        estimate([""], 3)
    with pytest.raises(RecipeError, match="choose 1 to 5"):
        estimate(["a"], 6)
    with pytest.raises(ValueError, match="no text"):
        model.perplexity([])


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("order", [1, 3, 5])
def test_arpa_keeps_the_model(tmp_path, order, packed):
    path = tmp_path / "lm.arpa"
    texts = random_texts(2)
    model = estimate(texts, order)
    write_arpa(path, model)
    if packed:
        path = tmp_path / "lm.arpa.gz"
        path.write_bytes(gzip.compress((tmp_path / "lm.arpa").read_bytes()))
    assert is_arpa(path)
    again = read_arpa(path)
    assert (again.order, again.log_probs.keys(), again.vocabulary) == (order, model.log_probs.keys(), model.vocabulary)
    for text in [*texts, "zzz", "az"]:
        assert again.log_prob(text) == pytest.approx(model.log_prob(text), abs=1e-4)


def test_an_arpa_file_as_it_stands(tmp_path):
    write_arpa(tmp_path / "lm.arpa", estimate(["ab", "ab", "ac"], 2))
    assert (tmp_path / "lm.arpa").read_text(encoding="utf-8").splitlines() == [
        "\\data\\",
        "ngram 1=6",
        "ngram 2=5",
        "",
        "\\1-grams:",
        "-1\t<unk>\t0",
        "-99\t<s>\t-0.30103",
        "-0.5228787\t</s>\t0",
        "-0.69897\ta\t-0.30103",
        "-0.69897\tb\t-0.30103",
        "-0.69897\tc\t-0.30103",
        "",
        "\\2-grams:",
        "-0.2218487\t<s> a",
        "-0.3631779\ta b",
        "-0.5740313\ta c",
        "-0.1870866\tb </s>",
        "-0.1870866\tc </s>",
        "",
        "\\end\\",
    ]


GOOD = """\\data\\
ngram 1=3
ngram 2=1

\\1-grams:
-1 <s> -0.1
-0.5 </s>
-0.5 a -0.2

\\2-grams:
-0.3 a a

\\end\\
"""


def test_a_foreign_arpa_file_without_unknown_characters(tmp_path):
    (tmp_path / "lm.arpa").write_text("\n" + GOOD, encoding="utf-8")
    model = read_arpa(tmp_path / "lm.arpa")
    assert is_arpa(tmp_path / "lm.arpa")
    ln10 = math.log(10)
    assert model.log_prob("aa") == pytest.approx((-0.1 - 0.5 - 0.3 - 0.2 - 0.5) * ln10)
    assert model.log_prob("z") == pytest.approx((-0.1 - 7 - 0.5) * ln10)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("\\end\\\n", "", "lm.arpa:11: not a whole ARPA file"),
        ("-0.5 a -0.2\n", "", "lm.arpa:12: not a whole ARPA file"),
        ("-0.5 a -0.2", "-0.5 ab -0.2", "lm.arpa:8: a word"),
        ("-0.5 a -0.2", "x a -0.2", "lm.arpa:8: not an n-gram of order 1"),
        ("-0.3 a a", "-0.3 a", "lm.arpa:11: not an n-gram of order 2"),
        ("-0.5 a -0.2", "0.5 a -0.2", "lm.arpa:8: a log-probability above 0"),
        ("-0.5 </s>", "-0.5 a", "lm.arpa:8: the n-gram stands twice"),
        ("-0.5 </s>", "-0.5 b", "lm.arpa: has no </s>"),
        ("ngram 1=3", "ngrams 1=3", "lm.arpa:2: not a line of an ARPA file"),
    ],
)
def test_a_damaged_arpa_file_is_named(tmp_path, old, new, said):
    assert old in GOOD
    (tmp_path / "lm.arpa").write_text(GOOD.replace(old, new), encoding="utf-8")
    with pytest.raises(RecipeError) as error:
        read_arpa(tmp_path / "lm.arpa")
    assert said in str(error.value)


def test_files_that_are_no_text(tmp_path):
    (tmp_path / "a.arpa").write_bytes(b"\\data\\\n\xff\n")
    (tmp_path / "b.gz").write_bytes(gzip.compress(b"\\data\\\n" * 100)[:-9])
    for name, said in (("a.arpa", "a.arpa:2: not UTF-8"), ("b.gz", "damaged .gz"), ("c.arpa", "c.arpa: no such file")):
        with pytest.raises(RecipeError, match=said):
            read_arpa(tmp_path / name)


def test_kenlms_estimate_of_a_few_lines_is_ours():
    model = estimate(LINES, 3)
    for gram, (log_prob, backoff) in KENLM.items():
        assert model.log_probs[gram] / math.log(10) == pytest.approx(log_prob, abs=1e-6)
        assert model.backoffs.get(gram, 0.0) / math.log(10) == pytest.approx(backoff, abs=1e-6)
