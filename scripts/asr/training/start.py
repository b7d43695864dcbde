"""Stage 3: check what can be checked, decide whether to start or to resume, and run FunASR's train_ds under torchrun.

``python -m asr.train --exp exp/<tag> --data data/… [--ngpu 1] [--restart]``

What a run is tied to (base model, data, family, architecture) is kept in exp/<tag>/run.json. While that is the same, a
run is resumed from its newest checkpoint, with whatever batch size, learning rate or schedule the YAML says now.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import sys
from pathlib import Path
from typing import Any

from asr.config import deepspeed
from asr.config.load import flatten
from asr.config.schema import BLOCKS
from asr.core import run_records
from asr.core.errors import RecipeError
from asr.core.files import sweep
from asr.core.out_of_memory import EXCHANGING, all_too_large
from asr.core.run_folder import RunFolder, read_stage_file
from asr.data.manifests import dataset_conf, prepare, warn_of_warm_up
from asr.progress.curves import draw_or_report
from asr.training.distributed import several_nodes
from asr.training.torchrun import SAVED, STOPPED, StatusFile, torchrun


def identity(base: dict[str, Any], values: dict[str, Any], data: dict[str, str]) -> dict[str, Any]:
    """Return what may not change when a run is resumed, in words for the user."""
    conf = values["train_conf"]
    return {
        "base model": base["digest"],
        "training data": data["train"],
        "validation data": data["val"],
        "family": values["family"],
        "optimizer": values["optim"] + (", DeepSpeed" if conf["use_deepspeed"] else ""),
        "architecture": {block: values[block] for block in (*BLOCKS, "lora_conf") if values.get(block)},
        "ranking": conf["avg_keep_nbest_models_type"],
    }


def changes(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """Return ``key old -> new`` for each setting that differs."""
    before, after = flatten(old), flatten(new)
    keys = sorted(before.keys() | after.keys())
    return [f"{k} {before.get(k, 'unset')} -> {after.get(k, 'unset')}" for k in keys if before.get(k) != after.get(k)]


def clear(exp: Path) -> None:
    """Remove what an earlier training left: --restart."""
    run = RunFolder(exp)
    records = (run.ranking, run.resume_points, run.digests, run.run_record, run.train_log, run.progress, run.curves)
    for path in [*run.checkpoints(), *records]:
        path.unlink(missing_ok=True)
    shutil.rmtree(run.tensorboard, ignore_errors=True)


def start_or_resume(exp: Path, tied: dict[str, Any], values: dict[str, Any], restart: bool) -> bool:
    """Decide and say so; False where there is nothing left to train.

    RecipeError when what the run is tied to has changed and --restart was not given.
    """
    if restart:
        clear(exp)
    run, history = RunFolder(exp), []
    if not run_records.has_resume_points(exp):  # started, not resumed: the time that was spent before is no part of it
        run.stage_seconds(3).unlink(missing_ok=True)
    elif run.run_record.is_file():
        before = run_records.read_run(exp)
        moved = [name for name, value in tied.items() if before["tied_to"].get(name) != value]
        if moved:
            raise RecipeError(
                f"{exp}: this run was trained with another {' and '.join(moved)}; keep it and give --tag another"
                " name, or give --restart to throw it away"
            )
        if not values["train_conf"]["resume"]:
            raise RecipeError(
                f"{exp}: train_conf.resume is false and this tag has checkpoints; give --restart or --tag"
            )
        changed = changes(before["settings"], values)
        ranking = run_records.read_ranking(exp) if run.ranking.is_file() else None
        if ranking and ranking["finished"] and ranking["epochs"] >= values["train_conf"]["max_epoch"]:
            done, unused = ranking["epochs"], f" ({'; '.join(changed)}: not used)" if changed else ""
            print(f"nothing left to train: {done} epochs are done{unused}; raise train_conf.max_epoch, or --restart")
            return False
        print("resuming this run" + (": " + "; ".join(changed) if changed else ""), flush=True)
        history = before["history"] + ([changed] if changed else [])
    run_records.write_run(exp, {"tied_to": tied, "settings": values, "history": history})
    run.oom_limits.unlink(missing_ok=True)  # the batch may be smaller now, or another program's memory free again
    return True


def failure(log: Path) -> RecipeError:
    """Return the error of a training that failed without a word: by what torchrun wrote to ``log``."""
    if re.search(r"exitcode *: -9", log.read_text(encoding="utf-8", errors="replace")):
        then = "the same command resumes from the newest checkpoint"
        return RecipeError(f"a training process was killed, most likely out of memory; {then}; see {log}")
    return RecipeError(f"training failed; its traceback is in {log}")


def run(exp: Path, team: several_nodes.Machines, processes: int) -> None:
    """Train by exp/launch.json, which is written. KeyboardInterrupt of a training that was stopped."""
    folder = RunFolder(exp)
    status, log = StatusFile(team.own(folder.log / "worker.json")), team.own(folder.log / "torchrun.log")
    status.clear()
    several_nodes.tell(exp, team, several_nodes.TRAINS)
    while True:
        before = all_too_large(exp)
        code = torchrun(folder.launch_plan, processes, status, log, **team.torchrun())
        again = code and EXCHANGING in status.error and not status.is_stopped and all_too_large(exp) != before
        if not again or team.rendezvous:  # several machines: torchrun's restarts, where they are asked for
            break
        print(f"{status.error}\nrestarted from the newest checkpoint, with smaller parts", flush=True)
    if os.environ.get("ASR_TRACEBACK"):
        print(log.read_text(encoding="utf-8", errors="replace"), file=sys.stderr)
    if not team.rank and folder.progress.is_file():
        draw_or_report(exp, lambda line: print(f"note: {line}", flush=True))
    if status.is_stopped or (code and status.state == SAVED):
        say_stopped(exp, status)
        raise KeyboardInterrupt
    if code:
        raise RecipeError(status.error) if status.error else failure(log)


def say_stopped(exp: Path, status: StatusFile) -> None:
    """Say what a stopped training is resumed from; to nobody, where that is why it was stopped."""
    newest = "the newest checkpoint" if run_records.has_resume_points(exp) else "the beginning (none saved yet)"
    how = "stopped" if status.state in (SAVED, STOPPED) else "stopped at once, without a save"
    try:
        print(f"{how}; the same command resumes from {newest}", flush=True)
    except BrokenPipeError:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - for what is said from here on


def join(exp: Path, team: several_nodes.Machines, ngpu: int) -> None:
    """Train as another machine than the first, which prepares."""
    if not several_nodes.wait_for_first(exp, team):
        print("nothing to train: the first machine has ended")
        return
    run(exp, team, ngpu or run_records.read_launch_plan(exp)["values"]["cpu_processes"])
    print(f"machine {team.rank} of {team.count}: trained; the first tells the result")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m asr.train", description=__doc__.splitlines()[0])
    parser.add_argument("--exp", required=True, type=Path, help="exp/<tag>, with conf/ and base from stage 0")
    parser.add_argument("--data", required=True, type=Path, help="folder with train.jsonl and val.jsonl")
    parser.add_argument("--ngpu", type=int, default=1, help="processes, a GPU each; 0 is the CPU")
    parser.add_argument("--restart", action="store_true", help="throw away this tag's checkpoints and start anew")
    arguments = parser.parse_args()
    team = several_nodes.machines()
    if team.rank:
        join(arguments.exp, team, arguments.ngpu)
        return
    with several_nodes.telling(arguments.exp, team):
        fine_tune(arguments, team)


def fine_tune(arguments: argparse.Namespace, team: several_nodes.Machines) -> None:
    """Prepare, train, and say what became of it."""
    exp = arguments.exp
    sweep(exp)
    values = read_stage_file(exp, "train")
    if values["train_conf"]["use_deepspeed"]:
        deepspeed.installed()
    base = run_records.read_base(exp)
    manifests, digests = prepare(exp, arguments.data, values)
    processes = arguments.ngpu or values["cpu_processes"]
    if arguments.ngpu == 0 and values["train_conf"]["use_bf16"] is True:
        print("note: train_conf.use_bf16 is for GPUs; the CPU trains in fp32")
    warn_of_warm_up(values, manifests["train"], processes * team.count)
    if not start_or_resume(exp, identity(base, values, digests), values, arguments.restart):
        return
    plan: run_records.LaunchPlan = {
        "exp": str(exp.absolute()),
        "base": os.path.realpath(RunFolder(exp).base),
        "ngpu": arguments.ngpu,
        "values": values,
        "dataset_conf": dataset_conf(values, manifests),
    }
    run_records.write_launch_plan(exp, plan)
    run(exp, team, processes)
    ranking = run_records.read_ranking(exp)
    if not ranking["finished"] or not ranking["checkpoints"]:
        raise RecipeError(f"{exp}: training ended without a ranked checkpoint; see {RunFolder(exp).train_log}")
    best = ranking["checkpoints"][0]
    print(
        f"trained: {len(ranking['checkpoints'])} checkpoints ranked by {ranking['ranked_by']}, best {best['file']}"
        f" ({best['value']:.4f})"
    )
