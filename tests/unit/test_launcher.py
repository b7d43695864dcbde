"""torchrun over the workers: what of their words is shown, and a stop that leaves them the time to save."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from asr.core.processes import children
from asr.training.distributed.several_nodes import BEGUN, SAVED, STOPPED
from asr.training.torchrun import Ending, show, stop_once
from tests.patience import PATIENCE, wait_until


def test_what_workers_say_is_shown_without_tracebacks_though_its_log_finds_no_room(tmp_path, capsys):
    said = (
        "model: 1 M\\n[rank1]: Traceback (most recent call last):\\n  File x\\nerror: a\\nerror: a\\nerror: b\\nmore\\n"
    )
    child = subprocess.Popen(["printf", said], stdout=subprocess.PIPE, text=True)
    assert show(child, Path("/dev/full"), tmp_path / "mark").error == "error: b\n"
    assert capsys.readouterr().out == "model: 1 M\nerror: a\nerror: b\n"
    child = subprocess.Popen(["printf", "trained\\n"], stdout=subprocess.PIPE, text=True)
    assert show(child, tmp_path / "log", tmp_path / "mark") == Ending()
    assert (tmp_path / "log").read_text() == "trained\n"


def said(tmp_path, words):
    child = subprocess.Popen(["printf", "%s", words], stdout=subprocess.PIPE, text=True)
    return show(child, tmp_path / "log", tmp_path / "mark")


@pytest.mark.parametrize(
    ("words", "ending"),
    [
        (f"{SAVED}\n", Ending(saved=True)),
        (f"{SAVED}\n{BEGUN}\n", Ending()),
        (f"{STOPPED}\n", Ending(saved=True)),
        (f"error: a\n{BEGUN}\n", Ending()),
        ("error: a\nerror: b\n", Ending(error="error: b\n")),
        (f"{SAVED}\nerror: a\n", Ending(error="error: a\n")),
    ],
)
def test_the_last_word_of_the_workers_is_known(tmp_path, words, ending):
    assert said(tmp_path, words) == ending
    assert (tmp_path / "mark").exists() == (STOPPED in words)


def test_a_notice_of_torchruns_hides_no_more_than_itself_and_a_new_beginning_ends_the_account_of_a_failure(
    tmp_path, capsys
):
    notice = "W1127 10:00:00.1 7 torch/distributed/elastic/multiprocessing/api.py:9] closing signal SIGTERM\n"
    said(tmp_path, f"epoch 1\n{notice}epoch 2\nTraceback (most recent call last)\n  x\n{BEGUN}\nepoch 3\n")
    assert capsys.readouterr().out == "epoch 1\nepoch 2\nepoch 3\n"


RESTARTING = """
import signal, subprocess, sys
worker, stopping = None, False
def stop(*_):
    global stopping
    stopping = True
    if worker:
        worker.kill()
signal.signal(signal.SIGTERM, stop)
for _ in range(2):  # PET_MAX_RESTARTS
    worker = subprocess.Popen([sys.executable, "-c", sys.argv[1]])
    if stopping:  # since it was begun
        worker.kill()
    if worker.wait() == 0:
        sys.exit(0)
    if stopping:
        break
sys.exit(1)
"""
FAILING = """
import os, signal, sys, time
def save(*_):
    print("error: the disk is full", flush=True)
    os._exit(1)
signal.signal(signal.SIGINT, save)
print("%s", flush=True)
print("model: ready", flush=True)
time.sleep(60)
"""


def test_a_stop_whose_save_fails_is_no_reason_to_begin_anew(tmp_path):
    program = f"""
import subprocess, sys
from pathlib import Path
from asr.launcher import show, stop_once
words = [sys.executable, "-c", {RESTARTING!r}, {FAILING % BEGUN!r}]
child = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
mark = Path({str(tmp_path / "mark")!r})
stop_once(child, mark)
ending = show(child, Path({str(tmp_path / "log")!r}), mark)
print(child.wait(), mark.exists())
"""
    stopped = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert stopped.stdout.readline() == "model: ready\n"
    stopped.send_signal(signal.SIGTERM)
    assert stopped.communicate(timeout=PATIENCE)[0] == "error: the disk is full\n1 True\n"


# In place of torchrun, which kills its workers half a minute after a SIGTERM: this one does at once.
AGENT = """
import signal, subprocess, sys
worker = subprocess.Popen([sys.executable, "-c", sys.argv[1]])
signal.signal(signal.SIGTERM, lambda *_: worker.kill())
worker.wait()
"""
WORKER = """
import signal, time
def save(*_):
    time.sleep(1)
    print("%s", flush=True)
    raise SystemExit
signal.signal(signal.SIGINT, save)
print("model: ready", flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_stop_waits_for_the_save_and_goes_to_the_workers_alone(tmp_path, number):
    """In a process of its own, as the handlers stay."""
    program = f"""
import subprocess, sys
from pathlib import Path
from asr.launcher import show, stop_once
child = subprocess.Popen([sys.executable, "-c", {AGENT!r}, {WORKER % STOPPED!r}], stdout=subprocess.PIPE, text=True)
mark = Path({str(tmp_path / "mark")!r})
stop_once(child, mark)
ending = show(child, Path({str(tmp_path / "log")!r}), mark)
child.wait()
print(ending.saved, mark.exists())
"""
    stopped = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert stopped.stdout.readline() == "model: ready\n"
    stopped.send_signal(number)
    assert stopped.communicate(timeout=PATIENCE)[0] == "True True\n"


def test_a_stop_before_there_are_workers_ends_torchrun(tmp_path):
    child = subprocess.Popen([sys.executable, "-c", "import time; print('up', flush=True); time.sleep(60)"])
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    try:
        stop_once(child, tmp_path / "mark")
        os.kill(os.getpid(), signal.SIGTERM)
        assert child.wait(timeout=PATIENCE) == -signal.SIGTERM
    finally:
        for number, handler in zip((signal.SIGINT, signal.SIGTERM), before, strict=True):
            signal.signal(number, handler)
    assert (tmp_path / "mark").exists()


def test_children_are_those_that_are_there():
    child = subprocess.Popen(["sleep", "60"])
    assert child.pid in children(os.getpid())
    child.kill()
    wait_until(lambda: child.pid not in children(os.getpid()), "its end: a process not waited for yet is none")
    child.wait()


CHATTY = """
import signal, time
def save(*_):
    time.sleep(0.5)
    print("%s", flush=True)
    raise SystemExit
signal.signal(signal.SIGINT, save)
while True:
    print(0, flush=True)
    time.sleep(0.1)
"""


def test_where_nobody_reads_any_more_training_is_stopped_with_a_save(tmp_path):
    """A connection without a terminal that ends sends no signal: the next line that is printed finds it out."""
    program = f"""
import subprocess, sys
from pathlib import Path
from asr.launcher import show, stop_once
child = subprocess.Popen([sys.executable, "-c", {AGENT!r}, {CHATTY % STOPPED!r}], stdout=subprocess.PIPE, text=True)
mark = Path({str(tmp_path / "mark")!r})
stop_once(child, mark)
ending = show(child, Path({str(tmp_path / "log")!r}), mark)
child.wait()
print("to nobody", flush=True)
Path({str(tmp_path / "end")!r}).write_text(f"{{ending.saved}} {{mark.exists()}}")
"""
    stopped = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert stopped.stdout.readline() == "0\n"
    stopped.stdout.close()
    assert stopped.wait(timeout=PATIENCE) == 0  # of itself it would print for ever
    assert (tmp_path / "end").read_text() == "True True"
