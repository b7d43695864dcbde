"""The lists of a run's checkpoints: those it can be resumed from, and those that are ranked. Without torch."""

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
    """The two files that a run is resumed from, by name, and their digests."""

    weights: str
    weights_sha256: str
    state: str
    state_sha256: str

    def damage(self, exp: Path) -> str | None:
        """Return which file is not what was written, and how; None where both are."""
        for name, digest in ((self.weights, self.weights_sha256), (self.state, self.state_sha256)):
            path = exp / name
            if not path.is_file():
                return f"{name}: file missing"
            if sha256_file(path) != digest:
                return f"{name}: damaged ({path.stat().st_size:,} bytes, another sha256 than when it was written)"
        return None


def has_saves(exp: Path) -> bool:
    """Return whether there is something to resume from."""
    return (exp / SAVES).is_file()


def read_saves(exp: Path) -> list[Save]:
    """Read saves.json, newest first; empty where nothing was saved yet. RecipeError where it is no such list."""
    path = exp / SAVES
    if not path.is_file():
        return []
    try:
        return [Save(**entry) for entry in json.loads(path.read_text(encoding="utf-8"))]
    except (ValueError, TypeError):
        raise RecipeError(
            f"{path}: not a list of saves; give --restart, which throws this tag's checkpoints away"
        ) from None


def drop_missing(exp: Path, ranked: dict[str, float]) -> tuple[dict[str, float], list[str]]:
    """Return the ranked checkpoints whose files exist, and the names of the others."""
    present = {name: value for name, value in ranked.items() if (exp / name).is_file()}
    return present, [name for name in ranked if name not in present]


def drop_missing_of_finished(exp: Path) -> list[str]:
    """Remove checkpoints whose files are missing from checkpoints.json of a finished run, and return their names.

    RecipeError where none is left.
    """
    ranking = json.loads((exp / RANKING).read_text(encoding="utf-8"))
    present, missing = drop_missing(exp, {entry["file"]: entry["value"] for entry in ranking["checkpoints"]})
    if missing and not present:
        raise RecipeError(
            f"{exp}: the files of all {len(missing)} ranked checkpoints are missing; put them back, or give --restart"
        )
    if missing:
        entries = [{"file": name, "value": value} for name, value in present.items()]
        write_json(exp / RANKING, {**ranking, "checkpoints": entries})
    return missing
