"""Time to quality: when does a training reach the CER at which the manual's settings end?

    python benchmarks/benchmark_quality.py [--epochs 50] [--into DIR] [--ngpu 1]

On the mini corpus and its base model, one training after the other in a copy of the repository: the manual's settings
as they are, the manual's with the learning rate and warm-up of conf/mini.yaml, and conf/mini.yaml. On the processor
that takes two processes where it may, as the manual's do not; on a GPU, which a small batch does not fill, it is
trained with four and sixteen times the batch as well, learning rate and warm-up by the planner's rule.
Seconds are those of stage 3 from its first step, validations included (all decode the validation set, which FunASR's
would not). CER is that of the validation set, single checkpoints.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "scripts")]
from asr.config.load import resolve  # noqa: E402 - found through the lines above
from asr.core.text_tables import markdown_table  # noqa: E402
from asr.training.plan import scaled  # noqa: E402
from tests.recipe import Recipe  # noqa: E402

MANUAL = ("--conf", "conf/finetune_manual.yaml", "--base", "mini/base")
COMMON = ("++train_conf.avg_keep_nbest_models_type=cer", "++train_conf.log_interval=5")
RUNS: dict[str, tuple[str, ...]] = {
    "the manual's settings": MANUAL,
    "the manual's, lr 0.001, warm-up 60": (*MANUAL, "++optim_conf.lr=0.001", "++scheduler_conf.warmup_steps=60"),
    "conf/mini.yaml, one process": ("--conf", "conf/mini.yaml", "++cpu_processes=1"),
}
ON_PROCESSOR = {"conf/mini.yaml": ("--conf", "conf/mini.yaml")}


def larger_batches() -> dict[str, tuple[str, ...]]:
    """conf/mini.yaml at 4 and 16 times its batch."""
    values = resolve(ROOT / "conf/mini.yaml", [])
    found = {}
    for times in (4, 16):
        changes = scaled(values, times * values["dataset_conf"]["batch_size"])
        words = (f"++{name}={value}" for name, value in changes.items())
        found[f"conf/mini.yaml, {times} x batch"] = ("--conf", "conf/mini.yaml", *words)
    return found


def trained(recipe: Recipe, tag: str, words: tuple[str, ...]) -> list[tuple[float, float]]:
    """(seconds, CER) of each validation."""
    path = recipe.root / "exp" / tag / "progress.jsonl"
    if not path.is_file():
        done = recipe.run("--tag", tag, "--stop-stage", "3", *words, *COMMON)
        if done.returncode:
            raise SystemExit(done.stdout[-2000:] + done.stderr[-1000:])
    records = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    began = records[0]["time"]  # the record of the start
    return [(item["time"] - began, item["cer"]) for item in records if item.get("cer") is not None]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=50, help="of the manual's settings")
    parser.add_argument("--ngpu", type=int, default=0, choices=(0, 1))
    parser.add_argument("--into", type=Path, help="folder of the copy, kept; a temporary one unless given")
    arguments = parser.parse_args()
    folder = arguments.into or Path(tempfile.mkdtemp())
    folder.mkdir(parents=True, exist_ok=True)
    recipe = Recipe(folder)
    found = {}
    runs = {**RUNS, **(larger_batches() if arguments.ngpu else ON_PROCESSOR)}
    for number, (name, words) in enumerate(runs.items()):
        epochs = () if number >= 2 else (f"++train_conf.max_epoch={arguments.epochs}",)
        found[name] = trained(recipe, f"q{number}", (*words, *epochs, "--ngpu", str(arguments.ngpu)))
        print(name, [(round(at), round(cer, 4)) for at, cer in found[name]], file=sys.stderr, flush=True)
    rows = []
    for name, points in found.items():
        row = [
            name,
            str(len(points)),
            f"{points[-1][0]:,.0f}",
            f"{points[-1][1]:.2%}",
            f"{min(c for _, c in points):.2%}",
        ]
        for target in list(found)[:2]:
            goal, whole = found[target][-1][1], found[target][-1][0]
            at = next((at for at, cer in points if cer <= goal), None)
            row.append("never" if at is None else f"{at:,.0f} s ({at / whole:.2f} of its time)")
        rows.append(tuple(row))
    head = ("settings", "epochs", "s", "CER, last", "CER, best", *(f"reaches the last of: {n}" for n in list(RUNS)[:2]))
    print(markdown_table(head, rows))


if __name__ == "__main__":
    main()
