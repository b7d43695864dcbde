"""torchrun over the workers: their words, their errors, and a stop that leaves them the time to save."""

import os
import signal
import subprocess
import sys

import pytest

from asr.core.processes import children
from asr.training.torchrun import FAILED, RUNNING, SAVED, STOPPED, StatusFile, Stopper
from tests.patience import PATIENCE, wait_until

BEGIN = """
import os, signal, sys, time
from pathlib import Path
from asr.training.torchrun import FAILED, RUNNING, SAVED, STOPPED, StatusFile
status = StatusFile(Path(sys.argv[2]))
"""
PARENT = """
import sys
from pathlib import Path
from asr.training.torchrun import StatusFile, torchrun
folder = Path(sys.argv[1])
status = StatusFile(folder / "worker.json")
code = torchrun(folder / "launch.json", int(sys.argv[2]), status, folder / "torchrun.log", module="pretended")
try:
    print(bool(code), status.state, status.error, status.stop.exists(), flush=True)
except BrokenPipeError:
    (folder / "end").write_text(f"{status.state} {status.stop.exists()}")
"""


@pytest.fixture
def start(tmp_path):
    """Starts torchrun over a worker of these lines, in a process of its own, as its signal handlers stay."""

    def started(lines, processes=1, **more):
        (tmp_path / "pretended.py").write_text(BEGIN + lines)
        path = os.pathsep.join([str(tmp_path), *sys.path])
        command = [sys.executable, "-c", PARENT, str(tmp_path), str(processes)]
        environment = {**os.environ, "PYTHONPATH": path, **more}
        return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    return started


def test_words_are_shown_and_of_several_errors_the_first_is_kept_without_tracebacks(start, tmp_path):
    lines = """
os.write(1, b"epoch 1\\n")  # in one piece: print writes the end of the line by itself
shown = status.path.with_name("shown")
if os.environ["RANK"] == "1":
    shown.touch()
while not (status.error if os.environ["RANK"] == "1" else shown.exists()):  # whoever fails ends the other
    time.sleep(0.01)
status.write(FAILED, f"the disk of {os.environ['RANK']} is full")
raise ZeroDivisionError
"""
    words = start(lines, 2).communicate(timeout=PATIENCE)[0]
    assert words == "epoch 1\nepoch 1\nTrue failed the disk of 0 is full False\n"
    assert "ZeroDivisionError" in (tmp_path / "torchrun.log").read_text()


def test_the_state_is_what_was_written_last(tmp_path):
    status = StatusFile(tmp_path / "worker.json")
    assert (status.state, status.error, status.is_stopped) == ("", "", False)
    for state, stopped in ((RUNNING, False), (SAVED, False), (STOPPED, True)):
        status.write(state)
        assert (status.state, status.is_stopped) == (state, stopped)
    status.write(FAILED, "a")
    status.write(FAILED, "b")
    assert (status.state, status.error) == (FAILED, "a")
    status.write(RUNNING)
    assert (status.state, status.error) == (RUNNING, "")
    status.clear()
    assert list(tmp_path.iterdir()) == []


FAILING = """
def save(*_):
    status.write(FAILED, "the disk is full")
    os._exit(1)
signal.signal(signal.SIGINT, save)
print("model: ready", flush=True)
time.sleep(600)
"""


def test_a_stop_whose_save_fails_is_no_reason_to_restart(start):
    parent = start(FAILING, PET_MAX_RESTARTS="3")
    assert parent.stdout.readline() == "model: ready\n"
    parent.send_signal(signal.SIGTERM)
    assert (
        parent.communicate(timeout=PATIENCE)[0].replace("model: ready\n", "") == "True failed the disk is full True\n"
    )


SAVING = """
def save(*_):
    time.sleep(1)
    status.write(STOPPED)
    os._exit(130)
signal.signal(signal.SIGINT, save)
print("model: ready", flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_stop_waits_for_the_save_and_goes_to_the_workers_alone(start, number):
    parent = start(SAVING)
    assert parent.stdout.readline() == "model: ready\n"
    parent.send_signal(number)
    assert parent.communicate(timeout=PATIENCE)[0] == "True stopped  True\n"


def test_workers_that_were_stopped_from_another_machine_are_not_restarted(start):
    lines = 'status.write(STOPPED)\nprint("saved", flush=True)\nos._exit(130)\n'
    words = start(lines, PET_MAX_RESTARTS="99").communicate(timeout=PATIENCE)[0].splitlines()
    assert words[-1] == "True stopped  False"
    assert words.count("saved") < 50


def test_a_stop_before_there_are_workers_ends_torchrun(tmp_path):
    child = subprocess.Popen([sys.executable, "-c", "import time; print('up', flush=True); time.sleep(60)"])
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.getsignal(number) for number in numbers]
    try:
        status = StatusFile(tmp_path / "worker.json")
        stopper = Stopper(child, status)
        os.kill(os.getpid(), signal.SIGTERM)
        assert stopper.wait() == -signal.SIGTERM
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
    assert status.is_stopped


def test_children_are_those_that_are_there():
    child = subprocess.Popen(["sleep", "60"])
    assert child.pid in children(os.getpid())
    child.kill()
    wait_until(lambda: child.pid not in children(os.getpid()), "its end: a process not waited for yet is none")
    child.wait()


CHATTY = """
import logging
from asr.training.worker import Screen
signal.signal(signal.SIGINT, lambda *_: (status.write(STOPPED), os._exit(130)))
logger = logging.getLogger("asr.progress")
logger.setLevel("INFO")
logger.addHandler(Screen(sys.stdout))
while True:
    logger.info("0")
    time.sleep(0.1)
"""


def test_where_nobody_reads_any_more_training_is_stopped_with_a_save(start, tmp_path):
    """A connection without a terminal that ends sends no signal: the next line that is printed finds it out."""
    parent = start(CHATTY)
    assert parent.stdout.readline() == "0\n"
    parent.stdout.close()
    assert parent.wait(timeout=PATIENCE) == 0  # of itself it would print for ever
    assert (tmp_path / "end").read_text() == "stopped False"
