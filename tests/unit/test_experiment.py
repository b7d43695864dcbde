"""Folds over run.sh: what an experiment's YAML may hold, what is run, and what all folds say together."""

from __future__ import annotations

import json
import math
import signal
import statistics
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import t

from asr.core.errors import RecipeError
from asr.experiments import pooled
from asr.experiments.driver import places
from asr.experiments.plan import Run, plan, read
from asr.experiments.pooled import widened
from asr.system.machine import Gpu
from tests.experiments import made, planned, run, written
from tests.patience import PATIENCE
from tests.recipe import REPOSITORY


def test_settings_seeds_and_folds_make_ordinary_runs_of_run_sh(tmp_path):
    runs = planned(written(tmp_path))
    assert len({run.tag for run in runs}) == len(runs) == 3 * 2 * 3
    assert [run.tag for run in runs[:4]] == [
        "some-plain-s1-f1",
        "some-slow-s1-f1",
        "some-short-s1-f1",
        "some-plain-s1-f2",
    ]
    words = "--split folds:1/3@voice_group --data data/some-slow-f1_dataset --tag some-slow-s1-f1 ++optim_conf.lr=1e-05"
    assert runs[1].words == (*words.split(), "++seed=1")
    assert not any(run.on_gpu for run in runs)  # as conf/mini.yaml says
    of_7 = [run for run in runs if run.tag == "some-short-s7-f3"]
    assert of_7[0].words[-2:] == ("++train_conf.max_epoch=1", "++seed=7")
    path = written(tmp_path, corpus="$MY/corpus", part="10h", base="mini/base", conf="conf/mini.yaml")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MY", str(tmp_path))
        with pytest.raises(RecipeError, match=r"some.yaml:\d+: no such corpus: .*/corpus"):
            planned(path)
        (tmp_path / "corpus").mkdir()
        words = planned(path)[0].words
    assert " ".join(words[:8]) == f"--corpus {tmp_path}/corpus --part 10h --conf conf/mini.yaml --base mini/base"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"fold": 3}, "unknown key 'fold'; did you mean 'folds'?"),
        ({"folds": "five"}, "'folds' is 'five'; it must be a valid integer"),
        ({"folds": 2}, "'folds' is 2; it must be greater than or equal to 3"),
        ({"seeds": [1, "x"]}, "'seeds' holds a value that is 'x'; it must be a valid integer"),
        ({"seeds": [1, 1]}, "'seeds' has one twice"),
        ({"seeds": []}, "'seeds' is []; List should have at least 1 item"),
        ({"settings": 3}, "'settings' is 3; it must be a valid dictionary"),
        ({"settings": {"a/b": None}}, "'a/b' is part of a tag"),
        ({"name": "-x"}, "'-x' is part of a tag"),
        ({"settings": {"a": {"optim_conf": {"lrr": 1}}}}, "setting a: '++optim_conf.lrr=1': unknown key"),
        ({"settings": {"a": ["optim_conf.lr=1"]}}, "setting a: 'optim_conf.lr=1': an override is written ++"),
        ({"settings": {"a": 7}}, "setting a: must be sections and keys of the conf, or a list"),
        ({"settings": {"a": {"seed": 7}}}, "setting a: the seed is not a setting's; give it in 'seeds'"),
        ({"settings": {"a": {"ngpu": 2}}}, "setting a: ngpu is 2; a run of an experiment has one GPU"),
        ({"jobs": 0}, "'jobs' is 0; it must be greater than or equal to 1"),
    ],
)
def test_what_is_wrong_in_an_experiment_is_said_with_its_line_before_anything_runs(tmp_path, changes, said):
    path = written(tmp_path, **changes)
    with pytest.raises(RecipeError) as caught:
        planned(path)
    found = str(caught.value)
    assert found.startswith(f"{path}:"), found
    assert said in found
    assert "\n" not in found
    key = next(iter(changes))
    inside = isinstance(changes[key], dict)
    lines = path.read_text(encoding="utf-8").splitlines()
    wanted = next(n for n, text in enumerate(lines, 1) if text.startswith(f"{key}:")) + inside
    assert found.startswith(f"{path}:{wanted}: "), (found, wanted)


