"""The runtimes write torch's texts; each cure of what they do otherwise is needed; damaged folders are named."""

from __future__ import annotations

import functools
import json
import shutil

import numpy as np
import pytest
import soundfile
import torch
import yaml

from asr.core.errors import RecipeError
from asr.export import build as building
from asr.export import graphs, parity, sherpa
from asr.export.build import reasons
from asr.export.deploy_folder import file_records
from asr.export.features import FrontEnd, read_cmvn, stacked
from asr.export.gate import decoded
from asr.export.runtimes import OPENERS, FunasrOnnx, SherpaOnnx, joined, open_runtime
from asr.models.graph import FUNASR_ONNX, ONNX, SHERPA_ONNX
from asr.models.sensevoice.export import SenseVoiceGraph
from tests import tiny
from tests.exported import MAKERS, NEEDS, Exported

pytestmark = NEEDS


@pytest.fixture(scope="module")
def exported_as(tmp_path_factory):
    """Makes each kind once, when it is asked for."""
    return functools.cache(lambda kind: Exported(tmp_path_factory.mktemp(kind), kind))


def texts_of(exported, name, folder=None, **options):
    return decoded(exported.clips, OPENERS[name](folder or exported.out / name, **options).transcribe)


@pytest.mark.parametrize("kind", MAKERS)
def test_fp32_texts_are_torchs(exported_as, kind):
    exported = exported_as(kind)
    names = [name for name, why in exported.why.items() if not why]
    assert names == ([ONNX] if kind.startswith("conformer") else [FUNASR_ONNX, SHERPA_ONNX])
    assert len(set(exported.texts.values())) > 3
    for name in names:
        assert texts_of(exported, name) == exported.texts
        assert OPENERS[name](exported.out / name).transcribe(np.zeros(100, np.float32)) == ""


def edited(exported, name, tmp_path, file, change):
    """A copy of a runtime's folder with a file changed."""
    folder = shutil.copytree(exported.out / name, tmp_path / name)
    text = (folder / file).read_text(encoding="utf-8")
    (folder / file).write_text(change(text), encoding="utf-8")
    return folder


def test_a_predictor_bias_would_cut_off_a_character(exported_as, tmp_path):
    exported = exported_as("paraformer")
    folder = edited(exported, FUNASR_ONNX, tmp_path, "config.yaml", lambda text: text.replace("_bias: 0", "_bias: 1"))
    cut = texts_of(exported, FUNASR_ONNX, folder)
    assert cut == {key: text[:-1] for key, text in exported.texts.items()}


def test_dither_would_make_texts_random(exported_as, tmp_path):
    exported = exported_as("paraformer")
    quiet = [np.full(8000, 1e-5, np.float32)]

    def twice(folder):
        model = FunasrOnnx(folder).model
        return [model.extract_feat(quiet)[0] for _ in range(2)]

    one, two = twice(exported.out / FUNASR_ONNX)
    assert np.array_equal(one, two)
    folder = edited(exported, FUNASR_ONNX, tmp_path, "config.yaml", lambda text: text.replace("dither: 0.0", "x: 0"))
    one, two = twice(folder)  # its own default
    assert not np.array_equal(one, two)


@pytest.mark.parametrize(
    ("key", "value", "refusing"),
    [("window", "povey", [SHERPA_ONNX]), ("snip_edges", False, [FUNASR_ONNX, SHERPA_ONNX])],
)
def test_other_features_are_not_offered_and_would_change_texts(tmp_path, monkeypatch, key, value, refusing):
    model = tiny.make_model(tmp_path / "model")
    config = yaml.safe_load((model / "config.yaml").read_text())
    config["frontend_conf"][key] = value
    (model / "config.yaml").write_text(yaml.safe_dump(config))
    monkeypatch.setattr(building, "reasons", lambda *_: {FUNASR_ONNX: "", SHERPA_ONNX: ""})
    monkeypatch.setitem(MAKERS, "other", lambda _: model)
    exported = Exported(tmp_path, "other")
    why = reasons(exported.graph, model)
    assert [name for name, text in why.items() if text] == refusing
    for name, text in why.items():
        assert f"frontend_conf.{key} is {value}" in text or not text
        assert (texts_of(exported, name) == exported.texts) == (name not in refusing)


