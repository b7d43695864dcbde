"""Where the runs in exp/ stand: a line for each, or of the runs that are named all there is to say.

``bash scripts/status.sh [exp/<tag> …]``, or ``python -m asr.status``. Reads what the run has written and changes
nothing; without torch, so that it answers at once.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from asr.core.errors import RecipeError
from asr.core.text_tables import text_table
from asr.progress import record
from asr.progress.record import Record, Records, clock
from asr.system import run_state
from asr.system.run_state import DONE, ENDED, FAILED, NOT_RUN, RUNNING, SKIPPED, STAGES, STALE, State, ago
from asr.training.checkpoints import save_list

ROOT = Path(__file__).resolve().parents[3]
NONE = "-"
WORKER = b"asr.training.worker"


@dataclass
class Run:
    """A run as its files have it."""

    exp: Path
    states: list[State]
    holder: str | None  # process id of the run.sh at work, "" where it is not known, None where there is none
    trainer: str | None  # where the trainer is at work: its process id, and its machine if it is another
    records: Records
    ranking: dict[str, Any]
    saves: list[save_list.Save]
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
    """Read a run. ``exp`` as run.sh names it: exp/<tag>, in the recipe's folder."""
    records = record.read(exp)
    ranking, saves, problem = {}, [], ""
    try:
        saves = save_list.read_saves(exp)
        if (exp / save_list.RANKING).is_file():
            ranking = json.loads((exp / save_list.RANKING).read_text(encoding="utf-8"))
    except RecipeError as error:
        problem = str(error)
    except ValueError:
        problem = f"{exp / save_list.RANKING}: not JSON"
    holder = run_state.lock_holder(exp)
    return Run(exp, run_state.states(exp), holder, trainer(records), records, ranking, saves, problem)


def trainer(records: Records) -> str | None:
    """The process that trains the run, if it is alive: by the process table, which knows only this machine's."""
    start = records.starts[-1] if records.starts else {}
    if start.get("host") != platform.node():
        return None
    try:
        words = Path(f"/proc/{start['pid']}/cmdline").read_bytes()
    except (OSError, KeyError):
        return None
    return str(start["pid"]) if WORKER in words else None


def headline(run: Run) -> str:
    """The state of the whole run in a few words."""
    for word in (RUNNING, FAILED, ENDED, run_state.STOPPED, STALE):
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
    """The best value so far with its name and unit, and its checkpoint; None where nothing is ranked."""
    if not run.ranking.get("checkpoints"):
        return None
    found, by = run.ranking["checkpoints"][0], run.ranking["ranked_by"]
    value = f"{100 * found['value']:.2f} %" if by in ("cer", "acc") else f"{found['value']:.4f}"
    return f"{by if by == 'loss' else by.upper()} {value}", found["file"]


def saved(run: Run) -> tuple[str, float] | None:
    """The newest save and when it was written."""
    for save in run.saves[:1]:
        path = run.exp / save.weights
        if path.is_file():
            return save.weights, path.stat().st_mtime
    return None


def disk(run: Run) -> str:
    """What the checkpoints take on the disk, a file with several names counted once."""
    paths = [*run.exp.glob("*.pt*"), *run.exp.glob("model/*.pt")]
    size = sum({(found := path.stat()).st_ino: found.st_size for path in paths}.values())
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"


def left(run: Run) -> str:
    """Time that training has left, by its last line; none where no process trains."""
    seconds = run.last.get("left")
    if seconds is None or not run.at_work or run.states[3].word != RUNNING:
        return NONE
    return clock(seconds - (time.time() - run.last["time"]))


def number(value: Any, form: str) -> str:
    """A number, or the sign for none."""
    return format(value, form) if isinstance(value, (int, float)) else NONE


def next_command(run: Run) -> str:
    """What to give to go on."""
    if run.at_work:
        return "wait: it is at work"
    if all(state.word in (DONE, SKIPPED) for state in run.states):
        return f"nothing: see {run.exp}/RESULTS.md and {run.exp}/report.html"
    try:
        return (run.exp / "command").read_text(encoding="utf-8").strip()
    except OSError:
        return f"bash run.sh --tag {run.exp.name}, with the options that it was begun with"


def row(run: Run) -> list[str]:
    """The run's line in the table."""
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
    """All there is to say of a run, in lines of a name and a value."""
    lines = [("state", headline(run) + _processes(run))]
    for place, state in enumerate(run.states):
        when = f", {ago(state.when)}" if state.when is not None else ""
        why = f": {state.why}" if state.why else ""
        lines.append((f"stage {place}", f"{STAGES[place].name}: {state.word}{when}{why}"))
    lines += _training(run)
    if (newest := saved(run)) is not None:
        lines.append(("newest save", f"{newest[0]}, {ago(newest[1])}"))
    lines.append(("disk", f"{disk(run)} of checkpoints"))
    if (run.exp / "curves.png").is_file():
        lines.append(("curves", f"{run.exp}/curves.png"))
    if run.problem:
        lines.append(("problem", run.problem))
    if run.records.damaged:
        lines.append(("note", f"{run.exp / record.FILE}: {run.records.damaged} damaged lines left out"))
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
    """The runs in exp/, by name."""
    return sorted(path for path in Path("exp").glob("*") if (path / ".lock").exists() or (path / "conf").is_dir())


def named(words: Sequence[str], here: Path) -> list[Path]:
    """The runs that ``words`` name: folders, seen from ``here``, or tags. RecipeError where one is none."""
    found = []
    for word in words:
        folders = (here / word, Path("exp") / word)
        folder = next((path for path in folders if path.is_dir()), None)
        if folder is None:
            there = ", ".join(path.name for path in runs()) or "none yet"
            raise RecipeError(f"{word}: no such run; in exp/ there are: {there}")
        found.append(Path(os.path.relpath(folder.absolute(), Path.cwd())))  # as in the stamps
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="bash scripts/status.sh", description="Where the runs stand: a line for each, or all about those named."
    )
    parser.add_argument("run", nargs="*", help="exp/<tag>, or the tag")
    words, here = parser.parse_args().run, Path.cwd()
    os.chdir(ROOT)
    if words:
        print("\n\n".join(details(load(exp)) for exp in named(words, here)))
        return
    found = [load(exp) for exp in runs()]
    if not found:
        print("no runs in exp/ yet; bash run.sh makes one")
        return
    print(text_table(HEADER, [row(run) for run in found], left=(0, 1, 5)))
