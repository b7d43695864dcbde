"""What a stopped run goes on from: the newest two saves, each of two files whose digests are known.

model.pt.ep3.200    weights alone, as FunASR's tools read them
state.pt.ep3.200    optimizer, schedule, ranking and place in the epoch: kept for the newest two saves only
saves.json          both files of each save with their sha256, newest first; written when they are whole
digests.json        the sha256 of every checkpoint that is kept, for stage 4
model.pt            a link to the newest weights

A save that is damaged, or lost, is named, and the one before it is gone on from. A save whose weights have not yet
given a finite gradient may hold a training that has diverged: the next one takes its place, not that of the one before.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from asr.core import files
from asr.core.errors import RecipeError
from asr.core.files import write_json
from asr.core.run_folder import RunFolder
from asr.core.run_records import note_digest
from asr.training.checkpoints import checkpoint
from asr.training.checkpoints.save_list import SAVES, Save, read_saves

KEPT = 2
STATE = "state.pt"
AGAIN = ".again"


def add_save(
    exp: Path, name: str, weights: dict[str, Any], state: dict[str, Any], instead_of: str | None = None
) -> None:
    """Write both files of a save, then the list, then the link. ``name`` is the weights' file, model.pt.epN[.step].

    ``instead_of``: the weights' file of a save that leaves the list for this one, before those that are older.
    """
    listed = read_saves(exp)
    kept = [save for save in listed if save.weights not in (name, instead_of)][: KEPT - 1]
    state_name = STATE + name.removeprefix(checkpoint.LATEST)
    # A validation that a stop came before is made up for, and the same step saved again: the same weights, and another
    # state. Until the list says so the save is the one before, whose state is not to be touched.
    if any(save.state == state_name for save in listed):
        state_name += AGAIN
    weights_sha256 = checkpoint.save(weights, exp / name)
    with checkpoint.writing(RunFolder(exp).digests):
        note_digest(exp, name, weights_sha256)
    save = Save(name, weights_sha256, state_name, checkpoint.save(state, exp / state_name))
    keep(exp, [save, *kept])
    checkpoint.link(exp / name, exp / checkpoint.LATEST)


def keep(exp: Path, listed: list[Save]) -> None:
    """Write the list of saves; what is on it no more is removed by ``sweep``."""
    with checkpoint.writing(exp / SAVES):
        write_json(exp / SAVES, [asdict(save) for save in listed])


def newest_whole(exp: Path, tell: Callable[[str], None]) -> tuple[Save, dict[str, Any], dict[str, Any]] | None:
    """The newest save that is whole, its weights and its state; None where nothing was saved.

    ``tell`` is told of each damaged one. RecipeError where none is whole.
    """
    found = read_saves(exp)
    for save in found:
        damage = save.damage(exp)
        if damage is None:
            return save, *load(exp, save)
        tell(f"{damage}: looking for the save before")
    if found:
        raise RecipeError(
            f"{exp}: no save is whole ({found[0].damage(exp)}); put the files back, or give --restart to begin anew"
        )
    return None


def load(exp: Path, save: Save) -> tuple[dict[str, Any], dict[str, Any]]:
    """The weights and the state of a save."""
    weights = torch.load(exp / save.weights, map_location="cpu", weights_only=True, mmap=True)
    return weights, torch.load(exp / save.state, map_location="cpu", weights_only=False)


def agreed(
    exp: Path, tell: Callable[[str], None], rank: int, group: Any
) -> tuple[Save, dict[str, Any], dict[str, Any]] | None:
    """``newest_whole`` by the first rank; the others take the same one, or DDP would train what is not alike.

    RecipeError on all where the first finds none whole, and where another machine does not see what the first does.
    """
    choice: list[Any] = [None]
    found = None
    if rank == 0:
        try:
            found = newest_whole(exp, tell)
            choice = [found[0] if found else None]
        except RecipeError as error:
            choice = [error]
    dist.broadcast_object_list(choice, src=0, group=group)
    if isinstance(choice[0], RecipeError):
        raise choice[0]
    if rank == 0 or choice[0] is None:
        return found
    if damage := choice[0].damage(exp):
        raise RecipeError(f"{exp}: {damage} here and whole on the first machine; is it one file system that all see?")
    return choice[0], *load(exp, choice[0])


def sweep(exp: Path, ranked: set[str]) -> None:
    """Remove checkpoints that neither the ranking nor a save needs any more, and what a kill has left."""
    saves = read_saves(exp)
    needed = ranked | {save.weights for save in saves} | {save.state for save in saves}
    for path in (*exp.glob(f"{checkpoint.LATEST}.ep*"), *exp.glob(f"{STATE}.ep*")):
        if path.name not in needed:
            path.unlink(missing_ok=True)
    files.sweep(exp)
