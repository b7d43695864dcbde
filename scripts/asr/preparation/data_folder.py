"""A folder of files that changes as one: a stopped run leaves the previous files or the new, never some of each."""

from __future__ import annotations

import contextlib
import filecmp
import os
import shutil
import signal
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from asr.core.errors import RecipeError
from asr.core.made_by import STAGE1, refuse_others


def refuse_theirs(out: Path, corpus: Path) -> None:
    """RecipeError where ``out``, or the converted audio beside it, is somebody's own, or is in or around the corpus."""
    for folder in (out, audio_folder(out)):
        places = [os.path.realpath(path) for path in (folder, corpus)]
        if os.path.commonpath(places) in places:
            raise RecipeError(
                f"{folder}: is the corpus {corpus}, or in it, or around it, and a corpus is not written into; give"
                " --data (--out) another folder"
            )
        refuse_others(folder, STAGE1)


def audio_folder(out: Path) -> Path:
    """Return the folder of the clips that had to be converted, beside the data folder."""
    return out.absolute().with_name(f"{out.name}_audio")


def write_folder(out: Path, names: Sequence[str], fill: Callable[[Path], None]) -> bool:
    """Let ``fill`` write the files ``names`` into an empty folder, then put them into ``out``, beside what is there.

    False where ``out`` holds the same already: then nothing in it is touched. Of ``names``, what ``fill`` does not
    write is removed from ``out`` as well. They are renamed in their order, with signals held back, so that only SIGKILL
    or a power cut within that moment can leave a mixture.
    """
    out = Path(os.path.realpath(out))
    staging = (out if os.path.ismount(out) else out.parent) / f".{out.name}.tmp"
    shutil.rmtree(staging, ignore_errors=True)
    try:
        fill(staging)
        if not out.exists():
            os.rename(staging, out)
            return True
        new, old = ([name for name in names if (folder / name).is_file()] for folder in (staging, out))
        if new == old and all(filecmp.cmp(staging / name, out / name, shallow=False) for name in new):
            return False
        with _signals_held():
            for name in new:
                (out / name).parent.mkdir(exist_ok=True)
                os.replace(staging / name, out / name)
            for name in set(old) - set(new):
                (out / name).unlink()
                with contextlib.suppress(OSError):  # unless other files are in it
                    (out / name).parent.rmdir()
        return True
    finally:
        shutil.rmtree(staging, ignore_errors=True)


@contextlib.contextmanager
def _signals_held() -> Iterator[None]:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM, signal.SIGHUP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
