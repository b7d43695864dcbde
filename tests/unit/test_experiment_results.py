"""What is published of an experiment's runs, that it counts as done, and the table of it."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import pytest
from scipy.stats import t

from asr.core.errors import RecipeError
from asr.core.manifest import Utterance, write_manifest
from asr.experiments import compare, results
from asr.experiments.plan import Experiment, Run, plan, read
from asr.experiments.table import ALL, BASE, UNSEEN, cer, change, rows
from tests.experiments import finish, made, planned, run, written
from tests.recipe import REPOSITORY

NAMES = ("Wang Xiaoming", "Li Hua", "Zhao")


@pytest.fixture
def experiment(tmp_path):
    return made(tmp_path)


def calls(experiment):
    path = experiment.root / "calls"
    return path.read_text().splitlines() if path.exists() else []


def test_what_is_published_counts_as_done_without_exp_and_what_exp_has_whole_is_published_as_it_is(experiment):
    text = experiment.file.read_text(encoding="utf-8").replace("- 1\n- 7\n", "- 1\n")
    experiment.file.write_text(text, encoding="utf-8")
    done = run(experiment)
    assert done.returncode == 0, done.stdout + done.stderr
    folder = experiment.root / "docs/experiments/some"
    files = sorted(folder.glob("*.json"))
    assert [path.name for path in files][:2] == ["plain-s1-f1.json", "plain-s1-f2.json"]
    assert len(files) == 6
    first = files[0].read_bytes()

    before = calls(experiment)
    files[0].unlink()
    done = run(experiment)
    assert done.returncode == 0, done.stderr
    assert "docs/experiments/some/plain-s1-f1.json: of the finished run some-plain-s1-f1" in done.stdout
    assert (calls(experiment), files[0].read_bytes()) == (before, first)

    for name in ("exp", "data"):
        shutil.rmtree(experiment.root / name)
    done = run(experiment)
    assert done.returncode == 0, done.stderr
    assert calls(experiment) == before
    assert "6 of 6 runs are done: docs/experiments/some" in done.stdout
    assert "plain: published, but not pooled: exp/ has not some-plain-s1-f1, " in done.stdout
    done = run(experiment, "--compare")
    assert done.returncode == 0, done.stderr
    assert "No cell is missing." in (folder / "table.md").read_text(encoding="utf-8")
    assert (folder / "plot.svg").read_text(encoding="utf-8").startswith("<?xml")
    files[-1].unlink()  # begun again, that one alone is run
    assert run(experiment).returncode == 0
    assert [line.split("--tag ")[1].split()[0] for line in calls(experiment)[len(before) :]] == ["some-slow-s1-f3"] * 2

    experiment.file.write_text(text.replace("lr: 0.0005", "lr: 0.0001"), encoding="utf-8")
    before = calls(experiment)
    done = run(experiment)
    assert done.returncode == 1
    assert done.stderr == (
        "error: docs/experiments/some/slow-s1-f1.json: of other settings than slow with seed 1, fold 1 has now; give"
        " the experiment or setting a new name, or remove this file\n"
    )
    assert calls(experiment) == before


def by_hand(tmp_path, monkeypatch):
    """Return the first run of an experiment: three speakers, of whom two are tested, with names, paths and texts."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "conf").mkdir()
    shutil.copyfile(REPOSITORY / "conf/mini.yaml", tmp_path / "conf/mini.yaml")
    path = written(tmp_path, seeds=[1], settings={"plain": None}, conf="conf/mini.yaml")
    one = planned(path)[0]

    def clip(key, speaker, text):
        source = f"/home/zhang/{speaker}/{key}.wav"
        return Utterance(key, source, text, 200, len(text), speaker, 2.0, 32000, {})

    one.data.mkdir(parents=True)
    test = [clip("k1", NAMES[0], "今天天气"), clip("k2", NAMES[0], "他在家"), clip("k3", NAMES[2], "今天天气")]
    train = [clip("k4", NAMES[1], "今天天气"), clip("k5", NAMES[1], "好")]
    write_manifest(one.data / "test.jsonl", test)
    write_manifest(one.data / "train.jsonl", train)
    write_manifest(one.data / "val.jsonl", [clip("k6", NAMES[1], "今天天气")])
    split = {"method": "speakers", "train": [NAMES[1]], "val": [], "test": [NAMES[0], NAMES[2]]}
    (one.data / "split.yaml").write_text(json.dumps(split))
    said = {"baseline/hyp.txt": ("", "", "今天天气"), "tuned/hyp.txt": ("今天天", "她在家里", "今天天气")}
    said["tuned/hyp.lm.txt"] = ("今天天气", "他在家里", "今天天气")
    for name, texts in said.items():
        file = Path("exp", one.tag, name)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("".join(f"k{n} {text}\n" for n, text in enumerate(texts, 1)), encoding="utf-8")
    (file.parent / "val").mkdir()
    (file.parent / "val/hyp.txt").write_text("k6 今天天\n", encoding="utf-8")
    finish(Path("exp", one.tag), one.data, list(one.words))
    return path, one


