"""The scorer: figures worked out by hand, and files that are not what they should be."""

import json

import pytest

import score as score_command
from asr.core.made_by import STAGE1, mark
from asr.core.manifest import write_manifest
from asr.core.text_tables import markdown_table, text_table
from asr.reporting import provenance
from tests.attacked import call
from tests.scored import CLIPS, REFERENCES, refused, result_of, run, scores, utterance, write_files, write_hypotheses


@pytest.fixture
def files(tmp_path):
    return write_files(tmp_path)


def test_golden(files):
    done = run(files, "--train", files / "train.jsonl", "--seed", "7")
    assert done.returncode == 0, done.stderr
    found = result_of(files)
    assert (found["schema_version"], found["seed"]) == (3, 7)
    assert found["reference"]["n_utt"] == 6
    baseline, tuned = found["systems"]["baseline"], found["systems"]["tuned"]
    # 树子: 2 sub; 语音: 2 del; 你好吗: 2 ins; empty: 4 del; ktv is ＫＴＶ when normalised
    assert [baseline[key] for key in ("sub", "del", "ins", "hits", "ref_len")] == [2, 6, 2, 12, 20]
    assert baseline["cer"] == pytest.approx(10 / 20)
    assert (baseline["ser"], baseline["n_empty"], baseline["n_missing"]) == (pytest.approx(4 / 6), 1, 0)
    assert [tuned[key] for key in ("sub", "del", "ins", "hits", "ref_len")] == [0, 1, 0, 19, 20]
    assert tuned["raw_cer"] == pytest.approx(
        7 / 20
    )  # 。 and 很 count, and K T V has no full-width letter: 3 sub, 2 ins
    assert found["comparison"]["absolute_reduction"] == pytest.approx(9 / 20)
    assert found["comparison"]["relative_reduction"] == pytest.approx(0.9)
    counts = [found["comparison"][f"utterances_{name}"] for name in ("better", "worse", "same")]
    assert counts == [4, 1, 1]
    assert baseline["utterance_mean_cer"] == pytest.approx((1 + 2 / 4 + 2 / 1 + 0 + 1 + 0) / 6)
    assert baseline["length_ratio"] == pytest.approx(16 / 20)  # 14 right or substituted, 2 inserted
    assert baseline["empty_rate"] == pytest.approx(1 / 6)
    assert found["reference"]["hours"] == pytest.approx(6 / 3600)
    speakers = found["comparison"]["speakers"]
    assert (speakers["better"], speakers["worse"], speakers["p"], speakers["smallest_p"]) == (2, 0, 0.5, 0.5)
    # 树子/数字: 2-0; 语音识别: 2-0; 好: 2-0; 今天天气很好: 0-1; 我要喝水: 4-0
    test = found["comparison"]["mapsswe"]
    assert (test["segments"], test["mean_difference"]) == (5, pytest.approx((2 + 2 + 2 - 1 + 4) / 5))


def test_groups_are_by_speaker_by_text_and_by_length(files):
    run(files, "--train", files / "train.jsonl")
    found = result_of(files)
    assert {name: row["baseline"]["cer"] for name, row in found["by_speaker"].items()} == {
        "02": pytest.approx(6 / 7),
        "08": pytest.approx(4 / 13),
    }
    text = found["groups"]["text"]
    assert (text["seen"]["n_utt"], text["seen"]["ref_len"]) == (
        2,
        8,
    )  # the mark at the end of a train text is no matter
    assert text["unseen"]["n_utt"] == 4
    lengths = {name: row["n_utt"] for name, row in found["groups"]["length"].items()}
    assert lengths == {"1": 1, "2": 1, "3-5": 3, "6-10": 1, "11+": 0}
    assert found["groups"]["length"]["11+"]["tuned"] is None
    for groups in (found["by_speaker"], text, found["groups"]["length"]):
        for key in ("sub", "del", "ins", "hits", "ref_len", "n_utt", "n_empty"):
            parts = [row["baseline"][key] for row in groups.values() if row["baseline"]]
            assert sum(parts) == found["systems"]["baseline"][key]


def test_two_speakers_have_no_interval_and_the_reason_is_given(files):
    done = run(files)
    assert result_of(files)["systems"]["tuned"]["ci95"] is None
    assert "no interval over speakers: 2 speakers, at least 4 are needed" in done.stdout


def test_without_baseline_and_without_train(files):
    assert run(files, baseline=False).returncode == 0
    found = result_of(files)
    assert list(found["systems"]) == ["tuned"]
    assert found["comparison"] is None
    assert found["groups"]["text"] is None


def test_lines_to_read_a_cer_beside_are_cdsds_alone(files):
    """Stage 1 says in statistics.json, beside the manifest, that the corpus is CDSD; else there is no line."""
    mark(files, STAGE1)
    for corpus in (None, {}, {"corpus": {"name": "CDSD of mine"}}, {"corpus": {"cdsd": False}}):
        if corpus is not None:
            (files / "statistics.json").write_text(json.dumps(corpus))
        done = run(files)
        assert result_of(files)["reference_lines"] == []
        assert "human listeners" not in done.stdout
    (files / "statistics.json").write_text(json.dumps({"corpus": {"name": "a", "cdsd": True}}))
    done = run(files)
    human, _, unseen = result_of(files)["reference_lines"]
    assert (human["cer"], human["note"]) == (0.2045, "other clips, other listeners")
    assert "2310.15930" in human["source"]
    assert "for reference, never a test passed:\n  human listeners 20.45 % (other clips, other listeners" in done.stdout
    assert unseen["cer"] == 0.3762
    assert "Paraformer, fine-tuned 37.62 % (unseen speakers: other clips, the older release" in done.stdout


