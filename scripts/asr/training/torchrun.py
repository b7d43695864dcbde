"""torchrun over the training's processes: how they are started, what they tell, and how they are asked to stop.

Their output is this process's own; what goes to stderr (tracebacks, and torchrun's account of them) is in
exp/<tag>/log/torchrun.log. On each machine they and this process tell each other in two files:

exp/<tag>/log/worker.json  {"state": "running", "error": ""}; or "failed" with the first error, whose traceback is in
                           torchrun.log; "saved": torchrun asked them to stop, as when the machines that train together
                           change; "stopped": a person did
exp/<tag>/log/worker.stop  is there once this machine's training was asked to stop: it is not to be restarted

A person's stop (Ctrl-C, or SIGTERM or SIGHUP to this process) goes to the workers as SIGINT: they save, however long it
takes, and stop on every machine. torchrun's own way is SIGTERM, and SIGKILL half a minute later, whether or not a save
is under way; the workers get that one from torchrun alone, where the machines that train together have changed or one
of them has failed: they save if they can, and are restarted.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from asr.core.files import write_json
from asr.core.processes import children, die_with_parent

RUNNING, FAILED, SAVED, STOPPED = "running", "failed", "saved", "stopped"
INSISTING = 3.0  # seconds after which another Ctrl-C does not wait for the save
LOOK_EVERY = 0.1  # seconds


class StatusFile:
    """See the module. ``path`` is that of worker.json."""

    def __init__(self, path: Path) -> None:
        self.path, self.stop = path, path.with_suffix(".stop")

    def clear(self) -> None:
        """Begin a training."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.unlink(missing_ok=True)
        self.stop.unlink(missing_ok=True)

    def write(self, state: str, error: str = "") -> None:
        """Write the state; an error only if it is the first."""
        if not (error and self.error):
            write_json(self.path, {"state": state, "error": error})

    @property
    def state(self) -> str:
        """Return the state; empty where none was written."""
        return self._read("state")

    @property
    def error(self) -> str:
        """Return the first error; empty where there is none."""
        return self._read("error")

    def _read(self, key: str) -> str:
        return json.loads(self.path.read_text(encoding="utf-8"))[key] if self.path.is_file() else ""

    @property
    def is_stopped(self) -> bool:
        """Return whether the training is not to be restarted."""
        return self.stop.exists() or self.state == STOPPED


class Stopper:
    """Passes a person's stop on to the workers of ``child``, torchrun, and ends it when they have stopped.

    torchrun is in a session of its own, where a terminal's Ctrl-C reaches neither it nor them. Where a person insists,
    seconds later, nothing is waited for.
    """

    def __init__(self, child: subprocess.Popen, status: StatusFile) -> None:
        self.child, self.status = child, status
        self.asked, self.workers = 0.0, set[int]()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is not signal.SIG_IGN:  # as by nohup
                signal.signal(number, self.stop)

    def stop(self, *_: object) -> None:
        """Ask the workers to save and stop."""
        self.status.stop.touch()
        if self.asked and time.monotonic() - self.asked > INSISTING:
            self.child.kill()
        if not self.asked:
            self.asked, self.workers = time.monotonic(), set(children(self.child.pid))
            for worker in self.workers:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(worker, signal.SIGINT)

    def wait(self) -> int:
        """Return torchrun's exit status. Workers that have stopped, here or on another machine, are not restarted."""
        terminated = False
        while self.child.poll() is None:
            asked = self.status.stop.exists()
            ended = not self.workers & set(children(self.child.pid)) if asked else self.status.is_stopped
            if ended and not terminated:
                self.child.terminate()
                terminated = True
            time.sleep(LOOK_EVERY)
        return self.child.returncode


def torchrun(
    launch: Path,
    processes: int,
    status: StatusFile,
    log: Path,
    options: Sequence[str] = ("--standalone",),
    variables: Mapping[str, str] | None = None,
    module: str = "asr.training.worker",
) -> int:
    """Run the worker under torchrun; return its exit status. ``status`` has what the workers told.

    Args:
        launch: exp/<tag>/launch.json, for the worker.
        log: gets what they write to stderr.
        options, variables: of torchrun.
    """
    words = ["torch.distributed.run", *options, f"--nproc_per_node={processes}", "-m", module, launch, status.path]
    threads = str(max((os.cpu_count() or 1) // processes, 1))
    defaults = {"OMP_WAIT_POLICY": "PASSIVE", "OMP_NUM_THREADS": threads, **(variables or {})}
    with open(log, "wb") as stderr:
        child = subprocess.Popen(
            [sys.executable, "-m", *map(str, words)],
            preexec_fn=die_with_parent,
            stderr=stderr,
            env={**defaults, **os.environ, "PYTHONUNBUFFERED": "1"},
            start_new_session=True,
        )
    return Stopper(child, status).wait()
