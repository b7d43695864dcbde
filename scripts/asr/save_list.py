"""saves.json: which saves of a run there are, and whether they are whole. Without torch, so that it is read at once."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from asr.errors import RecipeError
from asr.files import sha256_file

SAVES = "saves.json"


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
