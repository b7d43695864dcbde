"""asr.transcribe's files, folders, standard input and outputs: nothing is dropped, nothing of anybody's replaced."""

import io
import json
import struct
from pathlib import Path, PurePath

import numpy as np
import pytest
import soundfile

from asr.core.errors import RecipeError, UsageError
from asr.decoding import audio_inputs, transcribe_files
from asr.decoding.transcribe import Stretch, Transcriber, stretches
from asr.models import families
from asr.models.loading import load
from tests import tiny
from tests.unit.test_transcribe import RATE, noise, run


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny.make_model(tmp_path_factory.mktemp("transcribe_files") / "model")


@pytest.fixture
def folder(tmp_path):
    """Three short clips, one in a folder below, beside what is no audio."""
    made = tmp_path / "clips"
    (made / "sub").mkdir(parents=True)
    for name, seconds in (("b.wav", 1.5), ("a.WAV", 0.6), ("sub/c.flac", 2.5)):
        soundfile.write(made / name, noise(seconds), RATE, format=name.partition(".")[2].upper())
    for name in ("notes.txt", ".hidden", "sub/d.docx", "sub/labels.csv"):
        (made / name).write_text("x")
    (made / "elsewhere").symlink_to(tmp_path)
    return made


def found_in(*names):
    complaints, notes = [], []
    found = audio_inputs.find([str(name) for name in names], complaints.append, notes.append)
    return found, complaints, notes


def test_a_folder_is_searched_to_its_depth_and_what_is_left_alone_is_counted(folder, tmp_path):
    found, complaints, notes = found_in(folder, folder / "b.wav")
    assert [audio.name for audio in found] == [f"{folder}/{name}" for name in ("a.WAV", "b.wav", "sub/c.flac", "b.wav")]
    assert complaints == []
    assert notes == [f"{folder}: left alone, no audio by their names: 5 (.hidden, elsewhere, notes.txt, …)"]
    (tmp_path / "empty").mkdir()
    found, complaints, notes = found_in(tmp_path / "empty")
    assert (found, notes) == ([], [])
    assert complaints[0].startswith(f"{tmp_path}/empty: no audio file in this folder (wav, ")


def test_two_recordings_are_not_written_to_one_file(folder):
    found, _, _ = found_in(folder, folder / "sub" / "c.flac")
    audio_inputs.check_distinct(found)  # sub/c and c
    soundfile.write(folder / "b.ogg", noise(1.0), RATE)
    found, _, _ = found_in(folder)
    with pytest.raises(RecipeError, match=r"b\.ogg and .*b\.wav would both be written to b\.\*"):
        audio_inputs.check_distinct(found)
    with pytest.raises(UsageError, match="can be read once"):
        found_in("-", "-")


@pytest.mark.slow
def test_a_folder_is_written_out_in_every_format_and_never_over_another(model, folder, tmp_path):
    (folder / "broken.wav").write_text("<html>404</html>")
    (folder / "empty.wav").touch()
    soundfile.write(folder / "long.wav", noise(33, quiet=(8.0, 15.0, 24.0)), RATE)
    out = tmp_path / "out"
    done = run(model, "--json", "--srt", "--tsv", "--cut", "10", "--out", out, folder)
    assert done.returncode == 1
    assert [line.partition(": ")[2] for line in done.stderr.splitlines() if line.startswith("error")] == [
        f"{folder}/broken.wav: cannot be decoded: Format not recognised; if it is sound: ffmpeg -i {folder}/broken.wav"
        " NEW.wav",
        f"{folder}/empty.wav: the file has 0 bytes",
    ]
    assert done.stdout == ""
    made = {str(path.relative_to(out)) for path in out.rglob("*.*")}
    names = ("a", "b", "sub/c", "long")
    assert made == {f"{name}.{ending}" for name in names for ending in ("jsonl", "srt", "tsv")}
    recogniser = load(model)
    for name in ("a.WAV", "b.wav", "sub/c.flac"):  # one batch, and still the text that each has alone
        told = json.loads((out / name).with_suffix(".jsonl").read_text())
        assert told["text"] == recogniser.transcribe([soundfile.read(folder / name, dtype="float32")[0]])[0]
        assert told["file"] == str(folder / name)
    parts = [json.loads(line) for line in (out / "long.jsonl").read_text().splitlines()]
    assert [part["end"] for part in parts] == pytest.approx([8.0, 15.0, 24.0, 33.0], abs=0.11)
    assert [part["begin"] for part in parts] == [0.0] + [part["end"] for part in parts[:-1]]
    assert len((out / "long.tsv").read_text().splitlines()) == 5
    before = (out / "b.srt").read_bytes()
    again = run(model, "--srt", "--out", out, folder / "b.wav")
    assert again.returncode == 1
    assert again.stderr == f"error: {out}/b.srt: is there already, and nothing is replaced: give another --out\n"
    assert (out / "b.srt").read_bytes() == before