def test_sensevoices_first_characters_are_not_taken_for_tags(exported_as, tmp_path, monkeypatch):
    """A model whose first rows are no tags, as after training that has lost them."""
    exported = exported_as("sensevoice")
    assert texts_of(exported, SHERPA_ONNX) == exported.texts

    def funasrs(self, speech, speech_lengths, language, textnorm):
        from asr.models.sensevoice.model import encoded

        hidden = encoded(self.model, speech, speech_lengths, language, textnorm)
        return self.model.ctc.ctc_lo(hidden).log_softmax(-1), speech_lengths + 4

    monkeypatch.setattr(SenseVoiceGraph, "forward", funasrs)
    folder = shutil.copytree(exported.out / SHERPA_ONNX, tmp_path / SHERPA_ONNX)
    (folder / "model.onnx").unlink()
    graphs.write(exported.graph, folder / "model.onnx")
    assert texts_of(exported, SHERPA_ONNX, folder) != exported.texts


@pytest.mark.parametrize("kind", ["paraformer", "paraformer_blank"])
def test_sherpa_would_write_blanks_and_stop_at_end_marks(exported_as, tmp_path, monkeypatch, kind):
    exported = exported_as(kind)
    folder = shutil.copytree(exported.out / SHERPA_ONNX, tmp_path / SHERPA_ONNX)
    (folder / "model.onnx").unlink()  # a link that funasr-onnx's folder shares
    monkeypatch.setattr(exported.graph.module, "silent", [])
    graphs.write(exported.graph, folder / "model.onnx")
    found = texts_of(exported, SHERPA_ONNX, folder)
    if kind == "paraformer":
        assert any(len(found[key]) < len(text) for key, text in exported.texts.items())
        assert any("<unk>" in text for text in found.values())
    else:
        assert any("<blank>" in text for text in found.values())


@pytest.mark.parametrize("kind", ["paraformer", "sensevoice"])
def test_sherpa_reads_several_clips_at_once_as_it_does_each(exported_as, kind):
    """It writes all rows of a batch, up to the first end mark."""
    exported = exported_as(kind)
    recogniser = SherpaOnnx(exported.out / SHERPA_ONNX).recogniser
    streams = [recogniser.create_stream() for _ in exported.clips]
    for number, stream in enumerate(streams):
        stream.accept_waveform(16000, exported.samples(number))
    recogniser.decode_streams(streams)
    assert [stream.result.text for stream in streams] == list(exported.texts.values())


def test_sensevoice_texts_do_not_show_later_tags(exported_as):
    exported = exported_as("sensevoice")
    assert not any("<|" in text for text in texts_of(exported, SHERPA_ONNX).values())
    assert not any("<|" in text for text in texts_of(exported, FUNASR_ONNX).values())


def test_odd_tokens_are_written_as_sherpa_reads_them(tmp_path, monkeypatch):
    odd = [" ", "\u3000", "a@@", "b", "'"]
    tokens = [*tiny.TOKENS[:-1], *odd, "<unk>"]
    monkeypatch.setitem(MAKERS, "odd", lambda folder: tiny.make_model(folder, tokens=tokens))
    exported = Exported(tmp_path, "odd")
    assert parity.different(exported.texts, texts_of(exported, SHERPA_ONNX)) == []
    assert any("\u3000" in text for text in exported.texts.values())
    # funasr-onnx itself fails where a blank is to be written; the gate then names the clip.
    failed = parity.different(exported.texts, texts_of(exported, FUNASR_ONNX))
    assert failed == [key for key, text in exported.texts.items() if any(map(str.isspace, text))]


@pytest.mark.parametrize(
    ("symbols", "said"), [(["<blank>", "</s>", "a b"], "token 2 is 'a b'"), (["<blank>", "a"], "no token </s>")]
)
def test_tokens_that_sherpa_cannot_read(symbols, said):
    assert said in sherpa.why_not({}, symbols, end=True)
    assert sherpa.why_not({}, ["<blank>", "</s>", "\u3000"], end=True) == ""