def test_counts_and_cost_are_those_counted_by_hand_and_no_name_text_id_or_path_is_published(tmp_path, monkeypatch):
    _, one = by_hand(tmp_path, monkeypatch)
    assert results.finished(one)
    results.publish(one)
    text = one.result.read_text(encoding="utf-8")
    for leak in (*NAMES, "Wang", "zhang", "home", ".wav", "k1", "今", "家", str(tmp_path), "exp/", "data/"):
        assert leak not in text, leak
    result = json.loads(text)
    # by their place: Li Hua 1, Wang 2, Zhao 3; two errors in 他在家 -> 她在家里, of which one is left
    assert result["speakers"] == {
        "S02": {
            "seen": {"n_utt": 1, "ref_len": 4, "errors": {"baseline": 4, "tuned": 1, "tuned_lm": 0}},
            "unseen": {"n_utt": 1, "ref_len": 3, "errors": {"baseline": 3, "tuned": 2, "tuned_lm": 1}},
        },
        "S03": {"seen": {"n_utt": 1, "ref_len": 4, "errors": {"baseline": 0, "tuned": 0, "tuned_lm": 0}}},
    }
    assert result["cost"] == {
        "device": "CPU",
        "stage_seconds": {f"stage{n}": 2 * n for n in range(6)},
        "peak_memory_gib": None,
        "epochs": 3,
        "trained_audio_seconds": 12.0,  # two clips of 2 s
    }
    assert result["validation"] == {"ref_len": 4, "errors": 1}
    assert (result["setting"], result["seed"], result["fold"]) == ("plain", 1, 1)


def test_a_run_with_another_configuration_command_or_test_set_is_not_taken_for_finished(tmp_path, monkeypatch):
    _, one = by_hand(tmp_path, monkeypatch)
    exp = Path("exp", one.tag)
    for name in ("conf/train.yaml", "command"):
        text = (exp / name).read_text(encoding="utf-8")
        assert "seed" in text
        (exp / name).write_text(text.replace("seed: 1", "seed: 2").replace("seed=1", "seed=2"), encoding="utf-8")
        assert not results.finished(one), name
        (exp / name).write_text(text, encoding="utf-8")
    score = json.loads((exp / "score/score.json").read_text())
    score["reference"]["digest"] = "0"
    (exp / "score/score.json").write_text(json.dumps(score))
    assert not results.finished(one)
    (exp / "stamps/stage5").unlink()
    assert not results.finished(one)


def test_a_result_of_another_test_set_or_version_is_refused_with_its_file(tmp_path, monkeypatch):
    path, one = by_hand(tmp_path, monkeypatch)
    results.publish(one)
    assert list(results.read_all([one])) == [one]
    good = json.loads(one.result.read_text(encoding="utf-8"))
    for wrong, said in (
        ({"digests": {**good["digests"], "test": "0"}}, f"of another test set than {one.data}/test.jsonl; give"),
        ({"schema_version": 9}, "schema_version 9, not 1; give"),
    ):
        one.result.write_text(json.dumps({**good, **wrong}), encoding="utf-8")
        with pytest.raises(RecipeError) as caught:
            results.read_all([one])
        assert str(caught.value).startswith(f"{one.result}: {said}")
    values, lines = read(written(tmp_path, seeds=[1], settings={"plain": None, "b": None}, conf="conf/mini.yaml"))
    runs = [one for one in plan(values, lines, path) if one.fold == 1]
    shutil.rmtree("data")  # without data, settings are compared with each other
    for number, one in enumerate(runs):
        digests = {"settings": one.digest, "test": str(number)}
        one.result.write_text(json.dumps({**good, "digests": digests}), encoding="utf-8")
    with pytest.raises(RecipeError, match=r"b-s1-f1.json: of another test set than .*plain-s1-f1.json; give"):
        results.read_all(runs)
    digests = {"settings": runs[1].digest, "test": "0"}
    runs[1].result.write_text(json.dumps({**good, "digests": digests, "normalizer": "zh-2"}), encoding="utf-8")
    with pytest.raises(
        RecipeError, match=r"b-s1-f1.json: scored with normaliser zh-2, those before it with zh-3; give"
    ):
        results.read_all(runs)


