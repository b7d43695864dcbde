"""RESULTS.md: every figure from score.json, everything recorded from provenance.json, no path of any machine."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from asr.core.manifest import Utterance
from asr.core.publishable_paths import public
from asr.reporting.provenance import heard, peak_memory, times
from asr.reporting.results_md import results
from asr.scoring.files import write_per_utterance
from asr.scoring.score import Request, score, score_hypotheses
from tests.patience import PATIENCE

ROOT = Path(__file__).resolve().parents[2]
PROVENANCE = {
    "command": ["bash", "run.sh", "--corpus", "/data/joe/CDSD copy", "--base", "mini/base", "++a.b=/home/joe/x"],
    "commit": "0123abc",
    "config": {"base": "/models/hub/paraformer", "train_conf": {"max_epoch": 50}, "optim_conf": {"lr": 0.0002}},
    "corpus": {
        "name": "CDSD",
        "digest": "d1e2",
        "splits": {"train": {"speakers": 35, "utterances": 45327, "hours": 35.7}, "test": {"speakers": 5}},
        "simulated": False,
    },
    "base": {"id": "iic/speech_paraformer-large", "digest": "b4"},
    "average": {
        "file": "model.pt.avg2",
        "ranked_by": "cer",
        "checkpoints": [{"file": "model.pt.ep3", "value": 0.1234}, {"file": "model.pt.ep1.200", "value": 0.2}],
    },
    "processor": "Some CPU",
    "gpu": "NVIDIA GeForce RTX 3090",
    "driver": "580.65.06",
    "date": "2026-01-31",
    "peak_memory_gb": 8.712,
    "decode": {
        "baseline": None,
        "tuned": {
            "inputs": {},
            "real_time_factor": 0.002383,
            "device": "a GPU",
            "parameters": 220534321,
        },
    },
    "python": "3.11.7",
    "versions": {"torch": "2.11.0"},
    "times": {"stage3": 7300, "stage4": 61},
}


def scored(folder: Path, baseline: bool = True, speakers: int = 5, missing: int = 1, more: int = 0) -> dict:
    """A score; ``missing`` hypotheses are in neither system, ``more`` are not in the tuned one."""
    references = [
        Utterance(f"{number}-{index}", "/a.wav", text, 100, len(text), f"{number:02d}", 1.0, 16000)
        for number in range(speakers)
        for index, text in enumerate(("今天天气很好", "数字"))
    ]
    systems = {}
    line = {"name": "human listeners", "cer": 0.2045, "note": "other clips, other listeners", "source": "a paper"}
    line |= {"name_zh": "人类听写", "note_zh": "其他录音，其他听者"}
    request = Request(references[:1], reference_lines=[line], replicates=500)
    for name, text in (("baseline", "今天"), ("tuned", "今天天气")):
        there = references[missing + (more if name == "tuned" else 0) :]
        (folder / f"{name}.txt").write_text("".join(f"{item.key} {text}\n" for item in there), "utf-8")
        systems[name] = score_hypotheses(references, folder / f"{name}.txt", request)
    if not baseline:
        del systems["baseline"]
    write_per_utterance(folder / "per_utterance.tsv", systems)
    return score(references, systems, request)


def report(exp: Path) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "asr.report", "--exp", str(exp)],
        env={**os.environ, "PYTHONPATH": str(ROOT / "scripts")},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )


@pytest.fixture
def exp(tmp_path):
    folder = tmp_path / "exp" / "mini_run"
    (folder / "score").mkdir(parents=True)
    (folder / "score/score.json").write_text(json.dumps(scored(tmp_path)), encoding="utf-8")
    (tmp_path / "per_utterance.tsv").rename(folder / "score/per_utterance.tsv")
    (folder / "provenance.json").write_text(json.dumps(PROVENANCE), encoding="utf-8")
    return folder


def test_the_page_has_the_figures_and_the_provenance(exp):
    done = report(exp)
    assert done.returncode == 0, done.stderr
    page = (exp / "RESULTS.md").read_text(encoding="utf-8")
    found = json.loads((exp / "score/score.json").read_text(encoding="utf-8"))
    assert page.startswith("# Results of mini_run\n")
    for name, row in found["systems"].items():
        line = next(line for line in page.splitlines() if line.startswith(f"| {name}"))
        cells = [cell.strip() for cell in line.split("|")[1:-1]]
        assert cells[1] == f"**{100 * row['cer']:.2f}**"
        assert cells[4:7] == [str(row[key]) for key in ("sub", "del", "ins")]
    assert "human listeners: 20.45 % (other clips, other listeners; a paper)" in page
    assert "a reference, never a test passed" in page
    assert "1 missing hypotheses, counted as deletions.**" in page
    assert "0-0" not in page  # an id names its speaker
    for text in ("0123abc", "d1e2", "iic/speech_paraformer-large", "RTX 3090", "Some CPU", "torch 2.11.0", "45,327"):
        assert text in page
    assert "model.pt.avg2: the 2 best by cer: model.pt.ep3 (0.1234), model.pt.ep1.200 (0.2)" in page
    for name, value in (
        ("date", "2026-01-31"),
        ("GPU", "NVIDIA GeForce RTX 3090, driver 580.65.06"),
        ("peak memory in training", "8.7 GiB of the GPU, each training process"),
        ("parameters of the model", "220.5 M"),
        ("decoding speed, real-time factor", "tuned 0.0024 (1 s of audio in 2.4 ms, a GPU)"),
        ("versions", "Python 3.11.7, torch 2.11.0"),
        ("time in all and by stage, resumed runs included", "2.0 h: stage 3 2.0 h, stage 4 61 s"),
    ):
        assert re.search(rf"^\| {name} +\| {re.escape(value)} +\|$", page, re.MULTILINE), name
    assert "max_epoch: 50" in page
    assert "speech of this corpus is simulated" not in page


def test_what_a_run_on_the_cpu_records_is_what_its_files_say(tmp_path):
    """times, peak_memory: of the stages' .seconds, and of progress.jsonl without what a resumption did again."""
    exp = tmp_path / "exp/t"
    (exp / "log").mkdir(parents=True)
    (exp / "log/stage2.seconds").write_text("5\n3\n")
    assert (times(exp), times(exp, 17)) == ({"stage2": 8}, {"stage2": 8, "stage5": 17})
    assert peak_memory(exp) is None
    steps = [(10, 0.5), (20, 0.93), (30, 0.7)]
    lines = [{"kind": "train", "total_step": step, "memory_gb": memory} for step, memory in steps]
    (exp / "progress.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert peak_memory(exp) == 0.93
    page = results("x", scored(tmp_path), {"gpu": None, "peak_memory_gb": 0.93, "times": {"stage1": 3}})
    assert "0.9 GiB of main memory" in page


def test_no_path_of_a_machine_is_in_the_page(exp):
    report(exp)
    page = (exp / "RESULTS.md").read_text(encoding="utf-8")
    assert "bash run.sh --corpus /path/to/corpus --base mini/base ++a.b=/path/to/b" in page
    assert "base: /path/to/base\n" in page
    assert not re.search(r"/(home|data|models|tmp|work)\b", page)
    assert "joe" not in page


def test_simulated_speech_is_said_to_be_simulated(tmp_path):
    page = results("mini", scored(tmp_path), {"corpus": {"simulated": True}})
    assert "The speech of this corpus is simulated" in page
    assert "stands for no clinical claim" in page


def test_everything_is_optional_but_the_score(exp):
    (exp / "provenance.json").unlink()
    assert report(exp).returncode == 0
    page = (exp / "RESULTS.md").read_text(encoding="utf-8")
    for name in (
        "date",
        "commit",
        "corpus digest",
        "base model",
        "averaged",
        "decoding",
        "CPU",
        "GPU",
        "parameters of the model",
    ):
        assert re.search(rf"^\| {name} +\| not recorded", page, re.MULTILINE), name
    assert "Command: not recorded." in page


def test_a_run_without_gpu_is_not_a_run_that_did_not_say(tmp_path):
    assert re.search(r"\| GPU +\| none ", results("x", scored(tmp_path), {"gpu": None}))


@pytest.mark.parametrize(
    ("own", "not_known", "shown"),
    [
        (
            {"own": {"clips": 1080, "known_before": 0}},
            ["hub/base"],
            "0 of 1,080; of 1 of these models the clips are not known",
        ),
        ({"own": {"clips": 80, "known_before": 79}}, [], "79 of 80"),
        ({}, [], "not recorded"),
    ],
)
def test_whether_an_earlier_model_had_heard_the_speaker(exp, own, not_known, shown):
    (exp / "lineage.json").write_text(json.dumps({**own, "not_known": not_known}), encoding="utf-8")
    page = results("x", json.loads((exp / "score/score.json").read_text()), {"heard": heard(exp)})
    assert re.search(rf"^\| training clips that models before it were trained on +\| {shown} +\|", page, re.MULTILINE)


@pytest.mark.parametrize(
    ("tuned", "shown"),
    [
        ({"inputs": {"method": "ctc-1"}, "counts": {}}, "ctc-1"),
        ({"inputs": {"method": "joint-1"}, "counts": {}}, "baseline: ctc-1, tuned: joint-1"),
        ({"inputs": {"method": "ctc-1"}, "counts": {"looped": 3}}, "ctc-1, tuned: 3 texts looped"),
    ],
)
def test_the_decoding_method_is_named_and_what_went_wrong_in_it_counted(tmp_path, tuned, shown):
    baseline = {"inputs": {"method": "ctc-1"}, "counts": {}}
    page = results("x", scored(tmp_path), {"decode": {"baseline": baseline, "tuned": tuned}})
    assert re.search(rf"^\| decoding +\| {re.escape(shown)} +\|", page, re.MULTILINE)


def test_without_baseline(tmp_path):
    page = results("x", scored(tmp_path, baseline=False), {})
    assert "**No baseline was scored: there is nothing to compare with.**" in page
    assert "| baseline" not in page
    assert "| tuned " in page


def test_few_speakers_have_no_interval_and_five_have_one(tmp_path):
    assert "No interval over speakers: 3 speakers, at least 4 are needed" in results(
        "x", scored(tmp_path, speakers=3), {}
    )
    page = results("x", scored(tmp_path), {})
    assert (
        "Intervals: over 5 speakers by the jackknife with Student's t; over utterances by the bootstrap, 500 rep"
        in page
    )
    assert re.search(r"\*\*66\.67\*\* +\|", page) or re.search(r"\| +\d+\.\d\d to \d+\.\d\d \|", page)


def test_nothing_is_concluded_from_a_decode_that_is_not_whole(tmp_path):
    found = scored(tmp_path, more=1)
    page = results("x", found, {})
    assert found["comparison"] is None
    assert "**Nothing is compared: 1 hypotheses of baseline and 2 hypotheses of tuned are missing." in page
    assert "relative" not in page.split("## ")[0].replace("relative reduction", "")


def test_a_clip_that_neither_could_read_counts_alike_and_the_others_are_compared(tmp_path):
    """Ten utterances of 6 and 2 characters in turn, 40 in all; of the first nothing is there: 6 deletions in both."""
    found = scored(tmp_path)
    assert [found["systems"][name]["n_missing"] for name in ("baseline", "tuned")] == [1, 1]
    assert found["systems"]["baseline"]["cer"] == (6 + 4 * 4 + 5 * 2) / 40
    assert found["systems"]["tuned"]["cer"] == (6 + 4 * 2 + 5 * 4) / 40
    assert found["comparison"]["absolute_reduction"] == pytest.approx(-2 / 40)


def test_names_cannot_break_the_page(tmp_path):
    found = scored(tmp_path)
    found["by_speaker"]["<img src=x>|\n# h"] = found["by_speaker"].pop("00")
    page = results("a<b>", found, {})
    assert "<img" not in page
    assert "&lt;img src=x&gt;\\| # h" in page
    assert "# Results of a&lt;b&gt;" in page


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda exp: (exp / "score/score.json").unlink(), "score.json: no such file; run stage 5"),
        (lambda exp: (exp / "score/score.json").write_text("{\n,"), "score.json:2: not JSON"),
        (lambda exp: (exp / "score/score.json").write_text('{"schema_version": 99}'), "schema_version 99"),
        (lambda exp: (exp / "provenance.json").write_text("[]"), "provenance.json: must be a JSON object"),
    ],
)
def test_files_that_are_not_what_they_should_be(exp, change, message):
    change(exp)
    done = report(exp)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert message in done.stderr
    assert not (exp / "RESULTS.md").exists()


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("/home/joe/corpus", "/path/to/file"),
        ("/repo/conf/mini.yaml", "conf/mini.yaml"),
        ("/repo", "."),
        ("../shared/real_mandarin/", "/path/to/file"),
        ("~/models/big one.pt", "/path/to/file.pt"),
        ("--out=/repo/exp/a", "--out=exp/a"),
        ("++init_param=/home/joe/m.pt", "++init_param=/path/to/init_param.pt"),
        ("iic/speech_paraformer-large", "iic/speech_paraformer-large"),
        ("mini/base", "mini/base"),
        ("https://example.org/a/b", "https://example.org/a/b"),
        ("see /var/log/train.log, please", "see /path/to/…"),
        ("50 % and/or 3/4", "50 % and/or 3/4"),
        (["a", {"b": "/x/y"}, 3, None, True], ["a", {"b": "/path/to/b"}, 3, None, True]),
    ],
)
def test_public(given, shown):
    assert public(given, Path("/repo")) == shown
