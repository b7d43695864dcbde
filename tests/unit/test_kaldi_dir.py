"""Kaldi data folders: read with every fault named, commands never run, and what is written can be read back."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from asr.errors import RecipeError
from asr.manifest import Utterance
from corpus import Cut
from kaldi_dir import is_kaldi, read_kaldi, write_kaldi

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
        for (name, text), value in zip(FILES.items(), ("/d/x.wav", "好", "s1"))
    }
    part = read_kaldi(folder(tmp_path / "d", **files))
    assert rows(part) == [("error", "unsafe id", "text", 4, key)]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"text": None}, r"d/text: no such file"),
        ({"utt2spk": None}, r"d/utt2spk: no such file"),
        ({"text": ""}, r"d/text: the file is empty"),
        ({"text": b"a \xff\xfe\n"}, r"d/text:1: not UTF-8"),
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


def test_what_is_no_kaldi_folder(tmp_path):
    assert not is_kaldi(tmp_path)
    assert not is_kaldi(tmp_path / "nowhere")
    assert not is_kaldi(Path(__file__))


KEYS = st.text(st.characters(codec="utf-8", categories=("L", "N")), min_size=1, max_size=5)
WORDS = st.text("你好天气ab", min_size=1, max_size=5)


def utterance(key: str, source: str, target: str, speaker: str) -> Utterance:
    return Utterance(key, source, target, 100, len(target), speaker, 1.0, 16000)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.dictionaries(
        KEYS, st.tuples(st.text("abc 张.", min_size=1).map(lambda name: f"/d/{name}.wav"), WORDS, KEYS), min_size=1
    )
)
def test_what_is_written_can_be_read_back(tmp_path, items):
    write_kaldi(tmp_path / "w", [utterance(key, *values) for key, values in items.items()])
    part = read_kaldi(tmp_path / "w")
    assert part.problems == []
    assert found(part) == {key: (source, target, speaker) for key, (source, target, speaker) in items.items()}
    lists = {
        name: (tmp_path / "w" / name).read_bytes().splitlines() for name in ("wav.scp", "text", "utt2spk", "spk2utt")
    }
    for lines in lists.values():
        assert [line.split(b" ")[0] for line in lines] == sorted(line.split(b" ")[0] for line in lines)
    said = {key: line.split(b" ")[0] for line in lists["spk2utt"] for key in line.split(b" ")[1:]}
    assert said == {line.split(b" ")[0]: line.split(b" ")[1] for line in lists["utt2spk"]}


@pytest.mark.parametrize("source", ["/d/a\nb.wav", "/d/rm -rf |", "/d/a.wav "])
def test_a_path_that_kaldi_would_misread_is_refused(tmp_path, source):
    with pytest.raises(RecipeError, match="k: Kaldi cannot have a path like this"):
        write_kaldi(tmp_path, [utterance("k", source, "好", "s")])


def test_speakers_with_blanks_are_one_word_and_two_may_not_become_one(tmp_path):
    write_kaldi(tmp_path, [utterance("k", "/a.wav", "好", "Li  Lei")])
    assert (tmp_path / "utt2spk").read_text() == "k Li_Lei\n"
    with pytest.raises(RecipeError, match="would both be Li_Lei"):
        write_kaldi(tmp_path, [utterance("k", "/a.wav", "好", "Li Lei"), utterance("l", "/a.wav", "好", "Li_Lei")])
