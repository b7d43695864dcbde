"""Whole fine-tunings: FunASR's train_ds as it is, and the recipe's, in one run.

    python benchmarks/benchmark_train.py [--epochs 4] [--runs 3]
    python benchmarks/benchmark_train.py --full-size DIR [--ngpu 1] [--clips 6000] [--memory-gb 23.5] [--epochs 2]

Without ``--full-size``: the mini corpus and base model on the processor, one process, FunASR's BatchSampler (so that
both see the same batches), ranked by FunASR's accuracy (so that neither decodes in validation). Stock is
``train_ds.main`` with FunASR's Trainer, dataset, dataloader and training step; only its device is the processor, which
it cannot choose by itself. Seconds are those of ``train_ds.main``: building the model, epochs, validations,
checkpoints. The middle of ``--runs`` runs, taken in turn.

With it, the manual's command against conf/finetune_3090.yaml, each with its own settings: Paraformer-large with random
weights, clips of noise with CDSD's lengths (log-normal, 2.65 s on average), read from the disk and made into features
by the data workers of each. Seconds are those of the last epoch's steps; audio is what its clips last as they are.
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
from asr.core.text_tables import markdown_table  # noqa: E402 - found through the lines above

STOCK = {"dataset": "AudioDataset", "dataloader": "DataloaderMapStyle"}


def prepared(root: Path, epochs: int) -> Path:
    """The mini corpus as stage 3 is given it: launch.json in exp/bench of a copy of the repository."""
    from tests.recipe import Recipe

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


def noise(folder: Path, clips: int) -> Path:
    """train.jsonl and val.jsonl of ``clips`` clips of noise, and a tenth as many; made once."""
    import numpy as np
    import soundfile

    from asr.core.manifest import MODEL_SAMPLE_RATE, Utterance, write_manifest
    from asr.data.augmentation import frames

    data, chance = folder / f"noise{clips}", np.random.default_rng(0)
    if (data / "val.jsonl").is_file():
        return data
    data.mkdir(parents=True, exist_ok=True)
    for split, count in (("train", clips), ("val", max(clips // 10, 1))):
        made = []
        for number, seconds in enumerate(chance.lognormal(np.log(2.65) - 0.18, 0.6, count).clip(0.4, 20)):
            path, samples = data / f"{split}{number}.wav", int(seconds * MODEL_SAMPLE_RATE)
            soundfile.write(path, chance.normal(0, 1000, samples).astype(np.int16), MODEL_SAMPLE_RATE)
            text = "".join(chr(0x4E00 + code) for code in chance.integers(0, 8000, max(round(seconds * 2.1), 2)))
            duration, length = samples / MODEL_SAMPLE_RATE, int(frames(samples))
            made.append(Utterance(path.stem, str(path), text, length, len(text), "noise", duration, samples))
        write_manifest(data / f"{split}.jsonl", made)
    return data


def full_size(folder: Path, conf: str, arguments: argparse.Namespace) -> Path:
    """launch.json of a training of Paraformer-large by ``conf``, as asr.train would write it."""
    from asr.config.load import resolve
    from asr.core.files import write_json
    from asr.data.manifests import dataset_conf, prepare
    from benchmarks.benchmark_decode import full_size as model

    never = 10**6
    words = [f"++train_conf.{name}={never}" for name in ("validate_interval", "save_checkpoint_interval")]
    words += [f"++train_conf.max_epoch={arguments.epochs}", "++train_conf.keep_nbest_models=1"]
    words += ["++train_conf.avg_nbest_model=1", "++train_conf.avg_keep_nbest_models_type=acc"]
    values = resolve(ROOT / conf, [*words, *arguments.override])
    exp = folder / "exp" / Path(conf).stem
    (exp / "manifest").mkdir(parents=True, exist_ok=True)
    manifests, _ = prepare(exp, noise(folder, arguments.clips), values)
    base = model(folder / "paraformer")
    plan = {"exp": str(exp), "base": str(base.absolute()), "ngpu": arguments.ngpu, "values": values}
    audio = sum(item.duration for item in manifests["train"])
    more = {"memory_gb": arguments.memory_gb, "audio": audio}
    write_json(exp / "launch.json", {**plan, **more, "dataset_conf": dataset_conf(values, manifests)})
    return exp / "launch.json"


def timed(kind: type, seconds: list[float]) -> type:
    """A Trainer that appends the seconds of each epoch's steps."""
    import torch

    def wait() -> None:
        if torch.cuda.is_available():
            torch.cuda.synchronize()

    class Timed(kind):
        def train_epoch(self, *given: Any, **named: Any) -> None:
            wait()
            began = time.perf_counter()
            super().train_epoch(*given, **named)
            wait()
            seconds.append(time.perf_counter() - began)

    return Timed


