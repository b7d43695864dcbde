"""Kaldi ``text`` files: ``<key> <words…>``; an empty hypothesis is the bare key."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

from asr.core.errors import RecipeError, at
from asr.core.files import atomic_open


def read_text(path: str | os.PathLike[str]) -> dict[str, str]:
    """Return {key: text} in file order. RecipeError for a blank line, a duplicate key, and what is not UTF-8."""
    path = Path(path)
    if not path.is_file():
        raise RecipeError(f"{path}: no such file")
    texts: dict[str, str] = {}
    with open(path, "rb") as stream:
        for number, line in enumerate(stream, 1):
            try:
                line = line.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
                key, text = [*re.split("[ \t]", line, maxsplit=1), ""][:2]
            except UnicodeDecodeError:
                raise RecipeError(f"{at(path, number)}: not UTF-8") from None
            if not key:
                raise RecipeError(f"{at(path, number)}: the line has no key")
            if key in texts:
                raise RecipeError(f"{at(path, number)}: duplicate key {key}")
            texts[key] = text
    return texts


def write_text(path: str | os.PathLike[str], texts: Iterable[tuple[str, str]]) -> None:
    """Write (key, text) pairs as a whole or not at all; line breaks inside a text become blanks."""
    with atomic_open(path) as stream:
        for key, text in texts:
            flat = " ".join(text.splitlines())
            stream.write(f"{key} {flat}".rstrip(" ") + "\n")
