"""The mini model behind asr.serve: OpenAI's client and the page get the texts that were scored."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import pytest

from asr.core.kaldi_text import read_text
from asr.core.manifest import read_manifest
from asr.serving.answers import verbose
from asr.serving.decoder import open_decoder

pytestmark = pytest.mark.e2e
openai = pytest.importorskip("openai")
pytest.importorskip("uvicorn")
CLIPS = 30


class Served(NamedTuple):
    address: str
    kept: Path
    said: list[str]


@pytest.fixture(scope="module")
def served(recipe, mini, tmp_path_factory):
    """The server as one starts it; at the end Ctrl-C ends it, and it has complained of nothing."""
    folder = tmp_path_factory.mktemp("served")
    command = ["bash", "scripts/serve.sh", "--model", "exp/mini", "--port", "0", "--keep", str(folder / "kept")]
    with open(folder / "errors", "w") as errors:
        child = subprocess.Popen(
            command, cwd=recipe.root, env=recipe.environment, stdout=subprocess.PIPE, stderr=errors, text=True
        )
    said = [child.stdout.readline() for _ in range(4)]
    assert "(Ctrl-C ends it)" in said[0], (folder / "errors").read_text()
    yield Served(re.search(r"http://127\.0\.0\.1:\d+", said[0])[0], folder / "kept", said)
    child.send_signal(signal.SIGINT)
    assert child.wait(30) == 130
    note = "note: exp/mini is a run; its averaged model is used, exp/mini/model\n"
    assert (folder / "errors").read_text() == f"{note}interrupted\n"


def test_openais_client_gets_the_texts_that_were_scored(recipe, served):
    assert served.said[2] == f"  programs: OpenAI's protocol at {served.address}/v1, model mini\n"
    client = openai.OpenAI(base_url=f"{served.address}/v1", api_key="any", max_retries=0)
    (model,) = client.models.list()

    def text(clip) -> str:
        with open(clip.source, "rb") as stream:
            return client.audio.transcriptions.create(model=model.id, file=stream).text

    clips = list(read_manifest(recipe.root / "data/mini_dataset/test.jsonl"))[:: 144 // CLIPS]
    hypotheses = read_text(recipe.root / "exp/mini/tuned/hyp.txt")
    with ThreadPoolExecutor(10) as people:
        texts = dict(zip([clip.key for clip in clips], people.map(text, clips), strict=True))
    assert texts == {clip.key: hypotheses[clip.key] for clip in clips}
    with open(clips[0].source, "rb") as stream:
        told = client.audio.transcriptions.create(model="mini", file=stream, response_format="verbose_json")
    assert told.calibrated is True
    assert told.text == "".join(one["text"] for one in told.segments[0].characters)


def test_an_exported_model_is_served_with_the_same_texts(recipe, mini):
    deploy = recipe.root / "exp/mini/deploy"
    if not (deploy / "parity.json").is_file():
        script = ". ./path.sh && python -m asr.export --exp exp/mini --clips 4"
        done = recipe.run(command=("bash", "-c", script))
        assert done.returncode == 0, done.stdout + done.stderr
    decoder = open_decoder(deploy)
    assert (decoder.name, decoder.sure) == ("mini", False)
    hypotheses = read_text(recipe.root / "exp/mini/tuned/hyp.txt")
    for clip in list(read_manifest(recipe.root / "data/mini_dataset/test.jsonl"))[:4]:
        segments = decoder.segments(Path(clip.source), 1, lambda: False)
        told = verbose(segments)
        assert told["text"] == hypotheses[clip.key]
        assert "calibrated" not in told
        assert "confidence" not in told["segments"][0]


def test_the_text_on_the_page_is_that_of_the_recording_that_it_sent(recipe, served):
    chromium = shutil.which("chromium") or pytest.skip("needs Chromium")
    sync_api = pytest.importorskip("playwright.sync_api")
    clip = max(read_manifest(recipe.root / "data/mini_dataset/test.jsonl"), key=lambda clip: len(clip.target))
    words = ["--no-sandbox", "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
    before = set(served.kept.glob("*.json"))
    with sync_api.sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=chromium, args=[*words, f"--use-file-for-fake-audio-capture={clip.source}%noloop"]
        )
        page = browser.new_page()
        page.goto(served.address)
        page.click("#talk")
        page.wait_for_selector("#talk.recording")
        page.wait_for_timeout(1000 * clip.duration + 1000)
        page.click("#talk")
        page.wait_for_selector("#entries li")
        shown = page.inner_text("#entries .said")
        assert "".join(page.locator("#text .glyph").all_inner_texts()) == shown
        browser.close()
    (kept,) = set(served.kept.glob("*.json")) - before
    assert json.loads(kept.read_text(encoding="utf-8"))["text"] == shown != ""
    command = ("bash", "scripts/transcribe.sh", "--model", "exp/mini/model")
    done = recipe.run(str(kept.with_suffix(".wav")), command=command)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{kept.with_suffix('.wav')}\t{shown}\n"