def measure(who: str, launch: Path) -> dict[str, Any]:
    """Seconds of ``train_ds.main``, of each epoch's steps, and the peak of the GPU's memory in GB."""
    import torch
    from funasr.bin import train_ds
    from funasr.train_utils import trainer_ds

    from asr.models.loading import quiet
    from asr.training.building import plug_in, training_kwargs
    from asr.training.worker import set_up_logging

    plan = json.loads(launch.read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory() as exp:
        for name in ("manifest",):
            (Path(exp) / name).symlink_to(launch.parent / name)
        plan["exp"] = exp
        device = "cuda" if plan["ngpu"] else "cpu"
        if "memory_gb" in plan and plan["ngpu"]:
            whole = torch.cuda.get_device_properties(0).total_memory / 2**30
            torch.cuda.set_per_process_memory_fraction(min(plan["memory_gb"] / whole, 1.0))
        with quiet():
            ours = plug_in(plan) if who == "ours" else train_ds
            kwargs = training_kwargs(plan, device)
        set_up_logging(Path(exp), 0)
        if who == "stock":
            kwargs["dataset"] = STOCK["dataset"]
            kwargs["dataset_conf"]["dataloader"] = STOCK["dataloader"]
            for key in ("ranking", "lfr_n", "cpu", "seed", "patience"):
                kwargs["train_conf"].pop(key)

            class OnProcessor(trainer_ds.Trainer):
                device = property(lambda _: "cpu", lambda *_: None)

            train_ds.average_checkpoints = lambda *_, **__: None
            train_ds.tables.print = lambda *_, **__: None
            if device == "cpu":
                torch.cuda.set_device = lambda *_: None
                train_ds.Trainer = OnProcessor
        epochs: list[float] = []
        train_ds.Trainer = timed(train_ds.Trainer, epochs)
        began = time.perf_counter()
        ours.main(**kwargs)
        seconds = time.perf_counter() - began
        peak = torch.cuda.max_memory_reserved() / 2**30 if plan["ngpu"] else 0.0
        name = torch.cuda.get_device_name(0) if plan["ngpu"] else "processor"
        return {"seconds": seconds, "epochs": epochs, "peak": peak, "device": name}


def row(who: str, launch: Path) -> dict[str, Any]:
    """``measure`` in a process of its own."""
    words: list[Any] = [sys.executable, __file__, "--row", who, str(launch)]
    done = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True)
    found = json.loads(done.stdout.splitlines()[-1])
    print(who, found, file=sys.stderr, flush=True)
    return found


def compare_mini(arguments: argparse.Namespace) -> None:
    """The table of the mini corpus."""
    found: dict[str, list[float]] = {"stock": [], "ours": []}
    with tempfile.TemporaryDirectory() as folder:
        launch = prepared(Path(folder), arguments.epochs)
        for _ in range(arguments.runs):
            for who, seconds in found.items():
                seconds.append(row(who, launch)["seconds"])
    theirs = median(found["stock"])
    rows = [(who, f"{median(s):.1f}", f"{theirs / median(s):.2f}") for who, s in found.items()]
    print(markdown_table((f"{arguments.epochs} epochs", "s", "stock / it"), rows))


def compare_full_size(arguments: argparse.Namespace) -> None:
    """The table of Paraformer-large."""
    speeds, rows, device = [], [], ""
    for who, conf in (("stock", "conf/finetune_manual.yaml"), ("ours", "conf/finetune_3090.yaml")):
        launch = full_size(arguments.full_size.absolute(), conf, arguments)
        plan, found = json.loads(launch.read_text(encoding="utf-8")), row(who, launch)
        speeds.append(plan["audio"] / found["epochs"][-1])
        device, size = found["device"], plan["values"]["dataset_conf"]["batch_size"]
        cells = (f"{found['epochs'][-1]:.1f}", f"{speeds[-1]:,.0f}", f"{found['peak']:.2f}" if found["peak"] else "")
        rows.append((f"{who}, {conf}", f"{size:,}", *cells, f"{speeds[-1] / speeds[0]:.2f}"))
    print(f"{device}; {arguments.clips} clips, {plan['audio'] / 3600:.2f} h; epoch {arguments.epochs}\n")
    print(markdown_table(("", "batch_size", "s an epoch", "audio s/s", "peak GB", "x stock"), rows))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--full-size", type=Path, metavar="DIR")
    parser.add_argument("--ngpu", type=int, default=0, choices=(0, 1), help="with --full-size")
    parser.add_argument("--clips", type=int, default=6000, help="with --full-size")
    parser.add_argument("--memory-gb", type=float, default=23.5, help="with --full-size: a cap on the GPU's memory")
    parser.add_argument("--override", nargs="*", default=[], help="with --full-size: ++name=value for both")
    parser.add_argument("--row", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.row:
        import os

        found = measure(arguments.row[0], Path(arguments.row[1]))
        sys.__stdout__.write(json.dumps(found) + "\n")
        sys.__stdout__.flush()
        os._exit(0)
    if arguments.full_size:
        compare_full_size(arguments)
    else:
        compare_mini(arguments)


if __name__ == "__main__":
    main()
