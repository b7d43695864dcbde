"""The scorer: figures worked out by hand, and files that are not what they should be."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import score as score_command
from asr.core.made_by import STAGE1, mark
from asr.core.manifest import Utterance, read_manifest, write_manifest
from asr.core.text_tables import markdown_table, text_table
from asr.reporting import provenance
from asr.reporting.results_md import results
from asr.scoring.notes import speaker_note, verdict
from asr.scoring.score import Request, score, score_hypotheses, total
from tests.attacked import call
from tests.patience import PATIENCE
from tests.report_example import bare_page

ROOT = Path(__file__).resolve().parents[2]

# key, speaker, reference, baseline, tuned
CLIPS = [
    ("a1", "02", "数字", "树子", "数字"),
    ("a2", "02", "语音识别", "语音", "语音识别。"),
    ("a3", "02", "好", "你好吗", "好"),
    ("b1", "08", "今天天气很好", "今天天气很好", "今天天气好"),
    ("b2", "08", "我要喝水", "", "我要喝水"),
    ("b3", "08", "ＫＴＶ", "ktv", "K T V"),
]
TRAIN = ["数字", "今天天气很好。", "别的话"]


def utterance(key: str, speaker: str, target: str) -> Utterance:
    return Utterance(key, f"/audio/{key}.wav", target, 100, len(target), speaker, 1.0, 16000)


REFERENCES = [utterance(key, speaker, text) for key, speaker, text, _, _ in CLIPS]


@pytest.fixture
def files(tmp_path):
    """A folder with ref.jsonl, train.jsonl, baseline.txt and tuned.txt."""
    write_manifest(tmp_path / "ref.jsonl", REFERENCES)
    write_manifest(tmp_path / "train.jsonl", [utterance(f"t{n}", "01", text) for n, text in enumerate(TRAIN)])
    for name, column in (("baseline", 3), ("tuned", 4)):
        write_hypotheses(tmp_path / f"{name}.txt", {clip[0]: clip[column] for clip in CLIPS})
    return tmp_path


def write_hypotheses(path: Path, texts: dict[str, str]) -> None:
    path.write_text("".join(f"{key} {text}".rstrip(" ") + "\n" for key, text in texts.items()), encoding="utf-8")


def scores(references: list[Utterance], path: Path) -> dict:
    request = Request(replicates=500)
    return score(references, {"tuned": score_hypotheses(references, path, request)}, request)


def run(folder: Path, *more: object, baseline: bool = True) -> subprocess.CompletedProcess:
    arguments = ["--ref", folder / "ref.jsonl", "--hyp", folder / "tuned.txt", "--out", folder / "score", *more]
    arguments += ["--baseline", folder / "baseline.txt"] if baseline else []
    return subprocess.run(
        [sys.executable, str(ROOT / "local/score.py"), *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(ROOT / "scripts")},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )


def result_of(folder: Path) -> dict:
    return json.loads((folder / "score/score.json").read_text(encoding="utf-8"))


def refused(done: subprocess.CompletedProcess) -> str:
    assert done.returncode == 1, done.stdout
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1, done.stderr
    return done.stderr


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


def test_who_is_who_is_said_only_where_a_speaker_has_another_name(files):
    said = "who S1, S2, … are is in per_speaker.tsv"
    assert said not in run(files).stdout
    write_manifest(files / "ref.jsonl", [clip._replace(speaker=f"Li{clip.speaker}") for clip in REFERENCES])
    assert said in run(files).stdout


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


FIRM, HERE, ZERO = (0.01, 0.2), (0.02, 0.1), (-0.1, 0.2)


@pytest.mark.parametrize(
    ("over_speakers", "over_utterances", "expected"),
    [
        (FIRM, HERE, "lower"),
        (ZERO, HERE, "lower_here"),
        (None, HERE, "lower_here"),
        (ZERO, ZERO, "unclear"),
        (None, None, "unclear"),
        ((0.0, 0.2), ZERO, "unclear"),
    ],
)
def test_the_verdict_is_no_firmer_than_its_interval(over_speakers, over_utterances, expected):
    assert verdict(over_speakers, over_utterances) == expected
    turned = [ends and (-ends[1], -ends[0]) for ends in (over_speakers, over_utterances)]
    assert verdict(*turned) == expected.replace("lower", "higher")


# Ten characters an utterance, two utterances a speaker; of each speaker how many the two systems have wrong.
@pytest.mark.parametrize(
    ("before", "after", "said", "chinese"),
    [
        (
            [8] * 6,
            [2, 2, 3, 3, 4, 4],
            "On speakers like these 6, fine-tuning lowers the CER by 50.00 points, 62.5 %",
            "下降",
        ),
        ([2, 2, 3, 3, 4, 4], [8] * 6, "On speakers like these 6, fine-tuning raises the CER by 50.00 points", "上升"),
        (
            *([8, 8, 8, 8], [0, 0, 7, 9]),
            "In this test set (4 speakers, other utterances of theirs) the CER is lower after fine-tuning, by"
            " 40.00 points, 50.0 % relative (95 % interval over utterances",
            "在本测试集上（还是这 4 位说话人，换一批语句），微调后字错率低 40.00 个百分点",
        ),
        (
            *([8, 8, 8], [2, 2, 3]),
            "3 speakers cannot show that it would be for others.",
            "3 位说话人不足以说明别人也会如此",
        ),
        (
            [5, 5, 5, 5],
            [4, 6, 4, 6],
            "It is not clear that fine-tuning changes the CER: the reduction is 0.00",
            "不能断定",
        ),
    ],
)
def test_one_sentence_says_what_the_speakers_show(tmp_path, before, after, said, chinese):
    text = "今天天气很好啊真的"[:9] + "吗"
    items = [utterance(f"k{who}{turn}", f"s{who}", text) for who in range(len(before)) for turn in range(2)]
    write_manifest(tmp_path / "ref.jsonl", items)
    for name, wrong in (("baseline", before), ("tuned", after)):
        heard = {item.key: "错" * wrong[n // 2] + text[wrong[n // 2] :] for n, item in enumerate(items)}
        write_hypotheses(tmp_path / f"{name}.txt", heard)
    done = run(tmp_path)
    result = result_of(tmp_path)
    note = result["comparison"]["verdict_note"]
    assert said in note["en"]
    assert chinese in note["zh"]
    assert note["en"] in done.stdout
    assert f"**{note['en']}**" in results("x", result, {})
    html = bare_page(result)
    assert note["en"] in html
    assert note["zh"] in html
    for page in (done.stdout, results("x", result, {}), html):
        assert "robability" not in page


def test_groups_say_how_many_speakers_and_the_mean_of_speakers_stands_beside_the_cer(tmp_path):
    """Speakers of 1, 1, 1 and 3 utterances of 4 characters, with 4, 0, 0 and 6 errors: 10 of 24, means 1 0 0 .5."""
    owners = ["a", "b", "c", "d", "d", "d"]
    items = [utterance(f"k{n}", owner, "今天很好") for n, owner in enumerate(owners)]
    write_manifest(tmp_path / "ref.jsonl", items)
    heard = ["错错错错", "今天很好", "今天很好", *["错错很好"] * 3]
    for name in ("baseline", "tuned"):
        write_hypotheses(tmp_path / f"{name}.txt", {f"k{n}": text for n, text in enumerate(heard)})
    (tmp_path / "speakers.tsv").write_text("speaker\tsex\tkind\na\tf\tx\nb\tm\tx\nc\tm\tx\nd\tm\tx\n")
    done = run(tmp_path, "--speaker-table", tmp_path / "speakers.tsv", "--group-by", "sex,kind")
    result = result_of(tmp_path)
    tuned = result["systems"]["tuned"]
    assert (tuned["cer"], tuned["speaker_mean_cer"]) == (10 / 24, 1.5 / 4)
    assert "mean of speakers" in done.stdout
    by = result["groups"]["speaker_table"]
    assert [(row["n_speakers"], row["tuned"]["ci95"]) for row in by["sex"].values()] == [(1, None), (3, None)]
    assert by["kind"]["x"]["tuned"]["ci95"] == tuned["ci95"] is not None
    page = results("x", result, {})
    line = next(line for line in page.splitlines() if line.startswith("| f "))
    assert [cell.strip() for cell in line.split("|")[2:7]] == ["1", "4", "1", "100.00", "n/a"]
    assert "of whom a group must have four" in page


TEN = [utterance(f"k{number}", f"{number % 5}", "今天天气很好啊真的好") for number in range(10)]


@pytest.mark.parametrize(
    ("baseline", "tuned", "said"),
    [
        # 10 references of 10 characters; the tuned model is silent for 4 of 10 and says two characters of the others
        (
            "错" * 9,
            ["", "", "", "", *["今天"] * 6],
            "The tuned model writes too little: 88 of its 88 errors are deletions, and 4",
        ),
        (
            "错" * 9,
            [*["今天天气很好啊真的坏"] * 9, ""],
            "tuned model writes too little: 10 of its 19 errors are deletions, and 1 of",
        ),
        ("今天", ["今天天气很好啊真的坏"] * 10, "The base model writes too little: 80 of its 80 errors"),
        (
            "错" * 9,
            ["今天天气很好啊真的"] * 10,
            "The tuned model writes too little: 10 of its 10 errors are deletions, and 0",
        ),
        ("错" * 9, [*["今天天气很好啊真的好"] * 9, "今天天气很好啊真的"], None),  # one deletion in 100 characters
        ("错" * 10, ["今天天气很好啊真的坏"] * 10, None),
    ],
)
def test_a_model_gone_silent_is_named_wherever_its_cer_is(files, baseline, tuned, said):
    write_manifest(files / "ref.jsonl", TEN)
    write_hypotheses(files / "baseline.txt", {item.key: baseline for item in TEN})
    write_hypotheses(files / "tuned.txt", {item.key: text for item, text in zip(TEN, tuned, strict=True)})
    done = run(files)
    assert done.returncode == 0, done.stderr
    note, score_ = result_of(files)["silence_note"], result_of(files)
    assert (note is None) == (said is None)
    page, html = results("x", score_, {}), bare_page(score_)
    if said is None:
        assert not any("writes too little" in text for text in (done.stdout, page, html))
        return
    assert said in note["en"]
    assert note["en"] in done.stdout
    assert page.index(note["en"]) < page.index("uning")
    assert html.index(note["en"]) < html.index('class="lead"')
    assert note["zh"] in html


def test_an_empty_file_of_hypotheses_is_100_percent_and_no_crash(files):
    write_hypotheses(files / "tuned.txt", {})
    done = run(files)
    tuned = result_of(files)["systems"]["tuned"]
    assert (tuned["cer"], tuned["n_missing"], tuned["ser"]) == (1, 6, 1)
    assert "no hypothesis of tuned for 6 of 6 clips, counted as deletions: a1, a2, a3, b1, b2 and 1 more" in done.stderr


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ("a1 x\nzz y\nzy y\n", "tuned.txt:2: key zz (and 1 more keys) is not in the reference"),
        ("a1 x\na1 x\n", "tuned.txt:2: duplicate key a1"),
        ("a1 x\n\n", "tuned.txt:2: the line has no key"),
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


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("scoring")


hypotheses = st.dictionaries(st.sampled_from([clip[0] for clip in CLIPS]), st.text("数字语音好今天 。", max_size=8))


@settings(max_examples=50)
@given(texts=hypotheses, data=st.data())
def test_dropping_hypotheses_never_lowers_the_cer(folder, texts, data):
    """A missing hypothesis is as bad as an empty one: all deletions.

    Only one thing is worse, and dropping it would lower the CER: a hypothesis with more errors than its reference has
    characters, that is one with insertions beyond its hits.
    """
    dropped = data.draw(st.sets(st.sampled_from(sorted(texts)))) if texts else set()
    write_hypotheses(folder / "all.txt", texts)
    write_hypotheses(folder / "empty.txt", {key: "" if key in dropped else text for key, text in texts.items()})
    write_hypotheses(folder / "some.txt", {key: text for key, text in texts.items() if key not in dropped})
    names = ("all", "empty", "some")
    every, empty, some = (score_hypotheses(REFERENCES, folder / f"{name}.txt", Request()) for name in names)
    assert total(some) == total(empty)
    if all(item.counts.errors <= item.counts.ref_len for item in every):
        assert total(some).cer >= total(every).cer


@settings(max_examples=25)
@given(texts=hypotheses, chance=st.randoms())
def test_the_order_of_lines_changes_nothing(folder, texts, chance):
    lines, references = list(texts.items()), list(REFERENCES)
    chance.shuffle(lines), chance.shuffle(references)
    write_hypotheses(folder / "a.txt", texts)
    write_hypotheses(folder / "b.txt", dict(lines))
    assert scores(REFERENCES, folder / "a.txt") == scores(references, folder / "b.txt")


def test_intervals_do_not_depend_on_the_order_of_lines(folder):
    speakers = [f"{number:02d}" for number in range(6)]
    references = [
        utterance(f"{speaker}-{n}", speaker, "今天天气很好"[: n % 6 + 1]) for speaker in speakers for n in range(9)
    ]
    written = {item.key: "今天很好" if item.speaker < "03" else "天很好" for item in references}
    write_hypotheses(folder / "h.txt", written)
    one, two = (scores(order, folder / "h.txt") for order in (references, references[::-1]))
    low, high = one["systems"]["tuned"]["ci95"]
    assert low <= one["systems"]["tuned"]["cer"] <= high
    assert one == two


def test_tables_line_up_with_han_in_them():
    table = text_table(("speaker", "n"), [("张三", 5), ("a", 12_000)])
    assert table == "speaker      n\n--------------\n张三         5\na        12000"
    assert markdown_table(("a", "b"), [("x|<b>", 1)]).splitlines()[2] == "| x\\|&lt;b&gt; |   1 |"


def test_the_note_says_what_so_many_speakers_can_show():
    assert "1 test speaker: the figures are about this speaker only." in speaker_note(1)["en"]
    assert "fewer than 4" in speaker_note(3)["en"]
    five = speaker_note(5)
    assert "cannot reach a p below 0.0625" in five["en"]
    assert "93 to 97 times in 100" in five["en"]
    assert "5 位测试说话人" in five["zh"]


def test_clips_that_were_trained_on_are_refused_and_their_speakers_told(files):
    """The training manifest given for the test set; a clip of it under another key, and by another way."""
    train = files / "train.jsonl"
    assert "warning" not in run(files, "--train", train).stderr
    done = run(files, "--train", files / "ref.jsonl")
    assert f"{files}/ref.jsonl: 6 of its 6 clips are in {files}/ref.jsonl too, first " in refused(done)
    others = [item._replace(speaker=REFERENCES[0].speaker) for item in read_manifest(train)]
    write_manifest(train, others)
    warning = f"warning: {files}/ref.jsonl: 1 of the 2 speakers are in the training set too\n"
    assert warning in run(files, "--train", train).stderr
    assert [warning["kind"] for warning in result_of(files)["warnings"]] == ["trained_speakers"]
    (files / "way").symlink_to("/audio")
    again = REFERENCES[2]._replace(key="again", source=f"{files}/way/{REFERENCES[2].key}.wav")
    write_manifest(train, [*others, again])
    assert f"1 of its 6 clips are in {train} too, first {REFERENCES[2].key}: " in refused(run(files, "--train", train))
    write_manifest(train, [*others, again._replace(key=REFERENCES[3].key, source="/elsewhere.wav")])
    assert f"first {REFERENCES[3].key}: " in refused(run(files, "--train", train))


def test_warnings_stand_in_score_json_without_files_and_keys(files):
    write_manifest(files / "ref.jsonl", [item._replace(source="/audio/one.wav") for item in REFERENCES])
    write_hypotheses(files / "tuned.txt", {clip[0]: clip[4] for clip in CLIPS if clip[0] != "a2"})
    done = run(files)
    warnings = result_of(files)["warnings"]
    assert [warning["kind"] for warning in warnings] == ["repeated_clips", "missing_hypotheses"]
    for warning in warnings:
        assert warning.keys() == {"kind", "en", "zh"}
        assert f": {warning['en']}" in done.stderr
        assert not any(word in " ".join(warning.values()) for word in ("a2", "/", ".jsonl", ".txt"))
    assert result_of(files)["reference"]["clips_per_speaker"] == {"min": 3, "median": 3, "max": 3}


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
