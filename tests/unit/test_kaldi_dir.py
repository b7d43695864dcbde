"""Kaldi data folders read: every fault is named, and commands are never run."""

import os
from pathlib import Path

import pytest

from asr.audio.clip import Cut
from asr.core.errors import RecipeError
from asr.preparation.corpora.kaldi import is_kaldi, read_kaldi

FILES = {
    "wav.scp": "a /d/a.wav\nb /d/b c.flac\nc /d/c.wav\n",
    "text": "a 你好\nb 再 见\nc 好\n",
    "utt2spk": "a s1\nb s1\nc s2\n",
}


def folder(path: Path, **files: str | bytes | None) -> Path:
    """A data folder of FILES with some of them changed (None: not there); ``_`` in a name is a dot."""
    path.mkdir(parents=True, exist_ok=True)
    for name, text in {**FILES, **{key.replace("_", "."): text for key, text in files.items()}}.items():
        if text is not None:
            (path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def found(part):
    return {clip.key: (clip.audio, clip.text, clip.speaker) for clip in part.clips}


def rows(part):
    return [(item.severity, item.kind, Path(item.file).name, item.line, item.key) for item in part.problems]


def test_a_whole_folder(tmp_path):
    part = read_kaldi(folder(tmp_path / "d"))
    assert found(part) == {
        "a": ("/d/a.wav", "你好", "s1"),
        "b": ("/d/b c.flac", "再 见", "s1"),
        "c": ("/d/c.wav", "好", "s2"),
    }
    assert [(clip.file, clip.line) for clip in part.clips] == [(str(tmp_path / "d/text"), line) for line in (1, 2, 3)]
    assert part.speakers == ["s1", "s2"]
    assert part.problems == []


@pytest.mark.parametrize("entry", ["touch {0} |", "sox in.wav -t wav - | touch {0} |", "| touch {0}", "touch {0};|"])
def test_a_command_is_refused_by_name_and_never_run(tmp_path, entry):
    trap = tmp_path / "pwned"
    part = read_kaldi(folder(tmp_path / "d", wav_scp=f"a {entry.format(trap)}\nb /d/b.wav\nc /d/c.wav\n"))
    assert rows(part) == [("error", "piped wav.scp entry", "wav.scp", 1, "a")]
    assert "refused, not run: " in part.problems[0].detail
    assert set(found(part)) == {"b", "c"}
    assert not trap.exists()


FAULTS = {
    "an archive": (
        {"wav_scp": FILES["wav.scp"] + "d /x/raw.ark:1234\n"},
        ("error", "archive wav.scp entry", "wav.scp", 4, "d"),
    ),
    "standard input": ({"wav_scp": FILES["wav.scp"] + "d -\n"}, ("error", "piped wav.scp entry", "wav.scp", 4, "d")),
    "no text": ({"text": "a 你好\nb 再见\n"}, ("warning", "wav without transcript", "wav.scp", 3, "c")),
    "no wav": ({"text": FILES["text"] + "d 好\n"}, ("error", "transcript without wav", "text", 4, "d")),
    "no speaker": ({"utt2spk": "a s1\nb s1\n"}, ("error", "no speaker", "text", 3, "c")),
    "empty text": ({"text": "a 你好\nb\nc 好\n"}, ("error", "empty transcript", "text", 2, "b")),
    "a path missing": ({"wav_scp": FILES["wav.scp"] + "d\n"}, ("error", "line without value", "wav.scp", 4, "d")),
    "the same twice": ({"text": FILES["text"] + "a 你好\n"}, ("warning", "duplicate id", "text", 4, "a")),
    "another wav": ({"wav_scp": FILES["wav.scp"] + "a /d/x.wav\n"}, ("error", "duplicate id", "wav.scp", 4, "a")),
    "the wav twice": ({"wav_scp": FILES["wav.scp"] + "a /d/a.wav\n"}, ("warning", "duplicate id", "wav.scp", 4, "a")),
    "another speaker": ({"utt2spk": FILES["utt2spk"] + "a s9\n"}, ("error", "duplicate id", "utt2spk", 4, "a")),
    "the speaker twice": ({"utt2spk": FILES["utt2spk"] + "a s1\n"}, ("warning", "duplicate id", "utt2spk", 4, "a")),
    "a speaker missing": ({"utt2spk": "a s1\nb\nc s2\n"}, ("error", "line without value", "utt2spk", 2, "b")),
    "an unsafe speaker": ({"utt2spk": "a s1\nb ../s\nc s2\n"}, ("error", "unsafe id", "text", 2, "b")),
    "an address": (
        {"wav_scp": FILES["wav.scp"] + "d https://example.org/a.wav\n"},
        ("error", "bad source", "wav.scp", 4, "d"),
    ),
    "a NUL": (
        {"wav_scp": "a /d/a.wav\nb /d/\0.wav\nc /d/c.wav\n"},
        ("error", "bad source", "text", 2, "b"),
    ),
    "an archive's own way of writing": (
        {"wav_scp": FILES["wav.scp"] + "d ark:x.ark\n"},
        ("error", "archive wav.scp entry", "wav.scp", 4, "d"),
    ),
    "a BOM": ({"text": "\ufeff" + FILES["text"]}, ("note", "byte-order mark", "text", 1, "")),
}


@pytest.mark.parametrize(("files", "row"), FAULTS.values(), ids=FAULTS)
def test_a_fault_is_named_with_file_and_line(tmp_path, files, row):
    assert rows(read_kaldi(folder(tmp_path / "d", **files))) == [row]


def test_two_texts_for_one_id_are_not_chosen_between(tmp_path):
    part = read_kaldi(folder(tmp_path / "d", text=FILES["text"] + "a 再见\n"))
    assert set(found(part)) == {"b", "c"}
    assert ("error", "duplicate id", "text", 4, "a") in rows(part)


@pytest.mark.parametrize("key", ["../../x", "a/b", "a\\b", "a..b", "a\0b"])
def test_an_id_that_could_lead_elsewhere_is_refused(tmp_path, key):
    files = {
        name.replace(".", "_"): f"{text}{key} {value}\n"
        for (name, text), value in zip(FILES.items(), ("/d/x.wav", "好", "s1"), strict=True)
    }
    part = read_kaldi(folder(tmp_path / "d", **files))
    assert rows(part) == [("error", "unsafe id", "text", 4, key)]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"text": None}, r"d/text: no such file"),
        ({"utt2spk": None}, r"d/utt2spk: no such file"),
        ({"text": ""}, r"d/text: the file is empty"),
        ({"wav_scp": "\n \n"}, r"d/wav.scp: the file is empty"),
        ({"utt2spk": ""}, r"d/utt2spk: the file is empty"),
        ({"segments": ""}, r"d/segments: the file is empty"),
        ({"text": b"a \xff\xfe\n"}, r"d/text:1: not UTF-8"),
        ({"utt2spk": FILES["utt2spk"].encode() + "d 张".encode("gbk")}, r"d/utt2spk:4: not UTF-8"),
    ],
)
def test_what_nothing_can_be_made_of_stops(tmp_path, files, message):
    with pytest.raises(RecipeError, match=message):
        read_kaldi(folder(tmp_path / "d", **files))


