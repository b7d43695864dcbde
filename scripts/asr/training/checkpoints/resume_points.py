"""What a stopped run is resumed from: the newest two resume points, each of two files with their digests.

model.pt.ep3.200    weights alone, as FunASR's tools read them
state.pt.ep3.200    optimizer, schedule, ranking and position in the epoch: kept for the newest two resume points only
saves.json          both files of each resume point with their sha256, newest first; written when they are whole
digests.json        the sha256 of every checkpoint that is kept, for stage 4

A resume point that is damaged or missing is named, and the run is resumed from the one before. One whose weights have
not yet given a finite gradient may be of a training that has diverged: the next one replaces it, not the one before it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from asr.core import files
from asr.core.errors import RecipeError
from asr.core.run_folder import RunFolder
from asr.core.run_records import ResumePoint, note_digest, read_resume_points, write_resume_points
from asr.training.checkpoints import checkpoint

KEPT = 2
STATE = "state.pt"
AGAIN = ".again"
Loaded = tuple[ResumePoint, dict[str, Any], dict[str, Any]]  # a resume point, its weights and its state


def add(exp: Path, name: str, weights: dict[str, Any], state: dict[str, Any], instead_of: str | None = None) -> None:
    """Write both files of a resume point, then the list, then the link.

    Args:
        name: the weights' file, model.pt.epN[.step].
        instead_of: the weights' file of the resume point that leaves the list for this one, before older ones.
    """
    listed = read_resume_points(exp)
    kept = [point for point in listed if point.weights not in (name, instead_of)][: KEPT - 1]
    state_name = STATE + name.removeprefix(checkpoint.LATEST)
    # A step may be saved again, once a validation that a stop prevented has been done: the same weights, and another
    # state. Until the list is written the state of the first one must stay.
    if any(point.state == state_name for point in listed):
        state_name += AGAIN
    weights_sha256 = checkpoint.save(weights, exp / name)
    with checkpoint.writing(RunFolder(exp).digests):
        note_digest(exp, name, weights_sha256)
    state_sha256 = checkpoint.save(state, exp / state_name)
    keep(exp, [ResumePoint(name, weights_sha256, state_name, state_sha256), *kept])
    checkpoint.link(exp / name, exp / checkpoint.LATEST)


def keep(exp: Path, points: list[ResumePoint]) -> None:
    """Write the list of resume points; ``sweep`` removes the files of others."""
    with checkpoint.writing(RunFolder(exp).resume_points):
        write_resume_points(exp, points)


def newest_whole(exp: Path, report: Callable[[str], None], rank: int = 0, group: Any = None) -> Loaded | None:
    """Return the newest resume point that is whole, its weights and its state; None where there is none.

    All ranks of a ``group`` take the first one's: DDP trains models that must be alike. RecipeError where none is
    whole, and on a machine that does not see the files that the first sees.

    Args:
        report: gets a line for each damaged resume point.
    """
    choice = [_choose(exp, report) if rank == 0 else None]
    if group is not None:
        dist.broadcast_object_list(choice, src=0, group=group)
    if (point := choice[0]) is None:
        return None
    if rank and (damage := point.damage(exp)):
        raise RecipeError(f"{exp}: {damage} here, and whole on the first machine; is it one file system that all see?")
    weights = torch.load(exp / point.weights, map_location="cpu", weights_only=True, mmap=True)
    return point, weights, torch.load(exp / point.state, map_location="cpu", weights_only=False)


def _choose(exp: Path, report: Callable[[str], None]) -> ResumePoint | None:
    damages = []
    for point in read_resume_points(exp):
        if (damage := point.damage(exp)) is None:
            return point
        report(f"{damage}; trying the checkpoint before")
        damages.append(damage)
    if damages:
        raise RecipeError(f"{exp}: no checkpoint is whole ({damages[0]}); put the files back, or --restart")
    return None


def sweep(exp: Path, ranked: set[str]) -> None:
    """Remove checkpoints that are neither ranked nor resumed from, and temporary files of killed processes."""
    points = read_resume_points(exp)
    needed = ranked | {point.weights for point in points} | {point.state for point in points}
    for path in (*exp.glob(f"{checkpoint.LATEST}.ep*"), *exp.glob(f"{STATE}.ep*")):
        if path.name not in needed:
            path.unlink(missing_ok=True)
    files.sweep(exp)