def as_bytes(kind="WAV", piped=False):
    """1.5 s of noise; ``piped``: with the lengths that ffmpeg writes where it cannot go back."""
    file = io.BytesIO()
    soundfile.write(file, (noise(1.5) * 32767).astype(np.int16), RATE, format=kind)
    content = bytearray(file.getvalue())
    if piped:
        assert content[36:40] == b"data"
        content[4:8] = content[40:44] = struct.pack("<I", 0xFFFFFFFF)
    return bytes(content)


@pytest.mark.parametrize("given", [as_bytes(), as_bytes(piped=True), as_bytes("FLAC")])
def test_standard_input_is_a_recording_also_with_the_header_that_a_pipe_gets(given, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(given)))
    with audio_inputs.readable(audio_inputs.Audio("-", PurePath("stdin"))) as path:
        (heard,) = stretches("-", path)
    assert (heard.name, heard.end, heard.whole) == ("-", 1.5, True)
    assert np.array_equal(heard.samples, soundfile.read(io.BytesIO(as_bytes()), dtype="float32")[0])
    assert not Path(path).exists()


@pytest.mark.slow
def test_standard_input_that_is_no_sound_is_named_and_the_rest_is_transcribed(model, folder):
    text = load(model).transcribe([soundfile.read(folder / "b.wav", dtype="float32")[0]])[0]
    done = run(model, "-", folder / "b.wav", given=b"<html>")
    assert done.returncode == 1
    assert "error: -: cannot be decoded: " in done.stderr
    assert done.stdout == f"{folder}/b.wav\t{text}\n"


def test_nothing_on_standard_input_is_said(monkeypatch):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO()))
    with (
        pytest.raises(RecipeError, match="-: nothing came from standard input"),
        audio_inputs.readable(audio_inputs.Audio("-", PurePath("stdin"))),
    ):
        pass


def test_wrong_usage_ends_before_a_model_is_loaded(model, folder):
    for arguments, said in (
        (("--srt", folder), "error: --srt of 3 recordings needs --out DIR: a file for each\n"),
        (("--srt", "--json", folder), "error: several formats need --out DIR: a file for each\n"),
        (("--cut", "3", folder), "error: --cut 3: must be from 5 to 60 seconds\n"),
    ):
        done = run(model, *arguments)
        assert done.returncode == 2
        assert done.stderr.endswith(said)
        assert done.stdout == ""


def stretch(seconds):
    return Stretch("a.wav", 0.0, seconds, True, True, noise(seconds), seconds)


def test_batches_are_no_longer_than_a_piece_and_a_language_model_has_none():
    class Recogniser:
        family, options = families.of("paraformer"), {}

    transcriber = Transcriber(Recogniser())
    assert transcriber.fits([], stretch(60.0))
    assert transcriber.fits([stretch(20.0), stretch(1.0)], stretch(5.0))
    assert not transcriber.fits([stretch(20.0), stretch(1.0)], stretch(20.1))
    Recogniser.options = {"max_new_tokens": 200}
    assert not transcriber.fits([stretch(1.0)], stretch(1.0))


def test_what_was_recognised_of_a_file_that_breaks_off_is_not_written(tmp_path):
    kept = []
    output = transcribe_files.Whole(lambda audio, segments: kept.append((audio, list(segments))))
    output.add("a", 1, False)
    output.drop()
    output.add("b", 2, False)
    output.add("b", 3, True)
    output.add("c", 4, True)
    assert kept == [("b", [2, 3]), ("c", [4])]
