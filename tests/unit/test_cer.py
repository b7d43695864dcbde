"""Error counts: golden by hand, properties, and agreement with a second implementation."""

import random

import jiwer
import kaldialign
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rapidfuzz.distance import Levenshtein

from asr.cer import ErrorCounts, align, align_all

GOLDEN = [
    # reference, hypothesis, (substitutions, deletions, insertions, hits), CER
    ("数字", "数字", (0, 0, 0, 2), 0),
    ("数字", "树字", (1, 0, 0, 1), 1 / 2),
    ("数字", "数", (0, 1, 0, 1), 1 / 2),
    ("数字", "数字字", (0, 0, 1, 2), 1 / 2),
    ("数字", "", (0, 2, 0, 0), 1),
    ("好", "不是的", (1, 0, 2, 0), 3),  # above 100 %
    ("今天天气很好", "今天气真好啊", (1, 1, 1, 4), 3 / 6),
    ("我要喝水", "喝水我要", (0, 2, 2, 2), 1),
    ("kitten", "sitting", (2, 0, 1, 4), 3 / 6),
    ("", "", (0, 0, 0, 0), None),
    ("", "啊", (0, 0, 1, 0), None),
    ("a b", "ab", (0, 1, 0, 2), 1 / 3),  # nothing is stripped or normalised here
    (" ab ", "ab", (0, 2, 0, 2), 2 / 4),
    ("𠮷野", "吉野", (1, 0, 0, 1), 1 / 2),  # a character outside the basic plane is one character
]

texts = st.text("数字语音识别ab ", max_size=12)
pairs = st.lists(st.tuples(texts, texts), max_size=20)


def total(items) -> ErrorCounts:
    return sum((align(reference, hypothesis).counts for reference, hypothesis in items), ErrorCounts())


@pytest.mark.parametrize(("reference", "hypothesis", "counts", "cer"), GOLDEN)
def test_golden(reference, hypothesis, counts, cer):
    found = align(reference, hypothesis).counts
    assert found == ErrorCounts(*counts)
    assert found.cer == (cer if cer is None else pytest.approx(cer))
    assert found.ref_len == len(reference)


def test_a_corpus_is_the_sum_and_not_the_mean_of_rates():
    counts = total([("好", "坏"), ("今天天气很好啊呀哈", "今天天气很好啊呀哈")])
    assert counts.cer == pytest.approx(1 / 10)  # the mean of the rates would be 1/2


def test_insertions_into_an_empty_reference_count_in_the_sum():
    assert total([("", "啊啊"), ("好的", "好的")]).cer == 1


def test_counts_are_frozen_and_do_not_add_to_numbers():
    with pytest.raises(AttributeError):
        ErrorCounts().sub = 1
    with pytest.raises(TypeError):
        ErrorCounts() + 1


@given(texts)
def test_a_text_against_itself_has_no_error(text):
    assert align(text, text).counts == ErrorCounts(hits=len(text))


@given(texts, texts)
def test_the_counts_are_a_minimal_alignment(reference, hypothesis):
    counts = align(reference, hypothesis).counts
    assert counts.errors == Levenshtein.distance(reference, hypothesis)
    assert counts.ref_len == len(reference)
    assert counts.sub + counts.ins + counts.hits == len(hypothesis)


@given(texts, texts)
def test_the_runs_spell_both_texts(reference, hypothesis):
    chunks = align(reference, hypothesis).chunks
    assert "".join(chunk.reference for chunk in chunks) == reference
    assert "".join(chunk.hypothesis for chunk in chunks) == hypothesis


@given(pairs, st.randoms())
def test_order_does_not_matter(items, chance):
    shuffled = list(items)
    chance.shuffle(shuffled)
    assert total(shuffled) == total(items)


@given(pairs, st.data())
def test_the_sum_of_two_halves_is_the_whole(items, data):
    cut = data.draw(st.integers(0, len(items)))
    assert total(items[:cut]) + total(items[cut:]) == total(items)


def test_agrees_with_independent_tools_on_ten_thousand_random_pairs():
    """jiwer's own totals, and kaldialign, whose edit distance is a program of its own (jiwer's is rapidfuzz's)."""
    chance = random.Random(0)
    alphabet = "的一是了我不人在他有这个上们来到时大地为子中你说生国年着就那和要她出也得里后自以会"
    drawn = []
    for _ in range(10_000):
        reference = "".join(chance.choices(alphabet, k=chance.randrange(0, 14)))
        kept = [char for char in reference if chance.random() > 0.2]
        for _ in range(chance.randrange(0, 4)):
            kept.insert(chance.randrange(len(kept) + 1), chance.choice(alphabet))
        drawn.append((reference, "".join(kept)))
    found = [item.counts for item in align_all(drawn)]
    for (reference, hypothesis), counts in zip(drawn, found, strict=True):
        theirs = kaldialign.edit_distance(reference, hypothesis)
        assert counts.errors == theirs["total"]
    known = [(reference, hypothesis) for reference, hypothesis in drawn if reference]
    output = jiwer.process_characters(*map(list, zip(*known, strict=True)))
    counts = ErrorCounts.total(item for item, (reference, _) in zip(found, drawn, strict=True) if reference)
    assert (counts.sub, counts.del_, counts.ins, counts.hits) == (
        *(output.substitutions, output.deletions, output.insertions, output.hits),
    )
    assert counts.cer == output.cer


@given(pairs)
def test_many_at_once_are_as_each_alone(items):
    assert align_all(items) == [align(reference, hypothesis) for reference, hypothesis in items]
    assert ErrorCounts.total(align(*item).counts for item in items) == total(items)


def test_a_line_of_ten_thousand_characters():
    assert align("好" * 10_000, "好" * 9_000).counts == ErrorCounts(del_=1000, hits=9000)