def planted(tmp_path, errors, **changes):
    """Return an experiment and results: {(setting, seed): tuned errors of S01 … S06}, 10 unseen characters each."""
    names = dict.fromkeys(dict.fromkeys(setting for setting, _ in errors))
    values = {"name": "some", "folds": 3, "seeds": [1], "settings": names, "conf": str(REPOSITORY / "conf/mini.yaml")}
    experiment = Experiment.model_validate({**values, "results": str(tmp_path / "out"), **changes})
    runs = plan(experiment, {}, Path("some.yaml"))
    cost = {"device": "CPU", "stage_seconds": {"stage3": 60}, "peak_memory_gib": 1.5, "trained_audio_seconds": 3600}
    found = {}
    for one in runs:
        of = errors.get((one.setting, one.seed))
        if of is None:
            continue
        speakers = range(2 * one.fold - 2, 2 * one.fold)
        texts = {n: {"ref_len": 10, "n_utt": 1, "errors": {"baseline": 9, "tuned": of[n]}} for n in speakers}
        seen = {"ref_len": 10, "n_utt": 1, "errors": {"baseline": 9, "tuned": 0}}
        found[one] = {"cost": cost, "speakers": {f"S0{n + 1}": {"seen": seen, "unseen": texts[n]} for n in speakers}}
    return experiment, runs, found


def test_the_tables_figures_are_those_computed_by_hand(tmp_path):
    # S01 … S06 of 10 unseen characters each. Rates .2 to .4, mean .3; those after are .1 lower but for two speakers.
    errors = {("first", 1): (2, 3, 4, 2, 3, 4), ("second", 1): (1, 2, 3, 2, 3, 3)}
    experiment, _, found = planted(tmp_path, errors)
    base, first, second = rows(experiment, found)
    assert (base.name, first.name, second.name) == (BASE, "first", "second")
    assert cer(base.counts[ALL])[0] == pytest.approx(0.9)
    point, ci95 = cer(first.counts[UNSEEN])
    assert point == pytest.approx(0.3)
    assert cer(first.counts[ALL])[0] == pytest.approx(0.15)
    # equal lengths: the jackknife is about sd / sqrt(n) = 0.08944 / 2.449, times t(5) = 2.5706
    half = t.ppf(0.975, 5) * math.sqrt(6 / 5 * (0.04 / 6)) / math.sqrt(6)
    assert ci95 == pytest.approx([0.3 - half, 0.3 + half], abs=1e-9)
    found_change = change(first.counts[UNSEEN], second.counts[UNSEEN])
    assert found_change.relative == pytest.approx(-4 / 18)
    # differences .1 .1 .1 0 0 .1: mean .0667, sd .05164, so t = 3.1623 with 5 degrees of freedom
    assert found_change.p == pytest.approx(2 * t.sf(math.sqrt(10), 5))
    low, high = found_change.ci95
    assert low < -4 / 18 < high < 0


def test_who_is_unknown_in_several_folds_counts_in_all_of_them(tmp_path):
    experiment, _, found = planted(tmp_path, {("first", 1): (2, 3, 4, 2, 3, 4)})
    for result in found.values():
        texts = result["speakers"].popitem()[1]
        result["speakers"]["S00"] = texts
    _, first = rows(experiment, found)
    assert first.counts[UNSEEN][1]["S00"] == (30, 3 + 2 + 4)
    assert cer(first.counts[UNSEEN])[0] == pytest.approx(0.3)


