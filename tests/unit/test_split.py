"""Splits: the default's published counts, files with what can be wrong in them, and the seeded draw."""

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from asr.core.errors import RecipeError
from asr.preparation.splits import rules, split_file
from cdsd_facts import SPLIT_FILES
from tests import cdsd_tree

SPEAKERS = ["01", "02", "03", "04", "07"]


def read(tmp_path, text, speakers=SPEAKERS):
    path = tmp_path / "s.yaml"
    path.write_text(text, encoding="utf-8")
    return split_file.read_split(path, speakers)


def test_default_split_has_the_published_counts():
    counts = cdsd_tree.counts_1h()
    default = split_file.read_split(SPLIT_FILES["1h"], list(counts), "default")
    assert default.speakers["val"] == ("07", "09", "15", "35")
    assert default.speakers["test"] == ("02", "08", "16", "18", "41")
    utterances = {name: sum(counts[speaker] for speaker in default.speakers[name]) for name in split_file.SPLITS}
    assert utterances == {"train": 45_327, "val": 4_460, "test": 6_064}
    assert len(default.of_speaker()) == 44


def test_default_split_needs_all_of_its_speakers():
    names = sorted(cdsd_tree.counts_1h())
    with pytest.raises(RecipeError, match="the corpus has no speaker 44"):
        split_file.read_split(SPLIT_FILES["1h"], names[:-1])
    assert split_file.read_split(SPLIT_FILES["1h"], [*names, "45"]).of_speaker().get("45") is None


def test_unquoted_speakers_are_not_numbers(tmp_path):
    read_ = read(tmp_path, "train: rest\nval: [07]\ntest: [02]\n")
    assert read_.speakers == {"train": ("01", "03", "04"), "val": ("07",), "test": ("02",)}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("train: rest\nval: ['01']\ntest:\n - '02'\n - '99'\n", r"s.yaml:5: the corpus has no speaker 99"),
        ("train: rest\nval: ['7']\ntest: ['02']\n", r"s.yaml:2: the corpus has no speaker 7; did you mean 07\?"),
        ("train: ['01']\nval: ['02']\ntest: ['01']\n", r"s.yaml:3: speaker 01 \(test\) is in train too"),
        ("train: ['01', '01']\nval: ['02']\ntest: ['03']\n", r"s.yaml:1: speaker 01 \(train\) is here twice"),
        ("train: rest\nval: rest\ntest: ['01']\n", r"s.yaml:2: both train and val are 'rest'"),
        ("train: rest\nvalid: ['02']\ntest: ['01']\n", r"s.yaml:2: unknown key 'valid'; did you mean 'val'\?"),
        ("train: rest\ntrain: rest\nval: ['02']\n", r"s.yaml:2: duplicate key 'train'"),
        ("train: rest\nval: ['02']\n", "s.yaml: no 'test' in it"),
        ("train: rest\nval: '02'\ntest: ['01']\n", r"s.yaml:2: 'val' must be a list of speakers or rest"),
        ("train: rest\nval: [['02']]\ntest: ['01']\n", r"s.yaml:2: 'val' must be a plain list"),
        ("train: rest\nval: ['02'\ntest: ['01']\n", r"s.yaml:3: not YAML"),
        ("method: magic\n", r"s.yaml:1: 'method' is magic; it takes speakers, speaker-dependent, own"),
        ("train: rest\nval: ['01']\ntest: ['02']\nspeakers: ['03']\n", r"s.yaml:4: 'speakers' goes with method"),
        ("train: rest\nval: ['01']\ntest: ['02']\ntext_disjoint: yes\n", r"s.yaml:4: 'text_disjoint' is yes"),
        ("method: speaker-dependent\ntrain: ['01']\n", r"s.yaml:2: 'train' does not go with method"),
        ("method: speaker-dependent\nspeakers: ['77']\n", r"s.yaml:2: the corpus has no speaker 77"),
        ("method: speaker-dependent\nbudget: 3min\n", r"s.yaml:2: 'budget' is 3min; it takes seconds, above 0"),
        ("method: speaker-dependent\nbudget: 0\n", r"s.yaml:2: 'budget' must be seconds, above 0"),
        ("train: rest\nval: ['01']\ntest: ['02']\nbudget: 20\n", r"s.yaml:4: 'budget' goes with method: speaker-dep"),
        ("method: speaker-dependent\nseed: many\n", r"s.yaml:2: 'seed' is many"),
        ("method: speaker-dependent\nratios: [8, 1]\n", r"s.yaml:2: 'ratios' must be three numbers"),
        ("- 01\n", r"s.yaml:1: a split file maps"),
        ("", r"s.yaml:1: a split file maps"),
        ("train: rest\nval: ['02']\ntest: ['01']\nexpected: {'01': many}\n", r"s.yaml:4: expected utterances"),
        ("train: rest\nval: ['02']\ntest: ['01']\ntest_texts: 上海\n", r"s.yaml:4: 'test_texts' must be a list"),
        ("train: rest\nval: ['02']\ntest: ['01']\ntest_texts: [['上海']]\n", r"s.yaml:4: 'test_texts' must be a plain"),
    ],
)
def test_a_wrong_split_file_is_named_with_its_line(tmp_path, text, message):
    with pytest.raises(RecipeError, match=message):
        read(tmp_path, text)


def test_no_split_file(tmp_path):
    with pytest.raises(RecipeError, match="no such split file"):
        split_file.read_split(tmp_path / "none.yaml", SPEAKERS)


def test_the_split_as_written_can_be_given_back(tmp_path):
    names = ["07", 'the "loud" one', "张三", "a: b", "no", "x#y"]
    drawn = rules.seeded_split(names, seed=5)
    split_file.write_split(tmp_path / "split.yaml", drawn, "a comment\nof two lines", "abc")
    again = split_file.read_split(tmp_path / "split.yaml", names)
    assert again.speakers == drawn.speakers
    assert yaml.safe_load((tmp_path / "split.yaml").read_text())["seed"] == 5


@given(st.sets(st.text(min_size=1), min_size=3, max_size=40), st.integers(), st.randoms())
def test_the_draw_is_disjoint_complete_and_blind_to_order(names, seed, chance):
    drawn = rules.seeded_split(names, seed=seed)
    assert set(drawn.of_speaker()) == names
    assert sum(map(len, drawn.speakers.values())) == len(names)
    assert all(drawn.speakers[name] for name in split_file.SPLITS)
    shuffled = sorted(names)
    chance.shuffle(shuffled)
    assert rules.seeded_split(shuffled, seed=seed) == drawn


@pytest.mark.parametrize(("count", "sizes"), [(3, (1, 1, 1)), (10, (8, 1, 1)), (34, (28, 3, 3)), (44, (36, 4, 4))])
def test_the_draw_keeps_the_ratio(count, sizes):
    drawn = rules.seeded_split([f"{number:02d}" for number in range(count)])
    assert tuple(len(drawn.speakers[name]) for name in split_file.SPLITS) == sizes


def test_an_extreme_ratio_still_leaves_a_speaker_for_each_split():
    drawn = rules.seeded_split(["a", "b", "c", "d"], ratios=(1, 1000, 1000))
    assert {name: len(drawn.speakers[name]) for name in split_file.SPLITS} == {"train": 1, "val": 1, "test": 2}


def test_the_seed_matters_and_two_speakers_are_too_few():
    names = [f"{number:02d}" for number in range(20)]
    assert len({rules.seeded_split(names, seed=seed).speakers["test"] for seed in range(10)}) > 5
    with pytest.raises(RecipeError, match=r"2 \(a, b\), at least 3"):
        rules.seeded_split(["a", "b"])
