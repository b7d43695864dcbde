"""What every kind of corpus is read into: clips with their transcripts, and what was wrong on the way."""

from __future__ import annotations

import os
import unicodedata
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from asr.audio.clip import Cut
from asr.core.names import UNKNOWN_SPEAKER as UNKNOWN_SPEAKER
from asr.core.names import plain_name, visible
from asr.preparation.problems import ERROR, NOTE, Problem

UNREADABLE = "unreadable folder"  # a kind of problem
OWN_SPLITS = {  # what the sets of a corpus that comes split are called, and which split each one is
    "train": "train",
    "training": "train",
    "val": "val",
    "dev": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "eval": "test",
}


class Clip(NamedTuple):
    """A clip and its transcript as it was written; ``key`` is unique within the part.

    ``file`` and ``line`` say where the transcript stands. ``split`` is train, val or test where the corpus itself says
    so, else empty.
    """

    key: str
    speaker: str
    audio: str
    text: str
    file: str
    line: int
    cut: Cut | None = None
    split: str = ""


@dataclass
class Part:
    """What one part of a corpus holds: usable pairs so far (audio is not looked at yet), speakers, problems.

    ``name`` is a part of the recipe's own corpus, or empty; ``folder`` is where the part lies, ``root`` the corpus's
    own folder or file.
    ``faults`` are one-line errors with which nothing can be prepared, though the rest can still be checked.
    """

    name: str
    folder: Path
    root: Path
    speakers: list[str] = field(default_factory=list)
    clips: list[Clip] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)


def subfolders(folder: Path, problems: list[Problem] | None = None) -> list[Path]:
    """Return the folders in ``folder`` by name, hidden ones left out.

    With ``problems``, one that cannot be looked into (its permissions, a link to itself) is left out and put there.
    """
    found = []
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            if entry.name.startswith("."):
                continue
            try:
                if entry.is_dir():
                    if problems is not None:
                        os.scandir(entry.path).close()
                    found.append(Path(entry.path))
            except OSError as error:
                if problems is not None:
                    detail = f"left out: {error.strerror}"
                    problems.append(Problem(ERROR, UNREADABLE, entry.path, None, "", detail))
    return found


def absolute(path: str | os.PathLike[str]) -> Path:
    """Return an absolute path with symlinks left as the user wrote them, so that paths stay those the user knows."""
    tidy = os.path.abspath(path)  # collapses a/../b by the letter, which a symlinked `a` would make another folder
    if os.path.exists(path) and not (os.path.exists(tidy) and os.path.samefile(path, tidy)):
        return Path.cwd() / path
    return Path(tidy)


def tidy_name(problems: list[Problem], name: str, file: object, line: int | None = None) -> str:
    """Return ``name`` (an id, a speaker) in its plain form, with a note where it was another."""
    plain = plain_name(name)
    if plain != name:
        detail = f"{visible(name)} is taken for {plain}: without format characters, and in Unicode's NFC"
        problems.append(Problem(NOTE, "invisible character in a name", str(file), line, plain, detail))
    return plain


def unsafe_name(name: str) -> str:
    """Return why ``name`` may not be an utterance id or a speaker, or an empty string.

    Ids become file names and the first word of a line: an id that could lead out of a folder or out of its line is
    refused, wherever it comes from.
    """
    if name.isascii() and name.isalnum():  # nearly all ids
        return ""
    if not name:
        return "it is empty"
    if "/" in name or "\\" in name:
        return "it holds a slash"
    if ".." in name:
        return "it holds '..'"
    for char in name:
        if unicodedata.category(char) in ("Cc", "Zl", "Zp"):
            return f"it holds the control character U+{ord(char):04X}"
        if unicodedata.category(char) == "Cs":
            return "it is not UTF-8"
    return ""


def unsafe_id(key: str) -> str:
    """Return why ``key`` may not be an utterance id: what ``unsafe_name`` refuses, and blanks."""
    return "" if key.isascii() and key.isalnum() else unsafe_name(key) or "it holds a blank" * (key.split() != [key])
