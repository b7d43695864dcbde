"""The results of a decode that is not finished: what a rerun of the same inputs need not do again.

OUT/hyp.partial: one JSON value a line. The first line is the inputs' fingerprint, each other ``[key, text]``, appended
as it comes. One process writes it, whatever the number of shards. Only whole lines count: a kill or a full disk can
damage the last.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

from asr.core.errors import RecipeError
from asr.core.locks import lock

PARTIAL = "hyp.partial"


class Partial(contextlib.AbstractContextManager["Partial"]):
    """OUT/hyp.partial, open for appending by this process alone.

    Args:
        out: the decode's folder; made where it is not there.
        inputs: what the texts depend on; results of other inputs are thrown away.
        keys: the ids asked for.

    Attributes:
        texts: {key: text} found so far.
        notes: lines to tell the user.

    Raises:
        RecipeError: another process decodes into ``out``.
    """

    def __init__(self, out: Path, inputs: dict[str, Any], keys: Collection[str]) -> None:
        out.mkdir(parents=True, exist_ok=True)
        self.path = out / PARTIAL
        self.texts: dict[str, str] = {}
        self.notes: list[str] = []
        self.path.touch()
        self._stream = open(self.path, "r+b")  # noqa: SIM115 - open as long as this is
        try:
            if why := lock(self._stream):
                self.notes.append(f"note: {self.path} {why}: let no second decode write to this folder")
        except BlockingIOError:
            self._stream.close()
            raise RecipeError(f"{self.path}: another process decodes into this folder; wait for its end") from None
        try:
            self._take(json.loads(json.dumps(inputs)), set(keys))
        except BaseException:
            self._stream.close()
            raise

    def __exit__(self, *_: object) -> None:
        self._stream.close()

    def _take(self, inputs: Any, keys: set[str]) -> None:
        """Read what is there, and cut the file off behind its last whole line."""
        lines = self._stream.readlines()
        length = 0
        if lines and _value(lines[0]) == inputs:
            length = len(lines[0])
            for line in lines[1:]:
                match _value(line):
                    case [str(key), str(text)] if key in keys:
                        self.texts[key] = text
                        length += len(line)
                    case _:
                        break
            lost = sum(map(len, lines)) - length
            if lost:
                self.notes.append(f"{self.path}: damaged at its end; {lost} bytes are thrown away")
        elif lines:
            self.notes.append(f"{self.path}: of another model or other clips; thrown away")
        self._stream.seek(length)
        self._stream.truncate()
        if not length:
            self._append([inputs])

    def _append(self, values: Iterable[Any]) -> None:
        self._stream.write("".join(json.dumps(value, ensure_ascii=False) + "\n" for value in values).encode())
        self._stream.flush()

    def add(self, keys: Iterable[str], texts: Iterable[str]) -> None:
        """Keep a text for each key; they are in the file when this returns."""
        found = dict(zip(keys, texts, strict=True))
        self._append(found.items())
        self.texts.update(found)

    def remove(self) -> None:
        """Remove the file: its results are whole elsewhere."""
        self.path.unlink(missing_ok=True)


def _value(line: bytes) -> Any:
    """The line's JSON value; None where the line is not whole."""
    try:
        return json.loads(line) if line.endswith(b"\n") else None
    except ValueError:
        return None
