"""The rules of --split: what each one takes, and what holds of every draw."""

import operator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr.core.errors import RecipeError, UsageError
from asr.preparation.splits.budget import budget_of, within_budget
from asr.preparation.splits.rules import (
    Request,
    dependent_split,
    fold_split,
    loso_split,
    parse_request,
    refuse_shared_speakers,
)
from asr.preparation.splits.split_file import read_split, write_split
from tests.scored import utterance

SPEAKERS = [f"{number:02d}" for number in range(1, 21)]
CLIPS = dict.fromkeys(SPEAKERS, 10)
NAMES = st.sets(st.text("abc张三1", min_size=1, max_size=3), min_size=3, max_size=30)


@pytest.mark.parametrize(
    ("text", "request_"),
    [
        ("", Request()),
        ("default", Request("default")),
        ("own", Request("own")),
        ("seeded", Request("seeded")),
        ("loso:02", Request("loso", "02")),
        ("folds:3/8", Request("folds", "3/8")),
        ("folds:1/3@voice_group+text-disjoint", Request("folds", "1/3@voice_group", text_disjoint=True)),
        ("speaker-dependent", Request("speaker-dependent")),
        ("speaker-dependent:02,08", Request("speaker-dependent", "02,08")),
        ("speaker-dependent:02@3min", Request("speaker-dependent", "02", budget=180)),
        ("speaker-dependent@20s", Request("speaker-dependent", budget=20)),
        (
            "speaker-dependent:a@b@1.5min+text-disjoint",
            Request("speaker-dependent", "a@b", text_disjoint=True, budget=90),
        ),
        ("folds@3min", Request("file", "folds@3min")),
        ("my/split.yaml", Request("file", "my/split.yaml")),
        ("./default", Request("file", "./default")),
        ("default+text-disjoint", Request("default", text_disjoint=True)),
        ("+text-disjoint", Request(text_disjoint=True)),
        ("a+b.yaml+text-disjoint", Request("file", "a+b.yaml", text_disjoint=True)),
        ("own+shared-speakers+text-disjoint", Request("own", text_disjoint=True, shared_speakers=True)),
    ],
)
def test_what_split_takes(text, request_):
    assert parse_request(text) == request_


WRONG_BUDGETS = ("speaker-dependent@", "speaker-dependent@3", "speaker-dependent@3m", "speaker-dependent@0s")
WRONG_FOLDS = ("folds", "folds:3", "folds:0/5", "folds:6/5", "folds:1/2", "folds:1/5@", "folds:a/5", "folds:1/5:x")


@pytest.mark.parametrize("text", ["loso", "loso:", "default:8,1,1", "own:x", "seeded:3", *WRONG_FOLDS, *WRONG_BUDGETS])
def test_a_rule_with_too_little_or_too_much_is_wrong_usage(text):
    with pytest.raises(UsageError):
        parse_request(text)


def test_ratios_alone_mean_a_seeded_split_and_go_with_drawn_ones_only():
    assert parse_request("", (6, 2, 2), 7) == Request("seeded", "", (6, 2, 2), 7)
    assert parse_request("loso:02", (6, 2, 2)).ratios == (6, 2, 2)
    with pytest.raises(UsageError, match="--ratios goes with"):
        parse_request("s.yaml", (6, 2, 2))


@given(NAMES, st.integers())
def test_leaving_one_speaker_out_tests_on_that_one_alone(names, seed):
    left_out = sorted(names)[0]
    found = loso_split(names, left_out, seed=seed)
    assert found.speakers["test"] == (left_out,)
    assert set(found.of_speaker()) == names
    assert sum(map(len, found.speakers.values())) == len(names)
    assert found.speakers["train"]
    assert found.speakers["val"]


def test_leaving_each_of_20_speakers_out_keeps_two_for_validation():
    assert {len(loso_split(SPEAKERS, name).speakers["val"]) for name in SPEAKERS} == {2}
    with pytest.raises(RecipeError, match=r"loso:99: the corpus has no such speaker; it has 01, 02, .* and 8 more"):
        loso_split(SPEAKERS, "99")
    with pytest.raises(RecipeError, match="needs two speakers besides"):
        loso_split(["01", "02"], "01")


