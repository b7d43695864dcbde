"""Stage 1 as a user meets it: the command, what it prints and what it writes."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import yaml

from asr.core.manifest import read_manifest, split_digest
from tests import cdsd_tree, tiny_sensevoice
from tests.stage1 import ROOT, beside, environment, keys, prepare, problems, refused

OUTPUTS = {
    *(
        ".made_by_stage1",
        "train.jsonl",
        "val.jsonl",
        "test.jsonl",
        "split.yaml",
        "problems.tsv",
        "text_changes.tsv",
        "audio_elsewhere.txt",
    ),
    *("data_statistics.txt", "data_statistics.html", "statistics.json", "train", "val", "test"),
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
    because = "there is no speaker 07, 08, 09, 10 and 34 more"
    drawn = f"split drawn by seed 2024, not CDSD's default, because {because}"
    assert done.stdout.splitlines()[:2] == [drawn, "corpus  corpus, part 1h"]
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
        cdsd_tree.add_speaker(tmp_path / "corpus/1h", speaker, items)
    expected = dict.fromkeys(counts, "1")
    split = yaml.safe_load((ROOT / "conf/split_cdsd_1h.yaml").read_text(encoding="utf-8"))
    (tmp_path / "s.yaml").write_text(yaml.safe_dump({**split, "expected": expected}))
    done = prepare(tmp_path / "corpus", tmp_path / "data", "--split", tmp_path / "s.yaml")
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


@pytest.fixture
def incomplete(tmp_path):
    """CDSD without speaker 03, without 44's label file, and without a usable clip of test speaker 02."""
    for number in range(1, 45):
        if number != 3:
            cdsd_tree.add_speaker(tmp_path / "CDSD/1h", f"{number:02d}", {f"u{number}": "好", f"v{number}": "很好"})
    (tmp_path / "CDSD/1h/Text/44_label.txt").unlink()
    for path in (tmp_path / "CDSD/1h/Audio/02").iterdir():
        path.write_bytes(b"no sound")
    return tmp_path / "CDSD"


LACKING = "there is no usable utterance of 02; no speaker 03; no label file of 44"


@pytest.mark.parametrize("words", [("--cdsd",), ("--split", "default"), ("--cdsd", "--split", "+text-disjoint")])
def test_an_incomplete_cdsd_stops_and_all_that_is_missing_is_named(incomplete, tmp_path, words):
    message = refused(prepare(incomplete, tmp_path / "data", *words))
    assert f"/1h: CDSD's default split cannot be made, because {LACKING}; restore what is missing, or" in message
    assert "--split seeded, or --split FILE" in message
    assert not (tmp_path / "data").exists()
    assert f"cannot be made, because {LACKING}" in (done := prepare(incomplete, None, *words, "--check-only")).stdout
    assert done.returncode == 1


def test_an_incomplete_cdsd_goes_on_by_seed_or_file_and_elsewhere_its_first_line_says_so(incomplete, tmp_path):
    done = prepare(incomplete, tmp_path / "elsewhere")
    assert done.stdout.splitlines()[0] == f"split drawn by seed 2024, not CDSD's default, because {LACKING}"
    done = prepare(incomplete, tmp_path / "seeded", "--cdsd", "--split", "seeded")
    assert done.stdout.startswith("corpus  "), done.stderr
    assert keys(tmp_path / "seeded", "test") == keys(tmp_path / "elsewhere", "test")
    (tmp_path / "s.yaml").write_text("train: rest\nval: ['07']\ntest: ['08', '16']\n")
    done = prepare(incomplete, tmp_path / "file", "--cdsd", "--split", tmp_path / "s.yaml")
    assert {item.speaker for item in read_manifest(tmp_path / "file/test.jsonl")} == {"08", "16"}, done.stderr


