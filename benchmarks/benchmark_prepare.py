"""How long stage 1 takes, and how its time and memory grow: the tables of docs/benchmarks.md, from one run.

    python benchmarks/benchmark_prepare.py DIR [--sizes 10000,100000,1000000] [--without-funasr]

Makes trees of short clips below DIR (sparse files; 4 GB of disk for a million clips) and runs the commands that a user
would run, each in a process of its own: wall seconds, and the largest resident set that the kernel saw. Every tree is
read once before it is timed, so the disk cache is warm. FunASR's scp2jsonl gets the wav.scp and text of stage 1.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "scripts")]
from asr.core.text_tables import markdown_table  # noqa: E402
from asr.system.machine import cpu  # noqa: E402 - found through the line above
from tests import cdsd_tree  # noqa: E402

PER_SPEAKER = 1250


class Run(NamedTuple):
    """One command: wall seconds, and the largest resident set of it and its children in MB."""

    seconds: float
    megabytes: float


def run(*words: object) -> Run:
    """Run a command to its end; RuntimeError where it fails."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "scripts"), "PYTHONUTF8": "1"}
    began = time.perf_counter()
    with tempfile.TemporaryFile() as errors:  # FunASR's bars are megabytes
        command = [str(word) for word in words]
        child = subprocess.Popen(command, env=environment, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=errors)
        _, status, usage = os.wait4(child.pid, 0)
        if status:
            errors.seek(0)
            raise RuntimeError(f"{' '.join(command)}: status {status}: {errors.read()[-2000:].decode()}")
    return Run(time.perf_counter() - began, usage.ru_maxrss / 1024)


def stage_1(corpus: Path, out: Path, *more: object) -> Run:
    """local/prepare_1h_dataset.py as run.sh calls it."""
    return run(sys.executable, "local/prepare_1h_dataset.py", "--corpus", corpus, "--out", out, *more)


def remove(out: Path) -> None:
    """Remove a data folder."""
    shutil.rmtree(out, ignore_errors=True)


def cdsd_size(folder: Path, with_funasr: bool) -> str:
    """The 1h part at its full size: first time, again, after one change, with the audio decoded; FunASR beside it."""
    corpus, out = folder / "CDSD", folder / "data" / "1h_dataset"
    if not corpus.exists():
        cdsd_tree.full(corpus, share_of_10h=0)
    tokens = folder / "tokens.json"
    tokens.write_text(json.dumps(["<blank>", *cdsd_tree.HAN, "a", "<unk>"]), encoding="utf-8")
    known = ("--tokens", tokens)
    stage_1(corpus, out)  # warms the disk cache
    rows: list[tuple[str, Run]] = []

    def timed(name: str, before: Callable[[], object], *more: object) -> None:
        """The middle one of three runs: a shared machine has good and bad seconds."""
        runs = []
        for _ in range(3):
            before()
            runs.append(stage_1(corpus, out, *more))
        rows.append((name, sorted(runs)[1]))

    clip = corpus / "after_catting/1h/Audio/01" / f"{cdsd_tree.utt_id('01', 5)}.wav"
    timed("stage 1, first time", lambda: remove(out), *known)
    timed("again, nothing changed", lambda: None, *known)
    timed("again, one clip changed", lambda: cdsd_tree.write_wav(clip, 2.0 + time.time() % 1), *known)
    rows.append(("again, with --check-audio", stage_1(corpus, out, "--check-audio")))
    first = rows[0][1].seconds
    if with_funasr:
        lists = []
        for name in ("wav.scp", "text"):
            lists.append(folder / name)
            parts = [(out / split / name).read_bytes() for split in ("train", "val", "test")]
            lists[-1].write_bytes(b"".join(parts))
        words = [f"++scp_file_list=[{lists[0]},{lists[1]}]", "++data_type_list=[source,target]"]
        words += [f"++jsonl_file_out={folder / 'funasr.jsonl'}", f"hydra.run.dir={folder / 'hydra'}"]
        command = (sys.executable, "-m", "funasr.datasets.audio_datasets.scp2jsonl")
        rows.append(("FunASR's scp2jsonl on the same files", run(*command, *words)))
        with open(folder / "funasr.jsonl", "rb") as stream:
            lines = sum(1 for _ in stream)
        if lines != 55_851:
            raise RuntimeError(f"scp2jsonl wrote {lines} lines")
    cells = [(name, f"{one.seconds:.1f}", f"{one.megabytes:.0f}", f"{one.seconds / first:.1f}") for name, one in rows]
    return markdown_table(("55,851 utterances", "s", "peak MB", "x first time"), cells)


def growth(folder: Path, sizes: Sequence[int]) -> str:
    """Time and memory against the number of utterances; the first time and again."""
    rows = []
    for size in sizes:
        corpus, out = folder / f"tree{size}", folder / "data" / f"tree{size}"
        part = corpus / "after_catting" / "1h"
        if not corpus.exists():
            for number in range(1, max(size // PER_SPEAKER, 4) + 1):
                speaker, count = f"{number:03d}", size // max(size // PER_SPEAKER, 4)
                ids = [cdsd_tree.utt_id(speaker, index) for index in range(1, count + 1)]
                said = cdsd_tree.texts(count, f"{size} {speaker}")
                cdsd_tree.add_speaker(part, speaker, dict(zip(ids, said, strict=True)))
        run("find", corpus, "-type", "f", "-size", "-1k")
        remove(out)
        first, again = stage_1(corpus, out), stage_1(corpus, out)
        micro = [f"{1e6 * one.seconds / size:.0f}" for one in (first, again)]
        memory = f"{max(first.megabytes, again.megabytes):.0f}"
        rows.append((f"{size:,}", f"{first.seconds:.1f}", micro[0], f"{again.seconds:.1f}", micro[1], memory))
        shutil.rmtree(corpus)
        remove(out)
    header = ("utterances", "first time s", "us an utterance", "again s", "us an utterance", "peak MB")
    return markdown_table(header, rows)


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, metavar="DIR")
    parser.add_argument("--sizes", default="10000,100000,1000000")
    parser.add_argument("--without-funasr", action="store_true")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    folder = arguments.folder.resolve()
    print(f"{cpu()}, Python {sys.version.split()[0]}\n", flush=True)
    print(cdsd_size(folder, not arguments.without_funasr) + "\n", flush=True)
    print(growth(folder, [int(size) for size in arguments.sizes.split(",")]), flush=True)


if __name__ == "__main__":
    main()
