"""What every reader of a list of clips needs: one clip a key, whatever does not fit listed, nothing dropped silently.

Memory counts: a list may have a million lines, so lines are read one at a time and tables hold no more than they must.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Generic, TypeVar

from asr.preparation.corpus import (
    HALF_CHARACTER,
    OWN_SPLITS,
    Clip,
    Part,
    control_character,
    tidy_name,
    unsafe_id,
    unsafe_name,
)
from asr.preparation.problems import ERROR, NOTE, WARNING

BOM = "\ufeff"
Value = TypeVar("Value")


class RefusedError(Exception):
    """A line that is left out; ``kind`` and ``key`` are those of its row in problems.tsv."""

    def __init__(self, kind: str, detail: str, key: str = "") -> None:
        super().__init__(detail)
        self.kind, self.key = kind, key


class Clips:
    """The clips of a part as they are read; ``finish`` hands them over."""

    def __init__(self, part: Part) -> None:
        self.part = part
        self._clips: dict[str, Clip | None] = {}  # None: left out, and listed
        self._speakers: dict[str, str] = {}  # plain names, by the names as they are written

    def speaker(self, name: str) -> str:
        """Return the plain name, one string for all its uses (memory). It counts as one of the part's speakers."""
        if name not in self._speakers:
            self._speakers[name] = tidy_name(self.part.problems, name, self.part.folder)
        return self._speakers[name]

    def holds(self, key: str, file: str) -> bool:
        """Return whether there is a clip of this key from this file."""
        clip = self._clips.get(key)
        return clip is not None and clip.file == file

    def add(self, clip: Clip) -> None:
        """Take a clip, or list why not: unsafe id or speaker, a duplicate key, no transcript, a bad source."""
        key = tidy_name(self.part.problems, clip.key, clip.file, clip.line)
        clip = clip._replace(key=key, speaker=self.speaker(clip.speaker))
        if reason := unsafe_name(clip.speaker):
            self._problem(ERROR, "unsafe id", clip, f"refused: its speaker {clip.speaker!r}: {reason}")
        elif reason := unsafe_id(key):
            self._problem(ERROR, "unsafe id", clip, f"refused: {reason}")
        elif key in self._clips:
            self._add_duplicate(clip)
        elif not clip.text.strip():
            self._leave_out("empty transcript", clip, "no words")
        elif HALF_CHARACTER.search(clip.text):
            self._leave_out("bad JSONL line", clip, f"half a character in {clip.text!r}")
        elif reason := unsafe_path(clip.audio):
            self._leave_out("bad source", clip, f"{clip.audio!r}: {reason}; rename the file")
        else:
            self._clips[key] = clip

    def _add_duplicate(self, clip: Clip) -> None:
        """Use a duplicate key once where all is the same; else nobody knows which one is right, and it is left out."""
        first = self._clips[clip.key]
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
        self._clips[clip.key] = None
        self._problem(ERROR, kind, clip, detail)

    def _problem(self, severity: str, kind: str, clip: Clip, detail: str) -> None:
        self.part.problems.add(severity, kind, clip.file, detail, clip.line, clip.key)

    def finish(self) -> Part:
        """Return the part, with its clips and with all speakers that were named."""
        self.part.clips = [clip for clip in self._clips.values() if clip is not None]
        self._clips = {}
        self.part.speakers = sorted({name for name in self._speakers.values() if not unsafe_name(name)})
        return self.part


class Table(Generic[Value]):
    """What one file says of each key. ``values`` holds None for what is left out, which is on the list of problems."""

    def __init__(self, part: Part, path: Path) -> None:
        self.part, self.path = part, path
        self.values: dict[str, Value | None] = {}
        self.lines: dict[str, int] = {}

    def put(self, line: int, key: str, parse: Callable[..., Value], *words: Any) -> None:
        """Take what ``parse`` makes of ``words``, or list why it refuses. Duplicate keys must agree, or none counts."""
        value = None
        try:
            value = parse(*words)
        except RefusedError as error:
            self.part.problems.add(ERROR, error.kind, self.path, str(error), line, key)
        if key not in self.values:
            self.values[key] = value
            self.lines[key] = line
        elif value is not None and value == self.values[key]:
            detail = "an earlier line says the same"
            self.part.problems.add(WARNING, "duplicate id", self.path, detail, line, key)
        else:
            detail = "an earlier line says something else: the id is left out"
            self.part.problems.add(ERROR, "duplicate id", self.path, detail, line, key)
            self.values[key] = None

    def list_unused(self, is_used: Callable[[str], bool], detail: str) -> None:
        """List the usable keys that were not used."""
        for key, value in self.values.items():
            if value is not None and not is_used(key):
                self.part.problems.add(WARNING, "wav without transcript", self.path, detail, self.lines[key], key)


def named_sets(part: Part, names: Mapping[Path, str], kind: str) -> Iterator[tuple[Path, str]]:
    """Yield (path, train, val or test) of what is named as a set, and list the others; (path, "") of all if none is."""
    splits = {path: OWN_SPLITS.get(name.lower(), "") for path, name in names.items()}
    for path, split in splits.items():
        if split or not any(splits.values()):
            yield path, split
        else:
            detail = f"not read: it is called none of {', '.join(OWN_SPLITS)}, and others beside it are"
            part.problems.add(NOTE, kind, path, detail)


def decoded(part: Part, path: Path, number: int, raw: bytes) -> str:
    """Return a line as text, without a byte-order mark (joined files have several), of which there is a note.

    ValueError where it is not UTF-8.
    """
    try:
        line = raw.decode("utf-8")
    except UnicodeDecodeError:
        raise ValueError("not UTF-8") from None
    if line.startswith(BOM):
        part.problems.add(NOTE, "byte-order mark", path, "removed", number)
    return line.lstrip(BOM)


def json_object(part: Part, path: Path, number: int, raw: bytes) -> dict[str, Any]:
    """Return the JSON object of a line. ValueError says why it is none."""
    try:
        value = json.loads(decoded(part, path, number, raw))
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON: {error.msg} at column {error.colno}") from None
    except RecursionError:
        raise ValueError("not JSON: nested too deeply") from None
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")
    return value


def audio_path(text: str, folder: Path, working_directory: bool = True) -> str:
    """Return an absolute path. A relative one is from the working directory if it is there, else from ``folder``."""
    if os.path.isabs(text):
        return text
    here = working_directory and "\0" not in text and os.path.exists(text)
    return os.path.abspath(text if here else os.path.join(folder, text))


def unsafe_path(path: str) -> str:
    """Return why audio may not have this path, or "": a line of wav.scp must hold it, and be no command."""
    if reason := control_character(path):
        return reason
    if path.strip() != path or not path:
        return "it begins or ends with a blank, or is empty"
    return "it ends in '|', which Kaldi takes for a command" if path.endswith("|") else ""
