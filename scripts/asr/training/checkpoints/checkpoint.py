"""Checkpoints on disk: their names, their ranking, and files that are whole or not there.

model.pt.ep3, model.pt.ep3.200   weights only: what stage 4 averages and FunASR's tools read
model.pt, model.pt.best          links to the newest and to the best of the ranked ones
checkpoints.json                 the ranking: the metric of each, best first
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import torch

from asr.core import run_records
from asr.core.digests import sha256_file
from asr.core.errors import RecipeError
from asr.core.files import atomic_open
from asr.core.metrics import METRICS
from asr.core.run_folder import RunFolder

LATEST = "model.pt"
BEST = "model.pt.best"

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
RESUMES = "give the same command again: training is resumed from the checkpoint before"


def name_of(epoch: int, step_in_epoch: int | None = None) -> str:
    """Return the file name of a checkpoint after ``epoch`` epochs, or at a step within epoch ``epoch`` (from 0)."""
    return f"{LATEST}.ep{epoch}" if step_in_epoch is None else f"{LATEST}.ep{epoch}.{step_in_epoch}"


def unwritten(path: str | os.PathLike[str], error: OSError, then: str = RESUMES) -> RecipeError:
    """Return the error for a file that could not be written: why, how much room there is, and what to do."""
    free = shutil.disk_usage(Path(path).parent).free >> 20
    first = "make room" if error.errno in FULL else "see to the folder and its disk"
    return RecipeError(f"{path}: could not be written ({error.strerror}; {free} MB free); {first} and {then}")


@contextlib.contextmanager
def writing(path: str | os.PathLike[str], then: str = RESUMES) -> Iterator[None]:
    """Turn an OSError of the block into a RecipeError that names ``path`` and says ``then``, what to do."""
    try:
        yield
    except OSError as error:
        raise unwritten(path, error, then) from None
    except RuntimeError as error:
        # torch's zip writer raises one of its own over whatever ends it: a full disk, Ctrl-C, a data worker's death.
        cause: BaseException = error
        while cause.__context__ is not None:
            cause = cause.__context__
        raise (unwritten(path, cause, then) if isinstance(cause, OSError) else cause) from None


@contextlib.contextmanager
def whole(path: str | os.PathLike[str], then: str = "give the same command again") -> Iterator[IO[bytes]]:
    """Open a file that takes its name when it is whole. RecipeError, with ``then``, on a full disk."""
    with writing(path, then), atomic_open(path, "wb") as stream:
        yield stream


def save(state: dict[str, Any], path: str | os.PathLike[str]) -> str:
    """torch.save, whole or not at all; return the file's sha256. RecipeError on a full disk."""
    with whole(path, RESUMES) as stream:
        torch.save(state, stream)
    return sha256_file(path)


def link(target: Path, name: Path) -> None:
    """Make ``name`` the same file as ``target`` in one step: a hard link, a copy where the file system has none."""
    temporary = name.with_name(f".{name.name}.link")
    with writing(name):
        temporary.unlink(missing_ok=True)  # of a process that was killed here
        try:
            os.link(target, temporary)
        except OSError:
            shutil.copyfile(target, temporary)
        os.replace(temporary, name)
        temporary.unlink(missing_ok=True)  # still there where both are one file already


def best_first(values: dict[str, float], metric: str) -> list[str]:
    """Return the names of ``values`` (oldest first), best first; of equals the newest is the better, as in FunASR."""
    newest_first = list(values)[::-1]
    return sorted(newest_first, key=lambda name: METRICS[metric].sign * values[name])


def write_ranking(exp: Path, metric: str, values: dict[str, float], epochs: int, finished: bool) -> None:
    """Write checkpoints.json.

    Args:
        values: {file name: metric}, oldest first.
        epochs: whole epochs done.
    """
    checkpoints = [{"file": name, "value": values[name]} for name in best_first(values, metric)]
    with writing(RunFolder(exp).ranking):
        run_records.write_ranking(
            exp, {"ranked_by": metric, "finished": finished, "epochs": epochs, "checkpoints": checkpoints}
        )
