"""lhotse's manifests: what lhotse itself writes is read, what we write lhotse loads, and commands are refused."""

import gzip
import json
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from asr.audio.clip import Cut
from asr.core.errors import RecipeError
from asr.core.manifest import Utterance
from asr.core.names import UNKNOWN_SPEAKER, plain_name
from asr.preparation.corpora.lhotse import is_lhotse, lhotse_parts, read_lhotse, write_lhotse
from asr.preparation.utterances import Reader
from tests import cdsd_tree

RECORDING = {
    "id": "r",
    "sources": [{"type": "file", "channels": [0], "source": "/d/r.wav"}],
    "sampling_rate": 16000,
    "num_samples": 160000,
    "duration": 10.0,
    "channel_ids": [0],
}
SOURCE = RECORDING["sources"][0]
SUPERVISION = {
    "id": "u",
    "recording_id": "r",
    "start": 0.0,
    "duration": 10.0,
    "channel": 0,
    "text": "你好",
    "speaker": "s",
}


def write(folder: Path, recordings: list, supervisions: list, suffix: str = "") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, values in (("recordings", recordings), ("supervisions", supervisions)):
        with gzip.open(folder / f"x_{name}{suffix}.jsonl.gz", "wt", encoding="utf-8") as stream:
            stream.writelines(json.dumps(value) + "\n" for value in values)
    return folder


def rows(part):
    return [(item.severity, item.kind, Path(item.file).name, item.line, item.key) for item in part.problems]


def test_what_lhotse_prepare_cdsd_writes_is_read_as_the_tree_itself_is(tmp_path):
    from lhotse.recipes.cdsd import prepare_cdsd

    import cdsd

    tree = cdsd_tree.small(tmp_path / "CDSD")
    for speaker in ("01", "02"):
        cdsd_tree.add_speaker(tree / "after_catting/10h", speaker, {f"{speaker}-x": "你好吗"})
    prepare_cdsd(tree, tmp_path / "m")
    assert is_lhotse(tmp_path / "m")
    assert lhotse_parts(tmp_path / "m", ("1h", "10h")) == ["1h", "10h"]
    for name in ("1h", "10h"):
        theirs = {clip.key: clip for clip in read_lhotse(tmp_path / "m", name).clips}
        ours = {clip.key: clip for clip in cdsd.read_part(tree / "after_catting" / name, name).clips}
        assert {key: (clip.audio, clip.text, clip.speaker, clip.cut) for key, clip in theirs.items()} == {
            key: (clip.audio, clip.text, clip.speaker, None) for key, clip in ours.items()
        }


def test_lhotse_loads_validates_and_reads_the_audio_of_what_we_write(tmp_path):
    import lhotse
    from lhotse.qa import validate_recordings_and_supervisions

    utterances = []
    for number in range(3):
        path, samples = tmp_path / f"{number}.wav", 12345 + number
        soundfile.write(path, np.linspace(-0.5, 0.5, samples), 16000)
        seconds = round(samples / 16000, 6)
        utterances.append(Utterance(f"k{number}", str(path), "你好 ok", 10, 4, "s 1", seconds, samples))
    write_lhotse(tmp_path / "m", "test", utterances)
    recordings = lhotse.load_manifest(tmp_path / "m/recordings_test.jsonl.gz")
    supervisions = lhotse.load_manifest(tmp_path / "m/supervisions_test.jsonl.gz")
    validate_recordings_and_supervisions(recordings, supervisions, read_data=True)
    assert [item.text for item in supervisions] == ["你好 ok"] * 3
    assert [(item.num_samples, item.sampling_rate) for item in recordings] == [
        (12345, 16000),
        (12346, 16000),
        (12347, 16000),
    ]
    lazy = lhotse.load_manifest_lazy(tmp_path / "m/supervisions_test.jsonl.gz")
    assert [item.speaker for item in lazy] == ["s 1"] * 3
    part = read_lhotse(tmp_path / "m")
    assert [(clip.key, clip.audio, clip.text, clip.speaker, clip.cut, clip.split) for clip in part.clips] == [
        (item.key, item.source, item.target, item.speaker, None, "test") for item in utterances
    ]
    before = (tmp_path / "m/recordings_test.jsonl.gz").read_bytes()
    write_lhotse(tmp_path / "m", "test", utterances)
    assert (tmp_path / "m/recordings_test.jsonl.gz").read_bytes() == before


