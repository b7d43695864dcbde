"""What a score says in words, on the screen and on both pages: the verdict, its speakers, silence, warnings."""

import pytest

from asr.core.manifest import read_manifest, write_manifest
from asr.reporting.results_md import results
from asr.scoring.notes import speaker_note, verdict
from tests.report_example import bare_page
from tests.scored import CLIPS, REFERENCES, refused, result_of, run, utterance, write_files, write_hypotheses


@pytest.fixture
def files(tmp_path):
    return write_files(tmp_path)


def test_who_is_who_is_said_only_where_a_speaker_has_another_name(files):
    said = "who S1, S2, … are is in per_speaker.tsv"
    assert said not in run(files).stdout
    write_manifest(files / "ref.jsonl", [clip._replace(speaker=f"Li{clip.speaker}") for clip in REFERENCES])
    assert said in run(files).stdout


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
            "在本测试集上（还是这 4 位说话人，换一批语句），微调后字错误率低 40.00 个百分点",
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


def test_clips_that_were_trained_on_are_known_by_the_ids_of_a_kaldi_text(files):
    """Stage 1's Kaldi lists write <speaker>-<key>."""
    one = REFERENCES[2]
    (files / "text").write_text(f"{one.speaker}-{one.key} {one.target}\n", encoding="utf-8")
    (files / "hyp.txt").write_text(f"{one.speaker}-{one.key} {one.target}\n", encoding="utf-8")
    train = files / "train.jsonl"
    write_manifest(train, [one._replace(source="/elsewhere.wav")])
    done = run(files, "--ref", files / "text", "--train", train)
    assert f"1 of its 1 clips are in {train} too, first {one.speaker}-{one.key}: " in refused(done)
