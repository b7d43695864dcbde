"""deploy/web/ of tiny models: what is in it, when there is none, and that it works in a browser without a network."""

import json
import os
import shutil

import numpy as np
import pytest
import soundfile
import yaml

from asr.core.errors import RecipeError
from asr.core.files import write_json
from asr.export import onnxruntime_web, web
from asr.export.build import build
from asr.export.onnxruntime_web import NotOfferedError
from asr.export.web_proof import Web
from asr.models.loading import load
from asr.models.skeleton import write_cmvn
from tests import tiny, tiny_sensevoice
from tests.unit.test_transcribe import noise
from tests.web_page import Server, wait_until_ready, written

for needed in ("onnx", "onnxruntime", "kaldi_native_fbank"):
    pytest.importorskip(needed)
SECONDS = (0.3, 0.9, 1.4, 2.2, 3.1)


def deploy(folder, make):
    """deploy/ of a model with the folders that an export makes before the page."""
    model, out = make(folder / "model"), folder / "deploy"
    out.mkdir()
    recogniser = load(model)
    build(recogniser.family.graph(recogniser, model), model, out)
    return out


def with_page(folder, make):
    """deploy/ with web/ in it."""
    out = deploy(folder, make)
    web.build(out / "funasr-onnx", out / "web", "mine")
    return out


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return with_page(tmp_path_factory.mktemp("paraformer"), tiny.make_model)


@pytest.fixture(scope="module")
def sensevoice(tmp_path_factory):
    return with_page(tmp_path_factory.mktemp("sensevoice"), tiny_sensevoice.make_model)


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clips")
    for number, seconds in enumerate(SECONDS):
        waves = 1 + np.sin(np.arange(round(seconds * 16000)) / (900 + 300 * number))
        soundfile.write(folder / f"{number}.wav", (0.3 * noise(seconds) * waves), 16000)
    return sorted(folder.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["made", "sensevoice"])
def test_the_page_writes_what_python_writes_also_without_a_network(kind, request, clips, chromium):
    made = request.getfixturevalue(kind)
    proof = Web(made / "web")
    texts = [proof.transcribe(soundfile.read(path, dtype="float32")[0]) for path in clips]
    assert len({text for text in texts if text}) > 2
    server = Server(made / "web")
    context = chromium.new_context(locale="en-US")
    view, complaints = context.new_page(), []
    view.on("pageerror", lambda error: complaints.append(str(error)))
    view.on("console", lambda message: complaints.append(message.text))
    view.goto(server.url)
    assert wait_until_ready(view) == "Ready. It works without the network from now on."
    server.stop()
    view.reload()
    assert wait_until_ready(view) == "Ready. It works without the network from now on."
    assert written(view, clips) == [text or "(no words were recognised)" for text in texts]
    assert complaints == []
    context.close()


@pytest.fixture
def small(tmp_path):
    """A runtime's folder as far as the page's description goes."""
    folder = tmp_path / "funasr-onnx"
    folder.mkdir()
    config = {"model": "Paraformer", "frontend_conf": {"lfr_m": 7, "lfr_n": 6, "window": "hamming"}}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    write_cmvn(folder / "am.mvn", np.full(560, 8.0), np.full(560, 0.5))
    write_json(folder / "tokens.json", ["<blank>", "<s>", "</s>", "一"])
    return folder


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"model": "Conformer"}, "the page decodes Paraformer and SenseVoice, not Conformer"),
        ({"frontend_conf": {"window": "povey"}}, "other features than the model's: {'window': 'povey'}"),
        ({"frontend_conf": {"snip_edges": False}}, "other features than the model's: {'snip_edges': False}"),
        ({"frontend_conf": {"fs": 8000, "n_mels": 40}}, "other features than the model's: {'fs': 8000, 'n_mels': 40}"),
    ],
)
def test_a_model_that_the_page_cannot_run_is_not_offered(small, tmp_path, change, said):
    config = yaml.safe_load((small / "config.yaml").read_text())
    (small / "config.yaml").write_text(yaml.safe_dump({**config, **change}))
    with pytest.raises(NotOfferedError) as caught:
        web.build(small, tmp_path / "web", "mine")
    assert said in str(caught.value)
    assert {path.name for path in tmp_path.iterdir()} == {"funasr-onnx"}