def test_segments_cut_clips_from_recordings(tmp_path):
    files = {
        "wav_scp": "r1 /d/long.wav\nr2 touch /tmp/x |\n",
        "segments": "a r1 0.5 2.25\nb r1 3 -1\nc r2 0 1\nd r9 0 1\ne r1 2 1\nf r1 x y\ng r1 1\n",
        "text": "a 你好\nb 再见\nc 好\nd 好\ne 好\nf 好\ng 好\n",
        "utt2spk": "".join(f"{key} s1\n" for key in "abcdefg"),
    }
    part = read_kaldi(folder(tmp_path / "d", **files))
    assert {clip.key: (clip.audio, clip.cut) for clip in part.clips} == {
        "a": ("/d/long.wav", Cut(0.5, 1.75)),
        "b": ("/d/long.wav", Cut(3.0)),
    }
    assert rows(part) == [
        ("error", "piped wav.scp entry", "wav.scp", 2, "r2"),
        *[("error", "bad segment", "segments", line, key) for line, key in enumerate("cdefg", 3)],
    ]


SEGMENTS = {
    "r1 0 2": Cut(0.0, 2.0),
    "r1 0 -1": None,
    "r1 1 -1": Cut(1.0),
    "r1 0.1 0.4": Cut(0.1, 0.3),
    "r1 1 2 1": Cut(1.0, 1.0, 1),
    "r1 0 -1 0": Cut(channel=0),
}


@pytest.mark.parametrize(("segment", "cut"), SEGMENTS.items(), ids=SEGMENTS)
def test_a_segment_is_a_cut_or_the_whole(tmp_path, segment, cut):
    files = {"wav_scp": "r1 /d/r.wav\n", "segments": f"a {segment}\n", "text": "a 好\n"}
    part = read_kaldi(folder(tmp_path / "d", **files))
    assert [clip.cut for clip in part.clips] == [cut]
    assert part.problems == []


@pytest.mark.parametrize(
    "segment", ["r1", "", "r1 1 1", "r1 2 1", "r1 -3 -1", "r1 nan -1", "r1 0 nan", "r1 0 inf", "r1 inf -1", "r1 0 -2",
                "r1 0 1 x", "r1 0 1 -1", "r1 0 1 0 0", "r1 0 1 0.5", "r9 0 1"]
)  # fmt: skip
def test_a_segment_that_cannot_be_is_named(tmp_path, segment):
    files = {"wav_scp": "r1 /d/r.wav\n", "segments": f"a r1 0 1\nb {segment}\n", "text": "a 好\nb 好\n"}
    part = read_kaldi(folder(tmp_path / "d", **files))
    assert rows(part) == [("error", "bad segment", "segments", 2, "b")]
    assert [clip.key for clip in part.clips] == ["a"]


