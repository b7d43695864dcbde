"""The results of a decode that has not ended, so that the same command resumes it.

OUT/hyp.partial: one JSON value a line. The first line is what the texts depend on, each other ``[line of nbest.jsonl,
digest]``, appended as it comes. A line counts while its digest, of the first line and of its own, is right: a kill or a
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
from asr.core.nbest import NBest, parse
from asr.core.run_folder import DecodeFolder


class Partial(contextlib.AbstractContextManager["Partial"]):
    """OUT/hyp.partial, open for appending by this process alone. RecipeError where another has it.

    Args:
        out: the decode's folder; made where it is not there.
        inputs: what the texts depend on; results of other inputs are thrown away.
        keys: the ids asked for.

    Attributes:
        results: {key: text and candidates} decoded so far.
        notes: lines for the user.
    """

    def __init__(self, out: Path, inputs: dict[str, Any], keys: Collection[str]) -> None:
        out.mkdir(parents=True, exist_ok=True)
        self.path = DecodeFolder(out).partial
        self.results: dict[str, NBest] = {}
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
            result = _parse(line)
            if result and result.key in keys and line == self._line(result):
                self.results[result.key] = result
            else:
                key = result.key if result else "the line"
                wrong.append(f"{at(self.path, number)}: {key} is not as it was written; decoded again")
        self.notes += wrong[:3] + [f"{self.path}: and {len(wrong) - 3} lines more"] * (len(wrong) > 3)
        if wrong or not lines:
            self._stream.truncate(0)
            self._stream.write(self._header)
            self.add(self.results)

    def _line(self, result: NBest) -> str:
        value = result.as_dict()
        digest = sha256_text(self._header + json.dumps(value, ensure_ascii=False), "surrogatepass")[:16]
        return json.dumps([value, digest], ensure_ascii=False) + "\n"

    def add(self, results: Mapping[str, NBest]) -> None:
        """Keep {key: result}; they are in the file when this returns."""
        self._stream.writelines(map(self._line, results.values()))
        self._stream.flush()
        self.results |= results


def _parse(line: str) -> NBest | None:
    """Return a line's result; None where it is none."""
    try:
        value, _ = json.loads(line)
        return parse(value)
    except (ValueError, TypeError):
        return None
