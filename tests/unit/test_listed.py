"""Corpora as others lay them out: what becomes of each clip, and what is said where a form is known and not read."""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

import cdsd
from asr.core.errors import RecipeError
from asr.preparation.corpora import listed
from asr.preparation.corpora.registry import open_corpus
from asr.preparation.corpus import UNKNOWN_SPEAKER
from cdsd import CDSD

TEXTS = {"u0": "今天好", "u1": "去公园", "u2": "喝杯水", "u3": "下雨了"}


def clip(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.zeros(8000, np.float32), 16000)
    return path


def read(root: Path):
    """{key: (speaker, text, split, the audio's path below the corpus)} of a corpus's one part, and its problems."""
    (part,) = open_corpus(root, ("1h",), CDSD)
    clips = {one.key: (one.speaker, one.text, one.split, str(Path(one.audio).relative_to(root))) for one in part.clips}
    return clips, [(problem.kind, problem.line, problem.key) for problem in part.problems]


def test_funasrs_lists(tmp_path):
    for split, keys in (("train", ("u0", "u1")), ("val", ("u2",)), ("test", ("u3",))):
        wavs = "".join(f"{key} {clip(tmp_path / 'wav' / f'{key}.wav')}\n" for key in keys)
        (tmp_path / f"{split}_wav.scp").write_text(wavs + f"only_{split} wav/none.wav\n")
        texts = "".join(f"{key} {TEXTS[key]}\n" for key in keys)
        (tmp_path / f"{split}_text.txt").write_text(f"\ufeff{texts}nobody 没有\n", encoding="utf-8")
    clips, problems = read(tmp_path)
    assert clips["u0"] == (UNKNOWN_SPEAKER, "今天好", "train", "wav/u0.wav")
    assert {key: values[2] for key, values in clips.items()} == {
        "u0": "train",
        "u1": "train",
        "u2": "val",
        "u3": "test",
    }
    assert ("transcript without wav", 3, "nobody") in problems
    assert ("wav without transcript", None, "only_val") in problems


def test_one_pair_of_lists_without_a_set(tmp_path):
    clip(tmp_path / "a/u0.wav")
    (tmp_path / "wav.scp").write_text("u0 a/u0.wav\n")
    (tmp_path / "text.txt").write_text("u0 今天好\n", encoding="utf-8")
    assert listed.layout_of(tmp_path) == "funasr"


@pytest.mark.parametrize("name", ["metadata.csv", "metadata.jsonl"])
@pytest.mark.parametrize("inside", ["train", ""])
def test_hugging_faces_audio_folders(tmp_path, name, inside):
    folder = tmp_path / inside
    rows = [{"file_name": f"clips/{key}.wav", "transcription": text, "speaker_id": "甲"} for key, text in TEXTS.items()]
    rows[1] |= {"transcription": ""}
    for key in TEXTS:
        clip(folder / "clips" / f"{key}.wav")
    with open(folder / name, "w", encoding="utf-8-sig", newline="") as stream:
        if name.endswith("csv"):
            table = csv.DictWriter(stream, list(rows[0]))
            table.writeheader()
            table.writerows(rows)
        else:
            stream.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    clips, problems = read(tmp_path)
    below = f"{inside}/" if inside else ""
    assert clips["clips-u0"] == ("甲", "今天好", inside, f"{below}clips/u0.wav")
    assert sorted(clips) == ["clips-u0", "clips-u2", "clips-u3"]
    assert [kind for kind, *_ in problems] == ["bad JSONL line"]


@pytest.mark.parametrize("above", ["", "data_aishell"])
def test_aishell_1(tmp_path, above):
    root = tmp_path / above
    for split, speaker, key in (("train", "S0002", "u0"), ("dev", "S0724", "u1"), ("test", "S0764", "u2")):
        clip(root / "wav" / split / speaker / f"{key}.wav")
    clip(root / "wav/test/S0764/untold.wav")
    (root / "transcript").mkdir()
    lines = "".join(f"{key} {text[:2]} {text[2:]}\n" for key, text in TEXTS.items())
    (root / "transcript/aishell_transcript_v0.8.txt").write_text(lines, encoding="utf-8")
    clips, problems = read(tmp_path)
    below = f"{above}/" if above else ""
    assert clips == {
        "u0": ("S0002", "今天 好", "train", f"{below}wav/train/S0002/u0.wav"),
        "u1": ("S0724", "去公 园", "val", f"{below}wav/dev/S0724/u1.wav"),
        "u2": ("S0764", "喝杯 水", "test", f"{below}wav/test/S0764/u2.wav"),
    }
    assert problems == [("wav without transcript", None, "untold")]


def test_a_text_beside_each_clip(tmp_path):
    for number, folder in enumerate(("train/甲", "train/乙", "test/丙")):
        clip(tmp_path / folder / "1.wav").with_suffix(".txt").write_text(TEXTS[f"u{number}"], encoding="utf-8")
    clip(tmp_path / "test/丙/2.wav")
    clip(tmp_path / "test/丙/3.wav").with_suffix(".txt").write_bytes("今天".encode("gbk"))
    clips, problems = read(tmp_path)
    assert clips == {
        "甲-1": ("甲", "今天好", "train", "train/甲/1.wav"),
        "乙-1": ("乙", "去公园", "train", "train/乙/1.wav"),
        "丙-1": ("丙", "喝杯水", "test", "test/丙/1.wav"),
    }
    assert [kind for kind, *_ in problems] == ["wav without transcript", "broken label file"]