SAFE = st.text(st.characters(codec="utf-8", categories=("L", "N", "S"), include_characters="-_，。"), min_size=1)
SAFE = SAFE.map(plain_name).filter(bool)
SPEAKERS = SAFE | st.just("Li  Lei")
TEXTS = st.text('你好 ab"\\\u2028', min_size=1).filter(str.strip)
SOURCES = SAFE.map(lambda name: f"/d/{name}.wav")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(SAFE, st.tuples(SOURCES, TEXTS, SPEAKERS, st.integers(400, 10**7)), min_size=1, max_size=5))
def test_what_is_written_can_be_read_back(tmp_path, items):
    utterances = [
        Utterance(key, source, target, 1, len(target), speaker, round(samples / 16000, 6), samples)
        for key, (source, target, speaker, samples) in items.items()
    ]
    write_lhotse(tmp_path / "m", "dev", utterances)
    part = read_lhotse(tmp_path / "m")
    assert part.problems == []
    assert [(clip.key, clip.audio, clip.text, clip.speaker, clip.cut, clip.split) for clip in part.clips] == [
        (item.key, item.source, item.target, item.speaker, None, "val") for item in utterances
    ]


def test_the_same_utterances_give_the_same_bytes_whenever_they_are_written(tmp_path):
    item = Utterance("k", "/a.wav", "好", 100, 1, "s", 1.0, 16000)
    write_lhotse(tmp_path, "val", [item])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["recordings_val.jsonl.gz", "supervisions_val.jsonl.gz"]
    for path in tmp_path.iterdir():
        assert path.read_bytes()[4:8] == bytes(4)  # gzip's field for a time
    (line,) = gzip.decompress((tmp_path / "supervisions_val.jsonl.gz").read_bytes()).decode().splitlines()
    assert json.loads(line) == {
        "id": "k",
        "recording_id": "k",
        "start": 0.0,
        "duration": 1.0,
        "channel": 0,
        "text": "好",
        "language": "Chinese",
        "speaker": "s",
    }


CUTS = {
    "the whole": ({}, None),
    "all but a rounding": ({"duration": 9.995}, None),
    "a piece": ({"start": 1.5, "duration": 2.25}, Cut(1.5, 2.25)),
    "one of two channels": ({"channel": 1}, Cut(channel=1)),
    "a piece of a channel": ({"start": 1.0, "duration": 2.0, "channel": 0}, Cut(1.0, 2.0, 0)),
    "both channels": ({"channel": [0, 1]}, None),
    "a start before the start by rounding": ({"start": -0.0005}, None),
    "the end, from before the start by rounding": ({"start": -0.0005, "duration": 2.0}, Cut(0.0, 2.0)),
    "whole numbers": ({"start": 1, "duration": 2}, Cut(1.0, 2.0)),
    "the whole but for 20 ms": ({"duration": 9.98}, Cut(0.0, 9.98)),
}


@pytest.mark.parametrize(("change", "cut"), CUTS.values(), ids=CUTS)
def test_supervisions_of_a_piece_or_a_channel(tmp_path, change, cut):
    sources = [{"type": "file", "channels": [0, 1] if "channel" in change else [0], "source": "/d/r.wav"}]
    part = read_lhotse(write(tmp_path, [{**RECORDING, "sources": sources}], [{**SUPERVISION, **change}]))
    assert [clip.cut for clip in part.clips] == [cut]
    assert part.problems == []


