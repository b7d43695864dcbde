"""lhotse's manifests: what lhotse itself writes is read, what we write lhotse loads, and commands are refused."""

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from asr.errors import RecipeError
from asr.manifest import Utterance
from corpus import UNKNOWN_SPEAKER, Cut
from lhotse_dir import is_lhotse, lhotse_parts, read_lhotse, write_lhotse
from tests import cdsd_tree

RECORDING = {
    "id": "r",
    "sources": [{"type": "file", "channels": [0], "source": "/d/r.wav"}],
    "sampling_rate": 16000,
    "num_samples": 160000,
    "duration": 10.0,
    "channel_ids": [0],
}
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
    assert lhotse_parts(tmp_path / "m") == ["1h", "10h"]
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
    for number, rate in enumerate((16000, 44100, 16000)):
        path, samples = tmp_path / f"{number}.wav", 12345 + number
        soundfile.write(path, np.linspace(-0.5, 0.5, samples), rate)
        seconds = round(samples / rate, 6)
        utterances.append(Utterance(f"k{number}", str(path), "你好 ok", 10, 4, "s 1", seconds, samples))
    write_lhotse(tmp_path / "m", "test", utterances)
    recordings = lhotse.load_manifest(tmp_path / "m/recordings_test.jsonl.gz")
    supervisions = lhotse.load_manifest(tmp_path / "m/supervisions_test.jsonl.gz")
    validate_recordings_and_supervisions(recordings, supervisions, read_data=True)
    assert [item.text for item in supervisions] == ["你好 ok"] * 3
    assert [(item.num_samples, item.sampling_rate) for item in recordings] == [
        (12345, 16000),
        (12346, 44100),
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


CUTS = {
    "the whole": ({}, None),
    "all but a rounding": ({"duration": 9.995}, None),
    "a piece": ({"start": 1.5, "duration": 2.25}, Cut(1.5, 2.25)),
    "one of two channels": ({"channel": 1}, Cut(channel=1)),
    "a piece of a channel": ({"start": 1.0, "duration": 2.0, "channel": 0}, Cut(1.0, 2.0, 0)),
    "both channels": ({"channel": [0, 1]}, None),
}


@pytest.mark.parametrize(("change", "cut"), CUTS.values(), ids=CUTS)
def test_supervisions_of_a_piece_or_a_channel(tmp_path, change, cut):
    sources = [{"type": "file", "channels": [0, 1] if "channel" in change else [0], "source": "/d/r.wav"}]
    part = read_lhotse(write(tmp_path, [{**RECORDING, "sources": sources}], [{**SUPERVISION, **change}]))
    assert [clip.cut for clip in part.clips] == [cut]
    assert part.problems == []


def test_a_channel_in_a_file_of_its_own(tmp_path):
    sources = [{"type": "file", "channels": [number], "source": f"/d/{number}.wav"} for number in (0, 1)]
    part = read_lhotse(write(tmp_path, [{**RECORDING, "sources": sources}], [{**SUPERVISION, "channel": 1}]))
    assert [(clip.audio, clip.cut) for clip in part.clips] == [("/d/1.wav", None)]


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


FAULTS = {
    "transforms": ([{**RECORDING, "transforms": [{"name": "Speed"}]}], [SUPERVISION], ("error", "refused recording source", 1, "r")),
    "no recording": ([RECORDING], [SUPERVISION, {**SUPERVISION, "id": "v", "recording_id": "q"}], ("error", "transcript without wav", 2, "v")),
    "no supervision": ([RECORDING, {**RECORDING, "id": "q"}], [SUPERVISION], ("warning", "wav without transcript", 2, "q")),
    "no text": ([RECORDING], [SUPERVISION, {**SUPERVISION, "id": "v", "text": None}], ("error", "empty transcript", 2, "v")),
    "an unsafe id": ([RECORDING], [SUPERVISION, {**SUPERVISION, "id": "../v"}], ("error", "unsafe id", 2, "../v")),
    "the same twice": ([RECORDING], [SUPERVISION, SUPERVISION], ("warning", "duplicate id", 2, "u")),
    "a channel that is not there": ([RECORDING], [SUPERVISION, {**SUPERVISION, "id": "v", "channel": 3}], ("error", "bad segment", 2, "v")),
    "no length": ([RECORDING], [SUPERVISION, {**SUPERVISION, "id": "v", "duration": 0}], ("error", "bad segment", 2, "v")),
    "words for numbers": ([RECORDING], [SUPERVISION, {**SUPERVISION, "id": "v", "start": "x"}], ("error", "bad segment", 2, "v")),
}  # fmt: skip


@pytest.mark.parametrize(("recordings", "supervisions", "row"), FAULTS.values(), ids=FAULTS)
def test_a_fault_is_named_with_its_line(tmp_path, recordings, supervisions, row):
    part = read_lhotse(write(tmp_path, recordings, supervisions))
    assert [(item.severity, item.kind, item.line, item.key) for item in part.problems] == [row]


def test_no_speaker_is_said_to_be_unknown(tmp_path):
    part = read_lhotse(write(tmp_path, [RECORDING], [{**SUPERVISION, "speaker": None}]))
    assert part.clips[0].speaker == UNKNOWN_SPEAKER


def test_sets_are_the_split_and_others_are_not_read(tmp_path):
    for suffix, key in (("_train", "a"), ("_dev", "b"), ("_test", "c"), ("_noisy", "d")):
        write(tmp_path, [RECORDING], [{**SUPERVISION, "id": key}], suffix)
    part = read_lhotse(tmp_path)
    assert {clip.key: clip.split for clip in part.clips} == {"a": "train", "b": "val", "c": "test"}
    assert [item.kind for item in part.problems] == ["other set"]


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (gzip.compress(json.dumps(RECORDING).encode() * 50)[:-9], r"x_recordings.jsonl.gz:1: the gzip file is damaged"),
        (b"no gzip", r"x_recordings.jsonl.gz:1: the gzip file is damaged"),
        (gzip.compress(b'{"id": "r"}\n{'), r"x_recordings.jsonl.gz:2: not JSON"),
        (gzip.compress(b"[1]"), r"x_recordings.jsonl.gz:1: not a JSON object"),
        (gzip.compress(b"\xff"), r"x_recordings.jsonl.gz:1: not JSON"),
    ],
)
def test_a_damaged_file_stops_with_its_line(tmp_path, raw, message):
    folder = write(tmp_path, [RECORDING], [SUPERVISION])
    (folder / "x_recordings.jsonl.gz").write_bytes(raw)
    with pytest.raises(RecipeError, match=message):
        read_lhotse(folder)
