"""Joining what other corpora keep apart: one clip a key, whatever does not fit listed, nothing dropped silently."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from asr.errors import RecipeError, at
from corpus import Clip, Part, unsafe_id, unsafe_name
from problems import ERROR, NOTE, WARNING, Problem

BOM = "\ufeff"


class Clips:
    """The clips of a part as they are found; ``finish`` hands them over."""

    def __init__(self, part: Part) -> None:
        self.part = part
        self.found: dict[str, Clip | None] = {}  # None: left out, and said so

    def add(self, clip: Clip) -> None:
        """Take a clip, or list why not: an unsafe id or speaker, an empty transcript, a key that stands twice."""
        reason = unsafe_id(clip.key) or (f"its speaker: {word}" if (word := unsafe_name(clip.speaker)) else "")
        if reason:
            self._problem(ERROR, "unsafe id", clip, f"refused: {reason}")
        elif not clip.text.strip():
            self._problem(ERROR, "empty transcript", clip, "no words")
        elif clip.key in self.found:
            self._twice(clip)
        else:
            self.found[clip.key] = clip

    def _twice(self, clip: Clip) -> None:
        first = self.found[clip.key]
        if first is None:
            self._problem(ERROR, "duplicate id", clip, "once more: the id is left out")
            return
        also = f"also in {at(Path(first.file).name, first.line)}"
        if first.split != clip.split:
            detail = f"{also}: in {first.split or 'no set'} and {clip.split or 'no set'}; left out of both"
            self._problem(ERROR, "id in two sets", clip, detail)
            self.found[clip.key] = None
        elif first._replace(line=clip.line, file=clip.file) == clip:
            self._problem(WARNING, "duplicate id", clip, f"{also}, the same")
        else:
            self._problem(ERROR, "duplicate id", clip, f"{also}, and different: the id is left out")
            self.found[clip.key] = None

    def _problem(self, severity: str, kind: str, clip: Clip, detail: str) -> None:
        self.part.problems.append(Problem(severity, kind, clip.file, clip.line, clip.key, detail))

    def finish(self) -> Part:
        """The part, with its clips and its speakers."""
        self.part.clips = [clip for clip in self.found.values() if clip is not None]
        self.found = {}
        self.part.speakers = sorted({clip.speaker for clip in self.part.clips})
        return self.part


def lines_of(part: Part, path: Path) -> Iterator[tuple[int, str]]:
    """(line number, text) of a UTF-8 file, blank lines passed over, one at a time (memory).

    A byte-order mark is taken away with a note. RecipeError for a missing file, and for bytes that are not UTF-8.
    """
    if not path.is_file():
        raise RecipeError(f"{path}: no such file")
    with open(path, "rb") as stream:
        for number, raw in enumerate(stream, 1):
            try:
                line = raw.decode("utf-8")
            except UnicodeDecodeError:
                raise RecipeError(f"{at(path, number)}: not UTF-8; save the file as UTF-8") from None
            if BOM in line:
                part.problems.append(Problem(NOTE, "byte-order mark", str(path), number, "", "taken away"))
                line = line.replace(BOM, "")
            if line := line.strip():
                yield number, line


def audio_path(text: str, folder: Path) -> str:
    """An absolute path: a relative one is meant from the working directory, else from the list's own folder."""
    path = Path(text)
    if path.is_absolute():
        return text
    here = Path.cwd() / path
    return str(here if here.exists() else folder / path)
