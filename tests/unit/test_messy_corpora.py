"""Corpora as people have them: what is not read, or cannot be used, is said in one line with what to do."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from asr.core.errors import RecipeError
from asr.core.manifest import read_manifest
from asr.preparation.corpora.registry import open_corpus
from asr.preparation.prepare import Options
from asr.preparation.prepare import prepare as prepared
from cdsd import CDSD
from tests import cdsd_tree
from tests.stage1 import prepare

SAID = ["今天好", "去公园", "喝杯水", "下雨了", "打电话", "看电视", "吃苹果", "开门吧", "关灯了"]


def clips(root: Path, names: str = "u{n}.wav") -> Path:
    """Nine clips of speakers a, b and c."""
    for number in range(len(SAID)):
        path = root / names.format(n=number, speaker="abc"[number % 3])
        path.parent.mkdir(parents=True, exist_ok=True)
        cdsd_tree.write_wav(path)
    return root


def table(root: Path, head: str, encoding: str = "utf-8", name: str = "u{n}.wav", speaker: str = "s{s}") -> Path:
    separator = ";" if ";" in head else "\t" if "\t" in head else ", " if ", " in head else ","
    cells = [(name.format(n=n), text, speaker.format(s=n % 3)) for n, text in enumerate(SAID)]
    lines = [head, *map(separator.join, cells)]
    (clips(root) / "metadata.csv").write_bytes("".join(f"{line}\r\n" for line in lines).encode(encoding))
    return root


def jsonl(root: Path, **fields: object) -> Path:
    """A manifest; what is given as text is filled in by number and speaker."""
    lines = []
    for n, text in enumerate(SAID):
        value = {"key": f"u{n}", "source": f"wav/u{n}.wav", "target": text, "speaker": f"s{n % 3}", **fields}
        made = {name: one.format(n=n) if isinstance(one, str) else one for name, one in value.items()}
        lines.append(json.dumps(made, ensure_ascii=False) + "\n")
    (clips(root, "wav/u{n}.wav") / "corpus.jsonl").write_text("".join(lines), encoding="utf-8")
    return root


def labelled(root: Path, name: str, label: str) -> Path:
    """CDSD's layout, the same numbers for every speaker."""
    for speaker in ("01", "02", "03"):
        said = {name.format(s=speaker, n=n): "好" for n in range(3)}
        cdsd_tree.add_speaker(root / "1h", speaker, said)
        lines = "".join(f"{label.format(s=speaker, n=n, wide='０１２'[n])} 今天好\n" for n in range(3))
        (root / f"1h/Text/{speaker}_label.txt").write_text(lines, encoding="utf-8")
    return root


def beside(root: Path, ending: str) -> Path:
    for path in list(clips(root, "{speaker}/u{n}.wav").rglob("*.wav")):
        path.with_suffix(ending).write_text("今天好", encoding="utf-8")
    return root


def packed(root: Path, name: str) -> Path:
    root.mkdir()
    (root / name).write_bytes(b"PK\3\4")
    return root


def kaldi(root: Path) -> Path:
    lists = {"wav.scp": "u{n} wav\\u{n}.wav", "text": "u{n} 今天好", "utt2spk": "u{n} s1"}
    for name, line in lists.items():
        (clips(root, "wav/u{n}.wav") / name).write_text("".join(line.format(n=n) + "\r\n" for n in range(9)))
    return root


