"""The batch planner: its search, its rule, and a real search on the processor."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr.core.errors import RecipeError
from asr.training import plan, plan_worker
from asr.training.plan import FINE, STEP, choose, rounded, scaled, search, table, tell, updates
from tests import tiny, trained

VALUES = {
    "dataset_conf": {"batch_size": 6000, "num_workers": 4},
    "train_conf": {"accum_grad": 1},
    "optim": "adam",
    "optim_conf": {"lr": 0.0002},
    "scheduler_conf": {"warmup_steps": 2000},
}


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
    slow = result(24000, steps=120, seconds_per_step=1.0 / 6, reading_seconds_per_second=0.1)
    tried = [result(6000), slow, {"batch_size": 48000, "fits": False, "why": ""}]
    lines = table(tried, VALUES).splitlines()[1:]
    assert lines[1].split() == ["6,000", "90", "2.0%", "0.500", "200", "7.50", "0:00:45"]
    # 9,000 s of audio x 0.1 / 4 workers = 225 s, more than the 20 s of its steps.
    assert lines[2].split() == ["24,000", "120", "2.0%", "0.167", "450", "7.50", "0:03:45", "(reading)"]
    assert lines[3].split() == ["48,000", "does", "not", "fit"]
    clip = tiny.Utterance("a", "/clips/a.wav", "一", 500, 1, "1", 5.0, 80000)
    assert tell(tried, VALUES, 23.5, clip)["dataset_conf.batch_size"] == 6000
    said = capsys.readouterr().out
    assert "raise dataset_conf.num_workers" in said
    assert "largest that fits: 24,000, on a GPU\nchosen: 6,000, 0:00:45 an epoch, 90 updates in it: the fastest" in said
    assert "++dataset_conf.batch_size=6000 ++optim_conf.lr=0.0002 ++scheduler_conf.warmup_steps=2000" in said
    with pytest.raises(RecipeError, match=r"longest clip \(/clips/a\.wav, 5\.0 s\) fits in 23\.5 GB; set dataset_conf"):
        tell(tried[2:], VALUES, 23.5, clip)


def measured(*rows, **more):
    """(batch_size, updates an epoch, seconds an epoch) as the planner measures them."""
    more = {"reading_seconds_per_second": 0.001, **more}
    return [result(size, steps=steps, seconds_per_step=seconds / steps, **more) for size, steps, seconds in rows]


def chosen(tried, processes=1, **values):
    found, why = choose(tried, {**VALUES, **values}, processes)
    return found["batch_size"], why


def test_the_largest_that_fits_is_not_taken_where_it_makes_too_few_updates_or_too_fast_ones():
    # As on CDSD's Part A on a GPU that a small batch leaves idle: larger is faster, up to four times the YAML's.
    tried = measured((3000, 4000, 1300), (6000, 2000, 700), (24000, 500, 160), (48000, 250, 120), (96000, 125, 110))
    size, why = chosen(tried)
    assert size == 24000
    assert why.endswith("the largest that fits is too large: it takes 4.0 x the YAML's learning rate, more than 2 x")
    # sgd's rate grows in proportion, so its end comes sooner.
    assert chosen(tried, optim="sgd")[0] == 6000
    # Four GPUs make a quarter of the updates, and so do four batches an update.
    assert chosen(tried, 4) == chosen(tried, train_conf={"accum_grad": 4})
    assert chosen(tried, 8)[0] == 6000
    assert updates(tried[2], VALUES, 4) == 125


def test_on_a_small_corpus_the_yamls_batch_stays():
    # As measured on the mini corpus: 45 batches of 2,000 for two processes.
    mini = {
        "dataset_conf": {"batch_size": 2000, "num_workers": 4},
        "optim_conf": {"lr": 0.001},
        "scheduler_conf": {"warmup_steps": 60},
    }
    tried = measured((1000, 90, 20), (2000, 45, 18), (4000, 23, 9), (8000, 12, 26), (16000, 7, 28), (19500, 6, 19))
    size, why = chosen(tried, 2, **mini)
    assert size == 2000
    assert "too large: 3 updates an epoch, fewer than 100" in why
    # However much faster: few updates cost more than they save.
    assert chosen(measured((2000, 52, 100), (8000, 13, 5)), 2, **mini)[0] == 2000
    # A smaller one is taken where it is clearly faster, or where the YAML's does not fit.
    assert chosen(measured((1000, 104, 8), (2000, 52, 10)), 2, **mini)[0] == 1000
    assert chosen([*tried[:1], {**tried[1], "fits": False}], 2, **mini)[0] == 1000
    # All that fit may be too large: then it is the smallest of them.
    assert chosen(tried[3:], 2, **mini) == (
        8000,
        "the smallest tried that fits, and still too large: 6 updates an epoch, fewer than 100",
    )


def test_a_gain_that_is_small_does_not_leave_the_yamls_batch():
    assert chosen(measured((6000, 2000, 108), (12000, 1000, 100)))[0] == 6000
    assert chosen(measured((6000, 2000, 112), (12000, 1000, 100)))[0] == 12000
    # Where reading is what takes the time the steps' own are no matter.
    waits = measured((6000, 2000, 200), (12000, 1000, 100), reading_seconds_per_second=0.1)
    assert chosen(waits)[0] == 6000


def test_without_times_the_padding_chooses_and_it_is_said_so():
    tried = [result(size, padding=padding) for size, padding in ((3000, 0.02), (6000, 0.03), (12000, 0.02))]
    for found in tried:
        del found["seconds_per_step"]
    size, why = chosen(tried)
    assert (size, why) == (
        6000,
        "the nearest to the YAML's; arithmetic knows no times; the largest that fits is too "
        "large: 90 updates an epoch, fewer than 100",
    )
    tried[1]["padding"] = 0.2
    assert chosen(tried)[0] == 3000
    assert table(tried, VALUES).splitlines()[2].split() == ["3,000", "90", "2.0%", "-", "-", "7.50", "-"]


def test_a_card_that_is_not_here_is_planned_for_by_arithmetic(tmp_path, monkeypatch, capsys):
    exp, data = trained.lay_out(tmp_path, dataset_conf={"batch_type": "token", "batch_size": 600}), tmp_path / "data"
    words = ["plan", "--exp", str(exp), "--data", str(data), "--only", "300,600", "--memory-gb", "23.5"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setattr("sys.argv", words)
    plan.main()
    small, large = json.loads((exp / "plan.json").read_text())["tried"]
    said = capsys.readouterr().out
    assert "no GPU here: by arithmetic, in fp32, which no GPU has confirmed" in said
    assert "chosen: 600, " in said
    assert "seconds_per_step" not in large
    # Beside the context: 16 bytes a parameter (weights, gradients, Adam's two moments), and activations by frames.
    fixed = (small["peak_gb"] - plan_worker.CONTEXT_GB) * 2**30 - 16 * small["trained"]
    more = (large["peak_gb"] - plan_worker.CONTEXT_GB) * 2**30 - 16 * large["trained"]
    assert 0 < fixed < more < 4 * fixed
    monkeypatch.setattr("sys.argv", [*words[:-3], "600", "--memory-gb", str(plan_worker.CONTEXT_GB)])
    with pytest.raises(RecipeError, match="no batch that holds the longest clip"):
        plan.main()
    monkeypatch.setattr("sys.argv", words[:-2])
    with pytest.raises(RecipeError, match="no GPU whose memory nvidia-smi reports; give --memory-gb"):
        plan.main()


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
    chosen = kept["chosen"]["dataset_conf.batch_size"]
    assert chosen in (300, 600)  # whichever this machine was faster with
    assert f"++dataset_conf.batch_size={chosen}" in capsys.readouterr().out
    assert not list(exp.glob("plan.*/"))


def test_a_card_that_is_too_small_is_said_so(tmp_path, monkeypatch):
    exp, data = trained.lay_out(tmp_path, dataset_conf={"batch_type": "token", "batch_size": 600}), tmp_path / "data"
    words = ["--ngpu", "0", "--memory-gb", "0.01", "--only", "600"]
    monkeypatch.setattr("sys.argv", ["plan", "--exp", str(exp), "--data", str(data), *words])
    with pytest.raises(RecipeError, match=r"no batch that holds the longest clip .* fits in 0\.0095 GB"):
        plan.main()