def test_a_recording_without_segment_and_a_segment_without_transcript_are_named(tmp_path):
    files = {"wav_scp": "r1 /d/1.wav\nr2 /d/2.wav\n", "segments": "a r1 0 1\nb r1 1 2\n", "text": "a 好\n"}
    assert rows(read_kaldi(folder(tmp_path / "d", **files))) == [
        ("warning", "wav without transcript", "wav.scp", 2, "r2"),
        ("warning", "wav without transcript", "segments", 2, "b"),
    ]


def test_an_empty_transcript_and_another_one_for_the_same_id_are_not_chosen_between(tmp_path):
    part = read_kaldi(folder(tmp_path / "d", text="a 你好\nb\nb 再见\nc 好\nc\n"))
    assert set(found(part)) == {"a"}
    assert [row[1] for row in rows(part)] == ["empty transcript", "duplicate id", "duplicate id"]


def test_blanks_tabs_and_line_ends_of_all_kinds(tmp_path):
    files = {
        "wav_scp": "a\t/d/a.wav\r\n\r\nb  /d/b.wav \n c /d/c.wav",
        "text": "a\u3000你好\r\nb \t再 见\nc 好",
        "utt2spk": "a s 1\r\nb\ts1\nc s2\n",
    }
    part = read_kaldi(folder(tmp_path / "d", **files))
    assert part.problems == []
    assert found(part) == {
        "a": ("/d/a.wav", "你好", "s 1"),
        "b": ("/d/b.wav", "再 见", "s1"),
        "c": ("/d/c.wav", "好", "s2"),
    }


def test_paths_are_tidied_but_not_through_a_link(tmp_path, monkeypatch):
    (tmp_path / "far/d").mkdir(parents=True)
    (tmp_path / "far/x.wav").touch()
    (tmp_path / "link").symlink_to("far/d")
    monkeypatch.chdir("/")
    wavs = f"a ../x.wav\nb ./b.wav\nc {tmp_path}/link/../x.wav\n"
    part = read_kaldi(folder(tmp_path / "far/d", wav_scp=wavs))
    audio = [clip.audio for clip in part.clips]
    assert audio[:2] == [f"{tmp_path}/far/x.wav", f"{tmp_path}/far/d/b.wav"]
    assert os.path.samefile(audio[2], tmp_path / "far/x.wav")


def test_a_relative_path_is_meant_from_here_else_from_the_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "b.wav").touch()
    part = read_kaldi(folder(tmp_path / "d", wav_scp="a a.wav\nb b.wav\nc /d/c.wav\n"))
    assert [clip.audio for clip in part.clips] == [f"{tmp_path}/d/a.wav", f"{tmp_path}/b.wav", "/d/c.wav"]


def test_a_folder_of_sets_is_a_split_and_an_id_in_two_of_them_is_left_out(tmp_path):
    folder(tmp_path / "train")
    folder(tmp_path / "dev", wav_scp="e /d/e.wav\n", text="e 好\n", utt2spk="e s3\n")
    folder(tmp_path / "test", wav_scp="f /d/f.wav\na /d/a.wav\n", text="f 好\na 你好\n", utt2spk="f s4\na s1\n")
    folder(tmp_path / "extra")
    assert is_kaldi(tmp_path)
    part = read_kaldi(tmp_path)
    assert {clip.key: clip.split for clip in part.clips} == {"b": "train", "c": "train", "e": "val", "f": "test"}
    kinds = sorted((item.kind, Path(item.file).name) for item in part.problems)
    assert kinds == [("id in two sets", "text"), ("other set", "extra")]


def test_two_folders_for_one_set_are_put_together(tmp_path):
    folder(tmp_path / "dev", wav_scp="a /d/a.wav\n", text="a 好\n", utt2spk="a s3\n")
    folder(tmp_path / "val", wav_scp="b /d/b.wav\na /d/a.wav\n", text="b 好\na 好\n", utt2spk="b s4\na s3\n")
    part = read_kaldi(tmp_path)
    assert {clip.key: clip.split for clip in part.clips} == {"a": "val", "b": "val"}
    assert rows(part) == [("warning", "duplicate id", "text", 2, "a")]
    assert "dev/text:1" in part.problems[0].detail


def test_sets_within_a_data_folder_are_said_not_to_be_read(tmp_path):
    folder(tmp_path / "d"), folder(tmp_path / "d/train"), folder(tmp_path / "d/.backup")
    part = read_kaldi(tmp_path / "d")
    assert len(part.clips) == 3
    assert rows(part) == [("note", "other set", "train", None, "")]


def test_what_is_no_kaldi_folder(tmp_path):
    assert not is_kaldi(tmp_path)
    assert not is_kaldi(tmp_path / "nowhere")
    assert not is_kaldi(Path(__file__))