@pytest.mark.parametrize("window", ["hamming", "povey"])
@pytest.mark.parametrize("snip_edges", [True, False])
@pytest.mark.parametrize("stacking", [{}, {"lfr_m": 7, "lfr_n": 6}, {"lfr_m": 5, "lfr_n": 1}])
def test_our_features_are_funasrs(tmp_path, window, snip_edges, stacking):
    from funasr.frontends.wav_frontend import WavFrontend

    from asr.models.skeleton import write_cmvn

    conf = {"fs": 16000, "window": window, "n_mels": 80, "snip_edges": snip_edges, **stacking}
    size, generator = 80 * stacking.get("lfr_m", 1), np.random.default_rng(0)
    write_cmvn(tmp_path / "am.mvn", generator.normal(size=size), generator.uniform(0.1, 1, size))
    theirs = WavFrontend(cmvn_file=str(tmp_path / "am.mvn"), dither=0.0, **conf)
    ours = FrontEnd(conf, read_cmvn(tmp_path / "am.mvn"))
    for count in (400, 1000, 16000, 33333):
        samples = (0.1 * generator.standard_normal(count)).astype(np.float32)
        expected = theirs(torch.from_numpy(samples)[None], [count])[0][0].numpy()
        found = ours(samples)
        assert found.shape == expected.shape
        assert np.abs(found - expected).max() < 1e-2
    assert stacked(np.zeros((1, 80), np.float32), 7, 6).shape == (1, 560)


def test_words_of_latin_letters_are_apart_and_pieces_are_not():
    assert joined(["你", "hel@@", "lo", "world", "好"]) == "你hello world好"
    assert parity.different({"a": "你 A B 好"}, {"a": "你ab好"}) == []
    assert parity.different({"a": "你好"}, {"a": "你们"}) == ["a"]


@pytest.fixture
def deploy(exported_as, tmp_path):
    """A whole deploy/ of a tiny Paraformer, to be damaged."""
    folder = shutil.copytree(exported_as("paraformer").out, tmp_path / "deploy")
    runtimes = {name: {"fp32": {"status": "equal"}} for name in (FUNASR_ONNX, SHERPA_ONNX)}
    record = {"schema_version": 1, "runtimes": runtimes, "files": file_records(folder)}
    (folder / "parity.json").write_text(json.dumps(record))
    return folder


def test_a_deploy_folder_is_opened_by_its_best_runtime(exported_as, deploy, tmp_path):
    exported = exported_as("paraformer")
    assert open_runtime(deploy).name == SHERPA_ONNX
    assert open_runtime(deploy / FUNASR_ONNX).name == FUNASR_ONNX
    assert open_runtime(deploy, int8=True).transcribe(exported.samples(5))
    alone = shutil.copytree(deploy / SHERPA_ONNX, tmp_path / "phone" / SHERPA_ONNX)
    assert open_runtime(alone).transcribe(exported.samples(5)) == exported.texts[exported.clips[5].key]


def damage_a_graph(deploy):
    path = deploy / SHERPA_ONNX / "model.onnx"
    path.write_bytes(path.read_bytes()[:-100])


