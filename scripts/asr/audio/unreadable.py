"""What a clip that cannot be read does, in training, validation and decoding: it alone is left out, named and counted.

A few such clips in a corpus are no reason to lose a run of days; many are no corpus any more. In decoding a clip left
out has no hypothesis, which the scorer counts as deletions: no score gets better by it. A folder that is gone stops
every stage at once.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import NamedTuple

from asr.core.errors import RecipeError

MAX_SHARE = 0.01  # of a set's clips, unless the YAML's max_unreadable says otherwise
FEW = 3  # clips that may be unreadable in any set, but for all of it


class Unread(NamedTuple):
    """Stands for what would have been made of a clip: ``why`` it cannot be read."""

    why: str


def command() -> str:
    """Return run.sh's command without its stages, as it was given."""
    return os.environ.get("ASR_COMMAND", "bash run.sh")


def remedy() -> str:
    """Return the command that leaves unreadable clips out of the data."""
    return f"{command()} --check-audio --stage 1 --stop-stage 1"


def check_folder(path: str | os.PathLike[str]) -> None:
    """RecipeError where the file's folder is gone or empty: a lost disk is not to be counted clip by clip."""
    folder = os.path.dirname(os.path.abspath(path))
    try:
        there = any(os.scandir(folder))
    except OSError:
        there = False
    if not there:
        raise RecipeError(f"{folder}: not there any more, or empty; mount its disk, or put it back")


class Unreadable:
    """The clips of a set that cannot be read, by key.

    ``of`` names the set of ``clips`` clips, ``share`` of which may be unreadable. ``tell`` is given a line for each;
    the first says how to leave them out for good.
    """

    def __init__(self, of: str, clips: int, share: float, tell: Callable[[str], None]) -> None:
        self.of, self.clips, self.tell = of, clips, tell
        self.limit = min(max(int(share * clips), FEW), clips - 1)
        self.found: dict[str, str] = {}

    def add(self, key: str, source: str, why: str) -> None:
        """Leave a clip out. RecipeError where it is one too many."""
        if key in self.found:
            return
        self.found[key] = why
        what, count = f"{source}: utterance {key}: {why}", len(self.found)
        if count > self.limit:
            raise RecipeError(
                f"{what}; {count} clips of the {self.of} set cannot be read, and max_unreadable allows {self.limit} of"
                f" {self.clips}; put them back, or leave them out of the data: {remedy()}"
            )
        advice = f" (for good: {remedy()}; a run that was trained on them then needs a new --tag)"
        so_far = f"left out, {count} of {self.clips} clips of the {self.of} set so far"
        self.tell(f"{what}; {so_far}{advice if count == 1 else ''}")
