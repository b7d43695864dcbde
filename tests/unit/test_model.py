"""The FunASR side with the real classes: models load whole or not at all, and text does not depend on the batch."""

import copy
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from asr.audio.reading import read_audio
from asr.core.errors import RecipeError
from asr.core.kaldi_text import read_text
from asr.core.manifest import read_manifest
from asr.decoding import run
from asr.models import base_folder
from asr.models.loading import check_loaded, compose, load, quiet
from asr.models.paraformer.decoding import greedy
from tests import tiny

SECONDS = [0.06, 0.1, 0.3, 0.5, 0.7, 1.1, 1.3, 2.0, 2.9, 0.4]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny.make_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def recogniser(model):
    return load(model)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return tiny.make_data(tmp_path_factory.mktemp("data"), SECONDS)


def test_text_does_not_depend_on_the_batch(recogniser, data):
    utterances = read_manifest(data / "test.jsonl")
    alone = tiny.decode(recogniser, utterances, 0.01)
    assert any(alone.values())
    for seconds in (1.0, 3.0, 1000.0):
        assert tiny.decode(recogniser, utterances, seconds) == alone
    assert list(alone) == [item.key for item in utterances]  # the manifest's order, though decoded by length


def test_padding_changes_the_text_without_the_mask(recogniser, data):
    """The trap that greedy is for: without the mask a clip's last frame hears its padding. Fails if FunASR mends it."""
    clips = [read_audio(item.source) for item in read_manifest(data / "test.jsonl")]
    speech, lengths = recogniser.features(clips)
    with torch.inference_mode():
        encoded, encoded_lengths = recogniser.model.encode(speech, lengths)
        unmasked = recogniser.model.calc_predictor(encoded, encoded_lengths)[2]
        single = [
            recogniser.model.calc_predictor(encoded[i : i + 1, :n], encoded_lengths[i : i + 1])[2]
            for i, n in enumerate(lengths.tolist())
        ]
    last = [float((unmasked[i, n - 1] - single[i][0, n - 1]).abs()) for i, n in enumerate(lengths.tolist())]
    assert max(last) > 1e-4


def test_batch_of_one_agrees_with_funasrs_own_inference(model, recogniser, data):
    with quiet():
        from funasr import AutoModel

        stock = AutoModel(model=str(model), disable_update=True, disable_pbar=True, device="cpu")
    for item in read_manifest(data / "test.jsonl"):
        result = stock.generate(input=item.source)
        assert recogniser.transcribe([read_audio(item.source)])[0] == (result[0].get("text", "") if result else "")


def test_a_batch_in_which_nothing_or_not_the_last_fires(recogniser):
    # FunASR gives one result without a key for the first, and an IndexError for the second.
    predictor = recogniser.model.predictor
    speech = torch.randn(3, 20, 560)
    lengths = torch.tensor([20, 20, 1])
    before = copy.deepcopy(predictor.cif_output.state_dict())
    try:
        predictor.cif_output.weight.data.zero_()
        predictor.cif_output.bias.data.fill_(-12.0)  # alpha is 0: nothing fires
        assert [decoded.ids for decoded in greedy(recogniser.model, speech, lengths)] == [[], [], []]
        predictor.cif_output.bias.data.fill_(-0.85)  # alpha is 0.3: 20 frames fire, one frame does not
        found = [decoded.ids for decoded in greedy(recogniser.model, speech, lengths)]
        with pytest.raises(IndexError):
            recogniser.model.calc_predictor(*recogniser.model.encode(speech, lengths))
    finally:
        predictor.cif_output.load_state_dict(before)
    assert found[2] == []
    assert found[0]
    assert found[1]


@pytest.mark.parametrize("fault", ["missing", "shape", "unloaded"])
def test_a_base_that_is_not_wholly_loaded_stops(model, recogniser, tmp_path, fault):
    state = torch.load(model / "model.pt")["state_dict"]
    key = "encoder.encoders.0.norm1.weight"
    if fault == "missing":
        del state[key]
    elif fault == "shape":
        state[key] = torch.ones(3)
    else:
        state[key] = state[key] + 1
    torch.save({"state_dict": state}, tmp_path / "model.pt")
    with pytest.raises(RecipeError, match=rf"1 of \d+ tensors, first: {key}"):
        check_loaded(recogniser.model, tmp_path / "model.pt")


