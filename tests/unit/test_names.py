"""Names that look the same are the same, speakers that are dummies are nobody, and one recording is in one set."""

import gzip
import json
import os
import shutil
import unicodedata
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from asr.core.manifest import Utterance, read_manifest, write_manifest
from asr.core.names import UNKNOWN_SPEAKER, are_dummies, plain_name, visible
from asr.preparation.corpora.jsonl import read_jsonl
from asr.preparation.corpora.kaldi import read_kaldi
from asr.preparation.corpora.lhotse import read_lhotse
from asr.reporting.results_md import results
from asr.scoring.compare_runs import compare, read_runs
from asr.scoring.speaker_interval import NO_SPREAD
from tests import cdsd_tree
from tests.report_example import bare_page
from tests.stage1 import prepare, problems, refused
from tests.unit.test_scoring import result_of, run, write_hypotheses

ZERO = "\u200b"
ODD = "invisible character in a name"
DUMMY = "every utterance has its own speaker (utt2spk is a dummy): nobody can tell whether the test speakers are unseen"


@pytest.mark.parametrize(
    ("name", "plain", "shown"),
    [
        (f"S01{ZERO}", "S01", "S01<U+200B>"),
        ("\ufeff01\u200e", "01", "<U+FEFF>01<U+200E>"),
        ("0\u20601", "01", "0<U+2060>1"),
        ("张\ufe00三\u00ad", "张三", "张<U+FE00>三<U+00AD>"),
        ("Lu\u0308 Li", "L\u00fc Li", "Lu\u0308 Li"),
        ("S037T2，3E0", "S037T2，3E0", "S037T2，3E0"),
        ("张 三", "张 三", "张 三"),
    ],
)
def test_a_name_is_plain_and_what_is_not_seen_is_shown(name, plain, shown):
    assert (plain_name(name), visible(name)) == (plain, shown)


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_a_plain_name_stays_and_another_form_of_it_is_it(name):
    plain = plain_name(name)
    assert plain_name(plain) == plain
    assert plain_name(unicodedata.normalize("NFD", name)) == plain


def small(root: Path) -> Path:
    """Four speakers of three clips with sounds of their own; the folder of the part is returned."""
    part, chance = root / "1h", np.random.default_rng(1)
    for speaker in ("01", "02", "03", "04"):
        cdsd_tree.add_speaker(part, speaker, {f"S{speaker}_{number}": f"{'好' * number}天" for number in range(3)})
        for path in (part / "Audio" / speaker).iterdir():
            soundfile.write(path, chance.standard_normal(8000) / 20, 16000)
    return part


def test_names_that_look_the_same_are_one_in_labels_folders_and_files(tmp_path):
    part = small(tmp_path / "corpus")
    label = part / "Text/01_label.txt"
    label.write_text(label.read_text("utf-8").replace("S01_0 ", f"S01_0{ZERO} "), encoding="utf-8")
    label.rename(part / f"Text/{ZERO}01_label.txt")
    (part / "Audio/02").rename(part / f"Audio/02{ZERO}")
    (part / "Audio/03\u2060").mkdir()
    (part / "Audio/03/S03_1.wav").rename(part / "Audio/03\u2060/S03_1.wav")
    (part / "Audio/04/S04_2.wav").rename(part / f"Audio/04/S04_2{ZERO}.wav{ZERO}")
    (tmp_path / "s.yaml").write_text(f"train: ['01', '03']\nval: ['02{ZERO}']\ntest: ['04']\n", encoding="utf-8")
    for split in ("seeded", "loso:04\u200e", tmp_path / "s.yaml"):
        done = prepare(tmp_path / "corpus", tmp_path / "data", "--split", split)
        assert done.returncode == 0, done.stderr
        sets = [read_manifest(tmp_path / f"data/{name}.jsonl") for name in ("train", "val", "test")]
        assert sorted(item.key for items in sets for item in items) == sorted(
            f"S{speaker}_{number}" for speaker in ("01", "02", "03", "04") for number in range(3)
        )
        assert {item.speaker for items in sets for item in items} == {"01", "02", "03", "04"}
        assert {(row["severity"], row["kind"]) for row in problems(tmp_path / "data")} == {("note", ODD)}
    details = "\n".join(row["detail"] for row in problems(tmp_path / "data"))
    for shown in ("S01_0<U+200B> is taken for S01_0", "02<U+200B> is", "03<U+2060> is", "S04_2<U+200B>.wav<U+200B> is"):
        assert shown in details