METADATA = "write metadata.csv into this folder: a line file_name,transcription,speaker, and one like it for each clip"
REFUSED = {
    "backslashes": (lambda at: jsonl(at, source="wav\\u{n}.wav"), "write paths with / in place of"),
    "a drive's letter": (lambda at: jsonl(at, source="D:\\wav\\u{n}.wav"), "write paths with / in place of"),
    "backslashes in wav.scp": (kaldi, "write paths with / in place of"),
    "names without ending": (lambda at: table(at, "file_name,transcription,speaker", name="u{n}"),
                             "u0.wav is there: write the ending too"),
    "ids with blanks": (lambda at: labelled(at, "录音 {n}", "录音 {n}"),
                        "a clip is called '录音 0', and an id ends at its first blank: take the blanks out of both"),
    "ids in other capitals": (lambda at: labelled(at, "S{s}_{n}", "s{s}_{n}"), "S01_0.wav is there: write the id"),
    "full-width ids": (lambda at: labelled(at, "S{s}_{n}", "Ｓ{s}_{wide}"), "S01_0.wav is there: write the id"),
    "TextGrid": (lambda at: beside(at, ".TextGrid"), f"(there is u0.TextGrid, u3.TextGrid, u6.TextGrid); {METADATA}"),
    "subtitles": (lambda at: beside(at, ".srt"), "clips such as a/u0.wav, and no transcripts in a form"),
    "only clips": (lambda at: clips(at, "{speaker}/u{n}.wav"), f"(there is nothing but clips); {METADATA}"),
    "checksums": (lambda at: beside(at, ".wav.md5"), METADATA),
    "a Chinese header": (lambda at: table(at, "文件名,文本,说话人", "utf-8-sig"),
                         "no file_name in its first line, '文件名,文本,说话人': call the columns file_name,"),
    "Excel's Unicode text": (lambda at: table(at, "file_name\ttranscription\tspeaker", "utf-16"),
                             "in Excel: as CSV UTF-8"),
    "Excel's GBK": (lambda at: table(at, "file_name,transcription,speaker", "gbk"),
                    "metadata.csv: not UTF-8; save it as UTF-8 (in Excel: as CSV UTF-8)"),
    "a zip in a folder": (lambda at: packed(at, "CDSD.ZIP"), "CDSD.ZIP is still packed: unpack it (Chinese names"),
    "a zip": (lambda at: packed(at, "CDSD.zip") / "CDSD.zip", "CDSD.zip: is still packed: unpack it"),
    "an archive": (lambda at: packed(at, "data_aishell.tgz"), "data_aishell.tgz is still packed: unpack it"),
    "nothing": (lambda at: (at.mkdir(), at)[1], "there is: nothing"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_used_says_what_to_do(tmp_path, case):
    make, says = REFUSED[case]
    with pytest.raises(RecipeError) as refusal:
        prepared(Options(make(tmp_path / "corpus"), ("1h",), None, CDSD))
    assert says in str(refusal.value)
    assert "\n" not in str(refusal.value)


READ = {
    "Excel's semicolons": lambda at: table(at, "file_name;transcription;speaker", "utf-8-sig"),
    "tabs": lambda at: table(at, "file_name\ttranscription\tspeaker"),
    "blanks behind commas": lambda at: table(at, "file_name, transcription, speaker"),
}


@pytest.mark.parametrize("case", READ)
def test_what_is_plain_is_read(tmp_path, case):
    (part,) = open_corpus(READ[case](tmp_path / "corpus"), ("1h",), CDSD)
    assert [clip.text for clip in part.clips] == SAID
    assert part.problems == []
    assert part.speakers == ["s0", "s1", "s2"]


@pytest.mark.parametrize("make", [lambda at: table(at, "file_name,transcription,speaker", speaker=" "),
                                  lambda at: jsonl(at, speaker=" ")])  # fmt: skip
def test_a_blank_speaker_is_not_known(tmp_path, make):
    (part,) = open_corpus(make(tmp_path / "corpus"), ("1h",), CDSD)
    assert {clip.speaker for clip in part.clips} == {"unknown"}
    assert len(part.clips) == len(SAID)


@pytest.mark.parametrize("folders", ["{speaker}/session{s}/u{n}", "wav/{speaker}/u{n}", "a/b/{speaker}/x/y/u{n}"])
def test_the_first_level_of_folders_that_differs_is_the_speakers(tmp_path, folders):
    for n, text in enumerate(SAID):
        path = tmp_path / "corpus" / f"{folders.format(speaker='甲乙丙'[n % 3], s=n // 3 % 2, n=n)}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        cdsd_tree.write_wav(path)
        path.with_suffix(".txt").write_text(text, encoding="utf-8")
    done = prepare(tmp_path / "corpus", tmp_path / "data")
    assert done.returncode == 0, done.stderr
    items = [item for name in ("train", "val", "test") for item in read_manifest(tmp_path / f"data/{name}.jsonl")]
    assert {(item.target, item.speaker) for item in items} == {(text, "甲乙丙"[n % 3]) for n, text in enumerate(SAID)}


def test_a_part_that_is_lacking_in_cdsd_is_still_said_to_be_lacking(tmp_path):
    with pytest.raises(RecipeError, match="no part 10h of CDSD; looked for after_catting/10h/Audio"):
        open_corpus(cdsd_tree.small(tmp_path / "CDSD"), ("10h",), CDSD)
