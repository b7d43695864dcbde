"""Which saves and ranked checkpoints of a run there are, and whether they are whole. Without torch, so read at once."""

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
__all__ = ["RANKING", "SAVES", "Save", "forget_lost", "has_saves", "read_saves"]


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
