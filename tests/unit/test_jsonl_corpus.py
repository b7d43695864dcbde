"""JSONL manifests as a corpus: FunASR's, this recipe's own, and lines with something wrong in them."""

import json
from pathlib import Path

import pytest

from asr.core.errors import RecipeError
from asr.core.manifest import Utterance, write_manifest
from asr.preparation.corpora.jsonl import is_jsonl, read_jsonl
from asr.preparation.corpus import UNKNOWN_SPEAKER

WHOLE = {"key": "a", "source": "/d/a.wav", "target": "你好", "speaker": "s1"}


def write(path: Path, *lines: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    texts = [line if isinstance(line, bytes) else json.dumps(line, ensure_ascii=False).encode() for line in lines]
    path.write_bytes(b"\n".join(texts) + b"\n")
    return path


def rows(part):
    return [(item.severity, item.kind, item.line, item.key) for item in part.problems]


def test_the_manuals_form_has_no_speaker(tmp_path):
    path = write(tmp_path / "my.jsonl", {"key": "a", "source": "/d/a.wav", "target": "你好"}, {**WHOLE, "key": "b"})
    assert is_jsonl(path)
    part = read_jsonl(path)
    assert [(clip.key, clip.audio, clip.text, clip.speaker, clip.line, clip.split) for clip in part.clips] == [
        ("a", "/d/a.wav", "你好", UNKNOWN_SPEAKER, 1, ""),
        ("b", "/d/a.wav", "你好", "s1", 2, ""),
    ]


def test_a_manifest_of_this_recipe_gives_back_the_transcript_as_it_was_written(tmp_path):
    line = {**WHOLE, "target": "你好", "transcript": "你好！", "source_len": 100, "original": {"source": "/d/long.wav"}}
    (clip,) = read_jsonl(write(tmp_path / "a.jsonl", line)).clips
    assert (clip.text, clip.audio, clip.cut) == ("你好！", "/d/a.wav", None)


@pytest.mark.parametrize("transcript", ["再见！", 7, None])
def test_a_target_that_was_corrected_since_counts_and_not_the_old_transcript(tmp_path, transcript):
    path = write(tmp_path / "a.jsonl", {**WHOLE, "transcript": transcript})
    assert [clip.text for clip in read_jsonl(path).clips] == ["你好"]


@pytest.mark.parametrize("who", [{}, {"speaker": None}, {"speaker": ""}, {"spk": None}])
def test_a_speaker_who_is_not_named_is_not_known(tmp_path, who):
    line = {"key": "a", "source": "/d/a.wav", "target": "好", **who}
    part = read_jsonl(write(tmp_path / "a.jsonl", line))
    assert part.speakers == [UNKNOWN_SPEAKER]
    assert part.problems == []


def test_text_for_target_and_spk_for_speaker_and_a_relative_source(tmp_path):
    (clip,) = read_jsonl(write(tmp_path / "a.jsonl", {"key": "a", "source": "x/a.wav", "text": "好", "spk": "s"})).clips
    assert (clip.audio, clip.text, clip.speaker) == (f"{tmp_path}/x/a.wav", "好", "s")


def test_files_named_as_sets_are_the_split_and_others_are_not_read(tmp_path):
    for name, key in (("train", "a"), ("dev", "b"), ("test", "c"), ("notes", "d")):
        write(tmp_path / f"{name}.jsonl", {**WHOLE, "key": key})
    part = read_jsonl(tmp_path)
    assert {clip.key: clip.split for clip in part.clips} == {"a": "train", "b": "val", "c": "test"}
    assert [(item.kind, Path(item.file).name) for item in part.problems] == [("other file", "notes.jsonl")]


def test_files_of_other_names_are_one_corpus(tmp_path):
    for name in ("one", "two"):
        write(tmp_path / f"{name}.jsonl", {**WHOLE, "key": name})
    assert {clip.key: clip.split for clip in read_jsonl(tmp_path).clips} == {"one": "", "two": ""}


FAULTS = {
    "not JSON": (b"{", "bad JSONL line", ""),
    "deep": (b"[" * 100_000, "bad JSONL line", ""),
    "not an object": ([1], "bad JSONL line", ""),
    "not UTF-8": (b'{"key": "\xff"}', "bad JSONL line", ""),
    "no key": ({"source": "/d/a.wav", "target": "好"}, "bad JSONL line", ""),
    "no source": ({"key": "b", "target": "好"}, "bad JSONL line", "b"),
    "no target": ({"key": "b", "source": "/d/a.wav"}, "bad JSONL line", "b"),
    "a number for a key": ({**WHOLE, "key": 7}, "bad JSONL line", ""),
    "a number for a target": ({**WHOLE, "key": "b", "target": 7}, "bad JSONL line", "b"),
    "a list for a speaker": ({**WHOLE, "key": "b", "speaker": [7]}, "bad JSONL line", "b"),
    "true for a speaker": ({**WHOLE, "key": "b", "speaker": True}, "bad JSONL line", "b"),
    "a number too long": (b'{"key": ' + b"9" * 5000 + b"}", "bad JSONL line", ""),
    "no source but null": ({**WHOLE, "key": "b", "source": None}, "bad source", "b"),
    "an empty source": ({**WHOLE, "key": "b", "source": ""}, "bad source", "b"),
    "a line break in a source": ({**WHOLE, "key": "b", "source": "/d/a\nb.wav"}, "bad source", "b"),
    "a command": ({**WHOLE, "key": "b", "source": "touch /tmp/x |"}, "bad source", "b"),
    "half a character in a source": (b'{"key": "b", "source": "/d/\\ud83d.wav", "target": "a"}', "bad source", "b"),
    "half a character": (b'{"key": "b", "source": "/d/a.wav", "target": "a\\ud83d"}', "bad JSONL line", "b"),
    "half a character in a key": (b'{"key": "\\ud83d", "source": "/d/a.wav", "target": "a"}', "unsafe id", "\ud83d"),
    "two sources": ({**WHOLE, "key": "b", "source": ["/d/a.wav", "/d/b.wav"]}, "bad source", "b"),
    "an address": ({**WHOLE, "key": "b", "source": "https://example.org/a.wav"}, "bad source", "b"),
    "a NUL": ({**WHOLE, "key": "b", "source": "/d/a\0.wav"}, "bad source", "b"),
    "no words": ({**WHOLE, "key": "b", "target": " "}, "empty transcript", "b"),
    "a slash": ({**WHOLE, "key": "../b"}, "unsafe id", "../b"),
    "a line break": ({**WHOLE, "key": "a\nb"}, "unsafe id", "a\nb"),
    "a blank": ({**WHOLE, "key": "a b"}, "unsafe id", "a b"),
    "an unsafe speaker": ({**WHOLE, "key": "b", "speaker": "../s"}, "unsafe id", "b"),
    "another text": ({**WHOLE, "target": "再见"}, "duplicate id", "a"),
}


@pytest.mark.parametrize(("line", "kind", "key"), FAULTS.values(), ids=FAULTS)
def test_a_bad_line_is_named_and_the_others_go_on(tmp_path, line, kind, key):
    part = read_jsonl(write(tmp_path / "a.jsonl", WHOLE, line, {**WHOLE, "key": "z"}))
    assert rows(part) == [("error", kind, 2, key)]
    assert [clip.key for clip in part.clips] == (["z"] if kind == "duplicate id" else ["a", "z"])


def test_an_id_in_two_sets_is_left_out_of_both(tmp_path):
    write(tmp_path / "train.jsonl", WHOLE, {**WHOLE, "key": "b"})
    write(tmp_path / "test.jsonl", WHOLE, {**WHOLE, "key": "c"})
    part = read_jsonl(tmp_path)
    assert sorted(clip.key for clip in part.clips) == ["b", "c"]
    assert [item.kind for item in part.problems] == ["id in two sets"]


def test_the_same_line_twice_is_used_once_and_a_byte_order_mark_is_taken_away(tmp_path):
    path = write(tmp_path / "a.jsonl", "\ufeff".encode() + json.dumps(WHOLE).encode(), b"", WHOLE)
    part = read_jsonl(path)
    assert rows(part) == [("note", "byte-order mark", 1, ""), ("warning", "duplicate id", 3, "a")]
    assert [(clip.key, clip.line) for clip in part.clips] == [("a", 1)]


def test_what_is_no_manifest(tmp_path):
    for name in ("cdsd_recordings_1h.jsonl", "supervisions.jsonl", "cuts_train.jsonl"):
        write(tmp_path / name, {"id": "a", "recording_id": "a"})
    for name in ("._a.jsonl", "a.json"):
        write(tmp_path / name, WHOLE)
    (tmp_path / "folder.jsonl").mkdir()
    assert not is_jsonl(tmp_path)
    assert not is_jsonl(tmp_path / "folder.jsonl")
    assert not is_jsonl(tmp_path / "nowhere.jsonl")
    assert not is_jsonl(tmp_path / "a.json")
    write(tmp_path / "a.jsonl", WHOLE)
    assert is_jsonl(tmp_path)


def test_a_manifest_is_known_by_its_lines_whatever_it_is_called(tmp_path):
    write(tmp_path / "phone_recordings.jsonl", WHOLE)
    assert [clip.key for clip in read_jsonl(tmp_path).clips] == ["a"]


def test_a_speaker_may_be_a_number_as_pandas_writes_it(tmp_path):
    write(tmp_path / "a.jsonl", {**WHOLE, "speaker": 7})
    assert [clip.speaker for clip in read_jsonl(tmp_path / "a.jsonl").clips] == ["7"]


def test_manifests_as_this_recipe_writes_them(tmp_path):
    items = [Utterance(f"k{n}", f"/d/{n} 张.wav", "你好 ok", 100, 4, "s 1", 1.0, 16000) for n in range(3)]
    write_manifest(tmp_path / "val.jsonl", items)
    part = read_jsonl(tmp_path)
    assert [(clip.key, clip.audio, clip.text, clip.speaker, clip.split) for clip in part.clips] == [
        (item.key, item.source, item.target, item.speaker, "val") for item in items
    ]
    assert part.problems == []


def test_an_empty_manifest_stops(tmp_path):
    with pytest.raises(RecipeError, match=r"a.jsonl: no usable line"):
        read_jsonl(write(tmp_path / "a.jsonl"))


def test_no_usable_line_says_the_form_and_the_first_fault(tmp_path):
    with pytest.raises(RecipeError, match=r'a line is {"key": .*first .*a.jsonl:1: not JSON'):
        read_jsonl(write(tmp_path / "a.jsonl", b"{"))
