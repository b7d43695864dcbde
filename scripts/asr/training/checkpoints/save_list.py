"""Which saves and ranked checkpoints of a run there are, and whether they are whole. Without torch, so read at once."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from asr.core.errors import RecipeError
from asr.core.files import sha256_file, write_json

SAVES = "saves.json"
RANKING = "checkpoints.json"


@dataclass(frozen=True)
class Save:
    """The two files of a save, by name, and their digests."""

    weights: str
    weights_sha256: str
    state: str
    state_sha256: str

    def damage(self, exp: Path) -> str | None:
        """Which file is not what was written, and how; None where both are."""
        for name, digest in ((self.weights, self.weights_sha256), (self.state, self.state_sha256)):
            path = exp / name
            if not path.is_file():
                return f"{name} is gone"
            if sha256_file(path) != digest:
                return f"{name} is damaged ({path.stat().st_size:,} bytes, another sha256 than when it was written)"
        return None


def has_saves(exp: Path) -> bool:
    """Whether there is something to go on from."""
    return (exp / SAVES).is_file()


def read_saves(exp: Path) -> list[Save]:
    """The saves, newest first; none where nothing was saved yet. RecipeError where saves.json is none."""
    path = exp / SAVES
    if not path.is_file():
        return []
    try:
        return [Save(**item) for item in json.loads(path.read_text(encoding="utf-8"))]
    except (ValueError, TypeError):
        raise RecipeError(
            f"{path}: not a list of saves; give --restart, which throws this tag's checkpoints away"
        ) from None


def forget_lost(exp: Path) -> list[str]:
    """Take checkpoints whose files are gone out of the ranking of a finished run; their names.

    RecipeError where none is left.
    """
    path = exp / RANKING
    ranking = json.loads(path.read_text(encoding="utf-8"))
    there = [item for item in ranking["checkpoints"] if (exp / item["file"]).is_file()]
    lost = [item["file"] for item in ranking["checkpoints"] if item not in there]
    if lost and not there:
        raise RecipeError(f"{exp}: all {len(lost)} ranked checkpoints are gone; put them back, or give --restart")
    if lost:
        write_json(path, {**ranking, "checkpoints": there})
    return lost
