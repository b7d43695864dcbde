"""The mini recipe: it runs, it helps, and what it leaves behind holds."""

from __future__ import annotations

import json
import shutil
import statistics
import subprocess
import sys
import time

import pytest

from asr.core.kaldi_text import read_text
from asr.core.manifest import read_manifest
from asr.scoring.files import read_table
from tests.patience import PATIENCE

pytestmark = pytest.mark.e2e


def test_fine_tuning_helps_on_unseen_speakers(recipe, mini):
    score = recipe.json("exp/mini/score/score.json")
    baseline, tuned = score["systems"]["baseline"], score["systems"]["tuned"]
    print(f"mini: CER {baseline['cer']:.4f} -> {tuned['cer']:.4f}")
    assert tuned["cer"] < 0.7 * baseline["cer"]
    assert baseline["cer"] > 0.3
    assert (tuned["n_missing"], baseline["n_missing"]) == (0, 0)
    train = {item.speaker for item in read_manifest(recipe.root / "data/mini_dataset/train.jsonl")}
    assert not train & set(score["by_speaker"])


def test_the_first_line_says_what_is_run(mini):
    assert mini.stdout.splitlines()[0].startswith("recipe: the bundled mini corpus of simulated speech")


def test_a_second_run_is_up_to_date_six_times(recipe, mini):
    done = recipe.run()
    assert done.returncode == 0
    assert done.stdout.count(": up to date") == 6


def test_results_say_where_they_are_from_and_name_no_path(recipe, mini):
    text = (recipe.root / "exp/mini/RESULTS.md").read_text(encoding="utf-8")
    digest = recipe.json("exp/mini/provenance.json")["corpus"]["digest"]
    for wanted in ("simulated", "bash run.sh", "max_epoch", digest, "cores"):
        assert wanted in text
    for published in ("RESULTS.md", "score/score.json", "model/config.yaml", "model/configuration.json"):
        assert str(recipe.root) not in (recipe.root / "exp/mini" / published).read_text(encoding="utf-8")


def test_the_report_opens_from_disk_and_holds_its_clips(recipe, mini):
    """In Chromium: every utterance is in it, a clip plays, nothing is asked of the network, no path of a machine."""
    page = recipe.root / "exp/mini/report.html"
    assert str(recipe.root) not in page.read_text(encoding="utf-8")
    chromium = shutil.which("chromium") or pytest.skip("needs Chromium")
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as driver:
        words = ["--no-sandbox", "--autoplay-policy=no-user-gesture-required"]
        view = driver.chromium.launch(executable_path=chromium, args=words).new_page()
        said, asked = [], []
        view.on("console", lambda message: said.append(message.text))
        view.on("pageerror", lambda error: said.append(str(error)))
        view.on("request", lambda request: asked.append(request.url))
        view.goto(page.as_uri())
        assert "144 of 144 utterances" in view.inner_text("body")
        view.locator(".utterances button.play").first.click()
        deadline = time.monotonic() + PATIENCE  # the page's policy allows no eval, which wait_for_function would use
        while view.evaluate("document.querySelector('audio').currentTime") < 0.1 and time.monotonic() < deadline:
            view.wait_for_timeout(50)
        assert view.evaluate("document.querySelector('audio').currentTime") >= 0.1
        assert said == []
        assert [url for url in asked if not url.startswith(("file:", "data:"))] == []


def test_runs_are_compared(recipe, mini):
    words = ("exp/mini", "exp/mini/score", "--out", "exp/compared")
    command = (sys.executable, "local/score.py", "--compare")
    refused = recipe.run(*words, command=command, PYTHONPATH="scripts")
    assert "mini is named twice" in refused.stderr
    shutil.copytree(recipe.root / "exp/mini/score", recipe.root / "exp/copy/score")
    done = recipe.run("exp/mini", "exp/copy", "--out", "exp/compared", command=command, PYTHONPATH="scripts")
    assert done.returncode == 0, done.stderr
    rows = recipe.json("exp/compared/compare.json")["systems"]
    assert [row["name"] for row in rows] == ["copy", "mini", "untouched base"]
    assert rows[1]["behind_best_ci95"] is None  # no speaker differs