def test_a_whole_cdsd_has_its_default_split_with_a_speaker_more_and_its_own_split_goes_before(whole, tmp_path):
    corpus = tmp_path / "CDSD"
    shutil.copytree(whole, corpus)
    cdsd_tree.add_speaker(corpus / "after_catting/1h", "45", {"S045": "好", "S046": "很好"})
    done = prepare(corpus, tmp_path / "data", "--cdsd")
    assert "(default for CDSD 1h)" in done.stdout, done.stderr
    assert "speaker in no split" in {row["kind"] for row in problems(tmp_path / "data")}
    (corpus / "split.yaml").write_text("train: rest\nval: ['03']\ntest: ['05']\n")
    assert "split.yaml (the corpus's own)" in prepare(corpus, tmp_path / "data", "--cdsd").stdout
    prepare(corpus, tmp_path / "other")
    recorded = [json.loads((tmp_path / name / "statistics.json").read_text()) for name in ("data", "other")]
    assert [one["corpus"]["cdsd"] for one in recorded] == [True, False]


def test_an_incomplete_10h_stops_as_well(whole, tmp_path):
    corpus = tmp_path / "CDSD"
    shutil.copytree(whole, corpus)
    (corpus / "after_catting/10h/Text/20-label.txt").unlink()
    shutil.rmtree(corpus / "after_catting/10h/Audio/09")
    (corpus / "after_catting/10h/Text/09_label.txt").unlink()
    message = refused(prepare(corpus, tmp_path / "data", "--cdsd", "--part", "10h"))
    assert "because there is no speaker 09; no label file of 20" in message
    done = prepare(corpus, tmp_path / "data", "--part", "10h")
    assert done.stdout.startswith("split drawn by seed 2024, not CDSD's default, because there is no speaker 09;")
    assert "speaker-dependent, by text, 8:1:1" in done.stdout


def test_other_rates_and_channels_are_converted_once_and_other_formats_are_taken_as_they_are(part, corpus, tmp_path):
    folder, out = part / "Audio/01", tmp_path / "data"
    first, second, third, _ = sorted(folder.iterdir())
    sound = np.sin(np.arange(88200) / 20) / 2
    soundfile.write(first, np.stack([sound, sound], axis=1), 44100)
    soundfile.write(second.with_suffix(".flac"), sound[:24000], 8000)
    soundfile.write(third.with_suffix(".ogg"), sound[:24000], 16000)
    second.unlink(), third.unlink()
    done = prepare(corpus, out, "--ratios", "4,1,1", "--seed", "1")
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for path in out.glob("*.jsonl") for line in path.open(encoding="utf-8")]
    found = {item["key"]: (item["source_len"], item["num_samples"], item["duration"]) for item in lines}
    assert found[first.stem] == (200, 32000, 2.0)
    assert found[second.stem] == (300, 48000, 3.0)
    assert found[third.stem] == (150, 24000, 1.5)
    sources = {item["key"]: Path(item["source"]) for item in lines}
    for key in (first.stem, second.stem):
        assert sources[key].parent == tmp_path / "data_audio/01"
        assert soundfile.info(sources[key]).samplerate == 16000
        assert soundfile.info(sources[key]).channels == 1
    assert sources[third.stem] == third.with_suffix(".ogg")
    originals = {item["key"]: item["original"] for item in lines if "original" in item}
    assert originals[first.stem] == {"source": str(first), "start": 0.0, "seconds": None, "channel": None}
    assert sorted(row["kind"] for row in problems(out)) == ["not mono", "rate not 16 kHz", "rate not 16 kHz"]
    assert "converted audio (16 kHz, mono): 2 clips in" in done.stdout
    assert (out / "audio_elsewhere.txt").read_text().splitlines() == sorted(
        map(str, [sources[first.stem], sources[second.stem]])
    )
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "data_audio").rglob("*.wav")}
    assert "unchanged: " in prepare(corpus, out, "--ratios", "4,1,1", "--seed", "1").stdout
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "data_audio").rglob("*.wav")} == times
    first.unlink()
    prepare(corpus, out, "--ratios", "4,1,1", "--seed", "1")
    assert [path.name.split("-")[0] for path in (tmp_path / "data_audio").rglob("*.wav")] == [second.stem]