def test_some_channels_of_a_file_are_one_or_all(tmp_path):
    sources = [{"type": "file", "channels": [2, 3, 4], "source": "/d/r.wav"}]
    given = [
        {**SUPERVISION, "id": f"u{n}", "channel": channel} for n, channel in enumerate((3, [4, 2, 3], [2, 3], [0]))
    ]
    part = read_lhotse(write(tmp_path, [{**RECORDING, "sources": sources}], given))
    assert {clip.key: clip.cut for clip in part.clips} == {"u0": Cut(channel=1), "u1": None}
    assert rows(part) == [("error", "bad segment", "x_supervisions.jsonl.gz", n, f"u{n - 1}") for n in (3, 4)]


def test_a_recording_of_several_files_is_refused(tmp_path):
    sources = [{"type": "file", "channels": [number], "source": f"/d/{number}.wav"} for number in (0, 1)]
    part = read_lhotse(write(tmp_path, [{**RECORDING, "sources": sources}], [SUPERVISION]))
    assert part.clips == []
    assert rows(part) == [("error", "refused recording source", "x_recordings.jsonl.gz", 1, "r")]


def test_lhotse_hears_the_channel_that_we_cut(tmp_path):
    import lhotse

    path = tmp_path / "two.wav"
    soundfile.write(path, np.stack([np.full(16000, 0.25), np.linspace(-0.5, 0.5, 16000)], axis=1), 16000, "FLOAT")
    recording = lhotse.Recording.from_file(path)
    supervision = lhotse.SupervisionSegment("u", recording.id, 0.25, 0.5, channel=1, text="好", speaker="s")
    lhotse.RecordingSet.from_recordings([recording]).to_file(tmp_path / "m_recordings_test.jsonl.gz")
    lhotse.SupervisionSet.from_segments([supervision]).to_file(tmp_path / "m_supervisions_test.jsonl.gz")
    (clip,) = read_lhotse(tmp_path).clips
    start, end = (round(seconds * 16000) for seconds in (clip.cut.start, clip.cut.start + clip.cut.seconds))
    ours = soundfile.read(clip.audio, dtype="float32", always_2d=True)[0][start:end, clip.cut.channel]
    np.testing.assert_array_equal(ours, recording.load_audio(channels=1, offset=0.25, duration=0.5)[0])