def test_a_model_block_key_that_the_base_does_not_have_stops(model):
    with pytest.raises(RecipeError, match=r"encoder_conf\.dropout: the base model's encoder_conf has no such key"):
        compose(model, {"encoder_conf": {"dropout": 0.2}})
    assert compose(model, {"encoder_conf": {"dropout_rate": 0.2}})["encoder_conf"]["dropout_rate"] == 0.2


def test_a_disk_that_vanished_fails_the_decode_and_leaves_no_hypotheses(model, data, tmp_path):
    shutil.copytree(data, tmp_path / "data")
    lines = (data / "test.jsonl").read_text().replace(str(data), str(tmp_path / "data"))
    (tmp_path / "data/test.jsonl").write_text(lines)
    gone = Path(read_manifest(tmp_path / "data/test.jsonl")[3].source).parent
    gone.rename(tmp_path / "unmounted")
    command = [sys.executable, "-m", "asr.decode", "--model", model, "--manifest", tmp_path / "data/test.jsonl"]
    command += ["--out", tmp_path / "out", "--ngpu", "0"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1
    assert [line for line in done.stderr.splitlines() if line.startswith("error:")] == done.stderr.splitlines()[-1:]
    assert str(gone) in done.stderr
    assert not (tmp_path / "out/hyp.txt").exists()


def test_decoding_again_keeps_what_is_of_the_same_model_and_clips(model, data, tmp_path, capsys):
    conf = {**run.DEFAULTS, "batch_seconds": 10.0}
    run.run(model, data / "test.jsonl", tmp_path, 0, conf)
    assert set(read_text(tmp_path / "hyp.txt")) == {item.key for item in read_manifest(data / "test.jsonl")}
    capsys.readouterr()
    run.run(model, data / "test.jsonl", tmp_path, 0, conf)
    assert "kept" in capsys.readouterr().out
    (tmp_path / "hyp.txt").write_text("S001T000E000N00000 一\n")  # half a file is not taken for whole
    run.run(model, data / "test.jsonl", tmp_path, 0, conf)
    assert len(read_text(tmp_path / "hyp.txt")) == len(SECONDS)


def test_audio_at_another_rate_and_with_two_channels_is_heard_as_one_at_16_khz(tmp_path):
    time = np.arange(44100) / 44100
    tone = np.sin(2 * np.pi * 440 * time).astype("float32") * 0.5
    soundfile.write(tmp_path / "a.flac", np.stack([tone, tone], axis=1), 44100)
    audio = read_audio(tmp_path / "a.flac")
    assert audio.shape == (16000,)
    spectrum = np.abs(np.fft.rfft(audio))
    assert spectrum.argmax() == 440


def test_base_model_check(model, tmp_path):
    base_folder.check(model)
    broken = tmp_path / "broken"
    shutil.copytree(model, broken)
    whole = (broken / "model.pt").read_bytes()
    (broken / "model.pt").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(RecipeError, match=r"model\.pt: truncated"):
        base_folder.check(broken)
    (broken / "model.pt").unlink()
    with pytest.raises(RecipeError, match=r"model\.pt: named in configuration\.json and not there"):
        base_folder.check(broken)
    base_folder.check(broken, from_scratch=True)
    # FunASR passes over a missing am.mvn, and the texts change without a word.
    (broken / "am.mvn").unlink()
    with pytest.raises(RecipeError, match=r"am\.mvn: named in configuration\.json and not there"):
        base_folder.check(broken, from_scratch=True)
    config = (broken / "config.yaml").read_text()
    (broken / "config.yaml").write_text(config.replace("model: Paraformer", "model: SenseVoiceSmall"))
    with pytest.raises(RecipeError, match="is a SenseVoiceSmall, and family paraformer covers Paraformer"):
        base_folder.check(broken)
    with pytest.raises(RecipeError, match="no such base model folder"):
        base_folder.resolve(str(tmp_path / "none"))
    assert (
        base_folder.digest(model)["digest"] == base_folder.digest(shutil.copytree(model, tmp_path / "copy"))["digest"]
    )


def test_base_ids_and_folders_are_told_apart(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mini").mkdir()
    assert not base_folder.looks_like_a_path("iic/SenseVoiceSmall")
    for name in ("./x", "/x/y", "~/x", "a/b/c", "mini/none", "x"):
        assert base_folder.looks_like_a_path(name)


def test_half_a_json_is_not_an_up_to_date_decode(tmp_path):
    (tmp_path / "decode.json").write_text(json.dumps({"inputs": {}})[:-1])
    assert not run.is_up_to_date(tmp_path, {})
