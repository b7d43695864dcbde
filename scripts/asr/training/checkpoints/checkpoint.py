"""Checkpoints on disk: their names, their ranking, and files that are whole or not there.

model.pt.ep3, model.pt.ep3.200   weights only: what stage 4 averages and FunASR's tools read
model.pt                         a link to the newest; what a stopped run is resumed from is in resume_points.py
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
RESUMES = "give the same command again: training is resumed from the checkpoint before"


def name_of(epoch: int, step_in_epoch: int | None = None) -> str:
    """Return the file name of a checkpoint after ``epoch`` epochs, or at a step within epoch ``epoch`` (from 0)."""
    return f"{LATEST}.ep{epoch}" if step_in_epoch is None else f"{LATEST}.ep{epoch}.{step_in_epoch}"


def _cause(error: BaseException | None, matches: Callable[[BaseException], bool]) -> BaseException | None:
    """Return the error, or the one under it, that matches: torch's zip writer raises one of its own on its way out."""
    while error is not None and not matches(error):
        error = error.__context__
    return error


def unwritten(path: str | os.PathLike[str], error: BaseException, then: str = RESUMES) -> RecipeError:
    """Return the error for a file that could not be written: why, how much room there is, and what to do."""
    cause = _cause(error, lambda one: isinstance(one, OSError))
    number = cause.errno if isinstance(cause, OSError) else None
    why = os.strerror(number) if number else str(error).splitlines()[0][:100]
    try:
        disk = os.statvfs(Path(path).parent)
        room = f"{disk.f_bavail * disk.f_frsize >> 20} MB free"
    except OSError:
        room = "its folder does not exist"
    # torch's own error says no more than that a block was not written whole: that is a full disk.
    first = "make room" if number is None or number in FULL else "see to the folder and its disk"
    return RecipeError(f"{path}: could not be written ({why}; {room}); {first} and {then}")


@contextlib.contextmanager
def writing(path: str | os.PathLike[str], then: str = RESUMES) -> Iterator[None]:
    """Turn an OSError of the block, and torch's for one, into a RecipeError that names ``path``.

    ``then`` is what the error says to do.
    """
    try:
        yield
    except (OSError, RuntimeError) as error:
        # Signals are answered wherever the program is, and the zip writer covers what they raise.
        for kind, text in ((KeyboardInterrupt, ""), (RuntimeError, "DataLoader worker")):
            cause = _cause(error, lambda one, kind=kind, text=text: isinstance(one, kind) and text in str(one))
            if cause is not None:
                raise cause from None
        of_the_writer = any(text in str(error) for text in ("inline_container", "StreamWriter"))
        if isinstance(error, RuntimeError) and not of_the_writer:
            raise
        raise unwritten(path, error, then) from None


class _Hashing:
    """A stream that digests what is written to it, so that the file need not be read again."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self.digest = hashlib.sha256()

    def write(self, block: bytes) -> int:
        """Write a block."""
        self.digest.update(block)
        return self._stream.write(block)

    def flush(self) -> None:
        """Flush the stream."""
        self._stream.flush()


@contextlib.contextmanager
def whole(path: str | os.PathLike[str], then: str = "give the same command again") -> Iterator[IO[bytes]]:
    """Open a binary stream to a temporary file, which is synced and renamed. RecipeError on a full disk.

    ``then`` is what the error says to do.
    """
    with writing(path, then), atomic_open(path, "wb") as stream:
        yield stream


def save(state: dict[str, Any], path: str | os.PathLike[str]) -> str:
    """torch.save, whole or not at all; return the file's sha256. RecipeError on a full disk."""
    with whole(path, RESUMES) as stream:
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


def best_first(values: dict[str, float], metric: str) -> list[str]:
    """Return the names of ``values`` (oldest first), best first: CER and loss from low to high, accuracy from high.

    Among equals the newest is the better, as in FunASR.
    """
    sign, newest_first = -1 if metric == "acc" else 1, list(values)[::-1]
    return sorted(newest_first, key=lambda name: sign * values[name])


def write_ranking(
    exp: str | os.PathLike[str], metric: str, values: dict[str, float], epochs: int, finished: bool
) -> None:
    """Write checkpoints.json.

    Args:
        values: {file name: metric}, oldest first.
        epochs: whole epochs done.
    """
    ranking = {
        "ranked_by": metric,
        "finished": finished,
        "epochs": epochs,
        "checkpoints": [{"file": name, "value": values[name]} for name in best_first(values, metric)],
    }
    with writing(Path(exp) / RANKING):
        write_json(Path(exp) / RANKING, ranking)


def read_ranking(exp: str | os.PathLike[str]) -> dict[str, Any]:
    """Read checkpoints.json of a run. RecipeError where training has not saved anything yet."""
    path = Path(exp) / RANKING
    if not path.is_file():
        raise RecipeError(f"{path}: does not exist, so no checkpoint has been ranked yet; run stage 3 first")
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError:
        raise RecipeError(f"{path}: not JSON; run stage 3 again, which rewrites it") from None
