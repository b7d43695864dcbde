"""The mini run in other runtimes: all texts of the test set, equal to those that were scored."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from asr.core.digests import sha256_file
from asr.core.files import write_json, write_text
from asr.core.kaldi_text import read_text
from asr.core.manifest import read_manifest
from asr.export.gate import decoded
from asr.export.parity import drawn
from asr.export.runtimes import open_runtime
from asr.export.web_proof import Web
from tests.exported import NEEDS
from tests.web_page import Server, wait_until_ready, written

pytestmark = [pytest.mark.e2e, NEEDS]


def export(recipe, *words):
    scripts = str(recipe.root / "scripts")
    return recipe.run("-m", "asr.export", "--exp", "exp/mini", *words, command=(sys.executable,), PYTHONPATH=scripts)


@pytest.fixture(scope="module")
def deploy(recipe, mini) -> Path:
    done = export(recipe)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "144 of 144 texts equal" in done.stdout
    return recipe.root / "exp/mini/deploy"


def test_every_text_of_the_test_set_is_the_scored_one(recipe, deploy):
    record, score = recipe.json("exp/mini/deploy/parity.json"), recipe.json("exp/mini/score/score.json")
    assert (record["reference"], record["utterances"], record["choice"]) == ("tuned/hyp.txt", 144, "all")
    assert list(record["runtimes"]) == ["funasr-onnx", "sherpa-onnx", "web"]
    assert record["runtimes"]["web"]["int8"]["equal"] > 138
    for row in (record["runtimes"][name] for name in ("funasr-onnx", "sherpa-onnx")):
        assert (row["fp32"]["status"], row["fp32"]["equal"]) == ("equal", 144)
        assert row["fp32"]["cer"] == pytest.approx(score["systems"]["tuned"]["cer"])
        assert row["fp32"]["ci95"] == pytest.approx(score["systems"]["tuned"]["ci95"])
        assert row["int8"]["equal"] > 130  # 8-bit weights change some texts, and not many
        assert abs(row["int8"]["cer"] - row["int8"]["fp32_cer"]) < 0.02


def test_the_folder_writes_the_scored_texts_wherever_it_is(recipe, deploy, tmp_path):
    moved = deploy.rename(tmp_path / "deploy")
    try:
        clips = read_manifest(recipe.root / "data/mini_dataset/test.jsonl")[:5]
        scored = read_text(recipe.root / "exp/mini/tuned/hyp.txt")
        assert decoded(clips, open_runtime(moved).transcribe) == {clip.key: scored[clip.key] for clip in clips}
    finally:
        moved.rename(deploy)


def test_one_other_text_fails_the_export_and_is_named(recipe, deploy):
    tuned = recipe.root / "exp/mini/tuned"
    text, record = (tuned / "hyp.txt").read_text(encoding="utf-8"), recipe.json("exp/mini/tuned/decode.json")
    before = (deploy / "parity.json").read_bytes()
    key = min(read_text(tuned / "hyp.txt"))
    try:
        write_text(tuned / "hyp.txt", text.replace(f"{key} ", f"{key} 错"))
        write_json(tuned / "decode.json", {**record, "hyp_sha256": sha256_file(tuned / "hyp.txt")})
        done = export(recipe, "--clips", "4")
        assert done.returncode == 1
        assert done.stdout.count(f"  {key}: scored '错") >= 3  # torch and both runtimes
        (line,) = done.stderr.splitlines()
        assert line.startswith(
            "error: torch itself writes 1 of 4 texts otherwise than hyp.txt; funasr-onnx writes 1 of 4"
        )
    finally:
        write_text(tuned / "hyp.txt", text)
        write_json(tuned / "decode.json", record)
    assert (deploy / "parity.json").read_bytes() == before


def test_the_page_without_python_writes_the_proven_texts_without_a_network(recipe, deploy):
    """In Chromium, the server gone: 24 clips, as many of each speaker; benchmarks/web_page.py has all of them."""
    chromium = shutil.which("chromium") or pytest.skip("needs Chromium")
    sync_api = pytest.importorskip("playwright.sync_api")
    clips, _ = drawn(read_manifest(recipe.root / "data/mini_dataset/test.jsonl"), 24)
    texts = decoded(clips, Web(deploy / "web").transcribe)
    with sync_api.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        view, server = browser.new_context(locale="en-US").new_page(), Server(deploy / "web")
        view.goto(server.url)
        assert wait_until_ready(view).startswith("Ready. It works without the network")
        server.stop()
        view.reload()
        assert wait_until_ready(view).startswith("Ready. It works without the network")
        assert written(view, [clip.source for clip in clips]) == list(texts.values())
