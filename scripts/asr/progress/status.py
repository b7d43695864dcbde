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

import psutil

from asr.core.errors import RecipeError
from asr.core.metrics import METRICS
from asr.core.run_folder import RunFolder, read_command
from asr.core.run_records import RankingRecord, ResumePoint, read_ranking, read_resume_points
from asr.core.text_tables import text_table
from asr.progress import record, stages
from asr.progress.record import Record, Records, clock
from asr.progress.stages import DONE, ENDED, FAILED, NOT_RUN, RUNNING, SKIPPED, STAGES, STALE, STOPPED, State, ago

ROOT = Path(__file__).resolve().parents[3]
NONE = "-"
WORKER = "asr.training.worker"


@dataclass
class Run:
    """A run as its files have it."""

    exp: Path
    states: list[State]
    holder: str | None  # process id of the run.sh at work, "" where it is not known, None where there is none
    trainer: str | None  # process id of the trainer at work
    records: Records
    ranking: RankingRecord | None = None
    resume_points: Sequence[ResumePoint] = ()
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
    records = record.read(exp)
    run = Run(exp, stages.states(exp), stages.lock_holder(exp), trainer(records), records)
    try:
        run.resume_points = read_resume_points(exp)
        run.ranking = read_ranking(exp) if RunFolder(exp).ranking.is_file() else None
    except RecipeError as error:
        run.problem = str(error)
    return run


def trainer(records: Records) -> str | None:
    """Return the id of the process that trains the run, where it runs on this machine."""
    start = records.starts[-1] if records.starts else {}
    if start.get("host") != platform.node():
        return None
    try:
        return str(start["pid"]) if WORKER in psutil.Process(start["pid"]).cmdline() else None
    except psutil.Error:
        return None


def headline(run: Run) -> str:
    """Return the state of the whole run in a few words."""
    words = [state.word for state in run.states]
    for word in (RUNNING, FAILED, ENDED, STOPPED, STALE):
        if word in words:
            return f"stage {words.index(word)} {word}"
    if run.at_work:
        return "run.sh at work" if run.trainer is None else "training"
    if NOT_RUN not in words:
        return "all done"
    return f"stage {words.index(NOT_RUN)} next" if words.index(NOT_RUN) else "nothing run yet"


def best(run: Run) -> tuple[str, str] | None:
    """Return the best value so far with its name and unit, and its checkpoint; None where nothing is ranked."""
    if run.ranking is None or not run.ranking["checkpoints"]:
        return None
    first, by = run.ranking["checkpoints"][0], run.ranking["ranked_by"]
    return METRICS[by].text(by, first["value"]), first["file"]


def newest_resume_point(run: Run) -> tuple[str, str] | None:
    """Return the newest checkpoint that the training can be resumed from, and how long ago it was written."""
    for point in run.resume_points[:1]:
        path = run.exp / point.weights
        return (point.weights, ago(path.stat().st_mtime)) if path.is_file() else None
    return None


def disk(run: Run) -> str:
    """Return what the checkpoints take on the disk, a file with several names counted once."""
    abouts = [path.stat() for path in (*run.exp.glob("*.pt*"), *RunFolder(run.exp).model.glob("*.pt"))]
    size = sum({about.st_ino: about.st_size for about in abouts}.values())
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"


def left(run: Run) -> str:
    """Return the time that training has left, by its last line; none where no process trains."""
    if "left" not in run.last or not run.at_work or run.states[3].word != RUNNING:
        return NONE
    return clock(run.last["left"] - (time.time() - run.last["time"]))


def number(value: float | None, form: str) -> str:
    """Return a number, or the sign for none."""
    return NONE if value is None else format(value, form)


def next_command(run: Run) -> str:
    """Return what to do next."""
    folder = RunFolder(run.exp)
    if run.at_work:
        return "wait: it is at work"
    if all(state.word in (DONE, SKIPPED) for state in run.states):
        return f"nothing: see {folder.results} and {folder.report}"
    options = "" if folder.command.is_file() else ", with the options that it was started with"
    return f"{read_command(run.exp)}{options}"