def test_the_experiment_for_the_mini_corpus_is_one(monkeypatch):
    monkeypatch.chdir(REPOSITORY)
    runs = planned(REPOSITORY / "mini/experiment.yaml")
    assert len(runs) == 10
    assert "folds:5/5@voice_group" in runs[-1].words


@pytest.fixture
def experiment(tmp_path):
    return made(tmp_path)


def refuse_what_is_not_whole(experiment):
    values, lines = read(experiment.file)
    runs = [one for one in plan(values, lines, experiment.file) if one.setting == "plain"]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(experiment.root)
        for wrong in (runs[:-1], [*runs, runs[0]]):
            with pytest.raises(
                RecipeError, match="not test the same utterances, each once, for every seed: nothing is"
            ):
                pooled.write(experiment.root / "out", wrong, values)
        (Path("exp") / runs[0].tag / "baseline/hyp.txt").rename("kept")  # a run without a baseline among others
        with pytest.raises(RecipeError, match="nothing is pooled"):
            pooled.write(experiment.root / "out", runs, values)


def test_every_speaker_is_tested_once_a_seed_and_a_failed_fold_leaves_its_setting_unpooled(experiment):
    (experiment.root / "fails").write_text("some-slow-s7-f2")
    done = run(experiment)
    assert done.returncode == 1
    assert "failed: some-slow-s7-f2: not enough of it (exp/some/slow/log/s7-f2.log)" in done.stdout
    assert done.stderr.startswith(
        "error: 1 of 12 runs failed, and nothing is pooled of their settings: some-slow-s7-f2;"
    )
    assert not (experiment.root / "exp/some/slow/score/score.json").exists()
    assert not (experiment.root / "exp/some/slow/RESULTS.md").exists()
    result = experiment.json("exp/some/plain/score/score.json")

    (experiment.root / "fails").unlink()
    done = run(experiment)
    assert done.returncode == 0, done.stderr
    assert result == experiment.json("exp/some/plain/score/score.json")
    runs = [f"some-plain-s{seed}-f{fold}" for seed in (1, 7) for fold in (1, 2, 3)]
    assert result["pooled"]["runs"] == runs
    assert (result["pooled"]["folds"], result["pooled"]["seeds"]) == (3, [1, 7])
    page = (experiment.root / "exp/some/plain/RESULTS.md").read_text(encoding="utf-8")
    assert page.startswith("# Results of some/plain\n")
    assert "Pooled over 3 folds and 2 seeds: every speaker is tested once a seed" in page
    # 24 clips of six speakers, once a seed; what each fold's models wrote, counted by hand from the manifests.
    reference, tuned = result["reference"], result["systems"]["tuned"]
    assert (reference["n_utt"], reference["n_speakers"]) == (48, 6)
    said = {"01": 0, "others": 0}
    for fold in (1, 2, 3):
        for row in (experiment.root / f"data/some-plain-f{fold}_dataset/test.jsonl").read_text("utf-8").splitlines():
            item = json.loads(row)
            said["01" if item["speaker"] == "01" else "others"] += len(item["target"])
    length = sum(said.values())
    assert tuned["ref_len"] == 2 * length
    assert tuned["del"] == 2 * 24 + said["01"] - 4  # a character a clip, and with seed 7 the rest of 01's four clips
    assert result["systems"]["baseline"]["cer"] == 1
    rates = [24 / length, (20 + said["01"]) / length]
    assert result["pooled"]["cer_by_seed"]["tuned"] == pytest.approx(rates)
    # Two seeds that differ so much say little: their part alone is wider than what is written without it.
    half = t.ppf(0.975, 1) * statistics.stdev(rates) / math.sqrt(2)
    low, high = tuned["ci95"]
    assert low < tuned["cer"] - half < tuned["cer"] + half < high
    assert "widened by what 2 seeds differ" in tuned["ci95_note"]
    low, high = result["comparison"]["absolute_ci95"]
    assert low < 1 - tuned["cer"] - half < 1 - tuned["cer"] + half < high
    said = result["comparison"]["verdict_note"]["en"]
    assert f"95 % interval over speakers {100 * low:.2f} to {100 * high:.2f}" in said
    texts = result["groups"]["text"]
    assert texts["seen"]["n_utt"] + texts["unseen"]["n_utt"] == 48
    assert texts["unseen"]["n_utt"]
    families = result["groups"]["speaker_table"]["family"]
    assert {name: row["n_utt"] for name, row in families.items()} == {"a": 16, "b": 16, "c": 16}

    compare = ("bash", "-c", ". ./path.sh; python local/score.py --compare exp/some/plain exp/some/slow --out exp/two")
    done = experiment.run(command=compare)
    assert done.returncode == 0, done.stderr
    assert [row["name"] for row in experiment.json("exp/two/compare.json")["systems"]] == [
        "plain",
        "slow",
        "untouched base",
    ]


