"""asr.transcribe: any file is heard to its end or named, whatever stands beside it, in bounded memory."""

import json
import math
import subprocess
import sys

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from asr.core.errors import RecipeError
from asr.core.nbest import NBest
from asr.decoding import transcribe
from asr.decoding.transcribe import LEAST, WHOLE, model_folder, pieces
from asr.language.calibration import Calibration
from asr.language.phrases import Phrases
from asr.models import families
from asr.models.loading import load
from tests import tiny

RATE = 16000


def noise(seconds: float, quiet: tuple[float, ...] = ()) -> np.ndarray:
    """Noise that is a hundred times as quiet for 0.4 s around some places."""
    samples = np.random.default_rng(0).normal(0, 0.1, round(seconds * RATE)).astype(np.float32)
    for place in quiet:
        samples[round((place - 0.2) * RATE) : round((place + 0.2) * RATE)] /= 100
    return samples


def blocks(samples: np.ndarray, size: int = 65536) -> list[np.ndarray]:
    return [samples[at : at + size] for at in range(0, len(samples), size)]


@settings(max_examples=30, deadline=None)
@given(length=st.integers(1, 200 * RATE), size=st.integers(20_000, 200_000))
def test_pieces_add_up_to_the_file_and_none_is_too_long_or_too_short(length, size):
    samples = noise(length / RATE)
    found = list(pieces(blocks(samples, size)))
    assert np.array_equal(np.concatenate([piece for _, piece, _ in found]), samples)
    assert [start for start, _, _ in found] == [0, *np.cumsum([len(piece) for _, piece, _ in found[:-1]])]
    assert all(RATE * 30 < len(piece) <= WHOLE for _, piece, _ in found[:-1])
    assert len(found[-1][1]) >= min(length, LEAST)
    assert [last for _, _, last in found] == [False] * (len(found) - 1) + [True]
    assert length > WHOLE or len(found) == 1


def test_a_file_is_cut_where_it_is_quietest_and_never_before_half_a_minute():
    samples = noise(150, quiet=(10.0, 40.0, 85.0, 149.0))
    found = [start / RATE for start, _, _ in pieces(blocks(samples))]
    assert found[:3] == pytest.approx([0, 40.0, 85.0], abs=0.11)
    assert len(found) == 4  # the 65 s that are left are cut somewhere


def test_a_long_file_is_not_read_into_memory():
    """Of an endless file as many blocks are asked for as a piece needs."""
    asked = []

    def endless():
        while True:
            asked.append(1)
            yield noise(1)

    source = pieces(endless())
    for _ in range(3):
        start, piece, _ = next(source)
        assert len(asked) * RATE - start <= WHOLE + 2 * LEAST
    assert len(piece) <= WHOLE


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny.make_model(tmp_path_factory.mktemp("transcribe") / "model")


def run(model, *files, given=b""):
    command = [sys.executable, "-m", "asr.transcribe", "--model", str(model), *map(str, files)]
    done = subprocess.run(command, capture_output=True, input=given)
    done.stdout, done.stderr = done.stdout.decode(), done.stderr.decode()
    return done


