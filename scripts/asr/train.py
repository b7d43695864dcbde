"""Stage 3: check what can be checked, decide whether to start or go on, and run FunASR's train_ds under torchrun.

``python -m asr.train --exp exp/<tag> --data data/… [--ngpu 1] [--restart]``

What a run is tied to (base model, data, family, architecture) is kept in exp/<tag>/run.json. While that is the same, a
run goes on from its newest checkpoint, with whatever batch size, learning rate or schedule the YAML says now.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from asr import deepspeed_conf, errors
from asr.base_model import recorded
from asr.config import flatten, read_stage_file
from asr.digests import DIGESTS
from asr.drawer import draw_last
from asr.errors import RecipeError
from asr.files import write_json
from asr.machines import ALONE, STARTED_ANEW, STOPPED, TRAINS, Machines, machines, tell, telling, wait_for_first
from asr.processes import die_with_parent
from asr.save_list import SAVES, forget_lost, has_saves
from asr.schema import BLOCKS
from asr.training_data import dataset_conf, prepare, warn_of_warm_up

RUN = "run.json"
INSISTING = 3.0  # seconds after which another Ctrl-C does not wait for the save
# The line after which a worker, or torchrun, prints its account of a failure, in a screenful of frames.
NOISE = ("Traceback (most recent call last)", "torch/distributed/elastic/", "ChildFailedError", "--- Logging error ---")


def identity(base: dict[str, Any], values: dict[str, Any], data: dict[str, str]) -> dict[str, Any]:
    """What may not change while a run goes on, in words for the user."""
    return {
        "base model": base["digest"],
        "training data": data["train"],
        "validation data": data["val"],
        "family": values.get("family"),
        "optimizer": values.get("optim", "adam") + (", DeepSpeed" if values["train_conf"].get("use_deepspeed") else ""),
        "architecture": {block: values[block] for block in (*BLOCKS, "lora_conf") if values.get(block)},
        "ranking": values["train_conf"].get("avg_keep_nbest_models_type", "cer"),
    }


def changes(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """``key old -> new`` for each setting that differs."""
    before, after = flatten(old), flatten(new)
    keys = sorted(before.keys() | after.keys())
    return [f"{k} {before.get(k, 'unset')} -> {after.get(k, 'unset')}" for k in keys if before.get(k) != after.get(k)]


def clear(exp: Path) -> None:
    """Remove what an earlier training left: --restart."""
    import shutil

    told = ("checkpoints.json", SAVES, DIGESTS, RUN, "train.log", "progress.jsonl", "curves.png")
    for path in [*exp.glob("*.pt*"), *(exp / name for name in told)]:
        path.unlink(missing_ok=True)
    shutil.rmtree(exp / "tensorboard", ignore_errors=True)


def epochs_done(exp: Path) -> int:
    """Whole epochs of a finished training, 0 of one that was not finished or never begun."""
    path = exp / "checkpoints.json"
    if not path.is_file() or not has_saves(exp):
        return 0
    ranking = json.loads(path.read_text(encoding="utf-8"))
    return ranking["epochs"] if ranking["finished"] else 0


def start_or_continue(exp: Path, tied: dict[str, Any], values: dict[str, Any], restart: bool) -> bool:
    """Decide and say so; False where there is nothing left to train.

    RecipeError when what the run is tied to has changed and --restart was not given.
    """
    if restart:
        clear(exp)
    record, history = exp / RUN, []
    if record.is_file() and (exp / "model.pt").is_file() and not has_saves(exp):
        raise RecipeError(f"{exp}: its checkpoints are of an earlier version of the recipe; give --tag or --restart")
    if record.is_file() and has_saves(exp):
        before = json.loads(record.read_text(encoding="utf-8"))
        moved = [name for name, value in tied.items() if before["tied_to"].get(name) != value]
        if moved:
            raise RecipeError(
                f"{exp}: this run was trained with another {' and '.join(moved)}; keep it and give --tag another"
                " name, or give --restart to throw it away"
            )
        if not values["train_conf"].get("resume", True):
            raise RecipeError(
                f"{exp}: train_conf.resume is false and this tag has checkpoints; give --restart or --tag"
            )
        changed = changes(before["settings"], values)
        if (done := epochs_done(exp)) >= values["train_conf"]["max_epoch"]:
            for name in forget_lost(exp):
                print(f"{name} is gone: it is ranked no more")
            unused = f" ({'; '.join(changed)}: not used)" if changed else ""
            print(f"nothing left to train: {done} epochs are done{unused}; raise train_conf.max_epoch, or --restart")
            return False
        print("going on with this run" + (": " + "; ".join(changed) if changed else ""), flush=True)
        history = before.get("history", []) + ([changed] if changed else [])
    write_json(record, {"tied_to": tied, "settings": values, "history": history})
    return True


def failure(exp: Path, values: dict[str, Any], team: Machines = ALONE) -> BaseException:
    """What to raise for a training that failed: nothing more than the status where the worker has told its error."""
    log = team.own(exp / "log" / "torchrun.log")
    text = log.read_text(encoding="utf-8", errors="replace")
    if "\nerror: " in f"\n{text}":
        return SystemExit(errors.EXIT_FAILED)
    if "OutOfMemoryError" in text:
        size = values["dataset_conf"]["batch_size"]
        return RecipeError(f"out of GPU memory: lower dataset_conf.batch_size (now {size}); training goes on with it")
    if "exitcode: -9" in text or "exitcode  : -9" in text:
        then = "the same command goes on from the newest checkpoint"
        return RecipeError(f"a training process was killed, most likely for want of memory; {then}; see {log}")
    return RecipeError(f"training failed; its traceback is in {log}")


def stop_once(child: subprocess.Popen, mark: Path) -> None:
    """Let Ctrl-C and SIGTERM leave ``mark`` and tell torchrun, which tells the workers; these save first.

    torchrun that is told twice kills its workers at once. So it is in a session of its own, where a terminal's Ctrl-C
    does not reach it as well, and is told again, by a kill, only where a person insists seconds later.
    """
    told: list[float] = []

    def stop(*_: Any) -> None:
        mark.touch()
        if child.poll() is not None:
            return
        if not told:
            told.append(time.monotonic())
            child.terminate()
        elif time.monotonic() - told[0] > INSISTING:
            child.kill()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)


def torchrun(exp: Path, processes: int, team: Machines) -> tuple[int, bool]:
    """Run the worker under torchrun; its own output passes through, torchrun's account of a failure goes to a file.

    Its status, and whether a worker has told an error. Where and how often machines meet, torchrun reads from PET_
    variables itself.
    """
    alone = [] if team.rendezvous else ["--standalone"]
    command = [sys.executable, "-m", "torch.distributed.run", *alone, f"--nproc_per_node={processes}"]
    command += ["-m", "asr.train_worker", str(exp / "launch.json")]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    if int(environment.get("PET_MAX_RESTARTS") or 0):
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
    told = show(child, held, mark)
    return child.wait(), told


def show(child: subprocess.Popen, held: Path, mark: Path) -> bool:
    """Pass on what the workers say, until they end, but for the account of a failure; all of it goes to ``held``.

    Whether an error was among it.
    """
    assert child.stdout is not None
    noise, told, hidden = False, set(), not os.environ.get("ASR_TRACEBACK")
    with open(held, "wb", buffering=0) as log:  # with nothing in a buffer, closing it cannot fail
        for line in child.stdout:
            with contextlib.suppress(OSError):  # a full disk: the worker that has to write more tells of it
                log.write(line.encode())
            if line.startswith(STOPPED):  # asked on another machine, maybe; torchrun would start the workers anew
                if not mark.exists():
                    mark.touch()
                    child.terminate()
                continue
            noise = (noise or (hidden and any(word in line for word in NOISE))) and not line.startswith(STARTED_ANEW)
            is_error = line.startswith("error: ")  # each rank tells the same one
            if (is_error and line not in told) or not (is_error or noise):
                print(line, end="", flush=True)
            told |= {line} if is_error else set()
            noise = noise or is_error  # what follows is the other ranks' tracebacks of a lost connection
    return bool(told)


def run(exp: Path, team: Machines, processes: int, values: dict[str, Any]) -> None:
    """Train by exp/launch.json, which is written. KeyboardInterrupt of a stopped training, or what failure() says."""
    stopped = team.own(exp / "interrupted")
    stopped.unlink(missing_ok=True)
    tell(exp, team, TRAINS)
    status, told = torchrun(exp, processes, team)
    if not team.rank:
        draw_last(exp)
    if stopped.exists():
        stopped.unlink()
        newest = "the newest checkpoint" if has_saves(exp) else "the beginning (none saved yet)"
        print(f"stopped; the same command goes on from {newest}", flush=True)
        raise KeyboardInterrupt
    if status:
        raise SystemExit(errors.EXIT_FAILED) if told else failure(exp, values, team)


def join(exp: Path, team: Machines, ngpu: int) -> None:
    """Train as another machine than the first, which prepares."""
    if not wait_for_first(exp, team):
        print("nothing to train: the first machine has ended")
        return
    values = json.loads((exp / "launch.json").read_text(encoding="utf-8"))["values"]
    run(exp, team, ngpu or values.get("cpu_processes", 1), values)
    print(f"machine {team.rank} of {team.count}: trained; the first tells the result")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m asr.train", description=__doc__.splitlines()[0])
    parser.add_argument("--exp", required=True, type=Path, help="exp/<tag>, with conf/ and base from stage 0")
    parser.add_argument("--data", required=True, type=Path, help="folder with train.jsonl and val.jsonl")
    parser.add_argument("--ngpu", type=int, default=1, help="processes, a GPU each; 0 is the processor")
    parser.add_argument("--restart", action="store_true", help="throw away this tag's checkpoints and begin anew")
    arguments = parser.parse_args()
    team = machines()
    if team.rank:
        join(arguments.exp, team, arguments.ngpu)
        return
    with telling(arguments.exp, team):
        fine_tune(arguments, team)


def fine_tune(arguments: argparse.Namespace, team: Machines) -> None:
    """Prepare, train, and say what became of it."""
    exp = arguments.exp
    values = read_stage_file(exp, "train")
    if values["train_conf"].get("use_deepspeed"):
        deepspeed_conf.installed()
    base = recorded(exp)
    manifests, digests = prepare(exp, arguments.data, values)
    processes = arguments.ngpu or values.get("cpu_processes", 1)
    if arguments.ngpu == 0 and values["train_conf"].get("use_bf16") is True:
        print("note: train_conf.use_bf16 is for GPUs; the processor trains in fp32")
    warn_of_warm_up(values, manifests["train"], processes * team.count)
    if not start_or_continue(exp, identity(base, values, digests), values, arguments.restart):
        return
    plan = {
        "exp": str(exp.absolute()),
        "base": os.path.realpath(exp / "base"),
        "ngpu": arguments.ngpu,
        "values": values,
        "dataset_conf": dataset_conf(values, manifests),
    }
    write_json(exp / "launch.json", plan)
    run(exp, team, processes, values)
    ranking = json.loads((exp / "checkpoints.json").read_text(encoding="utf-8"))
    if not ranking["finished"] or not ranking["checkpoints"]:
        raise RecipeError(f"{exp}: training ended without a ranked checkpoint; see {exp / 'train.log'}")
    best = ranking["checkpoints"][0]
    print(
        f"trained: {len(ranking['checkpoints'])} checkpoints ranked by {ranking['ranked_by']}, best {best['file']}"
        f" ({best['value']:.4f})"
    )


if __name__ == "__main__":
    errors.run(main)