def test_an_experiment_that_is_stopped_stops_the_run_at_work_and_begins_no_other(experiment):
    (experiment.root / "waits").touch()
    words = ["bash", "scripts/experiment.sh", str(experiment.file)]
    out = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
    child = subprocess.Popen(words, cwd=experiment.root, env=experiment.environment, **out)
    while not (experiment.root / "waiting").exists() and child.poll() is None:
        time.sleep(0.02)
    child.send_signal(signal.SIGTERM)
    assert child.communicate(timeout=PATIENCE)[1] == "interrupted\n"
    assert child.returncode == 130
    calls = (experiment.root / "calls").read_text().splitlines()
    assert len(calls) == 2
    assert calls[1] == "some-plain-s1-f1 stopped"


def test_on_gpus_each_run_has_one_of_its_own_and_without_any_the_reason_is_said(monkeypatch):
    one = Run("a", "plain", 1, Path("data/a"), Path("a.log"), (), True, (), 1, Path("a.json"), "", {})
    cards = [Gpu("RTX 3090", 24576, "580", number, f"GPU-{number}") for number in range(4)]
    monkeypatch.setattr("asr.system.machine.query_gpus", lambda: (cards, None))
    assert [place["CUDA_VISIBLE_DEVICES"] for place in places([one], None)] == ["GPU-0", "GPU-1", "GPU-2", "GPU-3"]
    assert len(places([one], 2)) == 2
    assert places([replace(one, on_gpu=False)], None) == [{}]
    monkeypatch.setattr("asr.system.machine.query_gpus", lambda: ([], "CUDA_VISIBLE_DEVICES hides all 4"))
    with pytest.raises(RecipeError, match="no GPU: CUDA_VISIBLE_DEVICES hides all 4; "):
        places([one], None)


def test_the_seeds_part_is_added_in_squares_to_either_side():
    # three seeds 0.1 apart: t(2) = 4.3027, sd 0.1, so a half width of 0.2484; with 0.3 and 0.4 of the speakers
    low, high = widened(0.5, [0.2, 0.9], [0.4, 0.5, 0.6])
    assert (0.5 - low) ** 2 == pytest.approx(0.3**2 + 0.24841**2, abs=1e-5)
    assert (high - 0.5) ** 2 == pytest.approx(0.4**2 + 0.24841**2, abs=1e-5)
    assert widened(0.5, None, [0.4, 0.6]) is None


def test_the_widened_interval_holds_the_rate_of_other_speakers_and_seeds_and_the_plain_one_does_not():
    draw, speakers, seeds = np.random.default_rng(1), 44, 3
    held = np.zeros(2)
    for _ in range(1000):
        # rates of 44 speakers, sd 0.13 about 0.4, by three trainings, sd 0.05
        rates = draw.normal(0.4, 0.13, (speakers, 1)) + draw.normal(0, 0.05, seeds)
        mean, half = rates.mean(), t.ppf(0.975, speakers - 1) * rates.mean(1).std(ddof=1) / math.sqrt(speakers)
        plain = [mean - half, mean + half]
        low, high = widened(mean, plain, rates.mean(0).tolist())
        held += [plain[0] <= 0.4 <= plain[1], low <= 0.4 <= high]
    assert held[0] < 800
    assert held[1] > 940
