"""Files that are either whole or not there: temporary name, fsync, rename."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from asr.core.errors import RecipeError, at
from asr.core.locks import lock

SUFFIX = ".tmp"
_OURS = re.compile(rf"\..+\.[a-z0-9_]{{8}}{re.escape(SUFFIX)}")  # as tempfile.mkstemp names them


@contextlib.contextmanager
def atomic_open(path: str | os.PathLike[str], mode: str = "w") -> Iterator[IO[Any]]:
    """Open ``path`` for writing under a temporary name beside it; it takes its name only when the block ends well.

    Text is UTF-8 with ``\\n``. On any exception (a full disk, Ctrl-C) the old file, if any, is left as it was.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    fd, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=SUFFIX, dir=path.parent)
    lock(fd, wait=True)  # until it is closed: sweep leaves it alone; where there are no locks, nothing is swept
    encoding, newline = (None, None) if "b" in mode else ("utf-8", "\n")
    try:
        with os.fdopen(fd, mode, encoding=encoding, newline=newline) as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
            umask = os.umask(0)
            os.umask(umask)
            os.chmod(name, 0o666 & ~umask)
            os.replace(name, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)
        raise


def sweep(folder: Path) -> None:
    """Remove what killed processes have left of ``atomic_open`` in ``folder``: a lock goes with its process."""
    for path in folder.glob(f".*{SUFFIX}"):
        if _OURS.fullmatch(path.name):
            with contextlib.suppress(OSError), open(path, "r+b") as stream:
                if lock(stream) is None:
                    path.unlink()


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write ``text`` (UTF-8) as a whole or not at all."""
    with atomic_open(path) as stream:
        stream.write(text)


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """Write ``value`` as indented UTF-8 JSON, keys in their given order, as a whole or not at all."""
    write_text(path, json.dumps(value, ensure_ascii=False, indent=2) + "\n")


def free_disk(path: str | os.PathLike[str]) -> int:
    """Return the free bytes, for this user, on the disk that holds ``path``, or will once it is made."""
    folder = Path(path).absolute()
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


def read_json(path: str | os.PathLike[str], remedy: str) -> dict[str, Any]:
    """Return a JSON object. RecipeError with ``remedy``, what to do, where there is no file or something else in it."""
    path = Path(path)
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RecipeError(f"{path}: no such file; {remedy}") from None
    except json.JSONDecodeError as error:
        raise RecipeError(f"{at(path, error.lineno)}: not JSON ({error.msg}); {remedy}") from None
    except UnicodeDecodeError:
        raise RecipeError(f"{path}: not UTF-8; {remedy}") from None
    if not isinstance(value, dict):
        raise RecipeError(f"{path}: must be a JSON object; {remedy}")
    return value