def prove_nothing(deploy):
    path = deploy / "parity.json"
    path.write_text(path.read_text().replace('"equal"', '"differs"'))


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (damage_a_graph, "model.onnx: not as it was exported"),
        (prove_nothing, "none of its runtimes was proven"),
        (lambda deploy: (deploy / SHERPA_ONNX / "tokens.txt").unlink(), "tokens.txt: not there"),
        (lambda deploy: shutil.rmtree(deploy / SHERPA_ONNX), "not there"),
        (lambda deploy: (deploy / "parity.json").write_text("{"), "parity.json:1: not JSON"),
        (lambda deploy: (deploy / "parity.json").write_text('{"schema_version": 7}'), "not of this version"),
        (lambda deploy: (deploy / "parity.json").unlink(), "no parity.json in it"),
    ],
)
def test_a_damaged_folder_is_named_in_one_line(deploy, harm, said):
    harm(deploy)
    with pytest.raises(RecipeError, match=said) as caught:
        open_runtime(deploy)
    assert "\n" not in str(caught.value)
    assert "python -m asr.export" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "file", "kept"),
    [
        (SHERPA_ONNX, "model.onnx", 1000),
        (FUNASR_ONNX, "model.onnx", 1000),
        (FUNASR_ONNX, "tokens.json", 9),
        (FUNASR_ONNX, "config.yaml", 0),
        (FUNASR_ONNX, "am.mvn", 0),
    ],
)
def test_a_folder_that_was_copied_alone_and_in_part_is_named(deploy, tmp_path, name, file, kept):
    alone = shutil.copytree(deploy / name, tmp_path / "phone" / name)
    (alone / file).unlink()  # it is a second name of the export's own
    (alone / file).write_bytes((deploy / name / file).read_bytes()[:kept])
    with pytest.raises(RecipeError, match=rf"{name}.*(damaged|empty)") as caught:
        open_runtime(alone)
    assert "\n" not in str(caught.value)


def test_nothing_is_written_beside_a_users_file(exported_as, tmp_path):
    """funasr-onnx converts a path that does not end in .wav, beside it: it is given samples."""
    exported = exported_as("paraformer")
    soundfile.write(tmp_path / "mine.flac", exported.samples(4), 16000)
    samples, _ = soundfile.read(tmp_path / "mine.flac", dtype="float32")
    assert FunasrOnnx(exported.out / FUNASR_ONNX).transcribe(samples) == exported.texts[exported.clips[4].key]
    assert [path.name for path in tmp_path.iterdir()] == ["mine.flac"]


def homophones(exported):
    """(clip, two characters of its text, others that sound the same) of a text."""
    from pypinyin import Style, lazy_pinyin

    def reading(text):
        return lazy_pinyin(text, style=Style.TONE3, neutral_tone_with_five=True)

    same = {}
    for char in map(chr, range(0x4E00, 0x9FA6)):
        same.setdefault(reading(char)[0], []).append(char)
    for number, clip in enumerate(exported.clips):
        for pair in (exported.texts[clip.key][place : place + 2] for place in range(9)):
            if len(set(pair)) == 2:
                others = [[char for char in same[one] if char not in pair] for one in reading(pair)]
                phrase = next(map("".join, zip(*others, strict=False)), "")
                if reading(phrase) == reading(pair):
                    return number, pair, phrase
    raise AssertionError("no text has two different characters")


def test_sherpa_writes_a_phrase_where_it_hears_one(exported_as, tmp_path, capsys):
    exported = exported_as("paraformer")
    number, pair, phrase = homophones(exported)
    folder = shutil.copytree(exported.out / SHERPA_ONNX, tmp_path / SHERPA_ONNX)
    assert sherpa.write_phrases(folder, [phrase, "OK吗"], exported.graph.symbols) == 1
    assert "OK吗: sherpa-onnx replaces Han characters alone" in capsys.readouterr().out
    text = exported.texts[exported.clips[number].key]
    assert SherpaOnnx(folder).transcribe(exported.samples(number)) == text.replace(pair, phrase)
    assert SherpaOnnx(folder, phrases=False).transcribe(exported.samples(number)) == text


def test_a_phrase_begins_where_a_syllable_does(tmp_path):
    import pynini

    sherpa.write_phrases(tmp_path, ["安吉"], ["先", "济"])
    rules = pynini.Fst.read(str(tmp_path / sherpa.RULES))

    def rewritten(readings):
        return pynini.shortestpath(pynini.accep(readings) @ rules).string()

    assert rewritten("wo3an1ji2an1ji2") == "wo3安吉安吉"
    assert rewritten("xian1ji2") == "xian1ji2"  # not xi + an1ji2
    assert "先 xian1\n" in (tmp_path / sherpa.LEXICON).read_text(encoding="utf-8")


def test_phrases_without_a_han_character_are_an_error(tmp_path):
    with pytest.raises(RecipeError, match="no phrase of Han characters"):
        sherpa.write_phrases(tmp_path, ["ok"], [])