def test_an_unchanged_corpus_leaves_everything_untouched_and_a_changed_clip_is_noticed(corpus, part, tmp_path):
    out = tmp_path / "data"
    prepare(corpus, out)
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    assert f"unchanged: {out} is as it was" in prepare(corpus, out).stdout
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == before
    clip = sorted((part / "Audio/04").iterdir())[0]
    times = clip.stat()
    cdsd_tree.write_wav(clip, clip.stat().st_size // 32000 + 7)
    os.utime(clip, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert f"written to {out}" in prepare(corpus, out).stdout
    lengths = {
        item.key: item.source_len for name in ("train", "val", "test") for item in read_manifest(out / f"{name}.jsonl")
    }
    assert lengths[clip.stem] == 100 * soundfile.info(clip).frames // 16000


def test_kaldi_folders_stand_beside_the_manifests_and_can_be_given_back(corpus, tmp_path):
    prepare(corpus, tmp_path / "data", "--lhotse")
    folder = tmp_path / "data/test"
    (speaker,) = {item.speaker for item in read_manifest(tmp_path / "data/test.jsonl")}
    ids = sorted(keys(tmp_path / "data", "test"))
    assert (folder / "utt2spk").read_text() == "".join(f"{key} {speaker}\n" for key in ids)
    assert (folder / "spk2utt").read_text() == f"{speaker} {' '.join(ids)}\n"
    again = {name: tmp_path / name for name in ("kaldi", "jsonl", "lhotse")}
    (tmp_path / "only").mkdir()
    for name in ("train", "val", "test"):
        shutil.copytree(tmp_path / "data" / name, tmp_path / "only" / name)
    for name, given in (("kaldi", "only"), ("jsonl", "data"), ("lhotse", "data/lhotse")):
        done = prepare(tmp_path / given, again[name])
        assert done.returncode == 0, done.stderr
        assert "split   the corpus's own sets" in done.stdout
        for split_ in ("train", "val", "test"):
            assert read_manifest(again[name] / f"{split_}.jsonl") == read_manifest(tmp_path / f"data/{split_}.jsonl")
    assert not (again["kaldi"] / "lhotse").exists()
    prepare(corpus, tmp_path / "data")
    assert not (tmp_path / "data/lhotse").exists()


def test_a_speaker_dependent_split_is_as_near_as_texts_allow_and_says_how_near(tmp_path):
    said = {f"u{number}": text for number, text in enumerate(cdsd_tree.HAN[:30])}
    cdsd_tree.add_speaker(tmp_path / "CDSD/1h", "01", said)
    cdsd_tree.add_speaker(tmp_path / "CDSD/1h", "02", {"v1": "話說", "v2": "话说！"})  # one text as it is scored
    done = prepare(tmp_path / "CDSD", tmp_path / "data", "--split", "speaker-dependent")
    assert done.returncode == 0, done.stderr
    sets = {name: read_manifest(tmp_path / f"data/{name}.jsonl") for name in ("train", "val", "test")}
    counts = {name: sum(item.speaker == "01" for item in items) for name, items in sets.items()}
    assert counts == {"train": 24, "val": 3, "test": 3}
    of_02 = {name for name, items in sets.items() if any(item.speaker == "02" for item in items)}
    assert len(of_02) == 1
    text = (tmp_path / "data/data_statistics.txt").read_text(encoding="utf-8")
    assert "each speaker's clips, and what 8:1:1 would be" in text
    assert re.search(r"^01 +24 +3 +3 +24\.0 +3\.0 +3\.0 +0\.0$", text, re.MULTILINE)
    rows = [row["detail"] for row in problems(tmp_path / "data") if row["kind"] == "speaker without utterance"]
    assert len(rows) == 2
    assert all("there are 1 different texts of this speaker, and a text is in one set only" in row for row in rows)


def test_folds_keep_the_speakers_of_a_column_together_and_need_it_of_each(corpus, tmp_path):
    (corpus / "speakers.tsv").write_text("speaker\tfamily\n01\t10\n02\t10\n03\t7\n04\t7\n05\t99\n06\t99\n")
    tested = []
    for number in (1, 2, 3):
        done = prepare(corpus, tmp_path / "data", "--split", f"folds:{number}/3@family+text-disjoint")
        assert done.returncode == 0, done.stderr
        assert f"drawn into folds by seed 2024; train without the test set's texts; fold {number} of 3" in done.stdout
        sets = [{item.speaker for item in read_manifest(tmp_path / f"data/{name}.jsonl")} for name in ("test", "val")]
        assert all(found in ({"01", "02"}, {"03", "04"}, {"05", "06"}) for found in sets)
        tested += sorted(sets[0])
    assert sorted(tested) == ["01", "02", "03", "04", "05", "06"]
    again = prepare(corpus, tmp_path / "again", "--split", tmp_path / "data/split.yaml")
    assert keys(tmp_path / "again", "test") == keys(tmp_path / "data", "test"), again.stderr
    (tmp_path / "other.tsv").write_text("speaker,site\n01,a\n02,b\n03,\n05,b\n06,c\n")
    words = ("--split", "folds:1/3@site", "--speaker-table", tmp_path / "other.tsv")
    said = refused(prepare(corpus, tmp_path / "data", *words))
    assert f"{tmp_path / 'other.tsv'}: no site of speaker 03, 04; --split folds:1/3@site needs it of each" in said
    said = refused(prepare(corpus, tmp_path / "data", "--split", "folds:1/3@sight"))
    assert "speakers.tsv:1: has no column sight to group by; it has family" in said


def test_leaving_a_speaker_out_and_a_speaker_dependent_split(corpus, tmp_path):
    done = prepare(corpus, tmp_path / "loso", "--split", "loso:03")
    assert {item.speaker for item in read_manifest(tmp_path / "loso/test.jsonl")} == {"03"}
    assert "leave one speaker out (03)" in done.stdout
    prepare(corpus, tmp_path / "own", "--split", "speaker-dependent", "--ratios", "1,1,1")
    sets = {name: read_manifest(tmp_path / f"own/{name}.jsonl") for name in ("train", "val", "test")}
    said = {name: {item.target for item in sets[name]} for name in sets}
    assert not said["train"] & said["test"]
    assert not said["train"] & said["val"]
    assert not said["val"] & said["test"]
    assert sum(map(len, sets.values())) == 24
    used = yaml.safe_load((tmp_path / "own/split.yaml").read_text())
    assert (
        used["digest"]
        == split_digest(sets)
        == json.loads((tmp_path / "own/statistics.json").read_text())["split"]["digest"]
    )
    prepare(corpus, tmp_path / "again", "--split", tmp_path / "own/split.yaml")
    assert keys(tmp_path / "again", "test") == keys(tmp_path / "own", "test")


def test_text_disjoint_takes_the_test_sets_texts_from_train_alone_and_says_so(corpus, tmp_path):
    prepare(corpus, tmp_path / "whole")
    done = prepare(corpus, tmp_path / "data", "--split", "+text-disjoint")
    assert "seed 2024; train without the test set's texts" in done.stdout
    test = {item.target for item in read_manifest(tmp_path / "data/test.jsonl")}
    train = read_manifest(tmp_path / "data/train.jsonl")
    assert not test & {item.target for item in train}
    gone = keys(tmp_path / "whole", "train") - {item.key for item in train}
    assert gone
    assert gone == {row["key"] for row in problems(tmp_path / "data") if row["kind"] == "text of the test set"}
    assert keys(tmp_path / "data", "val") == keys(tmp_path / "whole", "val")
    prepare(corpus, tmp_path / "again", "--split", tmp_path / "data/split.yaml")
    assert keys(tmp_path / "again", "train") == {item.key for item in train}


def test_10h_alone_is_divided_by_text_within_its_speakers(whole, tmp_path):
    done = prepare(whole, tmp_path / "data", "--part", "10h", "--ratios", "1,1,1", "--split", "speaker-dependent")
    assert done.returncode == 0, done.stderr
    done = prepare(whole, tmp_path / "data", "--part", "10h")
    assert "split_cdsd_10h.yaml (default for CDSD 10h): speaker-dependent, by text, 8:1:1, seed 2024" in done.stdout
    sets = {
        name: {item.target for item in read_manifest(tmp_path / f"data/{name}.jsonl")} for name in ("train", "test")
    }
    assert not sets["train"] & sets["test"]


def test_targets_are_normalised_and_the_transcript_is_kept(corpus, part, tmp_path):
    path = part / "Text/04_label.txt"
    lines = path.read_text(encoding="utf-8").splitlines()
    lines[1] = f"{lines[1].split()[0]} 我 要去，ＫＴＶ！"
    path.write_text("\n".join(lines), encoding="utf-8")
    prepare(corpus, tmp_path / "data")
    found = {
        item.key: item for name in ("train", "val", "test") for item in read_manifest(tmp_path / f"data/{name}.jsonl")
    }
    item = found[lines[1].split()[0]]
    assert (item.target, item.target_len, item.extra["transcript"]) == ("我要去 ktv", 6, "我 要去，ＫＴＶ！")
    rows = (tmp_path / "data/text_changes.tsv").read_text(encoding="utf-8").splitlines()
    assert rows[0].startswith("from\tcode points")
    assert len(rows) == 1 + 7  # a blank put in is one


def test_check_only_lists_and_changes_nothing(corpus, part, tmp_path):
    sorted((part / "Audio/04").iterdir())[0].write_text("no sound")
    before = {path: path.stat().st_mtime_ns for path in corpus.rglob("*")}
    done = prepare(corpus, None, "--check-only")
    assert done.returncode == 0, done.stderr
    assert "error  unreadable audio      1" in done.stdout
    assert done.stdout.endswith("checked only: no data was written\n")
    assert beside(tmp_path) == {"corpus"}
    prepare(corpus, tmp_path / "list", "--check-only")
    assert beside(tmp_path / "list") == {".made_by_stage1", "problems.tsv"}
    assert [row["kind"] for row in problems(tmp_path / "list")] == ["unreadable audio"]
    assert {path: path.stat().st_mtime_ns for path in corpus.rglob("*")} == before
    assert "--strict: 1 errors and 0 warnings" in refused_after_listing(
        prepare(corpus, None, "--check-only", "--strict")
    )


def refused_after_listing(done: subprocess.CompletedProcess) -> str:
    assert "checked only" in done.stdout
    return refused(done)


def test_characters_that_the_model_does_not_have_are_named(corpus, part, tmp_path):
    known = sorted(set("".join(path.read_text("utf-8") for path in (part / "Text").iterdir())) - {"天"})
    (tmp_path / "tokens.json").write_text(json.dumps(["<blank>", *known, "<unk>"]), encoding="utf-8")
    prepare(corpus, tmp_path / "data", "--tokens", tmp_path / "tokens.json")
    rows = [row for row in problems(tmp_path / "data") if row["kind"] == "character not in vocabulary"]
    assert len(rows) == 6
    assert {row["detail"] for row in rows} == {"天: becomes <unk>"}


def test_a_base_with_pieces_is_asked_for_each_character(corpus, part, tmp_path):
    known = sorted(set("".join(path.read_text("utf-8") for path in (part / "Text").iterdir())) - {"天", "\n", " "})
    tiny_sensevoice.write_folder(tmp_path / "base", known, list(tiny_sensevoice.TAGS.values()))
    refusal = refused(
        prepare(corpus, tmp_path / "data", "--tokens", tmp_path / "base", "--max-unknown-characters", "0")
    )
    assert "base: the base model has no token for many characters (train " in refusal
    assert "; most often 天)" in refusal
    done = prepare(corpus, tmp_path / "data", "--tokens", tmp_path / "base", "--max-unknown-characters", "1")
    assert "warning: characters without a token in the base model: train " in done.stdout, done.stderr
    statistics = json.loads((tmp_path / "data/statistics.json").read_text(encoding="utf-8"))
    assert statistics["vocabulary"]["characters"] is None
    assert [row["character"] for row in statistics["vocabulary"]["uncovered"]] == ["天"]
    assert "按子词切分，已逐字检查" in (tmp_path / "data/data_statistics.html").read_text(encoding="utf-8")
    done = prepare(corpus, None, "--check-only", "--tokens", tmp_path / "base", "--max-unknown-characters", "0")
    assert done.returncode == 0
    assert "warning: characters without" in done.stdout
    assert prepare(corpus, None, "--check-only", "--max-unknown-characters", "7").returncode == 2


def test_start_up_imports_no_heavy_package():
    code = "import sys; sys.path.insert(0, 'local'); import asr.preparation.prepare, score; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment(), capture_output=True, text=True)
    assert "preparation" in done.stdout, done.stderr
    assert not {"torch", "funasr", "pandas", "scipy", "soundfile"} & set(done.stdout.split())
