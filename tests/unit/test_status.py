"""What scripts/status.sh shows of runs, by stamps that run.sh's own stages and lib.sh's own `once` have written."""

import errno
import fcntl
import json
import os
import platform
import re
import subprocess
import sys
import time
import types
from pathlib import Path

import pytest

from asr.core.errors import RecipeError
from asr.core.made_by import RUN, mark
from asr.core.run_folder import RunFolder
from asr.progress import stages, status
from asr.progress.record import ProgressFile
from asr.progress.stages import age, describe, states

NOW = 1_800_000_000
ROOT = Path(__file__).resolve().parents[2]
OUTPUTS = (
    *("exp/t/conf/base.yaml", "exp/t/conf/decode.yaml", "exp/t/conf/train.yaml", "exp/t/conf/average.yaml"),
    "exp/t/conf/report.yaml",
    *("exp/t/base.json", "exp/t/base/config.yaml", "exp/t/base/tokens.json", "corpus/split.yaml"),
    *(f"data/d/{name}" for name in ("train.jsonl", "val.jsonl", "test.jsonl")),
    *(f"data/d/{name}" for name in ("data_statistics.txt", "data_statistics.html", "audio_elsewhere.txt")),
    *("exp/t/baseline/hyp.txt", "exp/t/baseline/nbest.jsonl", "exp/t/tuned/nbest.jsonl", "exp/t/language.json"),
    *("exp/t/model/confidence.json", "exp/t/tuned/confidence.jsonl"),
    *("exp/t/baseline/decode.json", "exp/t/checkpoints.json", "exp/t/model.pt"),
    *("exp/t/model.pt.ep1", "exp/t/model.pt.ep2.40"),
    *("exp/t/avg.json", "exp/t/model/model.pt", "exp/t/model/config.yaml", "exp/t/tuned/hyp.txt"),
    *("exp/t/tuned/decode.json", "exp/t/score/score.json", "exp/t/RESULTS.md", "exp/t/report.html", "who.tsv"),
)
# run.sh's stages with its own `once`, in a folder where every command has already made its files.
STAGES = f"""
. {ROOT}/scripts/lib.sh
exp=exp/t tag=t data=data/d base=mini/base corpus=corpus conf=c.yaml part=1h ngpu=0
check_audio=false strict=false restart=false command_line=() max_unknown=0.1 CDSD_ROOT=
set_up() {{ :; }}; fine_tune() {{ :; }}; evaluate() {{ :; }}; python() {{ :; }}
split=$1 speakers=$2 mini=$3 stage=0 stop_stage=$4
eval "$(sed -n '/^if at_stage 0/,$p' {ROOT}/run.sh)"
"""


def make(folder, split="", speakers="", mini="true", stop_stage=5):
    (folder / "corpus/after_catting").mkdir(parents=True, exist_ok=True)
    for name in OUTPUTS:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            path.write_text(f"{name}\n" if path.suffix not in (".json", ".jsonl", ".yaml") else "{}\n")
    command = ["bash", "-c", STAGES, "run.sh", split, speakers, mini, str(stop_stage)]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)