def test_a_merged_model_is_scored_by_the_commands_that_are_printed(recipe, mini, tmp_path):
    shutil.copytree(recipe.root / "exp/mini", recipe.root / "exp/twin", symlinks=True)
    merge = ("-m", "asr.average", "--exp", "exp/mini", "exp/twin", "--out", "exp/merged")
    said = recipe.run(*merge, command=(sys.executable,), PYTHONPATH="scripts").stdout
    printed = said.partition("score it: ")[2]
    for _ in range(2):  # stage 5, which prints what makes a baseline beside it; and that
        done = subprocess.run(
            ["bash", "-c", printed], cwd=tmp_path, env=recipe.environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr
        printed = done.stdout.partition("without a baseline beside it; for one: ")[2]
    assert printed == ""
    assert list(recipe.json("exp/merged/score/score.json")["systems"]) == ["baseline", "tuned"]


def test_a_language_model_makes_second_texts_and_changes_nothing_else(recipe, mini, tmp_path):
    """In a copy of the run: hyp.txt and all other figures stay, and without the language model the texts go."""
    names = tmp_path / "names.txt"
    names.write_text("爸爸\t0.5\n", encoding="utf-8")
    shutil.copytree(recipe.root / "exp/mini", recipe.root / "exp/lm", symlinks=True)
    before = recipe.json("exp/lm/score/score.json")
    greedy = (recipe.root / "exp/lm/tuned/hyp.txt").read_bytes()
    words = ("--tag", "lm", "--stage", "5", "++decode_conf.lm=train", f"++decode_conf.phrases={names}")
    done = recipe.run(*words)
    assert done.returncode == 0, done.stdout + done.stderr
    after = recipe.json("exp/lm/score/score.json")
    second = after.pop("second_texts")
    assert after == before
    assert (recipe.root / "exp/lm/tuned/hyp.txt").read_bytes() == greedy
    assert list(second) == ["baseline_lm", "tuned_lm"]
    for name, row in second.items():
        assert row["greedy_cer"] == before["systems"][name.removesuffix("_lm")]["cer"]
        assert row["cer"] < row["greedy_cer"]
        assert row["text"]["lm"] is None
        assert row["text"]["training"]["n_utt"] + row["text"]["unseen"]["n_utt"] == row["n_utt"] == 144
    assert recipe.json("exp/lm/language.json")["second_texts"]["phrases"] == 1
    for published in ("RESULTS.md", "provenance.json"):
        assert str(tmp_path) not in (recipe.root / "exp/lm" / published).read_text(encoding="utf-8")
    assert recipe.run("--tag", "lm", "--stage", "5").returncode == 0
    assert recipe.json("exp/lm/score/score.json") == before
    assert not list((recipe.root / "exp/lm").glob("*/hyp.lm.txt"))


def test_confidences_are_higher_where_the_text_is_right(recipe, mini):
    lines = (recipe.root / "exp/mini/tuned/confidence.jsonl").read_text(encoding="utf-8").splitlines()
    sure = {row["key"]: row["confidence"] for row in map(json.loads, lines)}
    rows = read_table(recipe.root / "exp/mini/score/per_utterance.tsv")
    right = [sure[row["key"]] for row in rows if float(row["tuned_cer"]) == 0]
    wrong = [sure[row["key"]] for row in rows if float(row["tuned_cer"]) > 0]
    assert statistics.mean(right) > statistics.mean(wrong) + 0.1
    assert recipe.json("exp/mini/language.json")["confidence"]["raw"]["auc"] > 0.75
    assert recipe.json("exp/mini/model/confidence.json")["calibration"]["method"] == "temperature"


def test_the_batch_size_changes_no_output(recipe, mini):
    expected = read_text(recipe.root / "exp/mini/tuned/hyp.txt")
    for seconds in ("0.01", "7", "1000"):
        command = (sys.executable, "-m", "asr.decode", "--model", "exp/mini/model", "--ngpu", "0")
        out = f"exp/batch{seconds}"
        words = ("--manifest", "data/mini_dataset/test.jsonl", "--out", out, "--batch-seconds", seconds)
        done = recipe.run(*words, command=command, PYTHONPATH="scripts")
        assert done.returncode == 0, done.stderr
        assert read_text(recipe.root / out / "hyp.txt") == expected


def test_plain_funasr_loads_the_model_folder_anywhere(recipe, mini, tmp_path):
    shutil.copytree(recipe.root / "exp/mini/model", tmp_path / "elsewhere")
    expected = read_text(recipe.root / "exp/mini/tuned/hyp.txt")
    clips = read_manifest(recipe.root / "data/mini_dataset/test.jsonl")[:8]
    code = (
        "import sys; from funasr import AutoModel; m = AutoModel(model=sys.argv[1], disable_update=True, device='cpu');"
        "[print('TEXT', m.generate(input=p, disable_pbar=True)[0].get('text', '')) for p in sys.argv[2:]]"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "elsewhere"), *[item.source for item in clips]]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    texts = [line.removeprefix("TEXT").strip() for line in done.stdout.splitlines() if line.startswith("TEXT")]
    assert texts == [expected[item.key] for item in clips], done.stderr[-2000:]


