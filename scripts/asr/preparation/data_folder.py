"""A folder of files that changes as one: a stopped run leaves the previous files or the new, never some of each."""

from __future__ import annotations

import contextlib
import filecmp
import os
import re
import shutil
import signal
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from asr.core.errors import RecipeError
from asr.core.made_by import STAGE1, refuse_others
from asr.preparation.splits.split_file import SPLITS

# What stage 1 puts into train, val, test and lhotse.
_IN_FOLDERS = re.compile(r"wav\.scp|text|utt2spk|spk2utt|(recordings|supervisions)_\w+\.jsonl\.gz|\..+\.tmp")


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
    for name in (*SPLITS, "lhotse"):
        theirs = sorted(file.name for file in (out / name).glob("*") if not _IN_FOLDERS.fullmatch(file.name))
        if theirs:
            raise RecipeError(f"{out / name / theirs[0]}: stage 1 has not made it, and replaces this folder; move it")


def audio_folder(out: Path) -> Path:
    """Return the folder of the clips that had to be converted, beside the data folder."""
    return out.absolute().with_name(f"{out.name}_audio")


def write_folder(out: Path, names: Sequence[str], fill: Callable[[Path], None]) -> bool:
    """Let ``fill`` write ``names`` (files and folders of files) into an empty folder, then put them into ``out``.

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
        new, old = _files(staging, names), _files(out, names)
        if new == old and all(filecmp.cmp(staging / file, out / file, shallow=False) for file in new):
            return False
        with _signals_held():
            for file in new:
                (out / file).parent.mkdir(exist_ok=True)
                os.replace(staging / file, out / file)
            for file in set(old) - set(new):
                (out / file).unlink()
                with contextlib.suppress(OSError):  # unless other files are in it
                    (out / file).parent.rmdir()
        return True
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _files(folder: Path, names: Sequence[str]) -> list[Path]:
    """Return the files of ``names`` that there are, those in folders too, relative to ``folder``."""
    paths = [path for name in names for path in (folder / name, *sorted((folder / name).glob("*")))]
    return [path.relative_to(folder) for path in paths if path.is_file()]


@contextlib.contextmanager
def _signals_held() -> Iterator[None]:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM, signal.SIGHUP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
