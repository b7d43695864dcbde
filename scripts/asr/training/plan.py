"""Choose batch_size by measuring: memory and time of real training steps on the corpus's own clips.

``python -m asr.plan --exp exp/<tag> --data data/… [--memory-gb 23.5] [--ngpu 1]``, after stages 0 and 1.

Every size is tried in a process of its own: the model, the optimizer and the precision that stage 3 would use; first
the batches that take the most memory (the most frames, the most clips, the longest clip, the most text), then ordinary
ones for time. Prints a table, the largest batch_size that fits, the one to use and why, and what the learning rate and
the warm-up become. Nothing of the run is changed; exp/<tag>/plan.json keeps what was measured.

The largest is seldom the best: it takes few, large steps. ``choose`` has the fastest that keeps enough updates an epoch
and a learning rate near the YAML's. Where there is no GPU, ``--memory-gb`` plans by arithmetic: bytes of parameters,
gradients and optimizer state, and of the activations that a few clips' step on the CPU keeps, scaled to the batch.
Such a plan knows no times.

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
from asr.core.run_folder import read_stage_file
from asr.core.run_records import read_base
from asr.data.manifests import dataset_conf, prepare, slowest_length
from asr.progress.reporter import clock

MARGIN = 0.95  # of the memory: fragmentation, and text longer than that of the epoch that was looked at
STEP = 500  # frames: sizes are multiples of it
FINE = 0.1  # the search ends when the largest size that fits is known this well
LARGEST = 1 << 20  # frames: 2.9 hours of audio in one batch
# On the mini corpus (22 updates an epoch) the largest batch that fits gave 26.5 % CER where the YAML's gave 21.0 (one
# seed). 100 an epoch are 5,000 in conf/finetune_3090.yaml's 50 epochs.
UPDATES = 100  # an epoch, at least, for a batch that is larger than the YAML's
FASTER = 2  # times the YAML's learning rate, at most: the rule holds near what was tried (4 x batch for Adam)
AS_FAST = 1.1  # times the fastest epoch: a smaller gain is not worth leaving the YAML's batch

Measure = Callable[[int], dict[str, Any]]


def rounded(size: float) -> int:
    """Return ``size`` as a multiple of STEP, downwards."""
    return max(int(size) // STEP, 1) * STEP


def search(measure: Measure, first: int, least: int, most: int) -> list[dict[str, Any]]:
    """Return what ``measure`` says of each size: doubled while it fits, halved until it does, then bisected.

    Args:
        measure: of a batch_size gives at least {"batch_size", "fits"}.
        first: the size to begin with.
        least: below which the longest clip does not fit into a batch.
        most: above which a batch would hold the whole corpus.
    """
    tried: dict[int, dict[str, Any]] = {}

    def fits(size: int) -> bool:
        if size not in tried:
            tried[size] = measure(size)
        return tried[size]["fits"]

    low, high = 0, None  # the largest that fits, the smallest that does not
    size = min(max(first, least), most)
    while low == 0 or high is None:
        if fits(size):
            low = size
            if size >= most:
                break
            size = min(size * 2, most)
        else:
            high = size
            if size <= least:
                break
            size = max(rounded(size / 2), least)
        if size in tried:
            break
    while low and high and high - low > max(FINE * low, STEP):
        middle = rounded((low + high) / 2)
        if middle <= low:
            break
        low, high = (middle, high) if fits(middle) else (low, middle)
    return [tried[size] for size in sorted(tried)]


def scaled(values: dict[str, Any], batch_size: int) -> dict[str, Any]:
    """Return the overrides that go with another batch_size, by the rule that the module states."""
    ratio = batch_size / values["dataset_conf"]["batch_size"]
    optimizer = values.get("optim", "adam")
    rate = values["optim_conf"]["lr"] * (ratio if optimizer == "sgd" else ratio**0.5)
    warm_up = values.get("scheduler_conf", {}).get("warmup_steps", 25000)
    return {
        "dataset_conf.batch_size": batch_size,
        "optim_conf.lr": float(f"{rate:.2g}"),
        "scheduler_conf.warmup_steps": max(round(warm_up / ratio), 1),
    }


def updates(row: dict[str, Any], values: dict[str, Any], processes: int) -> int:
    """Return the updates of the weights an epoch."""
    return row["steps"] // (processes * values["train_conf"].get("accum_grad", 1))


def choose(tried: list[dict[str, Any]], values: dict[str, Any], processes: int = 1) -> tuple[dict[str, Any], str]:
    """Return the measured size to use, and why: of those that fit, the fastest that is not too large to train well.

    Too large is a batch above the YAML's that makes fewer than UPDATES updates an epoch, or by ``scaled`` more than
    FASTER times the learning rate. Among those nearly as fast (AS_FAST) it is the one nearest to the YAML's. Without
    times the audio with its padding stands for them.
    """
    own, rate = values["dataset_conf"]["batch_size"], values["optim_conf"]["lr"]
    workers = values["dataset_conf"].get("num_workers", 4)
    refused = {}
    for row in (fitting := [row for row in tried if row["fits"]]):
        count, faster = updates(row, values, processes), scaled(values, row["batch_size"])["optim_conf.lr"] / rate
        if row["batch_size"] > own and count < UPDATES:
            refused[row["batch_size"]] = f"{count} updates an epoch, fewer than {UPDATES}"
        elif faster > FASTER * 1.01:  # rounded
            refused[row["batch_size"]] = f"it takes {faster:.1f} x the YAML's learning rate, more than {FASTER} x"
    left = [row for row in fitting if row["batch_size"] not in refused]
    if not left:
        return fitting[0], f"the smallest tried that fits, and still too large: {refused[fitting[0]['batch_size']]}"
    cost = {
        row["batch_size"]: hours(row, workers)[0]
        if "seconds_per_step" in row
        else row["audio_seconds"] / (1 - row["padding"])
        for row in left
    }
    near = [row for row in left if cost[row["batch_size"]] <= AS_FAST * min(cost.values())]
    best = min(near, key=lambda row: abs(math.log(row["batch_size"] / own)))
    why = "the fastest, or the nearest to the YAML's of those as fast"
    if "seconds_per_step" not in best:
        why = "the nearest to the YAML's; arithmetic knows no times"
    if largest := refused.get(fitting[-1]["batch_size"]):
        why += f"; the largest that fits is too large: {largest}"
    return best, why


def in_a_process(plan: dict[str, Any], folder: Path, memory_gb: float) -> Measure:
    """Return a measure that runs ``asr.training.plan_worker`` in a process of its own, which memory may run out of."""

    def measure(size: int) -> dict[str, Any]:
        print(f"trying batch_size {size:,} …", file=sys.stderr, flush=True)
        asked, answer = folder / f"{size}.json", folder / f"{size}.answer.json"
        conf = {**plan["dataset_conf"], "batch_size": size}
        write_json(asked, {**plan, "dataset_conf": conf, "memory_gb": memory_gb, "answer": str(answer)})
        with open(folder / f"{size}.log", "w+", encoding="utf-8") as log:
            child = subprocess.run(
                [sys.executable, "-m", "asr.training.plan_worker", str(asked)],
                stdout=log,
                stderr=subprocess.STDOUT,
                preexec_fn=die_with_parent,
            )
            log.seek(0)
            output = log.read()
        if answer.is_file():
            return json.loads(answer.read_text(encoding="utf-8"))
        if child.returncode == -signal.SIGKILL:  # on the CPU, out of memory ends in a kill
            return {"batch_size": size, "fits": False, "why": f"killed by signal {-child.returncode}"}
        errors = [line for line in output.splitlines() if line.startswith("error: ")]
        raise RecipeError(
            errors[-1].removeprefix("error: ") if errors else f"batch_size {size}: {output[-600:].strip()}"
        )

    return measure


def hours(row: dict[str, Any], workers: int) -> tuple[float, bool]:
    """Return the hours that an epoch takes, and whether it is reading and features that take them, not the steps."""
    steps = row["steps"] * row["seconds_per_step"]
    reading = row["audio_seconds"] * row["reading_seconds_per_second"] / max(workers, 1)
    return max(steps, reading) / 3600, reading > steps


def table(tried: list[dict[str, Any]], workers: int) -> list[str]:
    """Return the lines of the table; a size that does not fit has no more than that."""
    lines = [
        f"{'batch_size':>10} {'steps':>8} {'padding':>8} {'s/step':>8} {'audio s/s':>10} {'peak GB':>8} {'an epoch':>9}"
    ]
    for row in tried:
        if not row["fits"]:
            lines.append(f"{row['batch_size']:>10,} does not fit")
            continue
        if "seconds_per_step" not in row:
            start = f"{row['batch_size']:>10,} {row['steps']:>8,} {row['padding']:>8.1%}"
            lines.append(f"{start} {'-':>8} {'-':>10} {row['peak_gb']:>8.2f} {'-':>9}")
            continue
        long, reading = hours(row, workers)
        speed = row["audio_seconds"] / row["steps"] / row["seconds_per_step"]
        lines.append(
            f"{row['batch_size']:>10,} {row['steps']:>8,} {row['padding']:>8.1%}"
            f" {row['seconds_per_step']:>8.3f}"
            f" {speed:>10,.0f} {row['peak_gb']:>8.2f} {clock(long * 3600):>9}{' (reading)' if reading else ''}"
        )
    return lines


def tell(
    tried: list[dict[str, Any]], values: dict[str, Any], memory_gb: float, longest: Utterance, processes: int = 1
) -> dict[str, Any]:
    """Print the table and the choice; return the overrides. RecipeError where nothing fits."""
    workers = values["dataset_conf"].get("num_workers", 4)
    print("\n".join(table(tried, workers)))
    fitting = [row for row in tried if row["fits"]]
    if not fitting:
        raise RecipeError(
            f"no batch that holds the longest clip ({longest.source}, {longest.duration:.1f} s) fits in {memory_gb:g}"
            " GB; set dataset_conf.max_source_length to leave out the longest clips"
        )
    best, why = choose(tried, values, processes)
    if any("seconds_per_step" in row and hours(row, workers)[1] for row in fitting):
        print("(reading): the step waits for audio and features; raise dataset_conf.num_workers")
    chosen = scaled(values, best["batch_size"])
    long = f", {clock(hours(best, workers)[0] * 3600)} an epoch" if "seconds_per_step" in best else ""
    print(f"largest that fits: {fitting[-1]['batch_size']:,}, on {best['device']}")
    print(f"chosen: {best['batch_size']:,}{long}, {updates(best, values, processes):,} updates in it: {why}")
    print("use: " + " ".join(f"++{key}={value:g}" for key, value in chosen.items()))
    return chosen


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m asr.plan", description=__doc__.splitlines()[0])
    parser.add_argument("--exp", required=True, type=Path, help="exp/<tag>, with conf/ and base from stage 0")
    parser.add_argument("--data", required=True, type=Path, help="folder with train.jsonl and val.jsonl, from stage 1")
    parser.add_argument("--ngpu", type=int, default=1, help="0 is the CPU (default: one GPU)")
    parser.add_argument(
        "--memory-gb", type=float, help="for a card of this size, which need not be here (default: this one's)"
    )
    parser.add_argument("--only", help="batch sizes to try, 6000,24000,…, in place of a search")
    arguments = parser.parse_args()
    values = read_stage_file(arguments.exp, "train")
    read_base(arguments.exp)
    if values["dataset_conf"].get("batch_type", "token") == "example":
        raise RecipeError("dataset_conf.batch_type is example: only batches counted in frames can be planned")
    from asr.system.machine import gpus, memory_of, visible

    by_arithmetic = arguments.ngpu > 0 and not visible(gpus(), os.environ.get("CUDA_VISIBLE_DEVICES"))
    memory_gb = (arguments.memory_gb or memory_of(arguments.ngpu)) * MARGIN
    with tempfile.TemporaryDirectory(prefix="asr.plan.") as name:
        folder = Path(name)
        everything = {**values, "dataset_conf": {**values["dataset_conf"], "batch_size": LARGEST}}
        manifests, _ = prepare(folder, arguments.data, everything)
        longest = max(manifests["train"], key=lambda clip: clip.source_len)
        least = -(-slowest_length(longest.source_len, values["dataset_conf"]) // STEP) * STEP
        whole = sum(clip.source_len for clip in manifests["train"])
        plan = {
            "exp": str(folder.absolute()),
            "base": os.path.realpath(arguments.exp / "base"),
            "ngpu": 0 if by_arithmetic else arguments.ngpu,
            "by_arithmetic": by_arithmetic,
            "values": values,
            "dataset_conf": dataset_conf(values, manifests),
        }
        print(
            f"{len(manifests['train']):,} training clips, {whole / 360000:.2f} h, longest {longest.duration:.1f} s;"
            f" planning for {memory_gb / MARGIN:.1f} GB, {1 - MARGIN:.0%} of it kept free",
            flush=True,
        )
        if by_arithmetic:
            print(
                "no GPU here: by arithmetic, in fp32, which no GPU has confirmed (bf16 takes less); no times",
                flush=True,
            )
        measure = in_a_process(plan, folder, memory_gb)
        if arguments.only:
            tried = [measure(int(size)) for size in arguments.only.split(",")]
        else:
            most = max(rounded(whole / 4), least)
            tried = search(measure, values["dataset_conf"]["batch_size"], least, min(most, LARGEST))
        processes = arguments.ngpu or values.get("cpu_processes", 1)
        chosen = tell(tried, values, memory_gb, longest, processes)
    write_json(arguments.exp / "plan.json", {"memory_gb": memory_gb, "tried": tried, "chosen": chosen})
