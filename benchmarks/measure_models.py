"""The model table: parameters, memory and seconds a step of every full-size architecture, by the YAMLs in conf/.

    python benchmarks/measure_models.py DIR [--ngpu 1] [--batch-sizes 6000,24000] [--only conf/NAME.yaml]

Each row is a process of its own: the architecture with random weights (benchmarks/full_size.py; made in DIR once, up to
4 GB each), the YAML's own optimizer, precision and adapters, and real training steps as stage 3 takes them
(training.plan_worker), on the mini corpus's training clips: the batches that need the most first, then ordinary ones.
``--memory-gb`` caps a GPU's memory; on the processor it only says what does not fit.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "scripts"), str(ROOT / "local"), str(ROOT / "mini" / "make")]
from asr.config.load import resolve  # noqa: E402
from asr.core.text_tables import markdown_table  # noqa: E402
from asr.models import families  # noqa: E402 - found through the line above
from asr.system.machine import cpu  # noqa: E402

CONFS = ("finetune_3090", "paraformer_lora_3090", "sensevoice_3090", "sensevoice_lora_3090", "conformer_3090")
CONFS = (*CONFS, "conformer_lora_3090", "fun_asr_nano_3090", "fun_asr_nano_lora_3090")


def clips(folder: Path) -> Path:
    """train.jsonl and val.jsonl of the mini corpus; made once."""
    data = folder / "mini_dataset"
    if not (data / "train.jsonl").is_file():
        words = [sys.executable, str(ROOT / "mini/unpack.py"), "--out", str(folder / "mini")]
        subprocess.run(words, check=True, cwd=ROOT)
        words = [sys.executable, str(ROOT / "local/prepare_1h_dataset.py"), "--corpus", str(folder / "mini")]
        subprocess.run([*words, "--part", "1h", "--out", str(data)], check=True, cwd=ROOT, stdout=sys.stderr)
    return data


def measure(folder: Path, conf: str, size: int, ngpu: int, memory_gb: float) -> dict[str, Any]:
    """One row, in this process."""
    import torch

    from asr.data.manifests import dataset_conf, prepare
    from asr.models.loading import quiet
    from asr.training.plan_worker import measure as take_steps
    from benchmarks.full_size import BUILDERS

    words = [f"++dataset_conf.batch_size={size}", "++dataset_conf.speed_perturb=null"]
    values = resolve(ROOT / conf, words)
    family = families.of(values["family"])
    base = folder / family.name
    if not (base / "model.pt").is_file():
        BUILDERS[family.name](base)
    exp = folder / "exp" / Path(conf).stem
    exp.mkdir(parents=True, exist_ok=True)
    with quiet():
        manifests, _ = prepare(exp, clips(folder), values)
    plan = {"exp": str(exp), "base": str(base), "ngpu": ngpu, "values": values, "memory_gb": memory_gb}
    found = take_steps({**plan, "by_arithmetic": False, "dataset_conf": dataset_conf(values, manifests)})
    state = torch.load(base / "model.pt", map_location="cpu", weights_only=True, mmap=True)["state_dict"]
    own = {value.data_ptr(): value.numel() for value in state.values()}  # a tied table is one
    return {**found, "parameters": sum(own.values())}


def main() -> None:
    """Print a row as it is done, and the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dir", type=Path)
    parser.add_argument("--ngpu", type=int, default=0)
    parser.add_argument("--batch-sizes", default="2000")
    parser.add_argument("--memory-gb", type=float, default=24)
    parser.add_argument("--only", default=",".join(f"conf/{name}.yaml" for name in CONFS))
    parser.add_argument("--row", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.row:
        conf, size = arguments.row.split(",")
        print(json.dumps(measure(arguments.dir, conf, int(size), arguments.ngpu, arguments.memory_gb)))
        return
    clips(arguments.dir)
    rows, device = [], cpu()
    for conf in arguments.only.split(","):
        for size in arguments.batch_sizes.split(","):
            words = [sys.executable, __file__, str(arguments.dir.absolute()), "--row", f"{conf},{size}"]
            words += ["--ngpu", str(arguments.ngpu), "--memory-gb", str(arguments.memory_gb)]
            done = subprocess.run(words, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": ""})
            if done.returncode:
                rows.append((conf, size, "failed", "", "", "", ""))
                continue
            found = json.loads(done.stdout.splitlines()[-1])
            device = found.get("device", device)
            row = [conf.removeprefix("conf/"), f"{int(size):,}", f"{found['parameters'] / 1e6:.1f}"]
            if found["fits"]:
                speed = found["audio_seconds"] / found["steps"] / found["seconds_per_step"]
                trained = f"{found['trained'] / 1e6:.2f}"
                row += [trained, f"{found['seconds_per_step']:.2f}", f"{speed:,.1f}", f"{found['peak_gb']:.1f}"]
            else:
                row += ["", "does not fit", "", found["why"]]
            rows.append(tuple(row))
            print(rows[-1], file=sys.stderr, flush=True)
    print(f"{device}, random weights, the mini corpus's clips\n")
    head = ("YAML", "batch_size", "M parameters", "M trained", "s a step", "audio s/s", "peak GB")
    print(markdown_table(head, rows))


if __name__ == "__main__":
    main()