def test_a_folder_that_is_there_is_left_alone(small, tmp_path):
    (tmp_path / "web").mkdir()
    with pytest.raises(RecipeError, match="is there already; remove it"):
        web.build(small, tmp_path / "web", "mine")


def test_the_description_is_the_models(small):
    told = web.describe(small)
    assert told["frontend"]["add"] == [8.0] * 560
    assert told["frontend"]["scale"] == [0.5] * 560
    assert (told["frontend"]["stack"], told["frontend"]["shift"], told["tokens"][3]) == (7, 6, "一")
    json.dumps(told)


def test_a_runtime_that_is_not_npms_is_refused(tmp_path):
    package = tmp_path / f"onnxruntime-web-{onnxruntime_web.VERSION}.tgz"
    package.write_bytes(b"other")
    with pytest.raises(NotOfferedError, match=r"is not onnxruntime-web .* as npm has it; remove it"):
        onnxruntime_web.unpack(tmp_path, tmp_path)


def test_without_npm_or_without_a_network_it_is_said_and_nothing_is_left(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NotOfferedError, match="npm, which would fetch it, is not installed"):
        onnxruntime_web.unpack(tmp_path, tmp_path / "cache")
    npm = tmp_path / "npm"
    npm.write_text("#!/bin/sh\necho 'npm error code ENOTFOUND' >&2\nexit 1\n")
    npm.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.defpath}")
    with pytest.raises(NotOfferedError, match=r"could not fetch onnxruntime-web .* \(ENOTFOUND\); .*npm pack"):
        onnxruntime_web.unpack(tmp_path, tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


@pytest.mark.slow
def test_a_newer_version_is_found_and_works_without_a_network(made, chromium, clips, tmp_path):
    """Its folder has another name; the old one is forgotten, and never mixed with it."""
    folder = tmp_path / "web"
    shutil.copytree(made / "web", folder)
    server, context = Server(folder), chromium.new_context(locale="en-US")
    view = context.new_page()
    view.goto(server.url)
    assert wait_until_ready(view).startswith("Ready. It works")
    (old,) = (path for path in folder.iterdir() if path.is_dir())
    old.rename(folder / "0123456789ab")
    page = folder / "index.html"
    page.write_text(page.read_text().replace(old.name, "0123456789ab"))
    view.reload()
    assert wait_until_ready(view).startswith("Ready. It works")
    server.stop()
    view.reload()
    assert wait_until_ready(view).startswith("Ready. It works")
    assert written(view, clips[:1]) != []
    kept = view.evaluate("async () => (await (await caches.open('asr')).keys()).map(request => request.url)")
    assert {url.removeprefix(server.url).rpartition("/")[0] for url in kept} == {"", "0123456789ab"}
    context.close()


def test_what_goes_wrong_is_one_clear_line(made, chromium, tmp_path):
    folder = tmp_path / "web"
    shutil.copytree(made / "web", folder)
    for path in folder.glob("*/model.int8.onnx"):
        path.write_bytes(b"no network")
    server, context = Server(folder), chromium.new_context(locale="en-US")
    view = context.new_page()
    view.goto(server.url)
    assert wait_until_ready(view).startswith("The model could not be loaded: ")
    view.goto((folder / "index.html").as_uri())
    assert wait_until_ready(view).startswith("A browser does not run a model from a file. In this folder: python -m")
    server.stop()
    context.close()


def test_files_that_are_no_speech_are_named_one_by_one(made, chromium, tmp_path):
    (tmp_path / "page.wav").write_text("<html>404</html>")
    (tmp_path / "empty.wav").touch()
    soundfile.write(tmp_path / "short.wav", noise(0.02), 16000)
    with soundfile.SoundFile(tmp_path / "hours.wav", "w", 8000, 1, subtype="PCM_U8") as file:
        for _ in range(31):
            file.write(np.zeros(60 * 8000, np.int16))
    server, context = Server(made / "web"), chromium.new_context(locale="en-US")
    view = context.new_page()
    view.goto(server.url)
    wait_until_ready(view)
    names = ("page", "empty", "short", "hours")
    said = written(view, [tmp_path / f"{name}.wav" for name in names])
    begins = (
        "This browser cannot read this file",
        "This file is empty",
        "This is too short",
        "This file is longer than",
    )
    assert [line.startswith(begin) for line, begin in zip(said, begins, strict=True)] == [True] * 4
    server.stop()
    context.close()
