"""The results of a decode that has not ended, so that the same command resumes it.

OUT/hyp.partial: one JSON value a line. The first line is what the texts depend on, each other ``[key, text, digest]``,
appended as it comes. A line counts while its digest, of the first line, its key and its text, is right: a kill or a
full disk can damage a line, and a person can edit one.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from asr.core.digests import sha256_text
from asr.core.errors import RecipeError, at
from asr.core.locks import lock
from asr.core.run_folder import DecodeFolder


class Partial(contextlib.AbstractContextManager["Partial"]):
    """OUT/hyp.partial, open for appending by this process alone. RecipeError where another has it.

    Args:
        out: the decode's folder; made where it is not there.
        inputs: what the texts depend on; results of other inputs are thrown away.
        keys: the ids asked for.

    Attributes:
        texts: {key: text} decoded so far.
        notes: lines for the user.
    """

    def __init__(self, out: Path, inputs: dict[str, Any], keys: Collection[str]) -> None:
        out.mkdir(parents=True, exist_ok=True)
        self.path = DecodeFolder(out).partial
        self.texts: dict[str, str] = {}
        self.notes: list[str] = []
        self._header = json.dumps(inputs, ensure_ascii=False) + "\n"
        self._stream = open(self.path, "a+", encoding="utf-8", errors="replace", newline="\n")  # noqa: SIM115 - kept open
        try:
            if why := lock(self._stream):
                self.notes.append(f"note: {self.path} {why}: let no second decode write to this folder")
        except BlockingIOError:
            self._stream.close()
            raise RecipeError(f"{self.path}: another process decodes into this folder; wait for its end") from None
        self._read(keys)

    def __exit__(self, *_: object) -> None:
        self._stream.close()

    def _read(self, keys: Collection[str]) -> None:
        """Read the results; where a line is not as it was written, write the file again without it."""
        self._stream.seek(0)
        lines = self._stream.readlines()
        if lines and lines[0] != self._header:
            self.notes.append(f"{self.path}: of another model or other clips; thrown away")
            lines = []
        wrong = []
        for number, line in enumerate(lines[1:], 2):
            key, text = _key_and_text(line)
            if key in keys and line == self._line(key, text):
                self.texts[key] = text
            else:
                wrong.append(f"{at(self.path, number)}: {key or 'the line'} is not as it was written; decoded again")
        self.notes += wrong[:3] + [f"{self.path}: and {len(wrong) - 3} lines more"] * (len(wrong) > 3)
        if wrong or not lines:
            self._stream.truncate(0)
            self._stream.write(self._header)
            self.add(self.texts)

    def _line(self, key: str, text: str) -> str:
        digest = sha256_text(f"{self._header}{key}\n{text}", "surrogatepass")[:16]
        return json.dumps([key, text, digest], ensure_ascii=False) + "\n"

    def add(self, texts: Mapping[str, str]) -> None:
        """Keep {key: text}; they are in the file when this returns."""
        self._stream.writelines(self._line(key, text) for key, text in texts.items())
        self._stream.flush()
        self.texts |= texts


def _key_and_text(line: str) -> tuple[str, str]:
    """Return a line's key and text, empty where it is no result."""
    try:
        key, text, _ = json.loads(line)
    except (ValueError, TypeError):
        return "", ""
    return (key, text) if isinstance(key, str) and isinstance(text, str) else ("", "")
