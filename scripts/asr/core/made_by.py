"""Whose a folder is: a command replaces what it has made itself, and nothing else.

A command leaves ``.made_by_<command>`` in the folder that it writes, with the number of the folder's format. There is
no migration: what another version has made, with another number or none, is refused in a line that says what to give.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from pathlib import Path

from asr.core.errors import RecipeError
from asr.core.files import write_text

STAGE1, RUN = "stage1", "run"  # a data folder; exp/<tag>, where the mark lies in conf/
FORMATS = {STAGE1: 1, RUN: 1}  # of the others too it is 1
INSTEAD = {
    STAGE1: "give --data (--out) another folder",
    RUN: "keep it, and give --tag NEW",
    "asr.serve": "give --record another folder",
}


def mark_of(command: str) -> str:
    """Return the name of the file that marks a folder as made by ``command``."""
    return f".made_by_{command}"


def mark(folder: Path, command: str) -> None:
    """Make ``folder`` and mark it as this command's."""
    if _format(folder, command) != (number := str(FORMATS.get(command, 1))):
        write_text(folder / mark_of(command), f"{number}\n")


def _instead(command: str) -> str:
    return INSTEAD.get(command, "give --out another folder")


def _format(folder: Path, command: str) -> str | None:
    path = folder / mark_of(command)
    return path.read_text(encoding="utf-8", errors="replace").strip() if path.is_file() else None


def refuse_older(folder: Path, command: str, about: Path | None = None) -> None:
    """RecipeError where another version of the command has made ``folder``; ``about`` is what to speak of instead."""
    number, wanted, about = _format(folder, command), FORMATS.get(command, 1), about or folder
    if number != str(wanted):
        has = "no format number" if number is None else f"format {number or 'unknown'}"
        again = f"remove it (rm -r {shlex.quote(str(about))}) and rerun stage 1, or " if command == STAGE1 else ""
        raise RecipeError(f"{about}: has {has}, this version of the recipe has {wanted}; {again}{_instead(command)}")


def refuse_others(folder: Path, command: str, names: Sequence[str] = ("*",)) -> None:
    """RecipeError where ``folder`` holds what ``command`` would replace and has not made.

    ``names`` are glob patterns of what it replaces; by default the folder is the command's alone.
    """
    if _format(folder, command) is not None:
        refuse_older(folder, command)
    elif os.path.lexists(folder) and not folder.is_dir():
        raise RecipeError(f"{folder}: is not a folder, so nothing can be written into it; {_instead(command)}")
    elif theirs := sorted(path.name for name in names for path in folder.glob(name)):
        who = {STAGE1: "stage 1", RUN: "the recipe"}.get(command, command)
        raise RecipeError(
            f"{folder}: holds {theirs[0]}, which {who} of this version has not made: it is not replaced;"
            f" {_instead(command)}"
        )


def claim(folder: Path, command: str, names: Sequence[str] = ("*",)) -> None:
    """Refuse as ``refuse_others`` does, else mark the folder as this command's."""
    refuse_others(folder, command, names)
    mark(folder, command)
