"""How long a process takes until FunASR can build a model: imported whole, and a class at a time.

    python benchmarks/benchmark_start.py [--runs 5]

The middle of the runs, which take turns; processes of their own, files in the kernel's cache.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "scripts")]
from asr.core.text_tables import markdown_table  # noqa: E402
from asr.system.machine import cpu  # noqa: E402 - found through the line above

READY = "from funasr import AutoModel; from funasr.register import tables; tables.model_classes.get('{}')"
MODELS = ("Paraformer", "SenseVoiceSmall", "Conformer", "FunASRNano")
PROGRAMS = {
    "torch alone": "import torch",
    "FunASR whole": READY.format("Paraformer"),
    **{f"a class at a time, {name}": "import asr; " + READY.format(name) for name in MODELS},
}


def measure(code: str) -> tuple[float, float, float]:
    """Wall seconds, processor seconds, MB of the largest resident set of a process."""
    began = time.perf_counter()
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "scripts")}
    child = subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    if status:
        raise RuntimeError(f"{code} ended with status {status}")
    return time.perf_counter() - began, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=5)
    runs = parser.parse_args().runs
    found: dict[str, list[tuple[float, float, float]]] = {name: [] for name in PROGRAMS}
    for _ in range(runs + 1):  # the first fills the kernel's cache
        for name, code in PROGRAMS.items():
            found[name].append(measure(code))
    middle = {
        name: [sorted(column[1:])[runs // 2] for column in zip(*rows, strict=True)] for name, rows in found.items()
    }
    whole = middle["FunASR whole"]
    rows = [
        (name, f"{wall:.1f}", f"{used:.1f}", f"{peak:,.0f}", f"{whole[1] / used:.1f}")
        for name, (wall, used, peak) in middle.items()
    ]
    print(f"{cpu()}; middle of {runs}\n")
    print(markdown_table(("imported", "s", "processor s", "peak MB", "whole / it"), rows))


if __name__ == "__main__":
    main()
