"""Statistics of a corpus: golden numbers counted by hand, and what must hold of any corpus."""

import os
import random
import subprocess
import sys
import time
from collections import Counter

import pytest

from asr.core.manifest import Utterance
from asr.preparation.splits.split_file import SPLITS, Split
from asr.preparation.statistics.collect import DEFAULT_LIMIT, collect
from asr.preparation.statistics.text import bin_names, render
from asr.scoring.normalize import normalize
from tests.stage1 import ROOT

ABOUT = {"name": "tiny", "parts": ["1h"], "simulated": False}


def said(key: str, speaker: str, target: str, seconds: float) -> Utterance:
    samples = round(seconds * 16000)
    return Utterance(key, f"/clips/{key}.wav", target, samples // 160, len(target), speaker, seconds, samples)


def tiny() -> dict[str, list[Utterance]]:
    """Small enough to count by hand."""
    return {
        "train": [
            said("a1", "A", "今天", 1.0),
            said("a2", "A", "天", 0.5),
            said("a3", "A", "今天好", 1.0),
            said("b1", "B", "好", 2.0),
        ],
        "val": [said("c1", "C", "今天", 0.99), said("c2", "C", "雨", 2.0)],
        "test": [
            said("d1", "D", "今天", 0.25),
            said("d2", "D", "雨雨伞", 20.48),
            said("e1", "E", "雨", 20.49),
            said("e2", "E", "ok 好", 3.0),
        ],
    }


def split_of(splits) -> Split:
    return Split({name: tuple(sorted({item.speaker for item in splits[name]})) for name in SPLITS}, "seeded", seed=1)


def made(splits, vocabulary=None):
    return collect(ABOUT, splits, split_of(splits), vocabulary)


def drawn(seed: int, speakers: int = 9, utterances: int = 40) -> dict[str, list[Utterance]]:
    """A corpus by chance, with texts that repeat and blanks beside Latin words."""
    chance = random.Random(seed)
    splits: dict[str, list[Utterance]] = {name: [] for name in SPLITS}
    for number in range(speakers):
        for turn in range(utterances):
            text = "".join(chance.choices("一二三四五六七八九十", k=chance.choice((1, 1, 2, 3, 7, 24, 40))))
            text = f"{text} ok" if turn % 11 == 0 else text
            seconds = round(chance.uniform(0.1, 23), 2)
            splits[SPLITS[number % 3]].append(said(f"{number}-{turn}", f"s{number}", text, seconds))
    return splits


def test_golden_counts():
    found = made(tiny())
    assert found["schema_version"] == 2
    train, test = found["splits"]["train"], found["splits"]["test"]
    assert {key: train[key] for key in ("speakers", "utterances", "characters", "distinct_characters")} == {
        "speakers": 2,
        "utterances": 4,
        "characters": 7,
        "distinct_characters": 3,
    }
    assert train["hours"] == pytest.approx(4.5 / 3600, abs=1e-4)
    assert (train["one_character"], train["at_most_two_characters"], train["under_one_second"]) == (0.5, 0.75, 0.25)
    assert train["singletons"] == 0  # 今 2, 天 3, 好 2
    assert test["characters"] == 2 + 3 + 1 + 3  # the blank in "ok 好" is none
    assert test["length"] == {"min": 1, "median": 2, "mean": 2.25, "p95": 3, "max": 3}
    assert found["total"]["utterances"] == 10
    assert found["total"]["distinct_texts"] == 7
    assert found["total"]["speakers"] == 5


def test_golden_prompt_overlap():
    found = made(tiny())
    assert found["splits"]["train"]["in_train"] is None
    assert found["splits"]["train"]["in_val"] == {
        "utterances": 1,
        "share": 0.25,
        "characters": 2,
        "characters_share": 0.2857,
    }
    test = found["splits"]["test"]
    assert (test["in_train"]["utterances"], test["in_train"]["characters"]) == (1, 2)
    assert (test["in_val"]["utterances"], test["in_val"]["characters"]) == (2, 3)
    by_speaker = found["by_speaker"]
    assert (by_speaker["D"]["in_train"]["share"], by_speaker["E"]["in_train"]["share"]) == (0.5, 0.0)
    assert (by_speaker["E"]["in_val"]["share"], by_speaker["C"]["in_test"]["share"]) == (0.5, 1.0)
    assert by_speaker["A"]["in_train"] is None
    assert by_speaker["D"]["in_test"] is None


def test_texts_are_compared_as_the_scorer_compares_them():
    splits = tiny()
    splits["test"][0] = splits["test"][0]._replace(target="今天！")
    assert made(splits)["splits"]["test"]["in_train"]["utterances"] == 1


def test_golden_new_characters():
    row = made(tiny())["splits"]
    assert (row["val"]["characters_not_in_train"], row["val"]["occurrences_not_in_train"]) == (1, 1)  # 雨
    assert (row["test"]["characters_not_in_train"], row["test"]["occurrences_not_in_train"]) == (4, 6)  # 雨雨雨伞 o k
    assert row["test"]["singletons"] == 6  # 今 天 伞 o k 好


def test_golden_speaking_rate():
    rate = made(tiny())["by_speaker"]["A"]["rate"]
    assert rate == {"overall": 2.4, "median": 2.0, "p5": 2.0, "p95": 3.0}  # 2/1.0, 1/0.5, 3/1.0; 6 characters in 2.5 s
    assert made(tiny())["by_speaker"]["B"]["rate"]["median"] == 0.5


def test_golden_histograms_and_the_trainers_limit():
    found = made(tiny())
    length, seconds = found["histograms"]["length"], found["histograms"]["seconds"]
    assert length["train"][:4] == [2, 1, 1, 0]
    assert (seconds["from"][0], seconds["from"][20], seconds["from"][-1]) == (0, 10, DEFAULT_LIMIT / 100)
    assert seconds["test"][0] == 1
    assert seconds["val"][1] == 1  # 0.99 s is below one second, 1.0 s is not
    assert seconds["train"][1:5] == [1, 2, 0, 1]
    assert seconds["test"][-2:] == [1, 1]  # exactly 20.48 s is kept by FunASR, 2,049 frames are not
    assert found["splits"]["test"]["above_default_limit"] == 1


def test_golden_coverage():
    found = made(tiny(), vocabulary={"今", "天", "好", "o"})["vocabulary"]
    assert found["characters"] == 4
    assert found["splits"]["train"]["covered_share"] == 1.0
    test = found["splits"]["test"]
    assert (test["distinct_characters"], test["covered_characters"], test["uncovered_not_in_train"]) == (7, 4, 3)
    assert (test["occurrences"], test["covered_occurrences"]) == (9, 4)
    assert found["uncovered"] == [
        {"character": "雨", "count": 4, "train": 0, "val": 1, "test": 3},
        {"character": "k", "count": 1, "train": 0, "val": 0, "test": 1},
        {"character": "伞", "count": 1, "train": 0, "val": 0, "test": 1},
    ]
    assert made(tiny())["vocabulary"] is None


@pytest.mark.parametrize("seed", range(3))
def test_histograms_and_speakers_add_up(seed):
    splits = drawn(seed)
    found = made(splits, set("一二三"))
    for name in SPLITS:
        row = found["splits"][name]
        for which in ("length", "seconds"):
            histogram = found["histograms"][which]
            assert len(histogram[name]) == len(histogram["from"])
            assert sum(histogram[name]) == row["utterances"] == len(splits[name])
        own = [speaker for speaker in found["by_speaker"].values() if speaker["split"] == name]
        for key in ("utterances", "characters"):
            assert sum(speaker[key] for speaker in own) == row[key]
        letters = Counter(char for item in splits[name] for char in item.target if char != " ")
        coverage = found["vocabulary"]["splits"][name]
        assert coverage["occurrences"] == row["characters"] == sum(letters.values())
        assert coverage["covered_occurrences"] == sum(letters[char] for char in "一二三")
        texts = {normalize(item.target) for item in splits["train"]}
        seen = [item for item in splits[name] if normalize(item.target) in texts]
        if name != "train":
            assert row["in_train"]["utterances"] == len(seen)


def test_a_split_with_the_same_texts_is_seen_wholly():
    train = drawn(5)["train"]
    again = [item._replace(key="x" + item.key, speaker="x" + item.speaker) for item in train]
    row = made({"train": train, "val": again, "test": again[:7]})["splits"]["val"]
    assert (row["in_train"]["share"], row["in_train"]["characters_share"]) == (1.0, 1.0)
    assert row["characters_not_in_train"] == 0


def test_a_speaker_in_several_splits_is_one_speaker():
    splits = tiny()
    splits["test"] = [item._replace(speaker="A") for item in splits["test"]]
    found = made(splits)
    row = found["by_speaker"]["A"]
    assert row["split"] == "train+test"
    assert {name: part["utterances"] for name, part in row["by_split"].items()} == {"train": 3, "test": 4}
    assert row["utterances"] == 7
    assert row["in_train"]["share"] == 0.25  # of the four in test
    assert found["total"]["speakers"] == 3
    assert "train+test" in render(found, None, [])


def test_order_of_utterances_changes_nothing():
    splits = drawn(3)
    one = made(splits)
    for utterances in splits.values():
        random.Random(0).shuffle(utterances)
    assert made(splits) == one


def test_names_of_bins():
    assert bin_names([1, 2, 3, 6], True) == ["1", "2", "3-5", "6+"]
    assert bin_names([0, 0.5, 10, 20.48], False) == ["0-0.5", "0.5-10", "10-20.48", "above 20.48"]


def test_the_text_page_shows_what_is_there_and_no_transcript():
    splits = tiny()
    text = render(made(splits, {"今", "天", "好"}), [], ["warning  a kind  3"])
    lines = text.splitlines()
    assert lines[0].split() == ["split", "speakers", "utterances", "hours", "characters"]
    assert [line.split()[:3] for line in lines[2:6]] == [
        ["train", "2", "4"],
        ["val", "1", "2"],
        ["test", "2", "4"],
        ["total", "5", "10"],
    ]
    for head in ("Utterances by length", "Utterances by duration", "Characters without a token", "above 20.48  "):
        assert head in text
    assert "  warning  a kind  3" in text
    assert not [
        item.target for part in splits.values() for item in part if len(item.target) > 1 and item.target in text
    ]


def test_a_corpus_of_cdsds_size_takes_about_a_second():
    chance = random.Random(7)
    base = drawn(7, speakers=44, utterances=1270)
    for utterances in base.values():
        utterances[:] = [item._replace(target="".join(chance.choices(HAN, k=5))) for item in utterances]
    assert sum(map(len, base.values())) == 55880
    start = time.process_time()
    made(base, set(HAN))
    assert time.process_time() - start < 3  # 0.4 s on an idle core


HAN = [chr(0x4E00 + number) for number in range(2541)]


def test_figures_alone_need_no_matplotlib():
    code = "import sys; from asr.preparation.statistics import collect, page; print(*sys.modules)"
    paths = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "local"), str(ROOT / "scripts")])}
    done = subprocess.run([sys.executable, "-c", code], env=paths, capture_output=True, text=True)
    assert "asr.preparation.statistics.page" in done.stdout.split(), done.stderr
    assert not {"matplotlib", "numpy"} & set(done.stdout.split())
