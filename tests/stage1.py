"""Stage 1 run as a user runs it, for tests: the command, its refusals, and what it wrote."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from asr.core.manifest import read_manifest
from tests.patience import PATIENCE

ROOT = Path(__file__).resolve().parents[1]


def command(*arguments: object) -> list[str]:
    return [sys.executable, str(ROOT / "local/prepare_1h_dataset.py"), *map(str, arguments)]


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT / "scripts"), "PYTHONDONTWRITEBYTECODE": "1"}


def hear_ctrl_c() -> None:
    """For preexec_fn: a shell that starts the tests in the background has Ctrl-C ignored, which children inherit."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def prepare(corpus, out, *more) -> subprocess.CompletedProcess:
    """``out`` None: without --out."""
    arguments = command("--corpus", corpus, *(() if out is None else ("--out", out)), *more)
    return subprocess.run(arguments, env=environment(), capture_output=True, text=True, timeout=PATIENCE)


def refused(done: subprocess.CompletedProcess, status: int = 1) -> str:
    """The one line of a refusal."""
    assert done.returncode == status, done.stderr
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1, done.stderr
    return done.stderr


def keys(folder: Path, split: str) -> set[str]:
    return {item.key for item in read_manifest(folder / f"{split}.jsonl")}


def problems(folder: Path) -> list[dict[str, str]]:
    header, *rows = [line.split("\t") for line in (folder / "problems.tsv").read_text(encoding="utf-8").splitlines()]
    assert header == ["severity", "kind", "count", "file", "line", "key", "detail"]
    found = [dict(zip(header, row, strict=True)) for row in rows]
    for row in found:
        assert int(row["count"]) == sum(
            (row["severity"], row["kind"]) == (one["severity"], one["kind"]) for one in found
        )
    return found


def state(folder: Path) -> dict[str, bytes]:
    """Every file of a data folder, by its path in it."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def beside(folder: Path) -> set[str]:
    """What lies in a folder, but for stage 1's lock."""
    return {path.name for path in folder.iterdir() if not path.name.endswith(".lock")}
