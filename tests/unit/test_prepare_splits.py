"""Stage 1's splits as a user meets them: the corpus's own, CDSD's default, drawn ones, and what is said of each."""

import json
import re
import shutil

import pytest
import yaml

from asr.core.manifest import read_manifest, split_digest
from tests import cdsd_tree
from tests.stage1 import ROOT, keys, prepare, problems, refused


@pytest.fixture
def corpus(tmp_path):
    return cdsd_tree.small(tmp_path / "corpus")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A hundredth of CDSD, with its irregularities."""
    return cdsd_tree.one_in_hundred(tmp_path_factory.mktemp("disk") / "CDSD")


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


def test_a_budget_leaves_the_test_set_as_it_is_and_is_listed(tmp_path):
    corpus = tmp_path / "corpus"
    cdsd_tree.add_speaker(
        corpus / "1h", "02", {f"u{number}": "一二三四五六七八九十百千"[number] for number in range(12)}
    )
    prepare(corpus, tmp_path / "whole", "--split", "speaker-dependent:02", "--ratios", "1,1,1")
    sets = {name: read_manifest(tmp_path / f"whole/{name}.jsonl") for name in ("train", "val", "test")}
    seconds = sum(item.duration for item in sets["train"]) / 2
    rule = f"speaker-dependent:02@{2 * seconds + 0.1:.3f}s"  # half of what there is to train, and as much to validate
    done = prepare(corpus, tmp_path / "data", "--split", rule, "--ratios", "1,1,1")
    assert done.returncode == 0, done.stderr
    assert "s of each speaker's to train and validate" in done.stdout
    assert keys(tmp_path / "data", "test") == keys(tmp_path / "whole", "test")
    gone = 0
    for name in ("train", "val"):
        kept = read_manifest(tmp_path / f"data/{name}.jsonl")
        assert {item.key for item in kept} < {item.key for item in sets[name]}
        assert sum(item.duration for item in kept) <= seconds + 0.1
        gone += len(sets[name]) - len(kept)
    (row,) = [row for row in problems(tmp_path / "data") if row["kind"] == "beyond the budget"]
    assert (row["severity"], row["key"]) == ("note", "02")
    assert row["detail"].startswith(f"speaker 02: {gone} utterances (")
    prepare(corpus, tmp_path / "again", "--split", tmp_path / "data/split.yaml")
    assert keys(tmp_path / "again", "train") == keys(tmp_path / "data", "train")


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


def test_texts_for_the_test_set_alone_are_in_no_other_and_it_has_no_others(corpus, tmp_path):
    prepare(corpus, tmp_path / "whole")
    texts = sorted({item.target for item in read_manifest(tmp_path / "whole/test.jsonl")})[:2]
    split = yaml.safe_load((tmp_path / "whole/split.yaml").read_text(encoding="utf-8"))
    given = {name: split[name] for name in ("train", "val", "test")} | {"test_texts": texts}
    (tmp_path / "split.yaml").write_text(yaml.safe_dump(given, allow_unicode=True), encoding="utf-8")
    done = prepare(corpus, tmp_path / "data", "--split", tmp_path / "split.yaml")
    assert "2 texts for the test set alone" in done.stdout
    gone = set()
    for name in ("train", "val", "test"):
        before = read_manifest(tmp_path / f"whole/{name}.jsonl")
        kept = {item.key for item in before if (item.target in texts) == (name == "test")}
        assert keys(tmp_path / "data", name) == kept
        gone |= {item.key for item in before} - kept
    assert gone
    assert gone == {row["key"] for row in problems(tmp_path / "data") if row["kind"] == "text of another set"}
    prepare(corpus, tmp_path / "again", "--split", tmp_path / "data/split.yaml")
    assert keys(tmp_path / "again", "test") == keys(tmp_path / "data", "test")


def test_10h_alone_is_divided_by_text_within_its_speakers(whole, tmp_path):
    done = prepare(whole, tmp_path / "data", "--part", "10h", "--ratios", "1,1,1", "--split", "speaker-dependent")
    assert done.returncode == 0, done.stderr
    done = prepare(whole, tmp_path / "data", "--part", "10h")
    assert "split_cdsd_10h.yaml (default for CDSD 10h): speaker-dependent, by text, 8:1:1, seed 2024" in done.stdout
    sets = {
        name: {item.target for item in read_manifest(tmp_path / f"data/{name}.jsonl")} for name in ("train", "test")
    }
    assert not sets["train"] & sets["test"]


@pytest.mark.parametrize(("lacking", "speaker", "rule"), [("test", "S", "seeded"), ("val", "", "speaker-dependent")])
def test_a_corpus_that_comes_without_one_of_its_sets_is_told_which_rule_makes_one(tmp_path, lacking, speaker, rule):
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    for name in {"train", "val", "test"} - {lacking}:
        rows = [{"key": f"{name}{n}", "source": f"{name}{n}.wav", "target": cdsd_tree.HAN[n]} for n in range(12)]
        for number, row in enumerate(rows):
            cdsd_tree.write_wav(corpus / row["source"])
            row |= {"speaker": f"{speaker}{name}{number // 4}"} if speaker else {}
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        (corpus / f"{name}.jsonl").write_text(lines, encoding="utf-8")
    message = refused(prepare(corpus, tmp_path / "data"))
    assert f"corpus: the {lacking} split is empty (no speaker)" in message
    assert f"; add this set to the corpus, or have all three drawn anew: --split {rule}\n" in message
    done = prepare(corpus, tmp_path / "data", "--split", rule)
    assert done.returncode == 0, done.stderr
