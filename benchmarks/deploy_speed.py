"""Real-time factor and memory of an exported model on one core: the table of docs/deploy.md.

    python benchmarks/deploy_speed.py exp/TAG [--clips 20]
    python benchmarks/deploy_speed.py --full-size paraformer DIR     random weights, made and exported in DIR

Torch and each runtime of deploy/, fp32 and int8, each in a process of its own that may use one core only. Clips are of
the mini corpus's test set, one after the other, as a person speaks them. The real-time factor is the
CPU seconds that decoding takes for a second of sound, reading and loading left out (on one core that is the time it
takes, and other work beside it does not count); memory is what the process takes at its peak beyond what it had
before the model was opened.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "scripts"), str(ROOT / "local")]
from asr.audio.reading import read_audio  # noqa: E402 - found through the line above
from asr.core.manifest import read_manifest  # noqa: E402
from asr.core.text_tables import markdown_table  # noqa: E402
from asr.models.skeleton import write_cmvn  # noqa: E402
from asr.system.machine import cpu  # noqa: E402

TORCH = "torch"
CLIPS = ROOT / "data/mini_dataset/test.jsonl"


def measure(folder: Path, runtime: str, int8: bool, count: int) -> dict[str, float]:
    """Return CPU seconds to load, real-time factor and peak memory in MB of this process, on one core."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    clips = [read_audio(item.source) for item in read_manifest(CLIPS)[:: 144 // count][:count]]
    from asr.export.runtimes import open_runtime
    from asr.models.loading import load

    before, begin = memory("VmRSS"), time.process_time()
    if runtime == TORCH:
        import torch

        torch.set_num_threads(1)
        recogniser = load(folder)

        def transcribe(samples):
            return recogniser.transcribe([samples])[0]
    else:
        transcribe = open_runtime(folder / runtime, int8).transcribe
    transcribe(clips[0])
    loaded = time.process_time()
    for samples in clips:
        transcribe(samples)
    took, seconds = time.process_time() - loaded, sum(len(samples) for samples in clips) / 16000
    return {"load": loaded - begin, "rtf": took / seconds, "memory": memory("VmHWM") - before}


def memory(kind: str) -> float:
    """Return this process's memory in MB: VmRSS now, VmHWM at its peak (getrusage's peak is inherited)."""
    found = re.search(rf"{kind}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(found[1]) / 1024 if found else math.nan


def full_size(family: str, folder: Path) -> tuple[Path, Path]:
    """Return a full-size model folder with random weights, and its export, which no text has proven."""
    from asr.export.build import build
    from asr.models.loading import load
    from benchmarks import full_size as architectures

    folder.mkdir(parents=True, exist_ok=True)
    model, deploy = architectures.BUILDERS[family](folder / family), folder / f"{family}_deploy"
    if not (model / "am.mvn").exists():  # as hub models have it; random weights were made without
        write_cmvn(model / "am.mvn", np.zeros(560), np.ones(560))
        about = json.loads((model / "configuration.json").read_text())
        about["file_path_metas"]["frontend_conf"] = {"cmvn_file": "am.mvn"}
        (model / "configuration.json").write_text(json.dumps(about))
    if not deploy.exists():
        deploy.mkdir()
        recogniser = load(model)
        build(recogniser.family.graph(recogniser, model), model, deploy)
    return model, deploy


def main() -> None:
    """Measure each runtime, and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, metavar="exp/TAG")
    parser.add_argument("--full-size", choices=("paraformer", "sensevoice", "conformer"))
    parser.add_argument("--clips", type=int, default=20)
    parser.add_argument("--child", nargs=2, metavar=("RUNTIME", "INT8"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        runtime, int8 = arguments.child
        print(json.dumps(measure(arguments.folder, runtime, int8 == "int8", arguments.clips)))
        return
    if arguments.full_size:  # in a process of its own: what it leaves in memory is nobody's
        model, deploy = full_size(arguments.full_size, arguments.folder)
    else:
        model, deploy = arguments.folder / "model", arguments.folder / "deploy"
    rows = []
    found = [path.name for path in sorted(deploy.iterdir()) if path.name in ("onnx", "funasr-onnx", "sherpa-onnx")]
    for runtime, folder in ((TORCH, model), *((name, deploy) for name in found)):
        for precision in ("fp32",) if runtime == TORCH else ("fp32", "int8"):
            words = [str(folder), "--clips", str(arguments.clips), "--child", runtime, precision]
            done = subprocess.run([sys.executable, __file__, *words], stdout=subprocess.PIPE, text=True, check=True)
            result = json.loads(done.stdout.splitlines()[-1])
            rows.append([runtime, precision, *(f"{result[key]:{form}}" for key, form in FORMS.items())])
    print(f"{cpu()}, one core, {arguments.clips} clips\n")
    print(markdown_table(["runtime", "precision", "CPU seconds to load", "real-time factor", "memory, MB"], rows))


FORMS = {"load": ".1f", "rtf": ".3f", "memory": ",.0f"}

if __name__ == "__main__":
    main()
