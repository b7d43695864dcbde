"""A tree of CDSD's size with every irregularity that is known of real copies: the counts come out exactly."""

import json
from collections import Counter

import pytest

from asr.core.manifest import read_manifest
from tests import cdsd_tree
from tests.stage1 import prepare, problems

pytestmark = pytest.mark.slow
MANUAL = {"train": 45_327, "val": 4_460, "test": 6_064}


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    return cdsd_tree.full(tmp_path_factory.mktemp("disk") / "CDSD")


def counts(out):
    sets = {name: read_manifest(out / f"{name}.jsonl") for name in MANUAL}
    return sets, {name: len(items) for name, items in sets.items()}


def kinds(out):
    return Counter((row["severity"], row["kind"]) for row in problems(out))


def test_1h_has_the_manuals_counts_and_every_irregularity_is_listed(tree, tmp_path):
    done = prepare(tree, tmp_path / "data")
    assert done.returncode == 0, done.stderr
    assert "The 1h part's counts are the manual's." in done.stdout
    sets, found = counts(tmp_path / "data")
    assert found == MANUAL
    assert {name: len({item.speaker for item in items}) for name, items in sets.items()} == {
        "train": 35,
        "val": 4,
        "test": 5,
    }
    by_speaker = Counter(item.speaker for items in sets.values() for item in items)
    assert by_speaker == cdsd_tree.counts_1h()
    assert sum("，" in item.key for item in sets["train"]) == 727
    assert kinds(tmp_path / "data") == {
        ("error", "transcript without wav"): cdsd_tree.WITHOUT_WAV,
        ("warning", "wav without transcript"): 315,
        ("note", "transcript normalised"): 33,
        ("note", "Latin word without blanks"): 16,
    }


def test_a_copy_with_other_folder_names_is_the_same_corpus_and_a_lost_clip_is_said(tree, tmp_path):
    def digest(out):
        return json.loads((out / "statistics.json").read_text(encoding="utf-8"))["corpus"]["digest"]

    prepare(tree, tmp_path / "one")
    lower, part = tmp_path / "copy", tree / "after_catting/1h"
    lower.mkdir()
    (lower / "1h").mkdir()
    (lower / "1h/text").symlink_to(part / "Text")
    (lower / "1h/Audio").symlink_to(part / "Audio")
    prepare(lower, tmp_path / "two")
    assert digest(tmp_path / "one") == digest(tmp_path / "two")
    lost = part / "Audio/41" / f"{cdsd_tree.utt_id('41', 3)}.wav"
    kept = lost.read_bytes()
    lost.unlink()
    try:
        done = prepare(lower, tmp_path / "two")
    finally:
        lost.write_bytes(kept)
    assert "test 6,063 utterances, -1 against the manual's 6,064: 41 -1" in done.stdout
    assert done.returncode == 0


def test_10h_alone_is_whole_and_speaker_20_is_in_it(tree, tmp_path):
    done = prepare(tree, tmp_path / "data", "--part", "10h")
    assert done.returncode == 0, done.stderr
    sets, found = counts(tmp_path / "data")
    assert sum(found.values()) == 92_730
    assert found["test"] / 92_730 == pytest.approx(0.1, abs=0.02)
    said = {name: {item.target for item in items} for name, items in sets.items()}
    assert not (said["train"] & said["test"]) | (said["train"] & said["val"]) | (said["val"] & said["test"])
    assert {len({item.speaker for item in items}) for items in sets.values()} == {8}
    own = [item for items in sets.values() for item in items if item.speaker == "20"]
    assert len(own) == cdsd_tree.COUNTS_10H["20"]
    assert {item.key[:4] for item in own} == {"S001", "S002", "S003"}
    assert kinds(tmp_path / "data") == {
        ("warning", "wav without transcript"): 69,
        ("note", "transcript normalised"): 17,
        ("note", "full-width letter or digit"): 16,
        ("note", "Latin word without blanks"): 16,
    }


def test_both_parts_together_keep_colliding_ids_apart_and_test_speakers_out_of_train(tree, tmp_path):
    done = prepare(tree, tmp_path / "data", "--part", "1h,10h")
    assert done.returncode == 0, done.stderr
    assert "The 1h part's counts are the manual's." in done.stdout
    sets, found = counts(tmp_path / "data")
    of_10h = sum(count for speaker, count in cdsd_tree.COUNTS_10H.items() if speaker not in ("02", "08", "09"))
    assert found == {"train": 45_327 + of_10h, "val": 4_460, "test": 6_064}
    ids = Counter(item.key.split("-", 1)[1] for item in sets["train"])
    assert max(ids.values()) == 2  # the same id in both parts, with another text
    train, held_out = (
        {item.speaker for name in names for item in sets[name]} for names in (["train"], ["val", "test"])
    )
    assert not train & held_out
