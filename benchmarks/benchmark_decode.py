"""How fast decoding is: ours against FunASR's own ``generate``, on the same clips and device, in one run.

    python benchmarks/benchmark_decode.py [--model DIR | --full-size DIR] [--ngpu 1 | --processes 2] [--times 4]

Decodes the clips of a manifest (the mini corpus's test set, ``bash run.sh --stop-stage 1`` makes it), ``--times`` over,
with ``python -m asr.decode`` and with stock ``AutoModel(model=DIR).generate(input=[paths])``: its defaults, so batch
size 1, but for dither, which is 0 here, as FunASR's 1.0 makes its texts random. Each run is a process of its own; both
load the model and decode a first clip before the clock starts. The middle of ``--runs`` runs, ours and theirs in turn,
and how many texts differ. ``--full-size`` makes a Paraformer-large with random weights in DIR.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "scripts")]
from asr.core import kaldi_text  # noqa: E402 - found through the line above
from asr.core.manifest import Utterance, read_manifest, write_manifest  # noqa: E402
from asr.core.text_tables import markdown_table  # noqa: E402
from asr.system.machine import cpu  # noqa: E402

STOCK = """
import contextlib, json, sys, time
began = time.perf_counter()
model, device, paths = json.load(sys.stdin)
with contextlib.redirect_stdout(sys.stderr):
    from funasr import AutoModel
    import torch
    loaded = AutoModel(model=model, device=device, disable_update=True, disable_pbar=True, disable_log=True)
    loaded.kwargs["frontend"].dither = 0.0
    load_seconds = time.perf_counter() - began
    loaded.generate(input=paths[:1])
    began = time.perf_counter()
    found = loaded.generate(input=paths)
    seconds = time.perf_counter() - began
name = torch.cuda.get_device_name() if device == "cuda" else "cpu"
json.dump([seconds, load_seconds, name, [(item.get("key"), item.get("text", "")) for item in found]], sys.stdout)
"""


def full_size(folder: Path) -> Path:
    """A model folder of Paraformer-large with random weights; made once."""
    if not (folder / "model.pt").is_file():
        import torch

        from benchmarks.benchmark_average import weights

        torch.save({"state_dict": weights(folder, 50)}, folder / "model.pt")
    return folder


def repeated(items: list[Utterance], times: int) -> list[Utterance]:
    """The clips ``times`` over, with keys of their own."""
    return [item._replace(key=f"{item.key}-{number}") for number in range(times) for item in items]


def ours(model: Path, items: list[Utterance], words: list[str]) -> tuple[dict[str, Any], dict[str, str]]:
    """decode.json and the texts."""
    with tempfile.TemporaryDirectory() as name:
        manifest, out = Path(name, "all.jsonl"), Path(name, "out")
        write_manifest(manifest, items)
        command = [sys.executable, "-m", "asr.decode", "--model", model, "--manifest", manifest, "--out", out, *words]
        environment = {**os.environ, "PYTHONPATH": str(ROOT / "scripts")}
        subprocess.run(list(map(str, command)), env=environment, stdout=sys.stderr, check=True)
        return json.loads((out / "decode.json").read_text(encoding="utf-8")), kaldi_text.read_text(out / "hyp.txt")


def stock(model: Path, items: list[Utterance], ngpu: int) -> tuple[float, float, str, list[str]]:
    """Seconds of decoding and of loading, the device, a text a clip."""
    asked = json.dumps([str(model), "cuda" if ngpu else "cpu", [item.source for item in items]])
    done = subprocess.run([sys.executable, "-c", STOCK], input=asked, stdout=subprocess.PIPE, text=True, check=True)
    seconds, load_seconds, device, found = json.loads(done.stdout.splitlines()[-1])
    heard = dict(found)  # by file name: of a clip in which nothing fires there is no result
    return seconds, load_seconds, device, [heard.get(Path(item.source).stem, "") for item in items]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--model", type=Path, default=ROOT / "mini/base")
    which.add_argument("--full-size", type=Path, metavar="DIR")
    parser.add_argument("--manifest", type=Path, default=ROOT / "data/mini_dataset/test.jsonl")
    parser.add_argument("--times", type=int, default=1, help="each clip so many times")
    parser.add_argument("--clips", type=int, help="only so many clips of the manifest")
    parser.add_argument("--ngpu", type=int, default=0)
    parser.add_argument("--processes", type=int, help="ours, on the processor")
    parser.add_argument("--batch-seconds", type=float, help="ours")
    parser.add_argument("--runs", type=int, default=3)
    arguments = parser.parse_args()
    model = full_size(arguments.full_size) if arguments.full_size else arguments.model
    items = repeated(read_manifest(arguments.manifest)[: arguments.clips], arguments.times)
    audio = sum(item.duration for item in items)
    words = ["--ngpu", str(arguments.ngpu)]
    for name in ("processes", "batch_seconds"):
        if (value := getattr(arguments, name)) is not None:
            words += ["--" + name.replace("_", "-"), str(value)]
    mine, theirs, loads = [], [], []
    for _ in range(arguments.runs):
        record, texts = ours(model, items, words)
        seconds, load_seconds, device, others = stock(model, items, arguments.ngpu)
        mine.append(record["decode_seconds"])
        theirs.append(seconds)
        loads.append((record["load_seconds"], load_seconds))
        print(f"ours {mine[-1]:.2f} s, stock {seconds:.2f} s", file=sys.stderr, flush=True)
    differing = sum(texts[item.key] != other for item, other in zip(items, others, strict=True))
    rows = [
        (name, f"{median(times):.2f}", f"{median(times) / audio:.5f}", f"{audio / median(times):.0f}", f"{load:.0f}")
        for name, times, load in zip(
            ("ours", "stock generate"), (mine, theirs), map(median, zip(*loads, strict=True)), strict=True
        )
    ]
    rows.append(("stock / ours", f"{median(theirs) / median(mine):.1f}", "", "", ""))
    where = device if arguments.ngpu else cpu()
    print(
        f"{where}; {'Paraformer-large, random weights' if arguments.full_size else model.name}; {len(items)} clips,"
        f" {audio / 60:.1f} min; ours in {record['shards']} process(es), batches of {record['batch_seconds']:g} s;"
        f" middle of {arguments.runs}; {differing} of {len(items)} texts differ\n"
    )
    print(markdown_table(("", "s", "real-time factor", "x real time", "loading s"), rows))


if __name__ == "__main__":
    main()
