"""Error counts: golden by hand, properties, and agreement with a second implementation."""

import random

import jiwer
import kaldialign
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rapidfuzz.distance import Levenshtein

from asr.scoring.cer import ErrorCounts, align, align_all

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
    ("数字", "字数", (0, 1, 1, 1), 2 / 2),  # not two substitutions: of equals, the most hits
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


def drawn(alphabet: str, count: int) -> list[tuple[str, str]]:
    chance = random.Random(0)
    found = []
    for _ in range(count):
        reference = "".join(chance.choices(alphabet, k=chance.randrange(0, 14)))
        kept = [char for char in reference if chance.random() > 0.2]
        for _ in range(chance.randrange(0, 4)):
            kept.insert(chance.randrange(len(kept) + 1), chance.choice(alphabet))
        found.append((reference, "".join(kept)))
    return found


def kaldi(reference: str, hypothesis: str) -> tuple[int, ...]:
    """(sub, del, ins) by Kaldi's LevenshteinEditDistance: a gap wherever a substitution is not cheaper."""
    rows = [[(0, 0, j) for j in range(len(hypothesis) + 1)]]
    for i, said in enumerate(reference, 1):
        row = [(0, i, 0)]
        for j, heard in enumerate(hypothesis, 1):
            (sub, del_, ins), above, before = rows[-1][j - 1], rows[-1][j], row[-1]
            both = (sub + (said != heard), del_, ins)
            if sum(both) < min(sum(above), sum(before)) + 1:
                row.append(both)
            elif sum(above) < sum(before):
                row.append((above[0], above[1] + 1, above[2]))
            else:
                row.append((before[0], before[1], before[2] + 1))
        rows.append(row)
    return rows[-1][-1]


def fewest(reference: str, hypothesis: str) -> ErrorCounts:
    """The fewest errors, and the fewest substitutions among these, by rapidfuzz's weighted distance."""
    unit = len(reference) + len(hypothesis) + 1
    errors, sub = divmod(Levenshtein.distance(reference, hypothesis, weights=(unit, unit, unit + 1)), unit)
    ins = (errors - sub + len(hypothesis) - len(reference)) // 2
    return ErrorCounts(sub, errors - sub - ins, ins, len(reference) - errors + ins)


HAN = "的一是了我不人在他有这个上们来到时大地为子中你说生国年着就那和要她出也得里后自以会"


def test_substitutions_deletions_and_insertions_are_those_of_independent_tools():
    """On 10,000 pairs; kaldialign and rapidfuzz are programs of their own, jiwer takes what rapidfuzz gives it.

    Kaldi keeps one path a cell and decides there, so that it misses a hit now and then.
    """
    pairs = drawn(HAN, 10_000)
    found = [item.counts for item in align_all(pairs)]
    assert found == [fewest(*pair) for pair in pairs]
    theirs = [kaldialign.edit_distance(*pair) for pair in pairs]
    for pair, item in zip(pairs[:1000], theirs, strict=False):
        assert kaldi(*pair)[:3] == (item["sub"], item["del"], item["ins"])
    assert [counts.errors for counts in found] == [item["total"] for item in theirs]
    assert all(counts.sub <= item["sub"] for counts, item in zip(found, theirs, strict=True))
    ours, kaldis = ErrorCounts.total(found), sum(item["sub"] for item in theirs)
    known = [pair for pair in pairs if pair[0]]
    output = jiwer.process_characters(*map(list, zip(*known, strict=True)))
    counts = ErrorCounts.total(item for item, pair in zip(found, pairs, strict=True) if pair[0])
    assert counts.cer == output.cer
    assert (ours.sub, kaldis, output.substitutions) == (2672, 3096, 4938)


@given(texts, texts)
def test_of_the_alignments_with_the_fewest_errors_it_has_the_most_hits(reference, hypothesis):
    assert align(reference, hypothesis).counts == fewest(reference, hypothesis)


@given(texts, texts)
def test_swapped_texts_swap_deletions_and_insertions(reference, hypothesis):
    one, two = align(reference, hypothesis).counts, align(hypothesis, reference).counts
    assert (one.sub, one.del_, one.ins, one.hits) == (two.sub, two.ins, two.del_, two.hits)


@given(pairs)
def test_many_at_once_are_as_each_alone(items):
    assert align_all(items) == [align(reference, hypothesis) for reference, hypothesis in items]
    assert ErrorCounts.total(align(*item).counts for item in items) == total(items)


def test_a_line_of_ten_thousand_characters():
    assert align("好" * 10_000, "好" * 9_000).counts == ErrorCounts(del_=1000, hits=9000)
