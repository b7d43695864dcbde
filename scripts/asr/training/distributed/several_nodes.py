"""Several machines in one training, by torchrun's own variables, and how the others wait for the first.

The same ``python -m asr.train`` runs on each machine, with the same exp/<tag> and data on a file system that all see,
and torchrun's variables: PET_NNODES, PET_NODE_RANK, PET_RDZV_BACKEND, PET_RDZV_ENDPOINT, PET_RDZV_ID.
The machine whose PET_NODE_RANK is 0 prepares exp/<tag>; exp/<tag>/machines.json tells the others what it does.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from asr.core.errors import RecipeError
from asr.core.files import write_json

STATE = "machines.json"
PREPARES, TRAINS, OVER, FAILED = "prepares", "trains", "over", "failed"  # what the first machine does
WAITING = 3600.0  # seconds that a machine waits for the first one to have prepared
MEANINGS = {
    "PET_RDZV_ENDPOINT": "the first machine's HOST:PORT",
    "PET_RDZV_ID": "a word, the same on all machines and new for every launch",
    "PET_NODE_RANK": "0 on the machine that prepares, 1, 2, … on the others",
}


@dataclass(frozen=True)
class Machines:
    """How many machines train together at most, which of them this is, and where they meet, with an id."""

    count: int = 1
    rank: int = 0
    rendezvous: str = ""  # empty for a machine alone

    def own(self, path: Path) -> Path:
        """Return a file that each machine has: ``path`` for the first, with the machine's number for the others."""
        return path.with_name(f"{path.stem}.{self.rank}{path.suffix}") if self.rank else path

    def torchrun(self) -> dict[str, Any]:
        """Return torchrun's options, and variables beside those that it reads itself: PET_NNODES and the like."""
        restarts = int(os.environ.get("PET_MAX_RESTARTS") or 0) or ":" in os.environ.get("PET_NNODES", "")
        return {
            "options": () if self.rendezvous else ("--standalone",),
            # Else processes that are restarted find their predecessors' addresses, and wait for them (PyTorch #135712).
            "variables": {"TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"} if restarts else {},
        }


def machines(environment: Mapping[str, str] = os.environ) -> Machines:
    """Read torchrun's environment. RecipeError where it names several machines and not how they meet."""
    given = {"PET_NNODES": "1", "PET_RDZV_ENDPOINT": environment.get("PET_MASTER_ADDR"), **environment}
    count = given["PET_NNODES"]
    if not given["PET_RDZV_ENDPOINT"] and count in ("1", "1:1"):
        return Machines()
    for name, meaning in MEANINGS.items():
        if not given.get(name):
            raise RecipeError(f"{name} is not set, and torchrun's variables speak of several machines; give {meaning}")
    most, rank = count.rpartition(":")[2], given["PET_NODE_RANK"]
    if not most.isdigit() or not rank.isdigit() or int(rank) >= int(most):
        raise RecipeError(
            f"PET_NNODES {count}, PET_NODE_RANK {rank}: give the number of machines, and this one's, counted from 0"
        )
    return Machines(int(most), int(rank), f"{given['PET_RDZV_ID']} {given['PET_RDZV_ENDPOINT']}")


def _state(exp: Path, team: Machines) -> str | None:
    """Return what the first machine does in this launch; None before it has begun."""
    if not (exp / STATE).is_file():
        return None
    record = json.loads((exp / STATE).read_text(encoding="utf-8"))
    return record["state"] if record["rendezvous"] == team.rendezvous else None


def tell(exp: Path, team: Machines, state: str) -> None:
    """Let the other machines know what the first one does now."""
    if team.rendezvous and not team.rank:
        write_json(exp / STATE, {"rendezvous": team.rendezvous, "state": state})


@contextlib.contextmanager
def telling(exp: Path, team: Machines) -> Iterator[None]:
    """Tell the beginning and the end of the first machine's work. RecipeError for an id that was used before."""
    if team.rendezvous and _state(exp, team) is not None:
        name = team.rendezvous.split()[0]
        raise RecipeError(f"{exp / STATE}: PET_RDZV_ID {name} was used before; give all machines a new one")
    tell(exp, team, PREPARES)
    state = FAILED
    try:
        yield
        state = OVER
    finally:
        tell(exp, team, state)


def wait_for_first(exp: Path, team: Machines, patience: float = WAITING) -> bool:
    """Wait until the first machine has prepared; False where it has ended without a training.

    RecipeError where it failed, or has prepared nothing in ``patience`` seconds.
    """
    deadline = time.monotonic() + patience
    print(f"machine {team.rank} of {team.count} (counted from 0) waits until the first has prepared {exp}", flush=True)
    while (state := _state(exp, team)) in (None, PREPARES):
        if time.monotonic() > deadline:
            raise RecipeError(
                f"{exp / STATE}: the first machine has prepared nothing in {patience:.0f} s; is {exp} on a file system"
                " that all machines see, and PET_RDZV_ID the same on all?"
            )
        time.sleep(min(1.0, patience / 10))
    if state == FAILED:
        raise RecipeError(f"{exp}: the first machine has failed; its own output says why")
    return state == TRAINS
