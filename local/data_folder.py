"""A folder of files that changes as one: a killed run leaves the previous files or the new ones, never some of each."""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import signal
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from asr.errors import RecipeError

_AT_FDCWD, _RENAME_EXCHANGE = -100, 2  # linux/fcntl.h, linux/fs.h


def write_folder(out: Path, names: Sequence[str], fill: Callable[[Path], None]) -> None:
    """Let ``fill`` write the files ``names`` into an empty folder beside ``out``, then put it in ``out``'s place.

    The two folders are exchanged in one step (renameat2), what else was in ``out`` being linked into the new one
    before. Where that cannot be done (a file system without it, a subfolder in ``out``) the files are renamed one by
    one in the order of ``names``, with signals held back: then only SIGKILL or a power cut within that
    moment can leave a mixture.
    """
    out = Path(os.path.realpath(out))
    if out.exists() and not out.is_dir():
        raise RecipeError(f"{out}: is not a folder, so no data can be written into it; give another --out")
    staging = (out if os.path.ismount(out) else out.parent) / f".{out.name}.tmp"
    shutil.rmtree(staging, ignore_errors=True)
    try:
        fill(staging)
        if not out.exists():
            os.rename(staging, out)
        elif not _exchanged(staging, out, names):
            with _signals_held():
                for name in names:
                    os.replace(staging / name, out / name)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _exchanged(staging: Path, out: Path, names: Sequence[str]) -> bool:
    try:
        for name in set(os.listdir(out)) - set(names):
            os.link(out / name, staging / name, follow_symlinks=False)
        shutil.copymode(out, staging)
        renameat2 = ctypes.CDLL(None).renameat2
    except (OSError, AttributeError):
        return False
    return renameat2(_AT_FDCWD, os.fsencode(staging), _AT_FDCWD, os.fsencode(out), _RENAME_EXCHANGE) == 0


@contextlib.contextmanager
def _signals_held() -> Iterator[None]:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM, signal.SIGHUP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