def test_seeds_widen_the_interval_and_p_and_only_the_seeds_of_both_settings_are_compared(tmp_path):
    errors = {("first", 1): (2, 3, 4, 2, 3, 4), ("first", 2): (3, 4, 5, 3, 4, 4), ("second", 1): (1, 2, 3, 2, 3, 3)}
    errors |= {("second", 2): (1, 2, 3, 2, 3, 3), ("second", 3): (9, 9, 9, 9, 9, 9)}
    experiment, _, found = planted(tmp_path, errors, seeds=[1, 2], more_seeds={"second": [3]})
    _, first, second = rows(experiment, found)
    assert list(second.counts[UNSEEN]) == [1, 2, 3]
    both = change(first.counts[UNSEEN], second.counts[UNSEEN])
    # seed 1: 18 errors against 14, seed 2: 23 against 14; 6 x 10 characters a seed
    assert both.relative == pytest.approx(-13 / 41)
    # Speakers' differences .15 .15 .15 .05 .05 .1, and the seeds' 4 / 60 and 9 / 60
    speakers = sum((d - 0.65 / 6) ** 2 for d in (0.15, 0.15, 0.15, 0.05, 0.05, 0.1)) / 5 / 6
    seeds = (5 / 60) ** 2 / 2 / 2
    degrees = (speakers + seeds) ** 2 / (speakers**2 / 5 + seeds**2 / 1)
    assert both.p == pytest.approx(2 * t.sf(0.65 / 6 / math.sqrt(speakers + seeds), degrees))
    assert both.p > change({1: first.counts[UNSEEN][1]}, {1: second.counts[UNSEEN][1]}).p


def test_the_page_names_missing_cells_marks_settings_and_says_that_the_speech_is_simulated(tmp_path):
    errors = {("first", 1): (2, 3, 4, 2, 3, 4), ("flat", 1): (1, 2, 3, 2, 3, 3)}
    experiment, runs, found = planted(tmp_path, errors, simulated=True, marked=["flat"])
    kept = {one: result for one, result in found.items() if (one.setting, one.fold) != ("flat", 3)}
    page = compare.write(experiment, runs, kept, Path("some.yaml"))
    assert page == (tmp_path / "out/table.md").read_text(encoding="utf-8")
    assert "**Simulated impaired speech: proves the path, not the clinic.**\n\n| setting" in page
    flat = next(line for line in page.splitlines() if line.startswith("| flat†"))
    assert flat.count("–") == 10  # a setting without a whole seed has no figure
    assert "\nMissing: flat-s1-f3.\n" in page
    assert "† The transform resembles the simulation." in page
    row = next(line for line in page.splitlines() if line.startswith("| first"))
    assert [cell.strip() for cell in row.split("|")][-5:-1] == ["1.0", "1.0", "1.5", "CPU"]
    whole = compare.write(experiment, runs, found, Path("some.yaml"))
    assert "\nNo cell is missing.\n" in whole
    plain, _, _ = planted(tmp_path, errors)
    assert "imulat" not in compare.write(plain, runs, found, Path("some.yaml"))
    with pytest.raises(RecipeError, match=r"no result to compare yet; run the experiment: bash scripts/experiment\.sh"):
        compare.write(experiment, runs, {}, Path("some.yaml"))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"marked": ["fast"]}, "'marked' names 'fast', which is no setting"),
        ({"more_seeds": {"fast": [2]}}, "'more_seeds' names 'fast', which is no setting"),
        ({"more_seeds": {"slow": [7]}}, "'slow' has a seed twice"),
    ],
)
def test_keys_that_name_no_setting_or_a_seed_twice_are_refused_with_their_line(tmp_path, changes, said):
    path = written(tmp_path, **changes)
    with pytest.raises(RecipeError, match=rf"some.yaml:\d+: {said}"):
        planned(path)


def test_further_seeds_are_runs_of_their_setting_alone(tmp_path):
    runs: list[Run] = planned(written(tmp_path, more_seeds={"slow": [8]}))
    assert [one.tag for one in runs[-3:]] == [f"some-slow-s8-f{fold}" for fold in (1, 2, 3)]
    assert len(runs) == 3 * 2 * 3 + 3
    assert len({one.digest for one in runs}) == len(runs)