def test_a_path_that_is_not_there_shows_what_is_not_seen(tmp_path):
    message = refused(prepare(tmp_path / f"corpus{ZERO}", tmp_path / "data"))
    assert "corpus<U+200B>: no such folder" in message


def test_a_kaldi_folder_a_jsonl_and_a_lhotse_folder_have_plain_names(tmp_path):
    kaldi = tmp_path / "kaldi"
    kaldi.mkdir()
    (kaldi / "wav.scp").write_text(f"r1{ZERO} /d/1.wav\nr2 /d/2.wav\n", encoding="utf-8")
    (kaldi / "segments").write_text(f"a r1 0 1\nb{ZERO} r2\u2060 0 1\n", encoding="utf-8")
    (kaldi / "text").write_text(f"a{ZERO} 你好\nb 好\n", encoding="utf-8")
    (kaldi / "utt2spk").write_text(f"a s1{ZERO}\nb s1\n", encoding="utf-8")
    lines = [
        {"key": f"a{ZERO}", "source": "/d/1.wav", "target": "你好", "speaker": "s1"},
        {"key": "b", "source": "/d/2.wav", "target": "好", "speaker": f"{ZERO}s1"},
    ]
    (tmp_path / "m.jsonl").write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    source = {"type": "file", "channels": [0], "source": "/d/1.wav"}
    recording = {"id": f"a{ZERO}", "sources": [source], "sampling_rate": 16000, "num_samples": 16000, "duration": 1.0}
    supervision = {"id": f"a{ZERO}", "recording_id": "a", "start": 0.0, "duration": 1.0, "channel": 0, "text": "你好"}
    again = {**supervision, "id": "b", "recording_id": "\u2060a"}
    (tmp_path / "lhotse").mkdir()
    for name, rows in (
        ("recordings", [recording]),
        ("supervisions", [{**supervision, "speaker": "s1"}, {**again, "speaker": f"s1{ZERO}"}]),
    ):
        with gzip.open(tmp_path / f"lhotse/{name}.jsonl.gz", "wt") as stream:
            stream.write("".join(json.dumps(row) + "\n" for row in rows))
    for part in (read_kaldi(kaldi), read_jsonl(tmp_path / "m.jsonl"), read_lhotse(tmp_path / "lhotse")):
        assert [(clip.key, clip.speaker) for clip in part.clips] == [("a", "s1"), ("b", "s1")], part.problems
        assert part.speakers == ["s1"]
        assert {problem.kind for problem in part.problems} == {ODD}


def dummy(root: Path, number: int = 12, speaker: str = "{0}", sets: tuple[str, ...] = ("",)) -> Path:
    """A Kaldi folder, or one of each set, of clips whose utt2spk says ``speaker``; each has a sound of its own."""
    chance = np.random.default_rng(2)
    for place, name in enumerate(sets):
        keys = [f"u{place}{n:03d}" for n in range(number)]
        (root / name).mkdir(parents=True, exist_ok=True)
        for key in keys:
            soundfile.write(root / f"{key}.wav", chance.standard_normal(8000) / 20, 16000)
        for file, words in (("wav.scp", f"{root}/{{0}}.wav"), ("utt2spk", speaker)):
            (root / name / file).write_text("".join(f"{key} {words.format(key)}\n" for key in keys))
        (root / name / "text").write_text("".join(f"{key} 第{cdsd_tree.HAN[n]}\n" for n, key in enumerate(keys)))
    return root


