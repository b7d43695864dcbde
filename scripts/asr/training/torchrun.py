"""torchrun over the training's processes: how they are begun, how they are asked to stop, and what they say.

A person's stop (Ctrl-C, or SIGTERM or SIGHUP to this process) goes to the workers as SIGINT: they save, however long it
takes, and stop on every machine. torchrun's own way is SIGTERM, and SIGKILL half a minute later, whether or not a save
is under way; the workers hear that one from torchrun alone, where the machines that train together have changed or one
of them has failed: they save if they can, and are begun anew.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from asr.core.processes import children, die_with_parent
from asr.training.distributed.several_nodes import BEGUN, SAVED, STOPPED, Machines

INSISTING = 3.0  # seconds after which another Ctrl-C does not wait for the save
# The line after which a worker, or torchrun, prints its account of a failure, in a screenful of frames.
NOISE = ("Traceback (most recent call last)", "torch/distributed/elastic/", "ChildFailedError", "--- Logging error ---")
NOTICE = re.compile(r"[WI]\d{4} .* torch/distributed/elastic/")  # torchrun's, of one line: nothing failed


@dataclass
class Ending:
    """What the workers said since they last began: the error of one, and that they saved because they were asked to."""

    error: str = ""
    saved: bool = False


def stop_once(child: subprocess.Popen, mark: Path) -> None:
    """Let Ctrl-C, SIGTERM and SIGHUP leave ``mark`` and tell the workers, which save first; see the module.

    torchrun is in a session of its own, where a terminal's Ctrl-C does not reach it or them as well. Where a person
    insists, seconds later, nothing is waited for.
    """
    told: list[float] = []

    def stop(*_: Any) -> None:
        mark.touch()
        if child.poll() is not None:
            return
        if not told:
            told.append(time.monotonic())
            workers = children(child.pid)
            for worker in workers:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(worker, signal.SIGINT)
            if not workers:
                child.terminate()
        elif time.monotonic() - told[0] > INSISTING:
            child.kill()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as by nohup
            signal.signal(number, stop)


def torchrun(exp: Path, processes: int, team: Machines) -> tuple[int, Ending]:
    """Run the worker under torchrun; its own output passes through, torchrun's account of a failure goes to a file.

    Its status, and what the workers told. Where and how often machines meet, torchrun reads from PET_ variables itself.
    """
    alone = [] if team.rendezvous else ["--standalone"]
    command = [sys.executable, "-m", "torch.distributed.run", *alone, f"--nproc_per_node={processes}"]
    command += ["-m", "asr.training.worker", str(exp / "launch.json")]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    if int(environment.get("PET_MAX_RESTARTS") or 0) or ":" in environment.get("PET_NNODES", ""):
        # Else processes that are started anew find their predecessors' addresses, and wait for them (PyTorch #135712).
        environment.setdefault("TORCH_DISABLE_SHARE_RDZV_TCP_STORE", "1")
    environment.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    environment.setdefault("OMP_NUM_THREADS", str(max((os.cpu_count() or 1) // processes, 1)))
    held, mark = team.own(exp / "log" / "torchrun.log"), team.own(exp / "interrupted")
    held.parent.mkdir(parents=True, exist_ok=True)
    child = subprocess.Popen(
        command,
        preexec_fn=die_with_parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=environment,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    stop_once(child, mark)
    if mark.exists():  # asked between two trainings
        child.terminate()
    ending = show(child, held, mark)
    return child.wait(), ending


def _pass_on(line: str) -> None:
    """Print it; where nobody is there to read it (ssh without a terminal has ended), stop as by SIGHUP."""
    try:
        print(line, end="", flush=True)
    except BrokenPipeError:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - for what is said from here on
        signal.raise_signal(signal.SIGTERM)


def show(child: subprocess.Popen, held: Path, mark: Path) -> Ending:
    """Pass on what the workers say, until they end, but for the account of a failure; all of it goes to ``held``.

    A stop ends in their word for it. Where it does not, because the save failed or they had hardly begun, torchrun
    would begin them anew: it is stopped then.
    """
    assert child.stdout is not None
    noise, told, hidden = False, set(), not os.environ.get("ASR_TRACEBACK")
    ending = Ending()
    with open(held, "wb", buffering=0) as log:  # with nothing in a buffer, closing it cannot fail
        for line in child.stdout:
            with contextlib.suppress(OSError):  # a full disk: the worker that has to write more tells of it
                log.write(line.encode())
            is_error = line.startswith("error: ")  # each rank tells the same one
            stopped, begun = line.startswith(STOPPED), line.startswith(BEGUN)
            if stopped:  # asked here or on another machine
                mark.touch()
            if stopped or (mark.exists() and (begun or is_error)):
                child.terminate()
            if begun:
                noise, ending = False, Ending()
                told.clear()
            ending.saved = (ending.saved or stopped or line.startswith(SAVED)) and not is_error
            if stopped or begun or (hidden and NOTICE.match(line)):
                continue
            noise = noise or (hidden and any(word in line for word in NOISE))
            if (is_error and line not in told) or not (is_error or noise):
                _pass_on(line)
            if is_error:
                told.add(line)
                ending.error = line
                noise = True  # what follows is the other ranks' tracebacks of a lost connection
    return ending