def row(run: Run) -> list[str]:
    """Return the run's line in the table."""
    last, top, newest = run.last, best(run), newest_resume_point(run)
    return [
        run.exp.name,
        headline(run),
        f"{last['epoch']}/{last['max_epoch']}" if last else NONE,
        number(last.get("total_step"), ","),
        number(last.get("loss"), ".3f"),
        f"{top[0]} ({top[1].removeprefix('model.pt.')})" if top else NONE,
        newest[1] if newest else NONE,
        disk(run),
        left(run),
    ]


HEADER = ("run", "state", "epoch", "steps", "loss", "best", "saved", "disk", "left")


def details(run: Run) -> str:
    """Return everything about a run, in lines of a name and a value."""
    lines = [("state", headline(run) + _processes(run))]
    for stage, state in enumerate(run.states):
        when = "" if state.when is None else f", {ago(state.when)}"
        why = f": {state.why}" if state.why else ""
        lines.append((f"stage {stage}", f"{STAGES[stage]}: {state.word}{when}{why}"))
    lines += _training(run)
    if newest := newest_resume_point(run):
        lines.append(("resumes from", ", ".join(newest)))
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
    return f" ({', '.join(parts) or 'no process is at work'})"


def _training(run: Run) -> list[tuple[str, str]]:
    last, lines, top = run.last, [], best(run)
    if last:
        steps = f"step {last['step']} of {last['steps_in_epoch']}"
        lines.append(("epoch", f"{last['epoch']} of {last['max_epoch']}, {steps}"))
        lines.append(("steps", f"{last['total_step']:,} in all, the last one logged {ago(last['time'])}"))
        if left(run) != NONE:
            lines.append(("time left", left(run)))
        validated = run.records.validation[-1]["loss"] if run.records.validation else None
        lines.append(("loss", f"{number(last['loss'], '.3f')} in training, {number(validated, '.4f')} in validation"))
    if top:
        lines.append(("best", ", ".join(top)))
    if last:
        shares = [("waiting for data", last["waiting_share"]), ("padding", last["padding_share"])]
        parts = [f"{name} {100 * share:.0f} %" for name, share in shares if share is not None]
        lines.append(("speed", ", ".join([f"{last['audio_s_per_s']:.0f} s of audio a second", *parts])))
        reserved = f" ({last['reserved_gb']:.1f} reserved)" if "reserved_gb" in last else ""
        lines.append(("memory", f"{last['memory_gb']:.1f} GB{reserved}"))
    return lines


def _is_run(path: Path) -> bool:
    return RunFolder(path).lock.exists() or RunFolder(path).conf.is_dir()


def runs() -> list[Path]:
    """Return the runs in exp/, by name."""
    return sorted(filter(_is_run, Path("exp").glob("*")))


def named(words: Sequence[str], here: Path) -> list[Path]:
    """Return the runs that ``words`` name: folders, seen from ``here``, or tags. RecipeError where there is none."""
    exps = []
    for word in words:
        folder = next((path for path in (here / word, Path("exp", word)) if _is_run(path)), None)
        if folder is None:
            there = ", ".join(path.name for path in runs()) or "none yet"
            raise RecipeError(f"{word}: no such run; in exp/ there are: {there}")
        exps.append(Path(os.path.relpath(folder)))  # as in the stamps
    return exps


def main() -> None:
    """Show the runs that the command line names, or all."""
    about = "Show where the runs stand: a line each, or all about those named."
    parser = argparse.ArgumentParser(prog="bash scripts/status.sh", description=about)
    parser.add_argument("run", nargs="*", help="exp/<tag>, or the tag")
    words, here = parser.parse_args().run, Path.cwd()
    os.chdir(ROOT)
    rows = [] if words else [row(load(exp)) for exp in runs()]
    if words:
        print("\n\n".join(details(load(exp)) for exp in named(words, here)))
    elif rows:
        print(text_table(HEADER, rows, left=(0, 1, 5)))
    else:
        print("no runs in exp/ yet; bash run.sh makes one")
