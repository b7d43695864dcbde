"""A whole fine-tuning on the processor: FunASR's train_ds as it is, and the recipe's, on the same batches, in one run.

    python tests/benchmark_train.py [--epochs 4] [--runs 3]

The mini corpus and base model, one process, FunASR's BatchSampler (so that both see the same batches), ranked by
FunASR's accuracy (so that neither decodes in validation). Stock is ``train_ds.main`` with FunASR's Trainer, dataset,
dataloader and training step; only its device is the processor, which it cannot choose by itself. Seconds are those of
``train_ds.main``: building the model, epochs, validations, checkpoints. The middle of ``--runs`` runs, taken in turn.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "scripts")]
from asr.tables import markdown_table  # noqa: E402 - found through the lines above

STOCK = {"dataset": "AudioDataset", "dataloader": "DataloaderMapStyle"}


def prepared(root: Path, epochs: int) -> Path:
    """The mini corpus as stage 3 is given it: launch.json in exp/bench of a copy of the repository."""
    from tests.e2e.conftest import Recipe

    recipe = Recipe(root)
    words = ("--tag", "bench", "--stop-stage", "3", "++cpu_processes=1", "++dataset_conf.batch_sampler=BatchSampler")
    words += ("++train_conf.avg_keep_nbest_models_type=acc", "++train_conf.max_epoch=1")
    done = recipe.run(*words)
    if done.returncode:
        raise SystemExit(done.stdout[-2000:] + done.stderr[-1000:])
    path = root / "exp/bench/launch.json"
    plan = json.loads(path.read_text(encoding="utf-8"))
    plan["values"]["train_conf"] |= {"max_epoch": epochs, "resume": False}
    path.write_text(json.dumps(plan), encoding="utf-8")
    return path


def measure(who: str, launch: Path) -> float:
    """Seconds of ``train_ds.main``."""
    import torch
    from funasr.bin import train_ds
    from funasr.train_utils import trainer_ds

    from asr.funasr_model import quiet
    from asr.train_worker import plug_in, set_up_logging, training_kwargs

    plan = json.loads(launch.read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory() as exp:
        for name in ("manifest",):
            (Path(exp) / name).symlink_to(launch.parent / name)
        plan["exp"] = exp
        with quiet():
            ours = plug_in(plan, 0) if who == "ours" else train_ds
            kwargs = training_kwargs(plan, "cpu")
        set_up_logging(Path(exp), 0)
        if who == "stock":
            kwargs["dataset"] = STOCK["dataset"]
            kwargs["dataset_conf"]["dataloader"] = STOCK["dataloader"]
            for key in ("ranking", "lfr_n", "processor", "seed", "patience"):
                kwargs["train_conf"].pop(key)

            class OnProcessor(trainer_ds.Trainer):
                device = property(lambda _: "cpu", lambda *_: None)

            torch.cuda.set_device = lambda *_: None
            train_ds.Trainer, train_ds.average_checkpoints = OnProcessor, lambda *_, **__: None
            train_ds.tables.print = lambda *_, **__: None
        began = time.perf_counter()
        ours.main(**kwargs)
        return time.perf_counter() - began


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--row", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.row:
        import os

        seconds = measure(arguments.row[0], Path(arguments.row[1]))
        sys.__stdout__.write(json.dumps({"seconds": seconds}) + "\n")
        sys.__stdout__.flush()
        os._exit(0)
    found: dict[str, list[float]] = {"stock": [], "ours": []}
    with tempfile.TemporaryDirectory() as folder:
        launch = prepared(Path(folder), arguments.epochs)
        for _ in range(arguments.runs):
            for who, seconds in found.items():
                words: list[Any] = [sys.executable, __file__, "--row", who, str(launch)]
                done = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True)
                seconds.append(json.loads(done.stdout.splitlines()[-1])["seconds"])
                print(who, f"{seconds[-1]:.1f}", file=sys.stderr, flush=True)
    theirs = median(found["stock"])
    rows = [(who, f"{median(s):.1f}", f"{theirs / median(s):.2f}") for who, s in found.items()]
    print(markdown_table((f"{arguments.epochs} epochs", "s", "stock / it"), rows))


if __name__ == "__main__":
    main()
