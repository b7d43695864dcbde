"""Folders that this user may not read: as root, whom permissions do not bind, another user looks."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

NOBODY = 65534


@contextmanager
def open_folder() -> Iterator[Path]:
    """A temporary folder that everybody may look into, which pytest's are not."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def as_nobody(function: Callable[[], Any]) -> Any:
    """What ``function`` returns or raises, in a process without a superuser's rights; it must be picklable."""
    if os.getuid():
        return function()
    ours, theirs = multiprocessing.Pipe(duplex=False)
    child = multiprocessing.get_context("fork").Process(target=_answer, args=(theirs, function))
    child.start()
    theirs.close()
    value, error = ours.recv()
    child.join()
    if error is not None:
        raise error
    return value


def _answer(pipe: Any, function: Callable[[], Any]) -> None:
    os.setgroups([])
    os.setgid(NOBODY)
    os.setuid(NOBODY)
    try:
        pipe.send((function(), None))
    except Exception as error:
        pipe.send((None, error))
