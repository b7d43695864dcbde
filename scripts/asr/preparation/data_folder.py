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
    for name in (*SPLITS, "lhotse"):  # folders that are replaced as a whole
        there = os.listdir(out / name) if (out / name).is_dir() else ()
        if theirs := sorted(file for file in there if not _IN_FOLDERS.fullmatch(file)):
            raise RecipeError(f"{out / name / theirs[0]}: stage 1 has not made it, and replaces this folder; move it")


def audio_folder(out: Path) -> Path:
    """Return the folder of the clips that had to be converted, beside the data folder."""
    return out.absolute().with_name(f"{out.name}_audio")


def write_folder(out: Path, names: Sequence[str], fill: Callable[[Path], None]) -> bool:
    """Let ``fill`` write ``names`` (files and folders) into an empty folder beside ``out``, then put it in its place.

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
        elif all(_same(staging / name, out / name) for name in names):
            return False
        else:
            with _signals_held():
                for name in names:
                    _replace(staging, out, name)
        return True
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _same(one: Path, two: Path) -> bool:
    """Return whether two files, or two folders of files, hold the same bytes; also where neither is there."""
    if one.is_dir() and two.is_dir():
        names = os.listdir(one)
        return sorted(names) == sorted(os.listdir(two)) and all(_same(one / name, two / name) for name in names)
    if one.is_file() and two.is_file():
        return filecmp.cmp(one, two, shallow=False)
    return not one.exists() and not two.exists()


def _replace(staging: Path, out: Path, name: str) -> None:
    new, old = staging / name, out / name
    if old.is_dir() or (old.exists() and not new.exists()):
        os.rename(old, staging / f".old.{name}")  # a folder is not replaced while it holds something
    if new.exists():
        os.replace(new, old)


@contextlib.contextmanager
def _signals_held() -> Iterator[None]:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM, signal.SIGHUP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
