"""A user's text file, plain or .gz, line by line."""

from __future__ import annotations

import gzip
import os
import zlib
from collections.abc import Iterator
from pathlib import Path

from asr.core.errors import RecipeError, at


def numbered_lines(path: str | os.PathLike[str]) -> Iterator[tuple[int, str]]:
    """Yield (line number, line without its line break). RecipeError for no file, not UTF-8, and a damaged .gz."""
    path = Path(path)
    if not path.is_file():
        raise RecipeError(f"{path}: no such file")
    number = 0
    with gzip.open(path) if path.suffix == ".gz" else open(path, "rb") as stream:
        try:
            for number, line in enumerate(stream, 1):
                yield number, line.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
        except UnicodeDecodeError:
            raise RecipeError(f"{at(path, number)}: not UTF-8; save it as UTF-8") from None
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise RecipeError(f"{at(path, number + 1)}: damaged .gz file ({error}); copy it again") from None
