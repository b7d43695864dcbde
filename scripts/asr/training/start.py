"""Stage 3: check what can be checked, decide whether to start or go on, and run FunASR's train_ds under torchrun.

``python -m asr.train --exp exp/<tag> --data data/… [--ngpu 1] [--restart]``

What a run is tied to (base model, data, family, architecture) is kept in exp/<tag>/run.json. While that is the same, a
run goes on from its newest checkpoint, with whatever batch size, learning rate or schedule the YAML says now.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import Any

from asr.config import deepspeed
from asr.config.load import flatten
from asr.config.schema import BLOCKS
from asr.core import errors
from asr.core.errors import RecipeError
from asr.core.files import sweep, write_json
from asr.core.out_of_memory import CPU_SIGNS, EXCHANGING, SIGNS, TOO_LARGE, all_too_large
from asr.core.run_folder import read_stage_file
from asr.core.run_records import read_base
from asr.data.manifests import dataset_conf, prepare, warn_of_warm_up
from asr.progress.curves import draw_or_report
from asr.progress.record import FILE as PROGRESS
from asr.training.checkpoints.save_list import SAVES, forget_lost, has_saves
from asr.training.distributed.several_nodes import ALONE, TRAINS, Machines, machines, tell, telling, wait_for_first
from asr.training.torchrun import torchrun

RUN = "run.json"
MOST_BEGUN_ANEW = 5  # times, for want of memory where it cannot be made up for in the step itself


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

    told = ("checkpoints.json", SAVES, "digests.json", RUN, "train.log", "progress.jsonl", "curves.png")
    for path in [*exp.glob("model.pt*"), *exp.glob("state.pt*"), *(exp / name for name in told)]:
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
    if not has_saves(exp):  # begun, not gone on with: what was spent before is no part of it
        (exp / "log" / "stage3.seconds").unlink(missing_ok=True)
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
    (exp / TOO_LARGE).unlink(missing_ok=True)  # the batch may be smaller now, or another program's memory free again
    return True


def failure(exp: Path, values: dict[str, Any], team: Machines = ALONE) -> BaseException:
    """What to raise for a training that failed: nothing more than the status where the worker has told its error."""
    log = team.own(exp / "log" / "torchrun.log")
    text = log.read_text(encoding="utf-8", errors="replace")
    if "\nerror: " in f"\n{text}":
        return SystemExit(errors.EXIT_FAILED)
    signs = [sign for sign in ("OutOfMemoryError", *SIGNS) if sign in text]
    if signs:
        size, whose = values["dataset_conf"]["batch_size"], "memory" if set(signs) <= {*CPU_SIGNS} else "GPU memory"
        return RecipeError(f"out of {whose}: lower dataset_conf.batch_size (now {size}); training goes on with it")
    if "exitcode: -9" in text or "exitcode  : -9" in text:
        then = "the same command goes on from the newest checkpoint"
        return RecipeError(f"a training process was killed, most likely for want of memory; {then}; see {log}")
    return RecipeError(f"training failed; its traceback is in {log}")


def run(exp: Path, team: Machines, processes: int, values: dict[str, Any]) -> None:
    """Train by exp/launch.json, which is written. KeyboardInterrupt of a stopped training, or what failure() says."""
    stopped = team.own(exp / "interrupted")
    stopped.unlink(missing_ok=True)
    tell(exp, team, TRAINS)
    for left in range(MOST_BEGUN_ANEW, -1, -1):
        before = all_too_large(exp)
        status, ending = torchrun(exp, processes, team)
        again = status and EXCHANGING in ending.error and not stopped.exists() and all_too_large(exp) != before
        if not again or team.rendezvous or not left:  # several machines: torchrun's restarts, where they are asked for
            break
        print("begun anew from the newest checkpoint, with smaller parts", flush=True)
    if not team.rank and (exp / PROGRESS).is_file():
        draw_or_report(exp, lambda line: print(f"note: {line}", flush=True))
    if stopped.exists() or (status and ending.saved):
        stopped.unlink(missing_ok=True)
        newest = "the newest checkpoint" if has_saves(exp) else "the beginning (none saved yet)"
        how = "stopped" if ending.saved else "stopped at once, without a save"
        print(f"{how}; the same command goes on from {newest}", flush=True)
        raise KeyboardInterrupt
    if status:
        raise SystemExit(errors.EXIT_FAILED) if ending.error else failure(exp, values, team)


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
    sweep(exp)
    values = read_stage_file(exp, "train")
    if values["train_conf"].get("use_deepspeed"):
        deepspeed.installed()
    base = read_base(exp)
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