def test_texts_in_one_folder_name_no_speaker(tmp_path):
    clip(tmp_path / "1.wav").with_suffix(".txt").write_text("今天好", encoding="utf-8")
    clips, _ = read(tmp_path)
    assert clips == {"1": (UNKNOWN_SPEAKER, "今天好", "", "1.wav")}


def test_a_text_beside_one_clip_of_cdsd_makes_no_other_corpus_of_it(tmp_path):
    for key in TEXTS:
        clip(tmp_path / "1h/Audio/01" / f"{key}.wav")
    (tmp_path / "1h/Audio/01/u0.txt").write_text("今天好", encoding="utf-8")
    (tmp_path / "1h/Text").mkdir()
    lines = "".join(f"{key} {text}\n" for key, text in TEXTS.items())
    (tmp_path / "1h/Text/01_label.txt").write_text(lines, encoding="utf-8")
    clips, _ = read(tmp_path)
    assert {speaker for speaker, *_ in clips.values()} == {"01"}


def test_cdsds_older_release_from_above_and_from_inside(tmp_path):
    base = tmp_path / "Data/Aftercutting"
    clip(base / "Audio/01/u0.wav")
    (base / "Text").mkdir()
    (base / "Text/01_label.txt").write_text("u0 今天好\n", encoding="utf-8")
    for root in (tmp_path, tmp_path / "Data", base, base / "Audio"):
        (part,) = open_corpus(root, ("1h",), CDSD)
        assert [(one.key, one.speaker, one.text) for one in part.clips] == [("u0", "01", "今天好")]


def test_a_part_that_is_not_there_is_not_taken_from_the_other(tmp_path):
    clip(tmp_path / "after_catting/10h/Audio/01/u0.wav")
    (tmp_path / "after_catting/10h/Text").mkdir()
    with pytest.raises(RecipeError, match="no part 1h of CDSD"):
        open_corpus(tmp_path, ("1h",), CDSD)


@pytest.mark.parametrize("above", ["", "CDSD-10h"])
@pytest.mark.parametrize("labels", ["{speaker}/transcript", "transcript"])
def test_cdsds_challenge_package(tmp_path, above, labels):
    root = tmp_path / above
    for speaker in ("01", "02"):
        for split, key in (("train", "u0"), ("dev", "u1"), ("test", "u2")):
            clip(root / speaker / "wav" / split / f"{speaker}{key}.wav")
        folder = root / labels.format(speaker=speaker)
        folder.mkdir(exist_ok=True)
        lines = "".join(f"{speaker}{key} {text}\n" for key, text in TEXTS.items())
        (folder / f"{speaker}_label.txt").write_text(lines, encoding="utf-8")
    clips, problems = read(tmp_path)
    assert {key: (values[0], values[2]) for key, values in clips.items() if key.startswith("01")} == {
        "01u0": ("01", "train"),
        "01u1": ("01", "val"),
        "01u2": ("01", "test"),
    }
    assert problems == [("transcript without wav", 4, f"{speaker}u3") for speaker in ("01", "02")]


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        (
            "train.tsv",
            "client_id\tpath\tsentence\nc1\tu0.mp3\t今天好\n",
            "train.tsv is Common Voice's; write metadata.csv",
        ),
        ("cuts_train.jsonl.gz", "", r"lhotse cut decompose cuts_train\.jsonl\.gz DIR"),
        ("data.list", '{"key": "u0", "wav": "u0.wav", "txt": "今天好"}\n', "jq -c .* data.list > corpus.jsonl"),
        (
            "notes.docx",
            "",
            "no other form|of another form that is read: wav.scp, text and utt2spk .Kaldi.*Hugging Face",
        ),
    ],
)
def test_what_is_known_and_not_read_says_what_to_do(tmp_path, name, content, says):
    (tmp_path / name).write_text(content, encoding="utf-8")
    with pytest.raises(RecipeError, match=says):
        open_corpus(tmp_path, ("1h",), CDSD)


def test_without_speakers_the_tables_say_that_they_are_not_known(tmp_path):
    for split in ("train", "val", "test"):
        wavs = "".join(f"{split}{key} {clip(tmp_path / 'in' / split / f'{key}.wav')}\n" for key in TEXTS)
        (tmp_path / "in" / f"{split}_wav.scp").write_text(wavs)
        texts = "".join(f"{split}{key} {text}\n" for key, text in TEXTS.items())
        (tmp_path / "in" / f"{split}_text.txt").write_text(texts, encoding="utf-8")
    command = [sys.executable, str(Path(cdsd.__file__).with_name("prepare_1h_dataset.py")), "--corpus", "in"]
    done = subprocess.run([*command, "--out", "out"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert re.search(r"^train +not known +4 ", done.stdout, re.MULTILINE)
    assert re.search(r"^total +not known +12 ", (tmp_path / "out/data_statistics.txt").read_text(), re.MULTILINE)
    assert "不详" in (tmp_path / "out/data_statistics.html").read_text(encoding="utf-8")