@pytest.mark.slow
def test_what_cannot_be_read_is_named_and_the_rest_is_transcribed(model, tmp_path):
    good, long, wrong = tmp_path / "good.wav", tmp_path / "long.wav", tmp_path / "nan.wav"
    soundfile.write(good, noise(1.5), RATE)
    soundfile.write(tmp_path / "telephone.wav", noise(1.0), 8000)
    soundfile.write(long, noise(70, quiet=(35.0,)), RATE)
    samples = noise(1.0)
    samples[8000] = np.nan
    soundfile.write(wrong, samples, RATE, "FLOAT")
    soundfile.write(tmp_path / "short.wav", samples[:300], RATE)
    (tmp_path / "page.wav").write_text("<html>404</html>")
    (tmp_path / "folder").mkdir()
    names = ["good.wav", "nan.wav", "folder", "gone.wav", "page.wav", "short.wav", "telephone.wav", "long.wav"]
    done = run(model, *(tmp_path / name for name in [*names, "good.wav"]))
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    said = [line for line in done.stderr.splitlines() if line.startswith(("error", "note"))]
    for line, wanted in zip(
        said,
        (
            f"error: {tmp_path}/folder: no audio file in this folder (wav, flac, ",
            f"error: {wrong}: a sample is NaN or infinite (the first wrong one at 0.50 s)",
            f"error: {tmp_path}/gone.wav: no such audio file",
            f"error: {tmp_path}/page.wav: cannot be decoded: ",
            f"error: {tmp_path}/short.wav: has 18.8 ms, less than one 25-ms feature window",
            f"note: {tmp_path}/telephone.wav: 8000 Hz: ",
        ),
        strict=True,
    ):
        assert line.startswith(wanted)
    recogniser = load(model)
    whole = recogniser.transcribe([soundfile.read(good, dtype="float32")[0]])[0]
    first, telephone, one, two, again = (line.split("\t") for line in done.stdout.splitlines())
    assert first == again == [str(good), whole]
    assert telephone[0] == str(tmp_path / "telephone.wav")
    times = [tuple(map(float, piece[1].split("-"))) for piece in (one, two)]
    assert times[0][0] == 0
    assert times[0][1] == times[1][0] == pytest.approx(35.0, abs=0.11)
    assert times[1][1] == 70.0
    audio, cut = soundfile.read(long, dtype="float32")[0], round(times[0][1] * RATE)
    assert two[2] == recogniser.transcribe([audio[cut:]])[0]


@pytest.mark.slow
def test_sixty_seconds_are_decoded_as_one(model, tmp_path):
    soundfile.write(tmp_path / "a.wav", noise(60.0, quiet=(40.0,)), RATE)
    done = run(model, tmp_path / "a.wav")
    assert done.returncode == 0, done.stderr
    audio = soundfile.read(tmp_path / "a.wav", dtype="float32")[0]
    assert done.stdout == f"{tmp_path}/a.wav\t{load(model).transcribe([audio])[0]}\n"


def test_a_run_stands_for_its_averaged_model(model, tmp_path, capsys):
    assert model_folder(model) == model
    exp = tmp_path / "exp"
    exp.mkdir()
    for name in ("config.yaml", "base.json"):  # as stages 0 and 3 leave them, with model.pt the latest checkpoint
        (exp / name).touch()
    (exp / "command").write_text("bash run.sh --tag 'my run'\n")
    with pytest.raises(RecipeError, match=r"make it first: bash run\.sh --tag 'my run' --stage 4 --stop-stage 4$"):
        model_folder(exp)
    (exp / "model").mkdir()
    (exp / "model/config.yaml").touch()
    assert model_folder(exp) == exp / "model"
    assert capsys.readouterr().err == f"note: {exp} is a run; its averaged model is used, {exp}/model\n"
    with pytest.raises(RecipeError, match="not a FunASR model folder"):
        model_folder(tmp_path)


def test_a_language_model_may_write_as_much_as_a_long_piece_holds(tmp_path):
    """Fun-ASR-Nano's texts are cut at 200 tokens, which a minute of fast speech has."""

    class Recogniser:
        family, options = families.of("nano"), {"max_new_tokens": 200}

        def nbest(self, clips):
            asked.append(self.options["max_new_tokens"])
            return [NBest("", "hypotheses", "", texts=(("", 0.0),))]

    asked: list[int] = []
    for number, seconds in enumerate((3.0, 60.0)):
        soundfile.write(tmp_path / f"{number}.wav", noise(seconds), RATE)
        list(transcribe.Transcriber(Recogniser()).pieces(str(tmp_path / f"{number}.wav")))
    assert asked == [200, 600]


