"""Choose batch_size by measuring: memory and time of real training steps on the corpus's own clips.

``python -m asr.plan --exp exp/<tag> --data data/… [--memory-gb 23.5] [--ngpu 1]``, after stages 0 and 1.

Every size is tried in a process of its own (plan_worker.py): the model, the optimizer and the precision that stage 3
would use; first the batches that take the most memory, then ordinary ones for time. Prints a table, the largest
batch_size that fits, the one to use and why, and what the learning rate and the warm-up become. Nothing of the run is
changed; exp/<tag>/plan.json keeps what was measured.

The largest is seldom the best: it takes few, large steps. ``choose`` has the fastest that keeps enough updates an epoch
and a learning rate near the YAML's. Where there is no GPU, ``--memory-gb`` plans by arithmetic, without times.

The rule: the learning rate grows with the square root of the batch (Malladi et al., "On the SDEs and scaling rules for
adaptive gradient algorithms", NeurIPS 2022; for sgd in proportion: Goyal et al., arXiv:1706.02677), and the warm-up
takes the same amount of audio, so its steps shrink as the batch grows. It is a starting point and no promise.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from asr.core.errors import RecipeError
from asr.core.files import write_json
from asr.core.manifest import Utterance
from asr.core.processes import die_with_parent
from asr.core.run_folder import RunFolder, read_stage_file
from asr.core.run_records import read_base
from asr.core.text_tables import text_table
from asr.data.manifests import dataset_conf, prepare, slowest_length
from asr.progress.record import clock
from asr.system.machine import gpus, memory_of

MARGIN = 0.95  # of the memory: fragmentation, and text longer than that of the epoch that was looked at
STEP = 500  # frames: sizes are multiples of it
FINE = 0.1  # the search ends when the largest size that fits is known this well
LARGEST = 1 << 20  # frames: 2.9 hours of audio in one batch
# On the mini corpus (22 updates an epoch) the largest batch that fits gave 26.5 % CER where the YAML's gave 21.0 (one
# seed). 100 an epoch are 5,000 in conf/finetune_3090.yaml's 50 epochs.
UPDATES = 100  # an epoch, at least, for a batch that is larger than the YAML's
FASTER = 2  # times the YAML's learning rate, at most: the rule holds near what was tried (4 x batch for Adam)
AS_FAST = 1.1  # times the fastest epoch: a smaller gain is not worth leaving the YAML's batch

Row = dict[str, Any]  # of a batch_size, what plan_worker.measure returns


def rounded(size: float) -> int:
    """Return ``size`` as a multiple of STEP, downwards."""
    return max(int(size) // STEP, 1) * STEP


def search(measure: Callable[[int], Row], first: int, least: int, most: int) -> list[Row]:
    """Return what ``measure`` says of each size: doubled while it fits, halved until it does, then bisected.

    Args:
        first: the size to begin with.
        least: below which the longest clip does not fit into a batch.
        most: above which a batch would hold the whole corpus.
    """
    tried: dict[int, Row] = {}

    def fits(size: int) -> bool:
        if size not in tried:
            tried[size] = measure(size)
        return tried[size]["fits"]

    size = min(max(first, least), most)
    while fits(size) and size < most:
        size = min(size * 2, most)
    while not any(row["fits"] for row in tried.values()) and size > least:
        size = max(rounded(size / 2), least)
        fits(size)
    while True:
        low = max((size for size in tried if fits(size)), default=0)
        high = min((size for size in tried if not fits(size)), default=low)
        middle = rounded((low + high) / 2)
        if not low or high - low <= max(FINE * low, STEP) or middle <= low:
            return [tried[size] for size in sorted(tried)]
        fits(middle)


def scaled(values: dict[str, Any], batch_size: int) -> dict[str, Any]:
    """Return the overrides that go with another batch_size, by the rule that the module states."""
    ratio = batch_size / values["dataset_conf"]["batch_size"]
    rate = values["optim_conf"]["lr"] * (ratio if values["optim"] == "sgd" else ratio**0.5)
    return {
        "dataset_conf.batch_size": batch_size,
        "optim_conf.lr": float(f"{rate:.2g}"),
        "scheduler_conf.warmup_steps": max(round(values["scheduler_conf"]["warmup_steps"] / ratio), 1),
    }


def updates(row: Row, values: dict[str, Any], processes: int) -> int:
    """Return the updates of the weights an epoch."""
    return row["steps"] // (processes * values["train_conf"]["accum_grad"])


def too_large(row: Row, values: dict[str, Any], processes: int) -> str:
    """Return why a size is too large to train well, or nothing: too few updates, or by ``scaled`` too high a rate."""
    count = updates(row, values, processes)
    if row["batch_size"] > values["dataset_conf"]["batch_size"] and count < UPDATES:
        return f"{count} updates an epoch, fewer than {UPDATES}"
    faster = scaled(values, row["batch_size"])["optim_conf.lr"] / values["optim_conf"]["lr"]
    if faster > FASTER * 1.01:  # rounded
        return f"it takes {faster:.1f} x the YAML's learning rate, more than {FASTER} x"
    return ""


def choose(tried: list[Row], values: dict[str, Any], processes: int = 1) -> tuple[Row, str]:
    """Return the measured size to use, and why: of those that fit, the fastest that is not too large to train well.

    Among those nearly as fast (AS_FAST) it is the one nearest to the YAML's.
    """
    fitting = [row for row in tried if row["fits"]]
    left = [row for row in fitting if not too_large(row, values, processes)]
    if not left:
        why = too_large(fitting[0], values, processes)
        return fitting[0], f"the smallest tried that fits, and still too large: {why}"
    seconds = {row["batch_size"]: epoch_seconds(row, values)[0] for row in left}
    near = [row for row in left if seconds[row["batch_size"]] <= AS_FAST * min(seconds.values())]
    best = min(near, key=lambda row: abs(math.log(row["batch_size"] / values["dataset_conf"]["batch_size"])))
    why = "the fastest, or the nearest to the YAML's of those as fast"
    if "seconds_per_step" not in best:
        why = "the nearest to the YAML's; arithmetic knows no times"
    if largest := too_large(fitting[-1], values, processes):
        why += f"; the largest that fits is too large: {largest}"
    return best, why


def epoch_seconds(row: Row, values: dict[str, Any]) -> tuple[float, bool]:
    """Return what an epoch takes, and whether it is reading and features that take it, not the steps.

    Without times the audio with its padding stands for them.
    """
    if "seconds_per_step" not in row:
        return row["audio_seconds"] / (1 - row["padding"]), False
    steps = row["steps"] * row["seconds_per_step"]
    reading = row["audio_seconds"] * row["reading_seconds_per_second"] / max(values["dataset_conf"]["num_workers"], 1)
    return max(steps, reading), reading > steps


def table(tried: list[Row], values: dict[str, Any]) -> str:
    """Return the table of what was measured."""
    rows = []
    for row in tried:
        cells = [f"{row['batch_size']:,}", "", "", "", "", "", "does not fit"]
        if row["fits"]:
            cells[1:] = f"{row['steps']:,}", f"{row['padding']:.1%}", "-", "-", f"{row['peak_gb']:.2f}", "-"
        if "seconds_per_step" in row:
            seconds, reading = epoch_seconds(row, values)
            speed = row["audio_seconds"] / row["steps"] / row["seconds_per_step"]
            cells[3:5] = f"{row['seconds_per_step']:.3f}", f"{speed:,.0f}"
            cells[6] = clock(seconds) + (" (reading)" if reading else "")
        rows.append(cells)
    return text_table(("batch_size", "steps", "padding", "s/step", "audio s/s", "peak GB", "an epoch"), rows, left=(6,))


def tell(
    tried: list[Row], values: dict[str, Any], memory_gb: float, longest: Utterance, processes: int = 1
) -> dict[str, Any]:
    """Print the table and the choice; return the overrides. RecipeError where nothing fits."""
    print(table(tried, values))
    fitting = [row for row in tried if row["fits"]]
    if not fitting:
        raise RecipeError(
            f"no batch that holds the longest clip ({longest.source}, {longest.duration:.1f} s) fits in {memory_gb:g}"
            " GB; set dataset_conf.max_source_length to leave out the longest clips"
        )
    best, why = choose(tried, values, processes)
    if any(epoch_seconds(row, values)[1] for row in fitting):
        print("(reading): the step waits for audio and features; raise dataset_conf.num_workers")
    chosen = scaled(values, best["batch_size"])
    long = f", {clock(epoch_seconds(best, values)[0])} an epoch" if "seconds_per_step" in best else ""
    print(f"largest that fits: {fitting[-1]['batch_size']:,}, on {best['device']}")
    print(f"chosen: {best['batch_size']:,}{long}, {updates(best, values, processes):,} updates in it: {why}")
    print("use: " + " ".join(f"++{key}={value:g}" for key, value in chosen.items()))
    return chosen


def measure(plan: dict[str, Any], size: int) -> Row:
    """Return what ``asr.training.plan_worker`` measures, in a process of its own, which memory may run out of."""
    print(f"trying batch_size {size:,} …", file=sys.stderr, flush=True)
    child = subprocess.run(
        [sys.executable, "-m", "asr.training.plan_worker"],
        input=json.dumps({**plan, "dataset_conf": {**plan["dataset_conf"], "batch_size": size}}),
        capture_output=True,
        text=True,
        preexec_fn=die_with_parent,
    )
    if child.returncode == 0:
        return json.loads(child.stdout.splitlines()[-1])
    if child.returncode == -signal.SIGKILL:  # on the CPU, out of memory ends in a kill
        return {"batch_size": size, "fits": False, "why": "killed by signal 9"}
    lines = child.stderr.strip().splitlines() or [f"ended with status {child.returncode}"]
    errors = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    raise RecipeError(f"batch_size {size}: {(errors or lines)[-1]}")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m asr.plan", description=__doc__.splitlines()[0])
    parser.add_argument("--exp", required=True, type=Path, help="exp/<tag>, with conf/ and base from stage 0")
    parser.add_argument("--data", required=True, type=Path, help="folder with train.jsonl and val.jsonl, from stage 1")
    parser.add_argument("--ngpu", type=int, default=1, help="0 is the CPU (default: one GPU)")
    parser.add_argument("--memory-gb", type=float, help="of a card, which need not be here (default: this one's)")
    parser.add_argument("--only", help="batch sizes to try, 6000,24000,…, in place of a search")
    arguments = parser.parse_args()
    values = read_stage_file(arguments.exp, "train")
    read_base(arguments.exp)
    if values["dataset_conf"]["batch_type"] == "example":
        raise RecipeError("dataset_conf.batch_type is example: only batches counted in frames can be planned")
    memory_gb = MARGIN * (arguments.memory_gb or memory_of(arguments.ngpu))
    with tempfile.TemporaryDirectory(prefix="asr.plan.") as folder:
        tried, longest = try_sizes(arguments, values, memory_gb, Path(folder))
    chosen = tell(tried, values, memory_gb, longest, arguments.ngpu or values["cpu_processes"])
    write_json(RunFolder(arguments.exp).batch_plan, {"memory_gb": memory_gb, "tried": tried, "chosen": chosen})


def try_sizes(
    arguments: argparse.Namespace, values: dict[str, Any], memory_gb: float, folder: Path
) -> tuple[list[Row], Utterance]:
    """Return a row for each size that was tried, and the longest clip. ``folder`` stands for the run's."""
    own, by_arithmetic = values["dataset_conf"], arguments.ngpu > 0 and not gpus()
    manifests, _ = prepare(folder, arguments.data, {**values, "dataset_conf": {**own, "batch_size": LARGEST}})
    longest = max(manifests["train"], key=lambda clip: clip.source_len)
    frames = sum(clip.source_len for clip in manifests["train"])
    print(
        f"{len(manifests['train']):,} training clips, {frames / 360000:.2f} h, longest {longest.duration:.1f} s;"
        f" planning for {memory_gb / MARGIN:.1f} GB, {1 - MARGIN:.0%} of it kept free",
        flush=True,
    )
    if by_arithmetic:
        print("no GPU here: by arithmetic, in fp32, which no GPU has confirmed (bf16 takes less); no times", flush=True)
    plan = {
        "exp": str(folder),
        "base": os.path.realpath(RunFolder(arguments.exp).base),
        "ngpu": 0 if by_arithmetic else arguments.ngpu,
        "by_arithmetic": by_arithmetic,
        "memory_gb": memory_gb,
        "values": values,
        "dataset_conf": dataset_conf(values, manifests),
    }
    if arguments.only:
        return [measure(plan, int(size)) for size in arguments.only.split(",")], longest
    least = -(-slowest_length(longest.source_len, own) // STEP) * STEP
    most = min(max(rounded(frames / 4), least), LARGEST)
    return search(lambda size: measure(plan, size), own["batch_size"], least, most), longest
