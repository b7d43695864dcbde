"""How long scoring takes: the table of docs/benchmarks.md.

    python benchmarks/benchmark_score.py DIR [--sizes 6064,100000]

Makes a test set of random texts with CDSD's lengths (mean 5.5 characters) and two systems' hypotheses (about 45 % and
20 % of the characters wrong) and runs ``local/score.py`` as run.sh does, on one core: two systems, 10,000 replicates of
the bootstrap, every analysis. Wall seconds, and the largest resident set that the kernel saw.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "scripts")]
from asr.core.manifest import Utterance, write_manifest  # noqa: E402
from asr.core.text_tables import markdown_table  # noqa: E402
from asr.system.machine import cpu  # noqa: E402 - found through the line above
from tests import cdsd_tree  # noqa: E402

SPEAKERS = 5


def garbled(text: str, share: float, chance: random.Random) -> str:
    """``text`` with about this share of its characters substituted, deleted or doubled."""
    heard = []
    for char in text:
        draw = chance.random() / share
        heard.append(
            char if draw >= 1 else chance.choice(cdsd_tree.HAN) if draw < 0.7 else "" if draw < 0.9 else char * 2
        )
    return "".join(heard)


def make(folder: Path, size: int) -> list[str]:
    """Write the files; the words of the command that scores them."""
    folder.mkdir(parents=True, exist_ok=True)
    chance = random.Random(size)
    speakers = SPEAKERS if size < 50_000 else 44
    texts = cdsd_tree.texts(size, f"score {size}")
    items = [
        Utterance(f"S{n:07d}", f"/no/{n}.wav", text, 280, len(text), f"{n % speakers:02d}", 2.8, 44_800)
        for n, text in enumerate(texts)
    ]
    write_manifest(folder / "test.jsonl", items)
    write_manifest(
        folder / "train.jsonl",
        [item._replace(key=f"t{item.key}", source=f"/no/t{item.key}.wav") for item in items[::2]],
    )
    for name, share in (("baseline", 0.45), ("tuned", 0.2)):
        lines = [f"{item.key} {garbled(item.target, share, chance)}\n" for item in items]
        (folder / f"{name}.txt").write_text("".join(lines), encoding="utf-8")
    words = ["--ref", "test.jsonl", "--hyp", "tuned.txt", "--baseline", "baseline.txt", "--train", "train.jsonl"]
    return [
        *(str(folder / word) if not word.startswith("--") else word for word in words),
        "--out",
        str(folder / "score"),
    ]


def score(words: Sequence[str]) -> tuple[float, float]:
    """Wall seconds and MB of one run on one core."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "scripts"), "PYTHONUTF8": "1"}
    environment |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    began = time.perf_counter()
    core = {min(os.sched_getaffinity(0))}
    child = subprocess.Popen(
        [sys.executable, str(ROOT / "local/score.py"), *words],
        env=environment,
        stdout=subprocess.DEVNULL,
        preexec_fn=lambda: os.sched_setaffinity(0, core),
    )
    _, status, usage = os.wait4(child.pid, 0)
    if status:
        raise RuntimeError(f"score.py ended with status {status}")
    return time.perf_counter() - began, usage.ru_maxrss / 1024


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, metavar="DIR")
    parser.add_argument("--sizes", default="6064,100000")
    arguments = parser.parse_args()
    rows = []
    for size in map(int, arguments.sizes.split(",")):
        words = make(arguments.folder.resolve() / f"score{size}", size)
        runs = sorted(score(words) for _ in range(3))
        rows.append((f"{size:,}", f"{runs[1][0]:.1f}", f"{1e6 * runs[1][0] / size:.0f}", f"{runs[1][1]:.0f}"))
        print(f"{size}: {runs}", file=sys.stderr, flush=True)
    print(f"{cpu()}, one core, Python {sys.version.split()[0]}\n")
    print(markdown_table(("utterances", "s (middle of three runs)", "us an utterance", "peak MB"), rows))


if __name__ == "__main__":
    main()
