"""score.json, the one source of figures: its version, and reading it. docs/scores.md explains every field."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from asr.core.errors import RecipeError
from asr.core.files import read_json
from asr.core.run_folder import rerun

SCHEMA_VERSION = 3


def read_score(folder: Path) -> dict[str, Any]:
    """Return the score.json of a score folder. RecipeError where there is none, or one of another version."""
    path = folder / "score.json"
    score = read_json(path, "run stage 5, which scores, first")
    version = score.get("schema_version")
    if version != SCHEMA_VERSION:
        again = rerun(folder.resolve().parent, 5)
        raise RecipeError(f"{path}: schema_version {version}, not {SCHEMA_VERSION}: score again: {again}")
    return score
