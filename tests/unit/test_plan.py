"""The batch planner: its search, its rule, and a real search on the processor."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr import plan
from asr.errors import RecipeError
from asr.plan import FINE, STEP, rounded, scaled, search, table, tell
from tests import tiny, trained

VALUES = {"dataset_conf": {"batch_size": 6000}, "optim_conf": {"lr": 0.0002}, "scheduler_conf": {"warmup_steps": 2000}}


def result(size, fits=True, **more):
    measured = {"steps": 90, "padding": 0.02, "seconds_per_step": 0.5, "audio_seconds": 9000.0, "peak_gb": 7.5}
    return {"batch_size": size, "fits": fits, **measured, "reading_seconds_per_second": 0.01, "device": "a GPU", **more}


@given(st.integers(100, 400_000), st.integers(500, 100_000), st.integers(1, 20), st.integers(20, 2000))
def test_the_search_finds_the_largest_that_fits(limit, first, least, most):
    least, most = least * STEP, most * STEP + 20 * STEP
    asked = []

    def measure(size):
        asked.append(size)
        return {"batch_size": size, "fits": size <= limit}

    tried = search(measure, first, least, most)
    assert len(asked) == len(set(asked)) <= 30
    assert all(least <= size <= most for size in asked)
    assert [each["batch_size"] for each in tried] == sorted(asked)
    fitting = [size for size in asked if size <= limit]
    failing = [size for size in asked if size > limit]
    if limit < least:
        assert not fitting
    elif limit >= most:
        assert max(fitting) == most
    else:
        assert min(failing) - max(fitting) <= max(FINE * max(fitting), 2 * STEP)


def test_the_rule_by_hand():
    # Four times the batch: twice the rate, a quarter of the steps; sgd's rate grows in proportion.
    assert scaled(VALUES, 24000) == {
        "dataset_conf.batch_size": 24000,
        "optim_conf.lr": 0.0004,
        "scheduler_conf.warmup_steps": 500,
    }
    assert scaled({**VALUES, "optim": "sgd"}, 24000)["optim_conf.lr"] == 0.0008
    assert scaled(VALUES, 6000)["optim_conf.lr"] == 0.0002
    assert rounded(1999) == 1500
    assert rounded(3) == STEP


def test_the_table_says_what_was_measured_and_what_waits(capsys):
    slow = result(24000, steps=20, seconds_per_step=1.0, reading_seconds_per_second=0.1)
    tried = [result(6000), slow, {"batch_size": 48000, "fits": False, "why": ""}]
    lines = table(tried, 4)
    assert lines[1].split() == ["6,000", "90", "2.0%", "0.500", "200", "7.50", "0:00:45"]
    # 9,000 s of audio x 0.1 / 4 workers = 225 s, more than the 20 s of its steps.
    assert lines[2].split() == ["24,000", "20", "2.0%", "1.000", "450", "7.50", "0:03:45", "(reading)"]
    assert lines[3].split() == ["48,000", "does", "not", "fit"]
    clip = tiny.Utterance("a", "/clips/a.wav", "一", 500, 1, "1", 5.0, 80000)
    assert tell(tried, VALUES, 23.5, clip)["dataset_conf.batch_size"] == 24000
    said = capsys.readouterr().out
    assert "raise dataset_conf.num_workers" in said
    assert "++dataset_conf.batch_size=24000 ++optim_conf.lr=0.0004 ++scheduler_conf.warmup_steps=500" in said
    with pytest.raises(RecipeError, match=r"longest clip \(/clips/a\.wav, 5\.0 s\) fits in 23\.5 GB; set dataset_conf"):
        tell(tried[2:], VALUES, 23.5, clip)


def test_real_sizes_are_measured_on_the_processor(tmp_path, monkeypatch, capsys):
    exp, data = trained.lay_out(tmp_path, dataset_conf={"batch_type": "token", "batch_size": 600}), tmp_path / "data"
    monkeypatch.setattr(
        "sys.argv", ["plan", "--exp", str(exp), "--data", str(data), "--ngpu", "0", "--only", "300,600"]
    )
    plan.main()
    kept = json.loads((exp / "plan.json").read_text())
    small, large = kept["tried"]
    assert [each["fits"] for each in (small, large)] == [True, True]
    assert small["steps"] > large["steps"] > 0
    assert small["audio_seconds"] == large["audio_seconds"]
    assert 0 < small["peak_gb"] < 5
    assert kept["chosen"]["dataset_conf.batch_size"] == 600
    assert "++dataset_conf.batch_size=600" in capsys.readouterr().out
    assert not list(exp.glob("plan.*/"))


def test_a_card_that_is_too_small_is_said_so(tmp_path, monkeypatch):
    exp, data = trained.lay_out(tmp_path, dataset_conf={"batch_type": "token", "batch_size": 600}), tmp_path / "data"
    words = ["--ngpu", "0", "--memory-gb", "0.01", "--only", "600"]
    monkeypatch.setattr("sys.argv", ["plan", "--exp", str(exp), "--data", str(data), *words])
    with pytest.raises(RecipeError, match=r"no batch that holds the longest clip .* fits in 0\.0095 GB"):
        plan.main()
