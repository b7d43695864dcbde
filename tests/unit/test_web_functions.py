"""What deploy/web/ computes in JavaScript is what Python computes: features, pieces, texts, samples. In Chromium."""

import base64
import io

import numpy as np
import pytest
import soundfile
from funasr.utils.postprocess_utils import sentence_postprocess
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from asr.decoding.transcribe import pieces
from asr.export.features import FrontEnd
from asr.export.web import _SOURCES as SOURCES
from asr.models.sensevoice.family import without_tags
from asr.pages.html import part
from tests.unit.test_transcribe import noise

CMVN = np.random.default_rng(1).normal(size=(2, 560)).astype(np.float32)
CONF = {"stack": 7, "shift": 6, "add": CMVN[0].tolist(), "scale": CMVN[1].tolist()}
AS_BASE64 = (
    "(a => btoa(Array.from(new Uint8Array(a.buffer, a.byteOffset, a.byteLength),"
    " byte => String.fromCharCode(byte)).join('')))"
)
AS_BYTES = "(t => Uint8Array.from(atob(t), c => c.charCodeAt(0)).buffer)"


def source(name: str) -> str:
    return (SOURCES / name).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def script(chromium):
    """Runs an expression beside the page's functions."""
    view = chromium.new_page()
    for text in (source("fbank.js"), source("text.js"), part("speak_sound.js")):
        view.add_script_tag(content=text)
    yield view.evaluate
    view.close()


def packed(array: np.ndarray) -> str:
    return base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()


def features(script, samples, call="features") -> np.ndarray:
    told = {"samples": packed(samples.astype("<f4")), "conf": CONF}
    expression = f"({{samples, conf}}) => {AS_BASE64}({call}(new Float32Array({AS_BYTES}(samples)), conf).data)"
    return np.frombuffer(base64.b64decode(script(expression, told)), "<f4").reshape(-1, 560)


@pytest.fixture(scope="module")
def kaldi():
    pytest.importorskip("kaldi_native_fbank")
    return FrontEnd({"lfr_m": 7, "lfr_n": 6}, CMVN)


def tone(count):
    seconds = np.arange(count) / 16000
    return (0.3 * np.sin(2 * np.pi * 440 * seconds) + 0.2 + 0.001 * noise(1)[:count]).astype(np.float32)


@pytest.mark.parametrize("samples", [noise(n / 16000) for n in (400, 559, 560, 1360, 32000)] + [tone(16000)])
def test_features_are_those_of_kaldi(script, kaldi, samples):
    ours, theirs = features(script, samples), kaldi(samples)
    assert ours.shape == theirs.shape
    assert np.abs(ours - theirs).max() < 1e-3


def test_below_a_window_there_are_none_and_silence_is_finite(script, kaldi):
    assert features(script, noise(399 / 16000)).shape == (0, 560)
    silence = np.zeros(1600, np.float32)
    assert np.abs(features(script, silence) - kaldi(silence)).max() < 1e-3


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("0.54 - 0.46", "0.5 - 0.5"),  # hanning, of which povey is a power
        ("32768 * HAMMING", "HAMMING"),  # samples are not those of 16 bits
        ("- mean - PREEMPHASIS", "- PREEMPHASIS"),  # the constant part stays
        ("Math.max(i - 1, 0)", "Math.max(i - 1, 1)"),  # the first sample
        ("Math.ceil(frames / shift)", "Math.floor(frames / shift)"),
        ("LOWEST = 20", "LOWEST = 0"),
        ("(stack - 1) >> 1", "0"),  # nothing is repeated before the first frame
    ],
)
def test_features_of_another_front_end_would_be_found(chromium, kaldi, right, wrong):
    text = source("fbank.js")
    assert text.count(right) == 1
    view = chromium.new_page()
    view.add_script_tag(content=text.replace(right, wrong))
    samples = tone(16000)
    ours, theirs = features(view.evaluate, samples), kaldi(samples)
    assert ours.shape != theirs.shape or np.abs(ours - theirs).max() > 0.01
    view.close()


CHARACTER = st.sampled_from([*"今天很好一二三", "7"])
WORD = st.sampled_from(["hello", "don't", "ok", "a", "b", "C", "wor@@", "ld", "ab@@"])


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(tokens=st.lists(st.one_of(CHARACTER, WORD, st.sampled_from(["<s>", "</s>", "<unk>"])), min_size=1))
def test_tokens_are_joined_as_funasr_joins_them(script, tokens):
    assert script("tokens => joinCharacters(tokens)", tokens) == sentence_postprocess(tokens)[0]


def test_ctc_drops_what_is_repeated_and_tags_wherever_they_stand(script):
    assert script("ids => ctc(ids)", [5, 5, 0, 5, 0, 0, 7, 7]) == [5, 5, 7]
    tokens = ["<|zh|>", "<|NEUTRAL|>", "▁", "今", "天", "<|Speech|>", "▁ok", "▁go"]
    assert script("t => joinPieces(t)", tokens) == without_tags("".join(tokens).replace("▁", " ")) == "今天 ok go"


@pytest.mark.parametrize(("seconds", "quiet"), [(6.0, ()), (6.5, (4.0,)), (15, (4.0, 8.5)), (18.5, ())])
def test_a_long_recording_is_cut_where_python_cuts_it(script, seconds, quiet):
    samples = noise(seconds, quiet)
    expression = f"text => [...pieces(new Float32Array({AS_BYTES}(text)), 96000)].map(piece => piece.length)"
    assert script(expression, packed(samples)) == [len(piece) for _, piece, _ in pieces([samples], 96000)]


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_samples_of_a_wav_are_those_that_python_reads(script, channels):
    file = io.BytesIO()
    soundfile.write(file, np.stack([noise(0.1 + 0.01 * n)[:1600] for n in range(channels)], 1), 16000, format="WAV")
    expression = f"async text => {AS_BASE64}(await readSound({AS_BYTES}(text)))"
    ours = np.frombuffer(base64.b64decode(script(expression, base64.b64encode(file.getvalue()).decode())), "<f4")
    theirs = soundfile.read(io.BytesIO(file.getvalue()), dtype="float32", always_2d=True)[0].mean(1)
    assert len(ours) == 1600
    assert np.abs(ours - theirs).max() <= (0 if channels == 1 else 1e-7)


@pytest.mark.parametrize("kind", [("WAV", "FLOAT", 16000), ("FLAC", "PCM_16", 16000), ("WAV", "PCM_16", 44100)])
def test_other_sounds_are_the_browsers_own_and_last_as_long(script, kind):
    form, subtype, rate = kind
    file = io.BytesIO()
    soundfile.write(file, tone(16000)[: rate // 4], rate, subtype, format=form)
    expression = f"async text => (await readSound({AS_BYTES}(text))).length"
    assert abs(script(expression, base64.b64encode(file.getvalue()).decode()) - 4000) <= 1


@pytest.mark.parametrize("content", [b"", b"RIFF", b"<html>404</html>", b"RIFF\0\0\0\0WAVEfmt \xff\xff\xff\xff"])
def test_what_is_no_sound_is_refused(script, content):
    expression = f"text => readSound({AS_BYTES}(text)).then(() => 'read', error => error.name)"
    assert script(expression, base64.b64encode(content).decode()) in ("EncodingError", "RangeError")