def test_a_relative_path_is_meant_from_here_else_from_the_folder(tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    (tmp_path / "here/a.wav").touch()
    monkeypatch.chdir(tmp_path / "here")
    recordings = [
        {**RECORDING, "id": name, "sources": [{**RECORDING["sources"][0], "source": f"{name}.wav"}]} for name in "ab"
    ]
    given = [{**SUPERVISION, "id": name, "recording_id": name} for name in "ab"]
    part = read_lhotse(write(tmp_path / "m", recordings, given))
    assert [clip.audio for clip in part.clips] == [f"{tmp_path}/here/a.wav", f"{tmp_path}/m/b.wav"]


@pytest.mark.parametrize("kind", ["command", "url", "memory", "shar"])
def test_a_source_that_is_no_file_is_refused_by_name_and_never_run(tmp_path, kind):
    trap = tmp_path / "pwned"
    bad = {**RECORDING, "id": "bad", "sources": [{"type": kind, "channels": [0], "source": f"touch {trap}"}]}
    part = read_lhotse(
        write(tmp_path / "m", [RECORDING, bad], [SUPERVISION, {**SUPERVISION, "id": "v", "recording_id": "bad"}])
    )
    assert rows(part) == [("error", "refused recording source", "x_recordings.jsonl.gz", 2, "bad")]
    assert f"touch {trap}" in part.problems[0].detail
    assert [clip.key for clip in part.clips] == ["u"]
    assert not trap.exists()


def other(**change):
    """A second recording."""
    return {**RECORDING, "id": "q", **change}


def said(**change):
    """A second supervision."""
    return {**SUPERVISION, "id": "v", **change}


def source(**change):
    return {"sources": [{**SOURCE, **change}]}


REFUSED, BAD_LINE, BAD_SEGMENT = "refused recording source", "bad JSONL line", "bad segment"
FAULTS = {
    "transforms": ([other(transforms=[{"name": "Speed"}])], [], ("error", REFUSED, 2, "q")),
    "an address for a file": ([other(**source(source="s3://b/a.wav"))], [], ("error", REFUSED, 2, "q")),
    "sources that are none": ([other(sources=[5])], [], ("error", BAD_LINE, 2, "q")),
    "no sources": ([other(sources=[])], [], ("error", BAD_LINE, 2, "q")),
    "channels that are none": ([other(**source(channels="x"))], [], ("error", BAD_LINE, 2, "q")),
    "a recording without length": ([other(duration=None)], [], ("error", BAD_LINE, 2, "q")),
    "a recording twice": ([RECORDING], [], ("warning", "duplicate id", 2, "r")),
    "two recordings of one id": ([other(id="r", duration=9.0)], [], ("error", "duplicate id", 2, "r")),
    "a NUL": ([other(**source(source="/d/\0"))], [said(recording_id="q")], ("error", "bad source", 2, "v")),
    "no recording": ([], [said(recording_id="q")], ("error", "transcript without wav", 2, "v")),
    "no supervision": ([other()], [], ("warning", "wav without transcript", 2, "q")),
    "no text": ([], [said(text=None)], ("error", "empty transcript", 2, "v")),
    "a number for a text": ([], [said(text=7)], ("error", BAD_LINE, 2, "v")),
    "no id": ([], [said(id="")], ("error", "unsafe id", 2, "")),
    "an unsafe id": ([], [said(id="../v")], ("error", "unsafe id", 2, "../v")),
    "an unsafe speaker": ([], [said(speaker="../s")], ("error", "unsafe id", 2, "v")),
    "the same twice": ([], [SUPERVISION], ("warning", "duplicate id", 2, "u")),
    "another text": ([], [said(id="u", text="再见")], ("error", "duplicate id", 2, "u")),
    "a channel that is not there": ([], [said(channel=3)], ("error", BAD_SEGMENT, 2, "v")),
    "no length": ([], [said(duration=0)], ("error", BAD_SEGMENT, 2, "v")),
    "a start before the start": ([], [said(start=-1)], ("error", BAD_SEGMENT, 2, "v")),
    "words for numbers": ([], [said(start="x")], ("error", BAD_SEGMENT, 2, "v")),
    "a length that is no number": ([], [said(duration=float("nan"))], ("error", BAD_SEGMENT, 2, "v")),
}


@pytest.mark.parametrize(("recordings", "supervisions", "row"), FAULTS.values(), ids=FAULTS)
def test_a_fault_is_named_with_its_line(tmp_path, recordings, supervisions, row):
    part = read_lhotse(write(tmp_path, [RECORDING, *recordings], [SUPERVISION, *supervisions]))
    assert [(item.severity, item.kind, item.line, item.key) for item in part.problems] == [row]


def test_a_length_that_is_not_the_files_is_named_once_with_its_line_and_both_lengths(tmp_path):
    for name, seconds in (("r", 2.0), ("q", 10.0)):
        cdsd_tree.write_wav(tmp_path / f"{name}.wav", seconds)
    mine = {**RECORDING, **source(source=f"{tmp_path}/r.wav")}
    right = other(**source(source=f"{tmp_path}/q.wav"))
    given = [SUPERVISION, {**SUPERVISION, "id": "w", "start": 1.0, "duration": 0.5}, said(recording_id="q")]
    part = read_lhotse(write(tmp_path / "m", [right, mine], given))
    reader = Reader(part.problems)
    reader.read(part)
    assert rows(part) == [("warning", "length disagrees with the file", "x_recordings.jsonl.gz", 2, "u")]
    assert part.problems[0].detail.startswith(f"10.00 s, and {tmp_path}/r.wav has 2.00 s: ")
    assert [item.key for item in part.utterances] == ["u", "v", "w"]


def test_no_speaker_is_said_to_be_unknown(tmp_path):
    part = read_lhotse(write(tmp_path, [RECORDING], [{**SUPERVISION, "speaker": None}]))
    assert part.clips[0].speaker == UNKNOWN_SPEAKER


def test_sets_are_the_split_and_others_are_not_read(tmp_path):
    for suffix, key in (("_train", "a"), ("_dev", "b"), ("_test", "c"), ("_noisy", "d")):
        write(tmp_path, [RECORDING], [{**SUPERVISION, "id": key}], suffix)
    part = read_lhotse(tmp_path)
    assert {clip.key: clip.split for clip in part.clips} == {"a": "train", "b": "val", "c": "test"}
    assert [item.kind for item in part.problems] == ["other set"]


def test_plain_files_hidden_files_halves_and_the_same_set_twice(tmp_path):
    write(tmp_path, [RECORDING], [SUPERVISION], "_train")
    for name, value in (("x_recordings_train", RECORDING), ("x_supervisions_train", SUPERVISION)):
        (tmp_path / f"{name}.jsonl").write_text(json.dumps(value) + "\n", encoding="utf-8")
    (tmp_path / "lonely_recordings_test.jsonl").write_text(json.dumps(RECORDING) + "\n", encoding="utf-8")
    (tmp_path / "._x_recordings_test.jsonl.gz").write_bytes(b"no gzip")
    part = read_lhotse(tmp_path)
    assert [Path(clip.file).name for clip in part.clips] == ["x_supervisions_train.jsonl.gz"]
    assert [(item.kind, Path(item.file).name) for item in part.problems] == [
        ("other file", "x_recordings_train.jsonl"),
        ("other file", "lonely_recordings_test.jsonl"),
    ]
    for path in tmp_path.glob("*.gz"):
        path.unlink()
    assert [Path(clip.file).name for clip in read_lhotse(tmp_path).clips] == ["x_supervisions_train.jsonl"]


def test_what_is_no_folder_of_lhotses(tmp_path):
    write(tmp_path / "m", [RECORDING], [SUPERVISION], "_1h")
    assert not is_lhotse(tmp_path)
    assert not is_lhotse(tmp_path / "m/x_recordings_1h.jsonl.gz")
    assert lhotse_parts(tmp_path / "m", ("1h", "10h")) == ["1h"]
    with pytest.raises(RecipeError, match=r"m: no recordings_10h.jsonl.gz with supervisions"):
        read_lhotse(tmp_path / "m", "10h")
    (tmp_path / "m/x_supervisions_1h.jsonl.gz").unlink()
    assert not is_lhotse(tmp_path / "m")


def test_a_million_utterances_take_little_memory(tmp_path):
    count = 20_000
    items = [
        Utterance(f"S{n:06d}", f"/data/corpus/Audio/S{n:06d}.wav", "今天天气很好", 100, 6, f"s{n % 40}", 1.0, 16000)
        for n in range(count)
    ]
    write_lhotse(tmp_path, "train", items)
    tracemalloc.start()
    part = read_lhotse(tmp_path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(part.clips) == count
    assert peak < 1000 * count


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (gzip.compress(json.dumps(RECORDING).encode() * 50)[:-9], r"x_recordings.jsonl.gz:1: the gzip file is damaged"),
        (b"no gzip", r"x_recordings.jsonl.gz:1: the gzip file is damaged"),
        (gzip.compress(b'{"id": "r"}\n{', mtime=0), r"x_recordings.jsonl.gz:2: not JSON"),
        (gzip.compress(b"[1]", mtime=0), r"x_recordings.jsonl.gz:1: not a JSON object"),
        (gzip.compress(b"[" * 100_000, mtime=0), r"x_recordings.jsonl.gz:1: not JSON"),
        (gzip.compress(b"{}\n\xff", mtime=0), r"x_recordings.jsonl.gz:2: not UTF-8"),
    ],
)
def test_a_damaged_file_stops_with_its_line(tmp_path, raw, message):
    folder = write(tmp_path, [RECORDING], [SUPERVISION])
    (folder / "x_recordings.jsonl.gz").write_bytes(raw)
    with pytest.raises(RecipeError, match=message):
        read_lhotse(folder)
