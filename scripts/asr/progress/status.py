"""Where the runs in exp/ stand: a line for each, or everything about the runs that are named.

``bash scripts/status.sh [exp/<tag> …]``, or ``python -m asr.status``. Reads what the runs have written and changes
nothing.
"""

from __future__ import annotations

import argparse
import os
import platform
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from asr.core.errors import RecipeError
from asr.core.run_folder import RunFolder, read_command
from asr.core.run_records import Ranking, ResumePoint, read_ranking, read_resume_points
from asr.core.text_tables import text_table
from asr.progress import record, stages
from asr.progress.record import Record, Records, clock
from asr.progress.stages import DONE, ENDED, FAILED, NOT_RUN, RUNNING, SKIPPED, STAGES, STALE, STOPPED, State, ago

ROOT = Path(__file__).resolve().parents[3]
NONE = "-"
WORKER = b"asr.training.worker"


@dataclass
class Run:
    """A run as its files have it."""

    exp: Path
    states: list[State]
    holder: str | None  # process id of the run.sh at work, "" where it is not known, None where there is none
    trainer: str | None  # process id of the trainer at work
    records: Records
    ranking: Ranking | None
    resume_points: list[ResumePoint]
    problem: str = ""  # with its files

    @property
    def last(self) -> Record:
        """The last line of training; empty where there is none."""
        return self.records.train[-1] if self.records.train else {}

    @property
    def at_work(self) -> bool:
        """Whether a process works on it."""
        return self.holder is not None or self.trainer is not None


def load(exp: Path) -> Run:
    """Read a run. ``exp`` as run.sh writes it: exp/<tag>, from the recipe's folder."""
    records, ranking, resume_points, problem = record.read(exp), None, [], ""
    try:
        resume_points = read_resume_points(exp)
        if RunFolder(exp).ranking.is_file():
            ranking = read_ranking(exp)
    except RecipeError as error:
        problem = str(error)
    holder = stages.lock_holder(exp)
    return Run(exp, stages.states(exp), holder, trainer(records), records, ranking, resume_points, problem)


def trainer(records: Records) -> str | None:
    """Return the id of the process that trains the run, where it runs on this machine."""
    start = records.starts[-1] if records.starts else {}
    if start.get("host") != platform.node():
        return None
    try:
        command = Path(f"/proc/{start['pid']}/cmdline").read_bytes()
    except (OSError, KeyError):
        return None
    return str(start["pid"]) if WORKER in command else None


def headline(run: Run) -> str:
    """Return the state of the whole run in a few words."""
    for word in (RUNNING, FAILED, ENDED, STOPPED, STALE):
        for number, state in enumerate(run.states):
            if state.word == word:
                return f"stage {number} {word}"
    if run.trainer is not None:
        return "training"
    if run.holder is not None:
        return "run.sh at work"
    left = [number for number, state in enumerate(run.states) if state.word == NOT_RUN]
    if not left:
        return "all done"
    return f"stage {left[0]} next" if left[0] else "nothing run yet"


def best(run: Run) -> tuple[str, str] | None:
    """Return the best value so far with its name and unit, and its checkpoint; None where nothing is ranked."""
    if run.ranking is None or not run.ranking["checkpoints"]:
        return None
    first, by = run.ranking["checkpoints"][0], run.ranking["ranked_by"]
    value = f"{100 * first['value']:.2f} %" if by in ("cer", "acc") else f"{first['value']:.4f}"
    return f"{by if by == 'loss' else by.upper()} {value}", first["file"]


def saved(run: Run) -> tuple[str, float] | None:
    """Return the newest checkpoint that the training can be resumed from, and when it was written."""
    for point in run.resume_points[:1]:
        path = run.exp / point.weights
        if path.is_file():
            return point.weights, path.stat().st_mtime
    return None


def disk(run: Run) -> str:
    """Return what the checkpoints take on the disk, a file with several names counted once."""
    abouts = [path.stat() for path in (*run.exp.glob("*.pt*"), *RunFolder(run.exp).model.glob("*.pt"))]
    size = sum({about.st_ino: about.st_size for about in abouts}.values())
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"


def left(run: Run) -> str:
    """Return the time that training has left, by its last line; none where no process trains."""
    seconds = run.last.get("left")
    if seconds is None or not run.at_work or run.states[3].word != RUNNING:
        return NONE
    return clock(seconds - (time.time() - run.last["time"]))


def number(value: Any, form: str) -> str:
    """Return a number, or the sign for none."""
    return format(value, form) if isinstance(value, (int, float)) else NONE


def next_command(run: Run) -> str:
    """Return what to do next."""
    folder = RunFolder(run.exp)
    if run.at_work:
        return "wait: it is at work"
    if all(state.word in (DONE, SKIPPED) for state in run.states):
        return f"nothing: see {folder.results} and {folder.report}"
    if folder.command.is_file():
        return read_command(run.exp)
    return f"{read_command(run.exp)}, with the options that it was started with"