def test_a_missing_hypothesis_is_all_deletions_and_is_named(files):
    whole = run(files) and result_of(files)["systems"]["tuned"]
    write_hypotheses(files / "tuned.txt", {clip[0]: clip[4] for clip in CLIPS if clip[0] != "a2"})
    done = run(files)
    assert done.returncode == 0
    tuned = result_of(files)["systems"]["tuned"]
    assert '"a2"' not in (files / "score/score.json").read_text(encoding="utf-8")  # an id names its speaker
    assert (tuned["del"], tuned["ref_len"], tuned["n_missing"]) == (whole["del"] + 4, whole["ref_len"], 1)
    assert (
        f"warning: {files}/tuned.txt: no hypothesis of tuned for 1 of 6 clips, counted as deletions: a2" in done.stderr
    )
    row = next(line for line in (files / "score/per_utterance.tsv").open(encoding="utf-8") if line.startswith("a2"))
    assert 'missing\t0\t4\t0\t0\t1.000000\t[["d","语音识别"]]' in row


def test_a_crashed_decode_cannot_look_better(files):
    """A baseline that invents text has a lower CER without the hypotheses in which it does; nothing is concluded."""
    base = {"a1": "树子", "a2": "语音", "a3": "你好吗啊啊啊啊", "b1": "今天", "b2": "", "b3": "ktv"}
    write_hypotheses(files / "baseline.txt", base)
    write_hypotheses(files / "tuned.txt", {key: text for key, text in base.items() if key != "a3"})
    done = run(files)
    found = result_of(files)
    assert found["systems"]["tuned"]["cer"] < found["systems"]["baseline"]["cer"]
    assert found["comparison"] is None
    assert "Nothing is compared: 1 hypotheses of tuned are missing." in done.stdout
    assert "relative" not in done.stdout


def test_an_empty_file_of_hypotheses_is_100_percent_and_no_crash(files):
    write_hypotheses(files / "tuned.txt", {})
    done = run(files)
    tuned = result_of(files)["systems"]["tuned"]
    assert (tuned["cer"], tuned["n_missing"], tuned["ser"]) == (1, 6, 1)
    assert "no hypothesis of tuned for 6 of 6 clips, counted as deletions: a1, a2, a3, b1, b2 and 1 more" in done.stderr


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ("a1 x\n\nzz y\nzy y\n", "tuned.txt:3: key zz (and 1 more keys) is not in the reference"),
        ("a1 x\na1 x\n", "tuned.txt:2: duplicate key a1"),
        ("a1 x\n\n y\n", "tuned.txt:3: the line has no key"),
    ],
)
def test_wrong_hypotheses_stop_before_anything_is_written(files, texts, message):
    (files / "tuned.txt").write_text(texts)
    assert message in refused(run(files))
    assert not (files / "score").exists()


def test_files_that_are_not_there(files):
    (files / "tuned.txt").unlink()
    assert f"{files}/tuned.txt: no such file" in refused(run(files))
    (files / "ref.jsonl").write_text("")
    assert f"{files}/ref.jsonl: holds no utterance" in refused(run(files))


def test_an_empty_reference_counts_its_insertions(tmp_path):
    references = [utterance("a", "01", "。"), utterance("b", "01", "好的")]
    write_hypotheses(tmp_path / "h.txt", {"a": "啊", "b": "好的"})
    found = scores(references, tmp_path / "h.txt")
    assert found["systems"]["tuned"]["cer"] == 0.5
    assert found["systems"]["tuned"]["n_empty_ref"] == 1
    assert found["groups"]["length"]["0"]["n_utt"] == 1


def test_hostile_texts_break_no_table(files):
    odd = "<script>alert(1)</script>\t\"'|👍🏽\u202eمرحبا e\u0301" + "好" * 10_000
    write_hypotheses(files / "tuned.txt", {"a1": odd, "b1": "\u2028\x0b\x1c今天"})
    assert run(files).returncode == 0
    lines = (files / "score/per_utterance.tsv").read_bytes().decode().split("\n")
    assert len(lines) == 1 + len(CLIPS) + 1
    assert len({line.count("\t") for line in lines[:-1]}) == 1


def test_tables_line_up_with_han_in_them():
    table = text_table(("speaker", "n"), [("张三", 5), ("a", 12_000)])
    assert table == "speaker      n\n--------------\n张三         5\na        12000"
    assert markdown_table(("a", "b"), [("x|<b>", 1)]).splitlines()[2] == "| x\\|&lt;b&gt; |   1 |"


def test_a_column_that_the_table_lacks_is_named_before_anything_is_decoded(tmp_path):
    (tmp_path / "speakers.tsv").write_text("speaker\tsex\n02\tf\n")

    def check(columns):
        words = ["--check-table", "--speaker-table", tmp_path / "speakers.tsv", "--group-by", columns]
        return call(score_command.main, *words)

    assert (check("sex").status, check("sex").said) == (0, "")
    assert check("age").said == f"error: {tmp_path}/speakers.tsv:1: has no column age to group by; it has sex\n"


@pytest.mark.parametrize(
    ("statistics", "name"),
    [
        ({"name": "CDSD of a friend", "cdsd": False}, "own corpus"),
        ({"name": "corpus", "cdsd": True}, "CDSD"),
        ({"name": "mini", "simulated": True}, "mini"),
    ],
)
def test_a_corpus_is_cdsd_where_stage_1_was_told_so_not_by_its_folders_name(tmp_path, statistics, name):
    mark(tmp_path, STAGE1)
    for split in ("train", "val", "test"):
        write_manifest(tmp_path / f"{split}.jsonl", REFERENCES)
    (tmp_path / "statistics.json").write_text(json.dumps({"corpus": statistics}))
    assert provenance.corpus(tmp_path)["name"] == name
