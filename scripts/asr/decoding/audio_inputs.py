"""What a person names to be transcribed: files, folders, and ``-`` for standard input."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePath
from typing import NamedTuple

from asr.audio.headers import EXTENSIONS
from asr.core.errors import RecipeError, UsageError

STDIN = "-"
SHOWN = 3  # names of a folder's other files


class Audio(NamedTuple):
    """A recording: the name that it is shown under, and the path, without an ending, of what is written of it."""

    name: str
    out: PurePath


def find(names: Sequence[str], complain: Callable[[str], None], note: Callable[[str], None]) -> list[Audio]:
    """Return the recordings that are named and those in named folders, at any depth, by name.

    Args:
        complain: is given a line for a folder without one.
        note: is given a line that counts a folder's other files.
    """
    found: list[Audio] = []
    for name in names:
        if not Path(name).is_dir():
            found.append(Audio(name, PurePath("stdin" if name == STDIN else Path(name).stem)))
            continue
        audio, others = _in_folder(Path(name), complain)
        if not audio:
            complain(f"{name}: no audio file in this folder ({', '.join(ending[1:] for ending in EXTENSIONS)})")
        elif others:
            more = ", …" if len(others) > SHOWN else ""
            note(f"{name}: left alone, no audio by their names: {len(others)} ({', '.join(others[:SHOWN])}{more})")
        found += [Audio(os.path.join(name, path), path.with_suffix("")) for path in audio]
    if sum(audio.name == STDIN for audio in found) > 1:
        raise UsageError("- is standard input, which can be read once")
    return found


def _in_folder(folder: Path, complain: Callable[[str], None]) -> tuple[list[PurePath], list[str]]:
    """Return the audio files below a folder, and its other files and links to folders, relative to it, both sorted."""
    audio, others = [], []

    def closed(error: OSError) -> None:
        complain(f"{error.filename}: {error.strerror}")

    for parent, folders, files in os.walk(folder, onerror=closed):
        others += [os.path.relpath(Path(parent, each), folder) for each in folders if Path(parent, each).is_symlink()]
        for file in files:
            path = Path(parent, file).relative_to(folder)
            audio.append(path) if path.suffix.lower() in EXTENSIONS else others.append(str(path))
    return sorted(audio), sorted(others)


def check_distinct(found: Sequence[Audio]) -> None:
    """RecipeError where two recordings would be written to the same file."""
    names: dict[PurePath, str] = {}
    for audio in found:
        if (other := names.setdefault(audio.out, audio.name)) != audio.name:
            raise RecipeError(
                f"{other} and {audio.name} would both be written to {audio.out}.*: transcribe them into two folders"
            )


@contextlib.contextmanager
def readable(audio: Audio) -> Iterator[str]:
    """Give the path of a recording's file: of standard input a copy on the disk, for decoders go back and forth in it.

    RecipeError where standard input is a keyboard, or nothing comes from it.
    """
    if audio.name != STDIN:
        yield audio.name
        return
    if sys.stdin.isatty():
        raise RecipeError(
            "-: is standard input, and nothing is piped into it; ffmpeg -i FILE -f wav - | bash scripts/transcribe.sh"
            " --model exp/<tag>/model -"
        )
    with tempfile.NamedTemporaryFile(prefix="stdin-", suffix=".audio") as copy:
        shutil.copyfileobj(sys.stdin.buffer, copy)
        copy.flush()
        if not copy.tell():
            raise RecipeError("-: nothing came from standard input")
        yield copy.name
