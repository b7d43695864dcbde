"""The figures that README promises of the mini run: seconds by stage, the whole, and the peak of memory.

    python benchmarks/measure_mini.py

Runs ``bash run.sh`` in a fresh copy of the repository with the Python that runs this. Memory is the sum of the
proportional set sizes (shared pages counted once) of all processes of the run, sampled every half second.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from tests.recipe import Recipe


def children(pid: int) -> list[int]:
    """``pid`` and all its descendants."""
    found = [pid]
    for tasks in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            for child in tasks.read_text().split():
                found += children(int(child))
        except OSError:
            continue
    return found


def megabytes(pid: int) -> float:
    """Proportional set size of one process in MB; 0 for one that has just ended."""
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) / 1024
    except OSError:
        pass
    return 0.0


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        recipe = Recipe(Path(folder))
        began, peak = time.monotonic(), 0.0
        run = subprocess.Popen(["bash", "run.sh", *sys.argv[1:]], cwd=recipe.root, env=recipe.environment)
        while run.poll() is None:
            peak = max(peak, sum(megabytes(pid) for pid in children(run.pid)))
            time.sleep(0.5)
        total = time.monotonic() - began
        for path in sorted((recipe.root / "exp/mini/log").glob("*.seconds")):
            print(f"{path.stem}: {path.read_text().strip()} s")
        print(f"whole: {total:.0f} s, peak memory {peak:.0f} MB, {os.cpu_count()} cores, exit status {run.returncode}")
        again = time.monotonic()
        subprocess.run(["bash", "run.sh", *sys.argv[1:]], cwd=recipe.root, env=recipe.environment, check=True)
        print(f"up to date: {time.monotonic() - again:.1f} s")


if __name__ == "__main__":
    main()
