"""What torchrun runs: FunASR's ``train_ds.main`` with our parts in it (building.py).

Reads exp/<tag>/launch.json, which ``asr.train`` wrote, and tells it in the status file how it ended.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import sys
import traceback
from pathlib import Path
from typing import Any

from asr.core import errors
from asr.core.errors import RecipeError
from asr.core.out_of_memory import ran_out_of_memory
from asr.core.processes import die_with_parent, person_asked, saves_on_stop, stop_asked
from asr.training.torchrun import FAILED, RUNNING, SAVED, STOPPED, StatusFile


class Screen(logging.StreamHandler):
    """Shows lines; where nobody reads them any more (ssh without a terminal has ended), stops as by Ctrl-C."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's
        """See the class."""
        if isinstance(sys.exc_info()[1], BrokenPipeError):
            os.kill(os.getpid(), signal.SIGINT)
        else:
            super().handleError(record)


def set_up_logging(exp: Path, rank: int) -> None:
    """FunASR's chatter, printed or logged, to train.log alone; our lines to the log and the screen.

    Of other ranks than the first only warnings are logged.
    """
    root = logging.getLogger()
    root.handlers.clear()
    root.setLevel(logging.INFO if rank == 0 else logging.WARNING)
    machine = int(os.environ.get("GROUP_RANK", 0))  # appending to one file from several machines loses lines
    file = logging.FileHandler(exp / (f"train.{machine}.log" if machine else "train.log"), encoding="utf-8")
    file.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%Y-%m-%d %H:%M:%S"))
    root.addHandler(file)
    screen = Screen(sys.stdout)
    screen.setFormatter(logging.Formatter("%(message)s"))
    logging.getLogger("asr.progress").addHandler(screen)
    sys.stdout = file.stream


WORKER_IS_GONE = ("DataLoader worker", "Pin memory thread")  # what torch says of a data worker that has ended


def explained(error: Exception, kwargs: dict[str, Any]) -> RecipeError | None:
    """Return in one line what torch or Python say of too little memory, a data worker that is gone, or a full disk."""
    from asr.training.checkpoints.checkpoint import FULL, RESUMES, unwritten

    text, conf = str(error).strip(), kwargs["dataset_conf"]
    if isinstance(error, RecipeError):  # of a data worker: torch puts its traceback in front
        line = text.splitlines()[-1]
        return RecipeError(line.partition("RecipeError: ")[2] or line)
    if ran_out_of_memory(error):
        memory = "memory" if kwargs["device"] == "cpu" else "GPU memory"
        return RecipeError(
            f"out of {memory}: lower dataset_conf.batch_size (now {conf['batch_size']}); the run is then resumed"
        )
    lost = isinstance(error, (ConnectionError, EOFError))  # in the middle of what it was sending
    if lost or (isinstance(error, RuntimeError) and any(word in text for word in WORKER_IS_GONE)):
        signal_name = text.partition("is killed by signal: ")[2].partition(".")[0]
        workers = f"dataset_conf.num_workers (now {conf['num_workers']})"
        why = f"died ({signal_name}): set {workers} to 0 to see why"
        if signal_name in ("", "Killed"):
            why = f"was killed, most likely out of memory: close other programs that use it, or lower {workers}"
        return RecipeError(f"training: a data worker {why}; the same command resumes from the newest checkpoint")
    if isinstance(error, OSError) and error.errno in FULL and not error.filename:
        then = f"{RESUMES}; it may be /dev/shm that is full, where processes keep locks (docker: --shm-size)"
        return unwritten(Path(kwargs["output_dir"]) / "train.log", error, then)
    return None


def train(plan: dict[str, Any], rank: int) -> None:
    """Run train_ds.main to its end, which may be an early one."""
    from asr.models.funasr_import import import_funasr
    from asr.models.loading import choose_device, quiet

    with quiet():
        import_funasr()
        from asr.training.building import plug_in, training_kwargs
        from asr.training.trainer import EarlyStop

        train_ds = plug_in(plan)
        kwargs = training_kwargs(plan, choose_device(plan["ngpu"]))
    set_up_logging(Path(plan["exp"]), rank)
    try:
        with contextlib.suppress(EarlyStop):
            train_ds.main(**kwargs)
    except Exception as error:
        explanation = explained(error, kwargs)
        if explanation is None:
            raise
        raise explanation from error
    logging.shutdown()


def stop(number: int, _: Any) -> None:
    """Have the trainer save when its step is done, and stop; where there is nothing to save, stop now."""
    signal.signal(number, signal.SIG_IGN)
    if number == signal.SIGINT:  # see torchrun.py
        person_asked.set()
    first = not stop_asked.is_set()
    stop_asked.set()
    if first and not saves_on_stop.is_set():
        raise KeyboardInterrupt


def begin(status: StatusFile) -> None:
    """Tell that this machine's processes run, and whether that is anew."""
    if status.is_stopped:
        leave(errors.EXIT_INTERRUPTED)
    if restarts := int(os.environ.get("TORCHELASTIC_RESTART_COUNT", 0)):
        why, most = status.error or "a training process died", os.environ["TORCHELASTIC_MAX_RESTARTS"]
        print(f"{why}: all are restarted (restart {restarts} of {most})", flush=True)
    status.write(RUNNING)


def leave(exit_status: int) -> None:
    """End at once: every file is whole, and torch might wait for ever.

    DataLoader's threads would wait for what a worker that was killed was sending, and gloo's destructor, which is run
    with Python's lock held, for a thread that waits for that lock.
    """
    for stream in (sys.stdout, sys.__stdout__, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(exit_status)


def main() -> None:
    # At once, before the seconds that the imports take; then make sure that the parent had not gone before.
    die_with_parent()
    if os.getppid() == 1:
        leave(errors.EXIT_FAILED)
    plan, status = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")), StatusFile(Path(sys.argv[2]))
    first_here = os.environ.get("LOCAL_RANK", "0") == "0"
    if first_here:
        begin(status)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    if plan["ngpu"] == 0:
        os.environ.setdefault("DS_ACCELERATOR", "cpu")  # before DeepSpeed is imported, which FunASR does
    try:
        train(plan, int(os.environ.get("RANK", 0)))
    except RecipeError as error:
        if os.environ.get("ASR_TRACEBACK"):
            traceback.print_exc()
        try:
            status.write(FAILED, str(error))
        except OSError:  # a full disk
            print(f"error: {error}", file=sys.__stdout__)
        leave(error.exit_status)
    except KeyboardInterrupt as interrupt:
        saved = type(interrupt) is not KeyboardInterrupt  # trainer.Stopped, where there was something to save
        if first_here and (saved or person_asked.is_set()):
            with contextlib.suppress(OSError):
                status.write(STOPPED if person_asked.is_set() else SAVED)
        leave(errors.EXIT_INTERRUPTED)
    except Exception:
        traceback.print_exc()
        leave(errors.EXIT_FAILED)
    leave(0)


if __name__ == "__main__":
    main()
