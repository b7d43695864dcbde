"""What every reader of a list of clips needs: one clip a key, whatever does not fit listed, nothing dropped silently.

Memory counts: a list may have a million lines, so lines are read one at a time and tables hold no more than they must.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Generic, TypeVar

from asr.core.errors import RecipeError, at
from asr.preparation.corpus import OWN_SPLITS, Clip, Part, absolute, tidy_name, unsafe_id, unsafe_name
from asr.preparation.problems import ERROR, NOTE, WARNING, Problem

BOM = "\ufeff"
Value = TypeVar("Value")
_SLASHES_AND_DOTS = str.maketrans("", "", "/\\.")


class Clips:
    """The clips of a part as they are found; ``finish`` hands them over."""

    def __init__(self, part: Part) -> None:
        self.part = part
        self._found: dict[str, Clip | None] = {}  # None: left out, and said so
        self._speakers: dict[str, tuple[str, str]] = {}

    def speaker(self, name: str) -> str:
        """Return the plain name, one string for all its uses (memory). It counts as one of the part's speakers."""
        return self._speaker(name)[0]

    def _speaker(self, name: str) -> tuple[str, str]:
        """Return a speaker's name, and why it may not be one."""
        if name not in self._speakers:
            plain = tidy_name(self.part.problems, name, self.part.folder)
            self._speakers[name] = (plain, unsafe_name(plain))
        return self._speakers[name]

    def holds(self, key: str, file: str) -> bool:
        """Return whether there is a clip of this key from this file."""
        clip = self._found.get(key)
        return clip is not None and clip.file == file

    def add(self, clip: Clip) -> None:
        """Take a clip, or list why not: unsafe id or speaker, a duplicate key, no transcript, a bad source."""
        speaker, unsafe = self._speaker(clip.speaker)
        if not clip.key.isascii():
            clip = clip._replace(key=tidy_name(self.part.problems, clip.key, clip.file, clip.line))
        if unsafe or (reason := unsafe_id(clip.key)):
            reason = f"its speaker {clip.speaker!r}: {unsafe}" if unsafe else reason
            self._problem(ERROR, "unsafe id", clip, f"refused: {reason}")
        elif clip.key in self._found:
            self._twice(clip)
        elif not clip.text.strip():
            self._leave_out("empty transcript", clip, "no words")
        elif not _encodable(clip.text):
            self._leave_out("bad JSONL line", clip, f"half a character in {clip.text!r}")
        elif reason := unsafe_path(clip.audio):
            self._leave_out("bad source", clip, f"{clip.audio!r}: {reason}; rename the file")
        else:
            self._found[clip.key] = clip._replace(speaker=speaker)

    def _twice(self, clip: Clip) -> None:
        """Use a duplicate key once where all is the same; else nobody knows which one is right, and it is left out."""
        first = self._found[clip.key]
        if first is None:
            self._problem(ERROR, "duplicate id", clip, "an earlier line has it too: the id is left out")
            return
        also = f"also in {os.path.join(*Path(first.file).parts[-2:])}:{first.line}"
        if first.split != clip.split:
            self._leave_out("id in two sets", clip, f"{also}: in {first.split} and in {clip.split}; left out of both")
        elif first._replace(file=clip.file, line=clip.line) == clip:
            self._problem(WARNING, "duplicate id", clip, f"{also}, the same")
        else:
            self._leave_out("duplicate id", clip, f"{also}, and different: the id is left out")

    def _leave_out(self, kind: str, clip: Clip, detail: str) -> None:
        self._found[clip.key] = None
        self._problem(ERROR, kind, clip, detail)

    def _problem(self, severity: str, kind: str, clip: Clip, detail: str) -> None:
        self.part.problems.append(Problem(severity, kind, clip.file, clip.line, clip.key, detail))

    def finish(self) -> Part:
        """Return the part, with its clips and with all speakers that were named."""
        self.part.clips = [clip for clip in self._found.values() if clip is not None]
        self._found = {}
        self.part.speakers = sorted({name for name, unsafe in self._speakers.values() if not unsafe})
        return self.part