@pytest.mark.parametrize("speaker", ["{0}", "spk-{0}"])
def test_dummy_speakers_are_nobody_and_no_split_by_speaker_is_drawn(tmp_path, speaker):
    corpus = dummy(tmp_path / "corpus", speaker=speaker)
    done = prepare(corpus, tmp_path / "list", "--check-only")
    assert done.returncode == 1  # as stage 1 below
    rows = {row["kind"]: row for row in problems(tmp_path / "list")}
    assert (rows["speakers not known"]["severity"], rows["speakers not known"]["detail"]) == ("warning", DUMMY)
    assert "warning  speakers not known      1  corpus: every utterance has its own speaker" in done.stdout
    assert "nobody says who speaks, so there is no split by speaker; give --split speaker-dependent" in refused(
        prepare(corpus, tmp_path / "data")
    )
    done = prepare(corpus, tmp_path / "data", "--split", "speaker-dependent")
    assert done.returncode == 0, done.stderr
    statistics = json.loads((tmp_path / "data/statistics.json").read_text(encoding="utf-8"))
    assert (list(statistics["by_speaker"]), statistics["total"]["speakers"]) == ([UNKNOWN_SPEAKER], 0)
    assert {item.speaker for item in read_manifest(tmp_path / "data/test.jsonl")} == {UNKNOWN_SPEAKER}


def test_dummy_speakers_of_sets_are_warned_of_once_and_the_sets_stay(tmp_path):
    done = prepare(dummy(tmp_path / "corpus", 5, sets=("train", "dev", "test")), tmp_path / "data")
    assert done.returncode == 0, done.stderr
    assert [row["detail"] for row in problems(tmp_path / "data")] == [DUMMY]
    assert [len(read_manifest(tmp_path / f"data/{name}.jsonl")) for name in ("train", "val", "test")] == [5, 5, 5]


def test_test_speakers_of_one_utterance_each_who_are_trained_on_are_no_dummies(tmp_path):
    corpus = dummy(tmp_path / "corpus", 5, sets=("train", "dev", "test"))
    (corpus / "test/utt2spk").write_text("".join(f"u2{n:03d} u0{n:03d}\n" for n in range(5)))
    (corpus / "train/utt2spk").write_text("".join(f"u0{n:03d} u0{n % 2:03d}\n" for n in range(5)))
    assert "speaker u0000 and 1 more in both train and test" in refused(prepare(corpus, tmp_path / "data"))


@pytest.mark.parametrize(
    ("speakers", "found"),
    [
        (["a", "b", "c"], False),
        (["a", "b", "c", "d"], True),
        (["a", "b", "c", "a"], False),
        ([*map(str, range(143)), "1"], True),
        ([*map(str, range(100)), *map(str, range(100))], False),
        ([], False),
    ],
)
def test_what_dummies_are(speakers, found):
    assert are_dummies(speakers) is found


def scored(folder: Path, speakers: list[str]) -> None:
    items = [
        Utterance(f"k{n:02d}", "/a.wav", "今天天气很好", 100, 6, speaker, 1.0, 16000)
        for n, speaker in enumerate(speakers)
    ]
    write_manifest(folder / "ref.jsonl", items)
    write_hypotheses(folder / "baseline.txt", {item.key: "今天天汽很坏" for item in items})
    write_hypotheses(folder / "tuned.txt", {item.key: "今天天气很好" for item in items})


def test_the_scorer_takes_dummies_for_nobody_whoever_made_the_manifest(tmp_path):
    scored(tmp_path, [f"s{number}" for number in range(24)])
    (tmp_path / "speakers.tsv").write_text("speaker\tsex\ns1\tf\n")
    done = run(tmp_path, "--speaker-table", tmp_path / "speakers.tsv")
    assert done.returncode == 0, done.stderr
    assert "ref.jsonl: not all speakers are known (or each utterance has its own): no figure is over" in done.stderr
    result = result_of(tmp_path)
    assert result["reference"]["n_speakers"] == 0
    assert list(result["by_speaker"]) == [UNKNOWN_SPEAKER]
    assert result["systems"]["tuned"]["ci95"] is None
    assert result["systems"]["tuned"]["ci95_note"] == "not all speakers are known"
    assert result["comparison"]["speakers"]["p"] is None
    assert result["comparison"]["absolute_ci95"] is None
    assert result["systems"]["tuned"]["speaker_mean_cer"] is None
    assert result["groups"]["length"]["6-10"]["n_speakers"] == 0
    assert result["groups"]["length"]["6-10"]["tuned"]["ci95"] is None
    assert result["comparison"]["verdict"] == "lower_here"
    assert "nobody can tell whether it would be for other speakers" in done.stdout
    assert "sign-flip" not in done.stdout
    assert "unknown speakers, 24 utterances" in done.stdout
    assert result["speaker_note"]["en"].startswith("Who speaks is not known")
    page, html = results("x", result, {}), bare_page(result)
    assert "No interval over speakers: not all speakers are known" in page
    assert "unknown speakers" in page
    assert "sign-flip" not in page
    for words in ("not known", "不详", "没有给出按说话人的区间：并非所有说话人都已知", "no interval"):
        assert words in html
    assert "sign-flip" not in html


