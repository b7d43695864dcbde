"""The lists of a run's checkpoints: those it can be resumed from, and those that are ranked. Without torch."""

from __future__ import annotations

import json
from pathlib import Path

from asr.core.errors import RecipeError
from asr.core.files import write_json
from asr.core.run_records import ResumePoint as Save
from asr.core.run_records import has_resume_points as has_saves
from asr.core.run_records import read_resume_points as read_saves

SAVES = "saves.json"
RANKING = "checkpoints.json"
__all__ = ["RANKING", "SAVES", "Save", "drop_missing", "drop_missing_of_finished", "has_saves", "read_saves"]


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