def transcriber(steps, greedy="走了", **options):
    """A transcriber of a recogniser that gives these candidates for whatever it is given."""
    result = NBest("", "positions", greedy, tuple(tuple(step.items()) for step in steps))

    class Recogniser:
        family, options = families.of("paraformer"), {}

        def nbest(self, clips):
            return [result] * len(clips)

    return transcribe.Transcriber(Recogniser(), **options)


SAID = [{"走": math.log(0.6), "周": math.log(0.3)}, {"了": math.log(0.9), "乐": math.log(0.05)}]


@pytest.mark.parametrize("temperature", [None, 0.5])
def test_json_has_each_character_with_how_sure_it_is_and_what_else_it_may_be(tmp_path, temperature):
    soundfile.write(tmp_path / "a.wav", noise(1.5), RATE)
    fitted = None if temperature is None else Calibration("temperature", 500, 50, temperature)
    spoken = transcriber(SAID, fitted=fitted)
    (piece,) = spoken.pieces(str(tmp_path / "a.wav"))
    told = json.loads(spoken.json_line(piece))
    assert (told["file"], told["begin"], told["end"], told["text"]) == (str(tmp_path / "a.wav"), 0.0, 1.5, "走了")
    assert told["calibrated"] is (temperature is not None)
    # Odds of 0.6 and 0.9 are 1.5 and 9; at a temperature of a half they are squared.
    power = 1 if temperature is None else 2
    walk, done = (odds**power / (1 + odds**power) for odds in (1.5, 9))
    # The others keep their shares of what the chosen one leaves.
    other, fun = 0.3 * (1 - walk) / 0.4, 0.05 * (1 - done) / 0.1
    assert told["characters"] == [
        ["走", pytest.approx(walk, abs=1e-4), [["周", pytest.approx(other, abs=1e-4)]]],
        ["了", pytest.approx(done, abs=1e-4), [["乐", pytest.approx(fun, abs=1e-4)]]],
    ]
    assert told["confidence"] == pytest.approx((walk + done) / 2, abs=1e-4)


def test_phrases_are_preferred_where_the_sound_allows_them(tmp_path):
    soundfile.write(tmp_path / "a.wav", noise(1.5), RATE)
    texts = []
    for phrases in (None, Phrases({"周乐": 2.0}), Phrases({"周": 0.1}), Phrases({"李": 9.0})):
        spoken = transcriber(SAID, phrases=phrases)
        texts += [spoken.text_line(piece).partition("\t")[2] for piece in spoken.pieces(str(tmp_path / "a.wav"))]
    # ln 0.6 0.9 is 2.9 above ln 0.3 0.05; the first phrase adds 4, the second 0.1, the third is not to be heard.
    assert texts == ["走了", "周乐", "走了", "走了"]


def test_a_calibration_that_cannot_be_read_is_none(tmp_path):
    """And one of another decoding method: a beam's shares are not a frame's probabilities."""
    path = tmp_path / "confidence.json"
    assert transcribe.calibration_of(tmp_path, "greedy-1") is None
    fitted = Calibration("isotonic", 2000, 90, points=((0.1, 0.2), (0.9, 0.95)))
    path.write_text(json.dumps({"method": "greedy-1", "calibration": fitted.as_dict()}))
    assert transcribe.calibration_of(tmp_path, "greedy-1") == fitted
    assert transcribe.calibration_of(tmp_path, "beam-1") is None
    without_points = {**fitted.as_dict(), "points": []}
    cold = {**fitted.as_dict(), "method": "temperature", "temperature": 0}
    for value in (
        [],
        {"method": "greedy-1"},
        *({"method": "greedy-1", "calibration": one} for one in (without_points, cold)),
    ):
        path.write_text(json.dumps(value))
        assert transcribe.calibration_of(tmp_path, "greedy-1") is None
    path.write_text("{")
    assert transcribe.calibration_of(tmp_path, "greedy-1") is None