class Table(Generic[Value]):
    """What one file says of each key. ``values`` holds None for what is left out, which is on the list of problems."""

    def __init__(self, part: Part, path: Path) -> None:
        self.part, self.path = part, path
        self.values: dict[str, Value | None] = {}
        self._lines: dict[str, int] = {}

    def put(self, line: int, key: str, value: Value | None) -> None:
        """Take a value (None: it was refused). A duplicate key is used where the value is the same, else left out."""
        if key not in self.values:
            self.values[key] = value
            self._lines[key] = line
        elif value is not None and value == self.values[key]:
            self.problem(WARNING, "duplicate id", line, key, "an earlier line says the same")
        else:
            self.problem(ERROR, "duplicate id", line, key, "an earlier line says something else: the id is left out")
            self.values[key] = None

    def problem(self, severity: str, kind: str, line: int | None, key: str, detail: str) -> None:
        """List what is wrong with a line of this file."""
        self.part.problems.append(Problem(severity, kind, str(self.path), line, key, detail))

    def list_unused(self, is_used: Callable[[str], bool], detail: str) -> None:
        """List the usable keys that were not used."""
        for key, value in self.values.items():
            if value is not None and not is_used(key):
                self.problem(WARNING, "wav without transcript", self._lines[key], key, detail)


def list_other(part: Part, kind: str, path: Path) -> None:
    """List a file or folder that is passed over because others beside it are named as sets."""
    detail = f"not read: it is called none of {', '.join(OWN_SPLITS)}, and others beside it are"
    part.problems.append(Problem(NOTE, kind, str(path), None, "", detail))


def lines_of(part: Part, path: Path) -> Iterator[tuple[int, str]]:
    """Yield (line number, text) of a UTF-8 file, one at a time; outer blanks are gone and blank lines passed over.

    RecipeError for a missing file, and for bytes that are not UTF-8.
    """
    if not path.is_file():
        raise RecipeError(f"{path}: no such file; a Kaldi data folder has wav.scp, text and utt2spk")
    with open(path, "rb") as stream:
        for number, raw in enumerate(stream, 1):
            try:
                line = decoded(part, path, number, raw).strip()
            except UnicodeDecodeError:
                raise RecipeError(f"{at(path, number)}: not UTF-8; save the file as UTF-8") from None
            if line:
                yield number, line


def decoded(part: Part, path: Path, number: int, raw: bytes) -> str:
    """Return a line as text, without a byte-order mark (joined files have several), of which there is a note."""
    line = raw.decode("utf-8")
    if line.startswith(BOM):
        part.problems.append(Problem(NOTE, "byte-order mark", str(path), number, "", "removed"))
        line = line.lstrip(BOM)
    return line


def json_object(line: str) -> dict[str, Any]:
    """Return the JSON object of a line. ValueError says why it is none."""
    try:
        value = json.loads(line)
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON: {error.msg} at column {error.colno}") from None
    except RecursionError:
        raise ValueError("not JSON: nested too deeply") from None
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")
    return value


def audio_path(text: str, folder: Path, working_directory: bool = True) -> str:
    """Return an absolute path. A relative one is from the working directory if it is there, else from ``folder``."""
    if not os.path.isabs(text):
        here = os.path.abspath(text) if working_directory and "\0" not in text else ""
        text = here if here and os.path.exists(text) else os.path.join(folder, text)
    return str(absolute(text)) if "/." in text or "//" in text else text  # spares a million look-ups on the disk


def unsafe_path(path: str) -> str:
    """Return why audio may not have this path, or "": a line of wav.scp must hold it, and be no command."""
    if not path.isprintable() and (reason := unsafe_name(path.translate(_SLASHES_AND_DOTS))):
        return reason
    if path.strip() != path or not path:
        return "it begins or ends with a blank, or is empty"
    return "it ends in '|', which Kaldi takes for a command" if path.endswith("|") else ""


def _encodable(text: str) -> bool:
    """Return whether ``text`` is Unicode: JSON's escapes can make halves of characters."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
