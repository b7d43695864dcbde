"""Stage 1 as a user meets it: the command, what it prints and what it writes."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile
import yaml

from asr.manifest import read_manifest
from tests import cdsd_tree
from tests.stage1 import ROOT, environment, keys, prepare, problems

OUTPUTS = {
    "train.jsonl",
    "val.jsonl",
    "test.jsonl",
    "data_statistics.txt",
    "statistics.json",
    "problems.tsv",
    "split.yaml",
}


@pytest.fixture
def corpus(tmp_path):
    return cdsd_tree.small(tmp_path / "corpus")


@pytest.fixture
def part(corpus):
    return corpus / "after_catting" / "1h"


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A hundredth of CDSD, with its irregularities."""
    return cdsd_tree.one_in_hundred(tmp_path_factory.mktemp("disk") / "CDSD")


def test_manifests_have_exact_lengths(corpus, tmp_path):
    out = tmp_path / "data"
    done = prepare(corpus, out)
    assert done.returncode == 0, done.stderr
    assert {path.name for path in out.iterdir()} == OUTPUTS
    everything = [item for name in ("train", "val", "test") for item in read_manifest(out / f"{name}.jsonl")]
    assert len(everything) == 24
    for item in everything:
        info = soundfile.info(item.source)
        assert (item.num_samples, item.duration) == (info.frames, pytest.approx(info.duration))
        assert item.source_len == info.frames * 100 // 16000
        assert item.target_len == len(item.target)
        assert item.speaker == Path(item.source).parent.name
    assert done.stdout.splitlines()[0] == "corpus  corpus, part 1h"
    assert "drawn by speaker, 8:1:1, seed 2024" in done.stdout
    assert "no problem found" in done.stdout


def test_statistics_begin_with_the_manuals_table(corpus, tmp_path):
    prepare(corpus, tmp_path / "data")
    lines = (tmp_path / "data/data_statistics.txt").read_text(encoding="utf-8").splitlines()
    assert lines[0].split() == ["split", "speakers", "utterances", "hours", "characters"]
    assert [line.split()[:3] for line in lines[2:6]] == [
        ["train", "4", "16"],
        ["val", "1", "4"],
        ["test", "1", "4"],
        ["total", "6", "24"],
    ]


def test_prompt_overlap_counts_texts_that_train_has(corpus, tmp_path):
    prepare(corpus, tmp_path / "data")
    statistics = json.loads((tmp_path / "data/statistics.json").read_text(encoding="utf-8"))
    assert statistics["splits"]["test"]["in_train"]["utterances"] == 1  # the sentence that every speaker says
    assert statistics["splits"]["test"]["in_train"]["characters"] == 6


def test_a_corpus_that_calls_itself_simulated_is_recorded_so(corpus, tmp_path):
    prepare(corpus, tmp_path / "data")
    assert json.loads((tmp_path / "data/statistics.json").read_text())["corpus"]["simulated"] is False
    (corpus / "speakers.tsv").write_text("speaker\tkind\n01\tsimulated\n")
    prepare(corpus, tmp_path / "data")
    assert json.loads((tmp_path / "data/statistics.json").read_text())["corpus"]["simulated"] is True


def test_the_same_corpus_in_another_place_has_the_same_digest(corpus, tmp_path):
    prepare(corpus, tmp_path / "one")
    corpus.rename(tmp_path / "disk 7 张三")
    prepare(tmp_path / "disk 7 张三", tmp_path / "two")
    one, two = (json.loads((tmp_path / name / "statistics.json").read_text())["corpus"] for name in ("one", "two"))
    assert one["digest"] == two["digest"]
    assert two["name"] == "disk 7 张三"
    assert keys(tmp_path / "one", "test") == keys(tmp_path / "two", "test")


def test_cdsd_gets_the_default_split_and_the_difference_from_the_manual_is_said(whole, tmp_path):
    done = prepare(whole, tmp_path / "data")
    used = yaml.safe_load((tmp_path / "data/split.yaml").read_text())
    assert used["origin"] == "default"
    assert used["test"] == ["02", "08", "16", "18", "41"]
    assert "split_cdsd_1h.yaml (default for CDSD 1h)" in done.stdout
    assert "test 57 utterances, -6,007 against the manual's 6,064: 02 -979, " in done.stdout


