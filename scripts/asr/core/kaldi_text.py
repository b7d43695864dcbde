"""Kaldi ``text`` files: ``<key> <words…>``, an empty one the bare key; and sclite's trn, ``<words…> (<key>)``."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from asr.core.errors import RecipeError, at
from asr.core.files import atomic_open

_BEHIND_KEY = re.compile("[ \t\u00a0\u3000]")  # blanks of word processors and of Chinese input methods too
_TRN = re.compile(r"(.*?)\s*\(([^()\s]+)\)\s*")


class Line(NamedTuple):
    """A text, and the number of its line."""

    number: int
    text: str


def read_lines(path: str | os.PathLike[str]) -> dict[str, Line]:
    """Return {key: line} in file order; a file named .trn is sclite's. Blank lines say nothing and are passed over.

    RecipeError for a line without a key, a duplicate key, and what is not UTF-8.
    """
    path = Path(path)
    if not path.is_file():
        raise RecipeError(f"{path}: no such file")
    lines: dict[str, Line] = {}
    with open(path, "rb") as stream:
        for number, raw in enumerate(stream, 1):
            try:
                line = raw.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
            except UnicodeDecodeError:
                raise RecipeError(f"{at(path, number)}: not UTF-8; save the file as UTF-8") from None
            if not line.strip():
                continue
            key, text = _trn(line, at(path, number)) if path.suffix == ".trn" else _kaldi(line)
            if not key:
                raise RecipeError(f"{at(path, number)}: the line has no key")
            if key in lines:
                raise RecipeError(f"{at(path, number)}: duplicate key {key}, first on line {lines[key].number}")
            lines[key] = Line(number, text)
    return lines


def _kaldi(line: str) -> tuple[str, str]:
    key, *text = _BEHIND_KEY.split(line, maxsplit=1)
    return key, "".join(text)


def _trn(line: str, where: str) -> tuple[str, str]:
    match = _TRN.fullmatch(line)
    if not match:
        raise RecipeError(f"{where}: expected '<words> (<key>)', as sclite's trn has it; other texts end in .txt")
    return match[2], match[1]


def read_text(path: str | os.PathLike[str]) -> dict[str, str]:
    """Return {key: text} in file order. RecipeError as ``read_lines``."""
    return {key: line.text for key, line in read_lines(path).items()}


def write_text(path: str | os.PathLike[str], texts: Iterable[tuple[str, str]]) -> None:
    """Write (key, text) pairs as a whole or not at all; line breaks inside a text become blanks."""
    with atomic_open(path) as stream:
        for key, text in texts:
            flat = " ".join(text.splitlines())
            stream.write(f"{key} {flat}".rstrip(" ") + "\n")
