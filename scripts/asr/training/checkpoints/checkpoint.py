"""Checkpoints on disk: what is ranked, what is kept, and files that are whole or not there.

model.pt.ep3, model.pt.ep3.200   weights only, one a save: what stage 4 averages and FunASR's tools read
model.pt                         a link to the newest; what a stopped run goes on from is in saves.py
model.pt.best                    a link to the best of the ranked ones
checkpoints.json                 the ranking: the metric of each, best first
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import torch

from asr.core.errors import RecipeError
from asr.core.files import atomic_open, write_json
from asr.training.checkpoints.save_list import RANKING

LATEST = "model.pt"
BEST = "model.pt.best"


FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
GOES_ON = "give the same command again: training goes on from the checkpoint before"


def _under(error: BaseException | None, sign: Callable[[BaseException], bool]) -> BaseException | None:
    """What is under the error and was first: torch's zip writer raises one of its own while it is left."""
    while error is not None and not sign(error):
        error = error.__context__
    return error


def unwritten(path: str | os.PathLike[str], error: BaseException, then: str = GOES_ON) -> RecipeError:
    """The one line for a file that could not be written: why, how much room there is, and what to do."""
    found = _under(error, lambda item: isinstance(item, OSError))
    number = found.errno if isinstance(found, OSError) else None
    why = os.strerror(number) if number else str(error).splitlines()[0][:100]
    try:
        disk = os.statvfs(Path(path).parent)
        room = f"{disk.f_bavail * disk.f_frsize >> 20} MB free"
    except OSError:
        room = "its folder is not there"
    # torch's own error says no more than that a block was not written whole: that is a full disk.
    first = "make room" if number is None or number in FULL else "see to the folder and its disk"
    return RecipeError(f"{path}: could not be written ({why}; {room}); {first} and {then}")


@contextlib.contextmanager
def writing(path: str | os.PathLike[str], then: str = GOES_ON) -> Iterator[None]:
    """Whatever is written here is ``path`` or what belongs to it: an OSError, and torch's for it, is one line.

    ``then`` is what the error says to do.
    """
    try:
        yield
    except (OSError, RuntimeError) as error:
        # Signals are answered wherever the program is, and the zip writer covers what they raise.
        for kind, mark in ((KeyboardInterrupt, ""), (RuntimeError, "DataLoader worker")):
            found = _under(error, lambda item, kind=kind, mark=mark: isinstance(item, kind) and mark in str(item))
            if found is not None:
                raise found from None
        if isinstance(error, RuntimeError) and not any(
            mark in str(error) for mark in ("inline_container", "StreamWriter")
        ):
            raise
        raise unwritten(path, error, then) from None


class _Hashing:
    """A stream that knows the digest of what went through it, so that a file need not be read again for it."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self.digest = hashlib.sha256()

    def write(self, block: bytes) -> int:
        """Write on."""
        self.digest.update(block)
        return self._stream.write(block)

    def flush(self) -> None:
        """Flush on."""
        self._stream.flush()


@contextlib.contextmanager
def whole(path: str | os.PathLike[str], then: str = "give the same command again") -> Iterator[IO[bytes]]:
    """A binary stream under a temporary name, fsync, rename. A full disk is a RecipeError and leaves the old file.

    ``then`` is what the error says to do.
    """
    with writing(path, then), atomic_open(path, "wb") as stream:
        yield stream


def save(state: dict[str, Any], path: str | os.PathLike[str]) -> str:
    """torch.save as a whole or not at all; the file's sha256. A full disk is a RecipeError."""
    with whole(path, GOES_ON) as stream:
        hashing = _Hashing(stream)
        torch.save(state, hashing)
    return hashing.digest.hexdigest()


def link(target: Path, name: Path) -> None:
    """Make ``name`` the same file as ``target`` in one step: a hard link, a copy where the file system has none."""
    temporary = name.with_name(f".{name.name}.link")
    with writing(name):
        try:
            temporary.unlink(missing_ok=True)  # of a process that was killed here
            try:
                os.link(target, temporary)
            except OSError:
                import shutil

                shutil.copyfile(target, temporary)
            os.replace(temporary, name)
        finally:
            temporary.unlink(missing_ok=True)  # still there after a failure, and where both are one file already


def write_ranking(
    exp: str | os.PathLike[str], metric: str, values: dict[str, float], epochs: int, finished: bool
) -> None:
    """Write checkpoints.json.

    Args:
        values: {file name: metric}, oldest first; CER and loss rank low to high, accuracy high to low, and among equals
            the newest is the better, as in FunASR.
        epochs: whole epochs done.
    """
    newest_first = list(values)[::-1]
    order = sorted(newest_first, key=lambda name: -values[name] if metric == "acc" else values[name])
    ranking = {
        "ranked_by": metric,
        "finished": finished,
        "epochs": epochs,
        "checkpoints": [{"file": name, "value": values[name]} for name in order],
    }
    with writing(Path(exp) / RANKING):
        write_json(Path(exp) / RANKING, ranking)


def read_ranking(exp: str | os.PathLike[str]) -> dict[str, Any]:
    """checkpoints.json of a run. RecipeError when training has not saved anything yet."""
    path = Path(exp) / RANKING
    if not path.is_file():
        raise RecipeError(f"{path}: not there, so no checkpoint has been ranked yet; run stage 3 first")
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError:
        raise RecipeError(f"{path}: not JSON; run stage 3 again, it writes this file anew") from None