def test_the_full_counts_are_the_manuals(tmp_path):
    counts = cdsd_tree.counts_1h()
    few = {speaker: {f"{speaker}-{number}": "好"} for number, speaker in enumerate(counts)}
    for speaker, items in few.items():
        cdsd_tree.add_speaker(tmp_path / "1h", speaker, items)
    expected = dict.fromkeys(counts, "1")
    split = yaml.safe_load((ROOT / "conf/split_cdsd_1h.yaml").read_text(encoding="utf-8"))
    (tmp_path / "s.yaml").write_text(yaml.safe_dump({**split, "expected": expected}))
    done = prepare(tmp_path, tmp_path / "data", "--split", tmp_path / "s.yaml")
    assert "The 1h part's counts are the manual's." in done.stdout, done.stderr


def test_two_parts_never_share_a_key_and_10h_never_brings_test_speakers_into_train(whole, tmp_path):
    out = tmp_path / "data"
    done = prepare(whole, out, "--part", "1h,10h")
    assert done.returncode == 0, done.stderr
    train, test, val = (read_manifest(out / f"{name}.jsonl") for name in ("train", "test", "val"))
    assert {item.key.split("-")[0] for item in train} == {"1h", "10h"}
    assert {item.key.split("-")[0] for item in (*test, *val)} == {"1h"}
    assert {item.speaker for item in train if item.key.startswith("10h-")} == {"01", "04", "06", "12", "20"}
    texts = {item.key: item.target for item in train}
    assert texts["1h-S001T010E000N00001"] != texts["10h-S001T010E000N00001"]
    left = [row["key"] for row in problems(out) if row["kind"] == "10h of a val or test speaker"]
    assert sorted(left) == ["02", "08", "09"]


def test_the_corpuss_own_split_is_used_and_said(corpus, tmp_path):
    (corpus / "split.yaml").write_text("train: rest\nval: [03]\ntest: [05, 06]\n")
    done = prepare(corpus / "after_catting", tmp_path / "data")
    assert "split   split.yaml (the corpus's own)" in done.stdout
    assert {item.speaker for item in read_manifest(tmp_path / "data/test.jsonl")} == {"05", "06"}
    assert "drawn by speaker" in prepare(corpus, tmp_path / "data", "--ratios", "4,1,1").stdout


def test_almost_cdsd_says_why_its_split_is_not_the_default(tmp_path):
    for number in range(1, 44):
        cdsd_tree.add_speaker(tmp_path / "1h", f"{number:02d}", {f"u{number}": "好"})
    done = prepare(tmp_path, tmp_path / "data")
    assert "drawn by speaker, 8:1:1, seed 2024; CDSD's default split needs 44 too" in done.stdout


def test_other_rates_channels_and_formats_are_counted_at_16_khz(part, corpus, tmp_path):
    folder = part / "Audio/01"
    first, second = sorted(folder.iterdir())[:2]
    cdsd_tree.write_wav(first, 2.0, rate=44100, channels=2)
    soundfile.write(second.with_suffix(".flac"), [0.0] * 24000, 8000)
    second.unlink()
    prepare(corpus, tmp_path / "data", "--ratios", "4,1,1", "--seed", "1")
    lines = [json.loads(line) for path in (tmp_path / "data").glob("*.jsonl") for line in path.open(encoding="utf-8")]
    found = {item["key"]: (item["source_len"], item["num_samples"], item["duration"]) for item in lines}
    assert found[first.stem] == (200, 88200, 2.0)
    assert found[second.stem] == (300, 24000, 3.0)
    assert sorted(row["kind"] for row in problems(tmp_path / "data")) == [
        "not mono",
        "rate not 16 kHz",
        "rate not 16 kHz",
    ]


def test_characters_that_the_model_does_not_have_are_named(corpus, part, tmp_path):
    known = sorted(set("".join(path.read_text("utf-8") for path in (part / "Text").iterdir())) - {"天"})
    (tmp_path / "tokens.json").write_text(json.dumps(["<blank>", *known, "<unk>"]), encoding="utf-8")
    prepare(corpus, tmp_path / "data", "--tokens", tmp_path / "tokens.json")
    rows = [row for row in problems(tmp_path / "data") if row["kind"] == "character not in vocabulary"]
    assert len(rows) == 6
    assert {row["detail"] for row in rows} == {"天: becomes <unk>"}


def test_start_up_imports_no_heavy_package():
    code = "import sys; sys.path.insert(0, 'local'); import preparation, score; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment(), capture_output=True, text=True)
    assert "preparation" in done.stdout, done.stderr
    assert not {"torch", "funasr", "pandas", "scipy", "soundfile"} & set(done.stdout.split())
