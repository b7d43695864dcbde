"""Where each stage of a run stands, by what run.sh leaves in exp/<tag>: stamps/, log/ and .lock (scripts/lib.sh, once).

Reads and changes nothing. Whether options or folders of clips have changed is for run.sh to see: a stage that is called
done here is one whose input and output files are as its stamp has them.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from pathlib import Path

from asr.core.digests import sha256_file
from asr.core.errors import RecipeError
from asr.core.locks import lock
from asr.core.run_folder import RunFolder, read_stage_file

STAGES = ("set up", "prepare", "baseline", "fine-tune", "average", "evaluate")
DONE, STALE, RUNNING, FAILED, STOPPED = ("done", "stale", "running", "failed", "interrupted")
ENDED, SKIPPED, NOT_RUN = ("ended early", "skipped", "not run")
LARGE = 64 << 20  # bytes from which lib.sh's ``describe`` goes by size and time


@dataclass(frozen=True)
class State:
    """How a stage stands (one of the words above), and why: the file that has changed, or the log's last words."""

    word: str
    why: str = ""
    when: float | None = None  # seconds since 1970: its end


def describe(path: str) -> str:
    """Return "KIND VALUE" of a file, as lib.sh's ``describe`` writes it into a stamp."""
    file = Path(path)
    if not file.is_file():
        return "missing -"
    about = file.stat()
    if about.st_size < LARGE:
        return f"sha256 {sha256_file(file)}"
    return f"large {about.st_size}:{int(about.st_mtime)}"


def stamp_path(exp: Path, number: int) -> Path:
    """Return the file that a stage leaves when it has ended well."""
    return RunFolder(exp).stamps / f"stage{number}"


def changed_file(exp: Path, stamp: Path) -> str | None:
    """Return the first input or output file of a stage that is not as its stamp has it; a damaged stamp itself.

    Folders, and the files that a list names, are left to run.sh: looking at all clips of a corpus takes its time.
    """
    entries = [line.split(" ", 3) for line in stamp.read_text(encoding="utf-8", errors="replace").splitlines()]
    files = [entry for entry in entries if len(entry) == 4 and entry[0] in ("input", "output")]
    if not any(role == "output" for role, *_ in files):
        return str(stamp)
    for _, kind, value, stamped in files:
        path = f"{exp}/{stamped.removeprefix('RUN/')}" if stamped.startswith("RUN/") else stamped
        if kind in ("sha256", "large", "missing") and describe(path) != f"{kind} {value}":
            return path
    return None


def lock_holder(exp: Path) -> str | None:
    """Return the process id of the run.sh at work, by .lock: "" where it is not known, None where none is at work."""
    try:
        with open(RunFolder(exp).lock, encoding="utf-8", errors="replace") as stream:
            try:
                if lock(stream, shared=True) is None:  # for a moment: run.sh waits two seconds for it
                    return None
            except BlockingIOError:
                return (stream.read().split() or [""])[-1]
            holder = (stream.read().split() or ["-"])[-1]  # no locks here: is the process alive that wrote its id last?
            return holder if b"run.sh" in Path("/proc", holder, "cmdline").read_bytes() else None
    except OSError:
        return None


def ending(log: Path) -> tuple[str, str]:
    """Return how a stage without a stamp ended, by its log, and the line that says so."""
    text = log.read_text(encoding="utf-8", errors="replace")
    lines = [line.strip() for line in re.split(r"[\r\n]+", text) if line.strip()]
    for line in reversed(lines):
        if line.startswith("error: "):
            return FAILED, line
        if line.startswith("stopped; the same command") or line == "interrupted":
            return STOPPED, ""
    return ENDED, lines[-1] if lines[1:] else ""


def states(exp: Path) -> list[State]:
    """Return the state of each stage of ``exp``, a path as run.sh writes it: exp/<tag>, from the recipe's folder."""
    logs = [RunFolder(exp).stage_log(number) for number in range(len(STAGES))]
    unfinished = [log for number, log in enumerate(logs) if log.is_file() and not stamp_path(exp, number).is_file()]
    at_work = None
    if unfinished and lock_holder(exp) is not None:
        at_work = max(unfinished, key=lambda log: log.stat().st_mtime)
    return [State(RUNNING) if log == at_work else _state(exp, number, log) for number, log in enumerate(logs)]


def _state(exp: Path, number: int, log: Path) -> State:
    if number == 2 and _from_scratch(exp):
        return State(SKIPPED, "a model trained from scratch has no baseline")
    stamp = stamp_path(exp, number)
    if stamp.is_file():
        changed = changed_file(exp, stamp)
        when = stamp.stat().st_mtime
        return State(STALE, f"{changed} has changed", when) if changed else State(DONE, when=when)
    return State(*ending(log), log.stat().st_mtime) if log.is_file() else State(NOT_RUN)


def _from_scratch(exp: Path) -> bool:
    try:
        return bool(read_stage_file(exp, "base").get("from_scratch"))
    except RecipeError:
        return False


def age(seconds: float) -> str:
    """Return seconds in the unit that says most: 12 s, 5 min, 3 h, 2 days."""
    seconds = max(seconds, 0)
    for unit, size, until in (("s", 1, 100), ("min", 60, 100), ("h", 3600, 48)):
        if seconds < size * until:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds / 86400:.0f} days"


def ago(when: float) -> str:
    """Return how long ago a time was."""
    return f"{age(time.time() - when)} ago"