def row(run: Run) -> list[str]:
    """Return the run's line in the table."""
    last, top, newest = run.last, best(run), saved(run)
    epoch = f"{last['epoch']}/{last['max_epoch']}" if last else NONE
    return [
        run.exp.name,
        headline(run),
        epoch,
        number(last.get("total_step"), ","),
        number(last.get("loss"), ".3f"),
        f"{top[0]} ({top[1].removeprefix('model.pt.')})" if top else NONE,
        ago(newest[1]) if newest else NONE,
        disk(run),
        left(run),
    ]


HEADER = ("run", "state", "epoch", "steps", "loss", "best", "saved", "disk", "left")


def details(run: Run) -> str:
    """Return everything about a run, in lines of a name and a value."""
    lines = [("state", headline(run) + _processes(run))]
    for number, state in enumerate(run.states):
        when = f", {ago(state.when)}" if state.when is not None else ""
        why = f": {state.why}" if state.why else ""
        lines.append((f"stage {number}", f"{STAGES[number]}: {state.word}{when}{why}"))
    lines += _training(run)
    if (newest := saved(run)) is not None:
        lines.append(("newest save", f"{newest[0]}, {ago(newest[1])}"))
    lines.append(("disk", f"{disk(run)} of checkpoints"))
    if RunFolder(run.exp).curves.is_file():
        lines.append(("curves", str(RunFolder(run.exp).curves)))
    if run.problem:
        lines.append(("problem", run.problem))
    if run.records.damaged:
        lines.append(("note", f"{RunFolder(run.exp).progress}: {run.records.damaged} damaged lines are not used"))
    lines.append(("next", next_command(run)))
    return "\n".join([str(run.exp), *(f"  {name:<12} {value}" for name, value in lines)])


def _processes(run: Run) -> str:
    parts = []
    if run.holder is not None:
        parts.append(f"run.sh is process {run.holder}" if run.holder else "run.sh is at work")
    if run.trainer is not None:
        parts.append(f"the trainer is process {run.trainer}")
    return f" ({', '.join(parts)})" if parts else " (no process is at work)"


def _training(run: Run) -> list[tuple[str, str]]:
    last, lines = run.last, []
    if last:
        lines.append(
            ("epoch", f"{last['epoch']} of {last['max_epoch']}, step {last['step']} of {last['steps_in_epoch']}")
        )
        lines.append(("steps", f"{last['total_step']:,} in all, the last one logged {ago(last['time'])}"))
        if (remaining := left(run)) != NONE:
            lines.append(("time left", remaining))
        validation = run.records.validation[-1] if run.records.validation else {}
        shown = f"{number(last.get('loss'), '.3f')} in training"
        lines.append(("loss", f"{shown}, {number(validation.get('loss'), '.4f')} in validation"))
    if (top := best(run)) is not None:
        lines.append(("best", f"{top[0]}, {top[1]}"))
    if last:
        reserved = f" ({last['reserved_gb']:.1f} reserved)" if "reserved_gb" in last else ""
        shares = [("waiting for data", "waiting_share"), ("padding", "padding_share")]
        parts = [f"{number(last.get('audio_s_per_s'), '.0f')} s of audio a second"]
        parts += [f"{name} {100 * last[key]:.0f} %" for name, key in shares if last.get(key) is not None]
        lines.append(("speed", ", ".join(parts)))
        lines.append(("memory", f"{number(last.get('memory_gb'), '.1f')} GB{reserved}"))
    return lines


def runs() -> list[Path]:
    """Return the runs in exp/, by name."""
    folders = map(RunFolder, Path("exp").glob("*"))
    return sorted(folder.path for folder in folders if folder.lock.exists() or folder.conf.is_dir())


def named(words: Sequence[str], here: Path) -> list[Path]:
    """Return the runs that ``words`` name: folders, seen from ``here``, or tags. RecipeError where there is none."""
    exps = []
    for word in words:
        folders = (here / word, Path("exp") / word)
        folder = next((path for path in folders if path.is_dir()), None)
        if folder is None:
            there = ", ".join(path.name for path in runs()) or "none yet"
            raise RecipeError(f"{word}: no such run; in exp/ there are: {there}")
        exps.append(Path(os.path.relpath(folder.absolute(), Path.cwd())))  # as in the stamps
    return exps


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="bash scripts/status.sh",
        description="Show where the runs stand: a line each, or all about those named.",
    )
    parser.add_argument("run", nargs="*", help="exp/<tag>, or the tag")
    words, here = parser.parse_args().run, Path.cwd()
    os.chdir(ROOT)
    if words:
        print("\n\n".join(details(load(exp)) for exp in named(words, here)))
        return
    rows = [row(load(exp)) for exp in runs()]
    if rows:
        print(text_table(HEADER, rows, left=(0, 1, 5)))
    else:
        print("no runs in exp/ yet; bash run.sh makes one")