def test_the_average_says_what_went_into_it(recipe, mini):
    record = recipe.json("exp/mini/avg.json")
    assert record["file"] == "model.pt.avg10"
    assert len(record["checkpoints"]) == 10
    values = [item["value"] for item in record["checkpoints"]]
    assert values == sorted(values)
    ranking = recipe.json("exp/mini/checkpoints.json")
    assert ranking["finished"]
    assert ranking["ranked_by"] == "cer"


def test_training_left_progress_and_tensorboard_files(recipe, mini):
    log = (recipe.root / "exp/mini/train.log").read_text(encoding="utf-8")
    for word in ("epoch 1/", "step ", "loss ", "acc ", "lr ", "s/s left", "validation of model.pt.ep1:"):
        assert word in log
    assert list((recipe.root / "exp/mini/tensorboard").glob("events*"))
    assert not (recipe.root / "outputs").exists()  # hydra's litter


def test_a_changed_value_continues_and_reruns_only_what_depends_on_it(recipe, mini):
    shutil.copytree(recipe.root / "exp/mini", recipe.root / "exp/changed", symlinks=True)
    epochs = recipe.json("exp/mini/checkpoints.json")["epochs"]
    last = f"++train_conf.max_epoch={epochs + 1}"
    more = ["--tag", "changed", last, "++optim_conf.lr=0.0003", "++dataset_conf.batch_size=1500"]
    done = recipe.run(*more)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "resuming this run: dataset_conf.batch_size 2000 -> 1500; optim_conf.lr 0.001 -> 0.0003" in done.stdout
    assert f"resumed from changed/model.pt.ep{epochs} at epoch {epochs + 1}" in done.stdout
    # The learning rate is the new one, on the new schedule, not the checkpoint's: FunASR's own resume keeps the old.
    lines = [line for line in done.stdout.splitlines() if line.startswith(f"epoch {epochs + 1}/{epochs + 1}")]
    rates = [float(line.split(" lr ")[1].split()[0]) for line in lines]
    assert rates
    assert max(rates) < 0.0003
    assert done.stdout.count("up to date") == 2  # stages 0 and 1; stage 2 writes to another folder
    assert "exp/changed/baseline/hyp.txt: of this model and these clips already; kept" in done.stdout
    # Another learning rate with nothing left to train must not look as if it had been used.
    done = recipe.run("--tag", "changed", last, "++optim_conf.lr=0.5", "--stage", "3", "--stop-stage", "3")
    assert done.returncode == 0
    assert "nothing left to train" in done.stdout
    assert recipe.json("exp/changed/run.json")["settings"]["optim_conf"]["lr"] == 0.0003
    assert recipe.json("exp/changed/provenance.json")["config"]["train"]["optim_conf"]["lr"] == 0.0003


def test_another_base_model_is_refused(recipe, mini):
    shutil.copytree(recipe.root / "exp/mini", recipe.root / "exp/other", symlinks=True)
    shutil.copytree(recipe.root / "mini/base", recipe.root / "data/base2")
    config = recipe.root / "data/base2/config.yaml"
    config.write_text(config.read_text(encoding="utf-8") + "# changed\n", encoding="utf-8")
    done = recipe.run("--tag", "other", "--base", "data/base2", "--stop-stage", "3")
    assert done.returncode == 1
    assert "error: exp/other: this run was trained with another base model" in done.stdout
    assert "--tag" in done.stdout
    assert "--restart" in done.stdout
