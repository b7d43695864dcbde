"""Why a label has no clip: what users' folders most often have in place of it."""

from __future__ import annotations

import contextlib
import functools
import os
import unicodedata
from collections.abc import Collection
from pathlib import Path

from asr.audio.headers import EXTENSIONS
from asr.preparation.corpus import subfolders


def likely_cause(utt: str, folder: Path, clips: Collection[str]) -> str:
    """Return what is likely wrong where ``folder``, a speaker's, has no clip ``utt``, and what to do; "" if unknown.

    Args:
        clips: the ids of the speaker's clips.
    """
    stem, extension = os.path.splitext(utt)
    if extension.lower() in EXTENSIONS and stem in clips:
        return f"ids are written without {extension}: take it out of the label file"
    if clip := next((clip for clip in clips if clip.startswith(f"{utt} ")), ""):
        return f"a clip is called {clip!r}, and an id ends at its first blank: take the blanks out of both"
    below, alike, reencoded = _surroundings(folder)
    if name := alike.get(_alike(utt)):
        return f"{name} is there: write the id as the file is written, capitals and full-width characters too"
    if utt in below:
        return f"it is in {below[utt]}: move the clips of sub-folders up into the speaker's folder"
    if utt in reencoded:
        return f"{reencoded[utt]} is there, a name that unpacking has damaged: unpack again, unzip -O GBK"
    return ""


@functools.lru_cache(maxsize=2)
def _surroundings(folder: Path) -> tuple[dict[str, str], dict[str, str], dict[str, str]]:
    """Return, by id: sub-folders with such a clip, files by ``_alike``, and file names as they look when damaged."""
    below = {stem: inner.name for inner in subfolders(folder) for stem, _ in _audio(inner)}
    alike, reencoded = {}, {}
    for stem, extension in _audio(folder):
        alike[_alike(stem)] = stem + extension
        for wrong in ("cp437", "latin-1") if not stem.isascii() else ():  # GBK names in a zip file, taken for these
            with contextlib.suppress(UnicodeError):
                reencoded[stem.encode(wrong).decode("gbk")] = stem + extension
    return below, alike, reencoded


def _alike(utt: str) -> str:
    """Return an id without what typing changes: capitals, full-width characters."""
    return unicodedata.normalize("NFKC", utt).casefold()


def _audio(folder: Path) -> list[tuple[str, str]]:
    """Return (id, ending) of the clips in a folder, with endings in any case."""
    names = map(os.path.splitext, os.listdir(folder) if os.path.isdir(folder) else ())
    return [(stem, extension) for stem, extension in names if extension.lower() in EXTENSIONS]
