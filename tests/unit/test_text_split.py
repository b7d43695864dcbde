"""Speaker-dependent splits: no text in two sets, nobody without a set but for a reason, and as near as texts allow."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr.preparation.splits.by_text import divide_texts, targets
from asr.preparation.splits.split_file import SPLITS

# 1 to 60 texts, each said 1 to 3 times by 1 to 4 of up to 6 speakers
SAID = st.dictionaries(st.sampled_from("abcdef"), st.integers(1, 3), min_size=1, max_size=4)
COUNTS = st.lists(SAID, min_size=1, max_size=60).map(lambda rows: {f"text {n}": row for n, row in enumerate(rows)})
RATIOS = (8, 1, 1)


def by_speaker(counts, chosen):
    """{speaker: clips by set}."""
    found = {}
    for text, said in counts.items():
        for speaker, clips in said.items():
            found.setdefault(speaker, Counter())[chosen[text]] += clips
    return found


def distance(counts, chosen):
    """(empty sets of all speakers, sum of squares of what each set is off by)."""
    rows = by_speaker(counts, chosen).values()
    empty = sum(not row[name] for row in rows for name in SPLITS)
    squares = sum((row[name] - targets(row.total(), RATIOS)[name]) ** 2 for row in rows for name in SPLITS)
    return empty, round(squares, 4)


def clips(counts, chosen):
    total = sum(by_speaker(counts, chosen).values(), Counter())
    return tuple(total[name] for name in SPLITS)


@pytest.mark.parametrize(
    ("number", "sets"), [(30, (24, 3, 3)), (10, (8, 1, 1)), (100, (80, 10, 10)), (6, (4, 1, 1)), (3, (1, 1, 1))]
)
def test_one_speaker_is_exact_to_the_clip(number, sets):
    counts = {f"text {n}": {"01": 1} for n in range(number)}
    assert {clips(counts, divide_texts(counts, RATIOS, seed)) for seed in range(20)} == {sets}


def test_8_speakers_of_6_clips_each_have_all_three_sets():
    counts = {f"{speaker} {n}": {speaker: 1} for speaker in "abcdefgh" for n in range(5)}
    counts["all say this"] = dict.fromkeys("abcdefgh", 1)
    found = by_speaker(counts, divide_texts(counts, RATIOS, 2024))
    assert all(row == {"train": 4, "val": 1, "test": 1} for row in found.values())


def test_the_same_texts_said_by_all_are_divided_as_one_speakers_are():
    counts = {f"text {n}": {f"{speaker:02d}": 1 for speaker in range(44)} for n in range(50)}
    assert set(map(tuple, map(Counter.items, by_speaker(counts, divide_texts(counts, RATIOS, 1)).values())))
    assert clips(counts, divide_texts(counts, RATIOS, 1)) == (40 * 44, 5 * 44, 5 * 44)


@given(st.lists(st.integers(1, 4), min_size=1, max_size=80), st.integers(0, 99))
def test_a_speaker_who_shares_no_text_is_off_by_less_than_the_most_repeated_one(repeats, seed):
    counts = {f"text {n}": {"01": often} for n, often in enumerate(repeats)}
    row = by_speaker(counts, divide_texts(counts, RATIOS, seed))["01"]
    wanted = targets(sum(repeats), RATIOS)
    if len(repeats) >= 3:
        assert all(row[name] for name in SPLITS)
    if all(row[name] > max(repeats) for name in SPLITS):  # else a set is kept for its only text
        assert all(abs(row[name] - wanted[name]) < max(repeats) for name in SPLITS)


@given(COUNTS, st.integers(0, 99))
def test_every_text_is_in_one_set_and_none_alone_would_be_better_elsewhere(counts, seed):
    chosen = divide_texts(counts, RATIOS, seed)
    assert chosen.keys() == counts.keys()
    assert set(chosen.values()) <= set(SPLITS)
    now = distance(counts, chosen)
    assert all(distance(counts, {**chosen, text: name}) >= now for text in counts for name in SPLITS)


@given(COUNTS, st.integers(0, 99), st.randoms())
def test_the_order_of_texts_and_speakers_changes_nothing_and_the_seed_does(counts, seed, chance):
    texts = list(counts)
    chance.shuffle(texts)
    shuffled = {text: dict(sorted(counts[text].items(), key=lambda _: chance.random())) for text in texts}
    assert divide_texts(shuffled, RATIOS, seed) == divide_texts(counts, RATIOS, seed)


def test_texts_that_many_say_are_drawn_as_others_are():
    """200 texts that all say among 3,200 that one says; in one fixed order of the sets val had a third too many."""
    counts = {f"own {n}": {str(n % 8): 1} for n in range(3200)}
    counts |= {f"shared {n}": {str(speaker): 1 + n * speaker % 3 for speaker in range(8)} for n in range(200)}
    found = [divide_texts(counts, RATIOS, seed) for seed in range(10)]
    shared = Counter(name for one in found for text, name in one.items() if text.startswith("shared"))
    assert shared["train"] == pytest.approx(1600, abs=50)
    assert shared["val"] == pytest.approx(shared["test"], abs=30)


def test_the_seed_draws_which_texts_are_tested_on():
    counts = {f"text {n}": {"01": 1} for n in range(30)}
    drawn = [divide_texts(counts, RATIOS, seed) for seed in range(10)]
    assert len({tuple(sorted(text for text, name in one.items() if name == "test")) for one in drawn}) > 5


@given(st.integers(1, 500), st.tuples(*[st.floats(0.01, 100)] * 3))
def test_targets_add_up_and_leave_no_set_empty(number, ratios):
    found = targets(number, ratios)
    assert sum(found.values()) == pytest.approx(number)
    assert min(found.values()) >= (number >= 3)
    by_ratio = {name: number * ratio / sum(ratios) for name, ratio in zip(SPLITS, ratios, strict=True)}
    assert min(by_ratio.values()) < 1 or found == pytest.approx(by_ratio)
