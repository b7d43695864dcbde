"""Where each stage of a run stands, by what run.sh leaves in exp/<tag>: stamps/, log/ and .lock (scripts/lib.sh, once).

Looks and changes nothing. Whether the corpus, the options or the code have changed is for run.sh to see: a stage that
is called done here is one whose inputs and outputs in the run are as its stamp has them. Without torch.
"""

from __future__ import annotations

import contextlib
import fcntl
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from asr.core.digests import sha256_file

DONE, STALE, RUNNING, FAILED, STOPPED, ENDED, SKIPPED, NOT_RUN = (
    *("done", "stale", "running", "failed", "interrupted", "ended early", "skipped", "not run"),
)
LARGE = 64 << 20  # bytes, from which lib.sh's fingerprint is of size and time
LOG_TAIL = 20_000  # bytes in which a log's last words are looked for


@dataclass(frozen=True)
class Stage:
    """A stage's name, and which lines of its stamp are of which files: (first line, paths); before 0 from the end."""

    name: str
    files: tuple[tuple[int, tuple[str, ...]], ...]


STAGES = (
    Stage("set up", ((4, ("{exp}/conf/base.yaml",)), (7, ("{exp}/base.json", "{exp}/base/config.yaml")))),
    Stage(
        "prepare",
        (
            (-8, ("{exp}/base/config.yaml", "{exp}/base/tokens.json")),
            (-6, ("{data}/train.jsonl", "{data}/val.jsonl", "{data}/test.jsonl")),
            (-3, ("{data}/data_statistics.txt", "{data}/data_statistics.html")),
        ),
    ),
    Stage(
        "baseline",
        (
            (-5, ("{data}/test.jsonl", "{exp}/base.json", "{exp}/conf/decode.yaml")),
            (-2, ("{exp}/baseline/hyp.txt", "{exp}/baseline/decode.json")),
        ),
    ),
    Stage(
        "fine-tune",
        (
            (-6, ("{data}/train.jsonl", "{data}/val.jsonl", "{exp}/base.json", "{exp}/conf/train.yaml")),
            (-2, ("{exp}/checkpoints.json", "{exp}/model.pt")),
        ),
    ),
    Stage(
        "average",
        (
            (-6, ("{exp}/checkpoints.json", "{exp}/model.pt", "{exp}/conf/average.yaml")),
            (-3, ("{exp}/avg.json", "{exp}/model/model.pt", "{exp}/model/config.yaml")),
        ),
    ),
    Stage(
        "evaluate",
        (
            (2, ("{data}/test.jsonl", "{data}/train.jsonl", "{exp}/avg.json")),
            (5, ("{exp}/conf/decode.yaml", "{exp}/conf/report.yaml", "{exp}/baseline/hyp.txt")),
            (-5, ("{exp}/tuned/hyp.txt", "{exp}/tuned/decode.json", "{exp}/score/score.json")),
            (-2, ("{exp}/RESULTS.md", "{exp}/report.html")),
        ),
    ),
)


@dataclass(frozen=True)
class State:
    """How a stage stands (one of the words above), and why: the file that has changed, or the log's last words."""

    word: str
    why: str = ""
    when: float | None = None  # seconds since 1970: its end


def fingerprint(path: str) -> str:
    """The line that lib.sh's ``fingerprint`` makes of a file."""
    file = Path(path)
    if not file.is_file():
        return f"missing {path}"
    found = file.stat()
    if found.st_size < LARGE:
        return f"{sha256_file(file)}  -"
    return f"{path} {found.st_size} {int(found.st_mtime)}"


def stamp(exp: Path, number: int) -> list[str]:
    """The lines of a stage's stamp; none where it has not ended well."""
    try:
        return (exp / "stamps" / f"stage{number}").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []


def changed_file(exp: Path, number: int, lines: Sequence[str]) -> str | None:
    """The first file of a stage that is not as its stamp has it."""
    prepared = stamp(exp, 1)
    data = prepared[prepared.index("--out") + 1] if "--out" in prepared[:-1] else None
    for first, paths in STAGES[number].files:
        for place, pattern in enumerate(paths, start=first):
            if "{data}" in pattern and data is None:
                continue
            path = pattern.format(exp=exp, data=data)
            if not -len(lines) <= place < len(lines) or lines[place] != fingerprint(path):
                return path
    return None


def lock_holder(exp: Path) -> str | None:
    """The process id that .lock names, where a run.sh is at work on the run; "" where it names none."""
    try:
        with open(exp / ".lock", encoding="utf-8", errors="replace") as stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)  # for a moment: run.sh waits two seconds for it
            except BlockingIOError:
                return (stream.read().split() or [""])[-1]
            except OSError:  # a file system without locks: is the last one that wrote its number there?
                holder = (stream.read().split() or ["-"])[-1]
                return holder if b"run.sh" in Path("/proc", holder, "cmdline").read_bytes() else None
    except OSError:
        pass
    return None


def _log(exp: Path, number: int) -> Path:
    return exp / "log" / f"stage{number}.log"


def last_words(log: Path) -> tuple[str, str]:
    """How a stage without a stamp ended, by its log, and the line that says so."""
    with open(log, "rb") as stream:
        stream.seek(max(log.stat().st_size - LOG_TAIL, 0))
        text = stream.read().decode("utf-8", errors="replace")
    lines = [line.strip() for line in re.split(r"[\r\n]+", text) if line.strip()]
    for line in reversed(lines):
        if line.startswith("error: "):
            return FAILED, line
        if line.startswith("stopped; the same command") or line == "interrupted":
            return STOPPED, ""
    return ENDED, lines[-1] if lines[1:] else ""


def states(exp: Path) -> list[State]:
    """The state of each stage of ``exp``, which is named as run.sh names it: exp/<tag>, from the recipe's folder."""
    begun = {number: _log(exp, number).stat().st_mtime for number in range(len(STAGES)) if _log(exp, number).is_file()}
    unfinished = {number: when for number, when in begun.items() if not stamp(exp, number)}
    at_work = max(unfinished, key=unfinished.__getitem__) if unfinished and lock_holder(exp) is not None else None
    return [_state(exp, number, number == at_work) for number in range(len(STAGES))]


def _state(exp: Path, number: int, at_work: bool) -> State:
    if number == 2 and _from_scratch(exp):
        return State(SKIPPED, "a model trained from scratch has no baseline")
    log, lines = _log(exp, number), stamp(exp, number)
    if at_work:
        return State(RUNNING)
    if lines:
        when = (exp / "stamps" / f"stage{number}").stat().st_mtime
        changed = changed_file(exp, number, lines)
        return State(STALE, f"{changed} has changed", when) if changed else State(DONE, when=when)
    if log.is_file():
        return State(*last_words(log), log.stat().st_mtime)
    return State(NOT_RUN)


def _from_scratch(exp: Path) -> bool:
    with contextlib.suppress(OSError):
        return bool(re.search(r"^from_scratch: true", (exp / "conf" / "base.yaml").read_text(), re.MULTILINE))
    return False


def age(seconds: float) -> str:
    """Seconds in the unit that says most: 12 s, 5 min, 3 h, 2 days."""
    seconds = max(seconds, 0)
    for unit, size, until in (("s", 1, 100), ("min", 60, 100), ("h", 3600, 48)):
        if seconds < size * until:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds / 86400:.0f} days"


def ago(when: float) -> str:
    """How long ago a time was."""
    return f"{age(time.time() - when)} ago"