@pytest.fixture
def exp(tmp_path, monkeypatch):
    """A run whose six stages are done; the working directory is the recipe's folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(status, "ROOT", tmp_path)
    make(tmp_path)
    return Path("exp/t")


def words(exp):
    return [state.word for state in states(exp)]


@pytest.fixture
def locked(exp):
    """As if run.sh, process 4711, were at work on it."""
    with open(exp / ".lock", "w") as stream:
        stream.write("4711\n")
        stream.flush()
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield exp


def begin(exp, number, log="$ python\n"):
    """A stage at work: no stamp, and a log that is the newest."""
    (exp / f"stamps/stage{number}").unlink(missing_ok=True)
    (exp / f"log/stage{number}.log").write_text(log)
    later = time.time() + 5
    os.utime(exp / f"log/stage{number}.log", (later, later))


def trained(exp, **start):
    """Records of 30 steps in 3 of 5 epochs, one save and a ranking."""
    file = ProgressFile(exp)
    file.add({"kind": "start", "resumed_at": 0, "max_epoch": 5, "pid": 1, "host": "elsewhere", **start})
    for step in range(1, 31):
        place = {"epoch": 1 + (step - 1) // 10, "max_epoch": 5, "step": 1 + (step - 1) % 10, "steps_in_epoch": 10}
        values = {"loss": 30.0 / step, "lr": 1e-4, "audio_s_per_s": 120.4, "memory_gb": 11.51, "reserved_gb": 15.7}
        shares = {"waiting_share": 0.031, "padding_share": None}
        file.add({"kind": "train", "time": NOW - 5, "total_step": step, "left": 125.5, **place, **values, **shares})
    file.add({"kind": "validation", "total_step": 30, "checkpoint": "model.pt.ep3", "loss": 0.61234, "cer": 0.25})
    file.close()
    (exp / "model.pt.ep3").write_bytes(b"x" * 3_000_000)
    os.utime(exp / "model.pt.ep3", (NOW - 300,) * 2)
    (exp / "model.pt").unlink()
    os.link(exp / "model.pt.ep3", exp / "model.pt")
    saves = [{"weights": "model.pt.ep3", "weights_sha256": "", "state": "state.pt.ep3", "state_sha256": ""}]
    RunFolder(exp).resume_points.write_text(json.dumps(saves))
    checkpoints = [{"file": "model.pt.ep3", "value": 0.25}]
    ranking = {"ranked_by": "cer", "finished": False, "epochs": 3, "checkpoints": checkpoints}
    (exp / "checkpoints.json").write_text(json.dumps(ranking))


def said(exp):
    """details() as {name: value}."""
    lines = status.details(status.load(exp)).splitlines()
    assert lines[0] == str(exp)
    return {line[2:15].strip(): line[15:] for line in lines[1:]}


@pytest.mark.parametrize("options", [{}, {"speakers": "who.tsv"}, {"split": "conf/s.yaml", "mini": "false"}])
def test_what_run_sh_has_stamped_is_done_and_each_file_that_changes_is_named(tmp_path, monkeypatch, options):
    monkeypatch.chdir(tmp_path)
    make(tmp_path, **options)
    exp = Path("exp/t")
    assert words(exp) == ["done"] * 6
    stamps = "".join(path.read_text() for path in Path("exp/t/stamps").iterdir()).replace(" RUN/", " exp/t/")
    watched = {name for name in OUTPUTS if re.search(rf"^(input|output) sha256 \w+ {re.escape(name)}$", stamps, re.M)}
    assert set(OUTPUTS) - watched <= {"who.tsv", "corpus/split.yaml", "data/d/audio_elsewhere.txt"}
    for name in sorted(watched):
        before = Path(name).read_bytes()
        Path(name).write_bytes(before + b"\n")
        stale = [state.why for state in states(exp) if state.word == "stale"]
        assert stale == [f"{name} has changed"] * len(stale)
        assert stale
        Path(name).write_bytes(before)
    assert words(exp) == ["done"] * 6


def test_a_file_is_described_as_lib_sh_does(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("small").write_text("one\n")
    with open("large", "wb") as stream:
        stream.truncate(stages.LARGE)
    with open("almost", "wb") as stream:
        stream.truncate(stages.LARGE - 1)
    Path("a link").symlink_to("large")
    paths = ["small", "large", "almost", "a link", "gone"]
    command = ["bash", "-c", f'. {ROOT}/scripts/lib.sh; exp=exp/t; describe input "$@"', "_", *paths]
    wanted = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert [f"input {describe(path)} {path}" for path in paths] == wanted


def test_a_checkpoint_that_changes_makes_the_average_stale(exp):
    (exp / "model.pt.ep2.40").write_text("another\n")
    assert [(state.word, state.why) for state in states(exp)][4] == ("stale", f"{exp}/model.pt.ep2.40 has changed")


def test_a_run_that_was_only_begun(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make(tmp_path, stop_stage=2)
    assert words(Path("exp/t")) == ["done"] * 3 + ["not run"] * 3
    run = status.load(Path("exp/t"))
    assert status.headline(run) == "stage 3 next"
    (tmp_path / "exp/new/conf").mkdir(parents=True)
    assert status.headline(status.load(Path("exp/new"))) == "nothing run yet"
    assert "stage 3 next" in status.row(run)


def test_a_missing_output_makes_a_stage_stale(exp):
    (exp / "avg.json").unlink()
    found = states(exp)
    assert (found[4].word, found[4].why) == ("stale", "exp/t/avg.json has changed")
    assert said(exp)["state"] == "stage 4 stale (no process is at work)"


def test_a_damaged_stamp_is_stale(exp):
    for text in ("", "\n", "command fine_tune 0\n", "input sha256 0 a\n"):
        (exp / "stamps/stage3").write_text(text)
        assert states(exp)[3].word == "stale"


def test_a_model_from_scratch_skips_its_baseline(exp):
    mark(exp / "conf", RUN)
    (exp / "conf/base.yaml").write_text("base: x\nfrom_scratch: true\n")
    (exp / "stamps/stage2").unlink()
    assert states(exp)[2].word == "skipped"


@pytest.mark.parametrize(
    ("log", "word", "why"),
    [
        (
            "$ fine_tune 0\nepoch 1\nerror: clip.wav: cannot be read\nmore\n",
            "failed",
            "error: clip.wav: cannot be read",
        ),
        (
            "$ fine_tune 0\nstopped; the same command resumes from the newest checkpoint\ninterrupted\n",
            "interrupted",
            "",
        ),
        ("$ python x\n 10%|#\r 20%|##\rinterrupted\n", "interrupted", ""),
        ("$ fine_tune 0\nepoch 1/5 step 10/23 loss 2\n", "ended early", "epoch 1/5 step 10/23 loss 2"),
        ("$ fine_tune 0\n", "ended early", ""),
    ],
)
def test_a_stage_that_did_not_end_well_says_how(exp, log, word, why):
    begin(exp, 3, log)
    assert (states(exp)[3].word, states(exp)[3].why) == (word, why)
    assert said(exp)["state"].startswith(f"stage 3 {word} ")


def test_the_stage_at_work_is_the_one_whose_log_is_newest(locked):
    begin(locked, 5, "$ evaluate 0\nerror: of an earlier time\n")
    old = time.time() - 100
    os.utime(locked / "log/stage5.log", (old, old))
    begin(locked, 3)
    assert words(locked) == ["done", "done", "done", "running", "done", "failed"]
    found = said(locked)
    assert found["state"] == "stage 3 running (run.sh is process 4711)"
    assert found["next"] == "wait: it is at work"


def test_looking_does_not_keep_run_sh_from_its_lock(exp):
    (exp / ".lock").write_text("1\n")
    assert stages.lock_holder(exp) is None
    with open(exp / ".lock") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        assert stages.lock_holder(exp) == "1"
    assert (exp / ".lock").read_text() == "1\n"


def test_without_locks_a_run_sh_that_lives_is_known_by_its_number(exp, tmp_path, monkeypatch):
    def flock(*_):
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", flock)
    (tmp_path / "run.sh").write_text("echo ready\nread -r _\n")
    alive = subprocess.Popen(["bash", tmp_path / "run.sh"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    alive.stdout.readline()
    (exp / ".lock").write_text(f"{alive.pid}\n")
    assert stages.lock_holder(exp) == str(alive.pid)
    alive.communicate()
    for left in (f"{alive.pid}\n", f"{os.getpid()}\n", ""):
        (exp / ".lock").write_text(left)
        assert stages.lock_holder(exp) is None


def test_a_training_at_work_is_told_in_full(locked, monkeypatch):
    trained(locked)
    begin(locked, 3)
    stopped = types.SimpleNamespace(time=lambda: NOW)
    monkeypatch.setattr(status, "time", stopped)
    monkeypatch.setattr(stages, "time", stopped)
    found = said(locked)
    assert found["epoch"] == "3 of 5, step 10 of 10"
    assert found["steps"] == "30 in all, the last one logged 5 s ago"
    assert found["time left"] == "0:02:00"
    assert found["loss"] == "1.000 in training, 0.6123 in validation"
    assert found["best"] == "CER 25.00 %, model.pt.ep3"
    assert found["speed"] == "120 s of audio a second, waiting for data 3 %"
    assert found["memory"] == "11.5 GB (15.7 reserved)"
    assert found["resumes from"] == "model.pt.ep3, 5 min ago"
    assert found["disk"] == "3 MB of checkpoints"  # model.pt is the same file
    line = status.row(status.load(locked))
    assert line[:8] == ["t", "stage 3 running", "3/5", "30", "1.000", "CER 25.00 % (ep3)", "5 min ago", "3 MB"]


def test_a_trainer_that_lives_is_found_and_one_that_is_gone_or_another_is_not(exp):
    sleeper = [sys.executable, "-c", "import time; time.sleep(600)"]
    worker, other = subprocess.Popen([*sleeper, "asr.training.worker"]), subprocess.Popen(sleeper)
    try:
        host = platform.node()
        trained(exp, pid=worker.pid, host=host)
        assert f"the trainer is process {worker.pid}" in said(exp)["state"]
        for start in ({"pid": worker.pid}, {"pid": other.pid, "host": host}, {"pid": 2**22 + 1, "host": host}):
            trained(exp, **start)
            assert status.load(exp).trainer is None
    finally:
        for child in (worker, other):
            child.kill()
            child.wait()


def test_time_left_is_not_told_of_a_run_that_stands_still(exp):
    trained(exp)
    begin(exp, 3)
    assert "time left" not in said(exp)
    assert status.row(status.load(exp))[-1] == "-"


def test_the_next_command_is_the_one_that_was_given(exp):
    assert said(exp)["next"] == "nothing: see exp/t/RESULTS.md and exp/t/report.html"
    begin(exp, 3, "$ fine_tune 0\nerror: x\n")
    assert said(exp)["next"] == "bash run.sh --tag t, with the options that it was started with"
    (exp / "command").write_text("bash run.sh --tag t ++optim_conf.lr=1e-4\n")
    assert said(exp)["next"] == "bash run.sh --tag t ++optim_conf.lr=1e-4"


def test_run_sh_notes_its_command_before_the_first_stage():
    lines = (ROOT / "run.sh").read_text(encoding="utf-8").splitlines()
    note = next(place for place, line in enumerate(lines) if line.startswith("printf") and '>"$exp/command"' in line)
    lock = next(place for place, line in enumerate(lines) if line.startswith('lock "$exp/.lock"'))
    first = next(place for place, line in enumerate(lines) if line.startswith("if at_stage 0"))
    assert lock < note < first


@pytest.mark.parametrize("name", ["checkpoints.json", "saves.json"])
def test_a_damaged_file_is_a_problem_of_its_run_alone(exp, name, monkeypatch, capsys):
    (exp / name).write_text('{"ranked')
    assert name in said(exp)["problem"]
    monkeypatch.setattr(sys, "argv", ["status"])
    status.main()
    assert "\nt " in capsys.readouterr().out


def test_lines_that_were_damaged_are_counted(exp):
    trained(exp)
    with open(exp / "progress.jsonl", "a") as stream:
        stream.write('{"kind": "tr')
    assert said(exp)["note"] == "exp/t/progress.jsonl: 1 damaged lines are not used"


def test_without_arguments_every_run_has_a_line(exp, monkeypatch, capsys):
    trained(exp)
    Path("exp/构音/conf").mkdir(parents=True)
    Path("exp/no run").mkdir()
    monkeypatch.setattr(sys, "argv", ["status"])
    status.main()
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["run", "-" * len(lines[1]), "t", "构音"]
    assert "CER 25.00 % (ep3)" in lines[2]


def test_runs_are_named_by_folder_or_tag_from_anywhere(exp, tmp_path):
    for here, word in ((tmp_path, "exp/t"), (tmp_path, "t"), (tmp_path / "exp", "t/"), (tmp_path, str(exp.absolute()))):
        assert status.named([word], here) == [Path("exp/t")]
    (tmp_path / "t").mkdir()  # as mini/ is one beside exp/mini
    assert status.named(["t"], tmp_path) == [Path("exp/t")]
    with pytest.raises(RecipeError, match="nope: no such run; in exp/ there are: t"):
        status.named(["nope"], tmp_path)


def test_no_runs_at_all(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(status, "ROOT", tmp_path)
    monkeypatch.setattr(sys, "argv", ["status"])
    status.main()
    assert capsys.readouterr().out == "no runs in exp/ yet; bash run.sh makes one\n"


def test_looking_changes_nothing(exp):
    trained(exp)
    before = {path: path.stat().st_mtime_ns for path in Path().rglob("*")}
    said(exp)
    assert {path: path.stat().st_mtime_ns for path in Path().rglob("*")} == before


def test_ages_are_in_the_unit_that_says_most():
    seconds = (-5, 0, 99, 100, 5999, 6000, 3600 * 47, 3600 * 48)
    assert [age(value) for value in seconds] == ["0 s", "0 s", "99 s", "2 min", "100 min", "2 h", "47 h", "2 days"]