def test_a_speaker_dependent_split_names_speakers_or_takes_all():
    assert dependent_split(SPEAKERS).speakers["test"] == tuple(SPEAKERS)
    assert dependent_split(SPEAKERS, "08,02").speakers["train"] == ("02", "08")
    with pytest.raises(RecipeError, match="the corpus has no speaker 99"):
        dependent_split(SPEAKERS, "02,99")


CLIP = st.tuples(st.sampled_from("ab"), st.floats(0.5, 9))


@given(st.lists(CLIP, max_size=40), st.floats(1, 60), st.floats(1, 60), st.integers())
def test_a_budget_holds_for_each_speaker_and_a_larger_one_holds_all_of_a_smaller_one(clips, less, more, seed):
    items = [utterance(f"k{n}", who, "好")._replace(duration=seconds) for n, (who, seconds) in enumerate(clips)]
    less, more = sorted((less, more))
    kept = within_budget(items, less, seed)
    assert kept <= within_budget(items[::-1], more, seed)
    for speaker in {item.speaker for item in items}:
        theirs = [item.duration for item in items if item.speaker == speaker and item.key in kept]
        assert theirs
        assert len(theirs) == 1 or sum(theirs) <= less


def test_a_budget_is_divided_as_the_ratios_are():
    split = dependent_split(SPEAKERS, ratios=(8, 1, 1), budget=180)
    assert budget_of(split) == {"train": 160, "val": 20}
    assert "180 s of each speaker's to train and validate" in split.describe()


def test_a_speaker_in_two_splits_is_an_error_that_says_what_to_do():
    splits = {"train": {"a", "b"}, "val": {"c"}, "test": {"b", "a"}}
    with pytest.raises(RecipeError, match=r"speaker a and 1 more in both train and test.*own\+shared-speakers"):
        refuse_shared_speakers(splits, "corpus")
    refuse_shared_speakers({"train": {"unknown"}, "val": {"c"}, "test": {"unknown"}}, "corpus")


@pytest.mark.parametrize(
    "split",
    [
        dependent_split(SPEAKERS, "02,08", (6, 2, 2), 5, 90.5),
        loso_split(SPEAKERS, "02", seed=3),
        fold_split(CLIPS, "2/4"),
    ],
    ids=["speaker-dependent", "loso", "folds"],
)
def test_a_drawn_split_as_written_can_be_given_back(tmp_path, split):
    write_split(tmp_path / "split.yaml", split, "a comment", "abc")
    again = read_split(tmp_path / "split.yaml", SPEAKERS)
    fields = operator.attrgetter("speakers", "method", "seed", "ratios", "budget")
    assert fields(again) == fields(split)


@given(st.dictionaries(st.text("abc张三1", min_size=1, max_size=3), st.integers(1, 50), min_size=5), st.integers())
def test_over_all_folds_each_speaker_is_tested_once_and_validates_once_and_folds_are_alike_in_size(clips, seed):
    found = [fold_split(clips, f"{number}/5", seed) for number in range(1, 6)]
    for name in ("test", "val"):
        assert sorted(speaker for split in found for speaker in split.speakers[name]) == sorted(clips)
    assert all(set(split.of_speaker()) == clips.keys() for split in found)
    sizes = [sum(clips[speaker] for speaker in split.speakers["test"]) for split in found]
    assert max(sizes) - min(sizes) <= max(clips.values())
    again = fold_split(dict(reversed(clips.items())), "1/5", seed)
    assert again.speakers == found[0].speakers


def test_a_group_stays_in_one_fold_and_one_more_fold_than_groups_is_refused():
    group_of = dict(zip("abcdefgh", "11223345", strict=True))
    clips = dict.fromkeys(group_of, 10) | {"x": 0, "y": 0}  # x and y have another part alone
    group_of |= {"x": "1", "y": "9"}
    for number in range(1, 6):
        split = fold_split(clips, f"{number}/5@family", group_of=group_of)
        sets = split.of_speaker()
        assert len({(group_of[speaker], name) for speaker, name in sets.items()}) == 6
        assert sets["y"] == "train"
        assert f"fold {number} of 5 is the test set, family kept together" in split.describe()
    with pytest.raises(RecipeError, match=r"--split folds:1/6@family: 6 folds of 5 values of family \(1, 2, 3, 4, 5\)"):
        fold_split(clips, "1/6@family", group_of=group_of)
    assert fold_split(clips, "1/5").speakers != fold_split(clips, "1/5", 7).speakers