def test_runs_are_compared_over_utterances_where_nobody_knows_who_speaks(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        scored(tmp_path / name, [f"s{number}" for number in range(24)])
        assert run(tmp_path / name).returncode == 0
    found = compare(read_runs([tmp_path / "a/score", tmp_path / "b/score"]), count=100)
    assert (found["resampled"], found["note"]) == ("utterances", "not all speakers are known")


def test_one_utterance_of_nobody_is_enough_and_names_that_look_the_same_are_one_to_the_scorer(tmp_path):
    scored(tmp_path, [f"s{number % 6}{ZERO * (number > 11)}" for number in range(24)])
    assert run(tmp_path).returncode == 0
    assert result_of(tmp_path)["reference"]["n_speakers"] == 6
    assert result_of(tmp_path)["systems"]["tuned"]["ci95_note"] == NO_SPREAD  # over speakers, who all have one rate
    scored(tmp_path, [UNKNOWN_SPEAKER, *(f"s{number % 6}" for number in range(23))])
    assert run(tmp_path).returncode == 0
    assert "not all speakers are known" in result_of(tmp_path)["systems"]["tuned"]["ci95_note"]


@pytest.mark.parametrize("how", [os.link, os.symlink, shutil.copyfile])
def test_a_recording_in_two_sets_is_named(tmp_path, how):
    part = small(tmp_path / "corpus")
    (tmp_path / "s.yaml").write_text("train: ['01', '02']\nval: ['03']\ntest: ['04']\n")
    clean = prepare(tmp_path / "corpus", tmp_path / "data", "--split", tmp_path / "s.yaml")
    assert "no problem found" in clean.stdout, clean.stderr
    (part / "Audio/04/S04_1.wav").unlink()
    how(part / "Audio/02/S02_1.wav", part / "Audio/04/S04_1.wav")  # with the same text
    prepare(tmp_path / "corpus", tmp_path / "data", "--split", tmp_path / "s.yaml")
    (row,) = problems(tmp_path / "data")
    assert (row["severity"], row["kind"], row["key"]) == ("warning", "same audio in two sets", "S04_1")
    assert row["detail"] == "in test, and the same recording as S02_1 in another set: was it copied?"


def test_segments_of_one_recording_are_not_the_same_recording(tmp_path):
    corpus = dummy(tmp_path / "corpus", 1, "someone-{0}", sets=("train", "dev", "test"))
    for name in ("train", "dev", "test"):
        (corpus / name / "wav.scp").write_text(f"long {corpus}/u0000.wav\n")
    starts = {"train": 0.0, "dev": 0.1, "test": 0.3}
    for place, (name, start) in enumerate(starts.items()):
        (corpus / name / "segments").write_text(f"u{place}000 long {start} {start + 0.1:g}\n")
    done = prepare(corpus, tmp_path / "data")
    assert done.returncode == 0, done.stderr
    assert "same audio in two sets" not in {row["kind"] for row in problems(tmp_path / "data")}
    (corpus / "test/segments").write_text("u2000 long 0.0 0.1\n")
    prepare(corpus, tmp_path / "data")
    assert [row["key"] for row in problems(tmp_path / "data") if row["kind"] == "same audio in two sets"] == ["u2000"]
