"""Kaldi data folders, in and out: wav.scp, text, utt2spk, and segments where clips are cut from recordings.

Entries that are commands (``sox … |``) are refused by name and never run.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from asr.errors import RecipeError
from asr.files import atomic_open
from asr.manifest import Utterance
from corpus import OWN_SPLITS, Clip, Cut, Part
from joining import Clips, audio_path, lines_of
from problems import ERROR, NOTE, WARNING, Problem

_ARCHIVE = re.compile(r"\.(ark|scp):\d+$|^ark[,:]|^scp[,:]")


class _Entry(NamedTuple):
    value: str
    line: int


_Table = dict[str, _Entry]


def is_kaldi(path: Path) -> bool:
    """Whether ``path`` is a folder with a wav.scp, or with subfolders for train, val and test that have one."""
    return (path / "wav.scp").is_file() or any(_sets(path))


def _sets(path: Path) -> list[tuple[str, Path]]:
    """(split, folder) of the sets in ``path``, by their names."""
    if not path.is_dir():
        return []
    folders = sorted(entry for entry in path.iterdir() if (entry / "wav.scp").is_file())
    return [(OWN_SPLITS[folder.name.lower()], folder) for folder in folders if folder.name.lower() in OWN_SPLITS]


def read_kaldi(path: Path) -> Part:
    """Read a Kaldi data folder, or one with a folder for each set. Audio is not looked at here.

    RecipeError where text or utt2spk is missing, or a file is empty or not UTF-8.
    """
    part = Part("", path, path)
    clips = Clips(part)
    if (path / "wav.scp").is_file():
        _read_set(clips, path, "")
        return clips.finish()
    for split, folder in _sets(path):
        _read_set(clips, folder, split)
    for folder in sorted(path.iterdir()):
        if (folder / "wav.scp").is_file() and folder.name.lower() not in OWN_SPLITS:
            detail = f"is none of {', '.join(OWN_SPLITS)}; not read"
            part.problems.append(Problem(NOTE, "other set", str(folder), None, "", detail))
    return clips.finish()


def _read_set(clips: Clips, folder: Path, split: str) -> None:
    part = clips.part
    wavs, told = _recordings(part, folder)
    cut = (folder / "segments").is_file()
    lines = _table(part, folder / "segments") if cut else wavs
    speakers = _table(part, folder / "utt2spk")
    texts = _table(part, folder / "text", may_be_empty=True)
    clip_of = _cuts(part, folder, wavs, lines, told) if cut else {key: (item.value, None) for key, item in wavs.items()}
    file, listing = str(folder / "text"), "segments" if cut else "wav.scp"
    for key, (text, line) in texts.items():
        where = clip_of.pop(key, None)
        if where is None:
            if key not in told:
                detail = f"its id is not in {listing}"
                part.problems.append(Problem(ERROR, "transcript without wav", file, line, key, detail))
        elif key not in speakers:
            part.problems.append(Problem(ERROR, "no speaker", file, line, key, "its id is not in utt2spk"))
        else:
            clips.add(Clip(key, speakers[key].value, where[0], text, file, line, where[1], split))
    for key in clip_of:
        at = str(folder / listing), lines[key].line
        part.problems.append(Problem(WARNING, "wav without transcript", *at, key, "its id is not in text"))


def _table(part: Part, path: Path, may_be_empty: bool = False) -> _Table:
    """``<key> <value>`` lines. A key twice with one value is used once, with two it is left out."""
    found: _Table = {}
    left_out = set()
    for number, line in lines_of(part, path):
        key, value = (*line.split(None, 1), "")[:2]
        if not value and not may_be_empty:
            part.problems.append(Problem(ERROR, "line without value", str(path), number, key, f"in {path.name}"))
        elif key in found:
            same = found[key].value == value
            detail = f"also on line {found[key].line}, " + ("the same" if same else "and different: the id is left out")
            severity = WARNING if same else ERROR
            part.problems.append(Problem(severity, "duplicate id", str(path), number, key, detail))
            left_out |= set() if same else {key}
        else:
            found[key] = _Entry(value, number)
    if not found:
        raise RecipeError(f"{path}: the file is empty")
    return {key: entry for key, entry in found.items() if key not in left_out} if left_out else found


def _recordings(part: Part, folder: Path) -> tuple[_Table, set[str]]:
    """wav.scp, with absolute paths, and the keys of what was refused: commands and archives."""
    path, refused = folder / "wav.scp", set()
    table = _table(part, path)
    for key, (value, line) in table.items():
        if value.endswith("|") or value.startswith("|") or value == "-":
            kind, detail = "piped wav.scp entry", f"refused, not run: {value}; write the audio to a file and name that"
        elif _ARCHIVE.search(value):
            kind, detail = "archive wav.scp entry", f"{value}: audio in an archive is not read; write it out as files"
        else:
            table[key] = _Entry(audio_path(value, folder), line)
            continue
        part.problems.append(Problem(ERROR, kind, str(path), line, key, detail))
        refused.add(key)
    for key in refused:
        del table[key]
    return table, refused


def _cuts(
    part: Part, folder: Path, wavs: _Table, segments: _Table, told: set[str]
) -> dict[str, tuple[str, Cut | None]]:
    """(recording's path, cut) by key; of those that cannot be cut the key goes into ``told``."""
    found: dict[str, tuple[str, Cut | None]] = {}
    for key, (value, line) in segments.items():
        cut, reason = _cut(value, wavs)
        if cut is None:
            part.problems.append(Problem(ERROR, "bad segment", str(folder / "segments"), line, key, reason))
            told.add(key)
        else:
            found[key] = (wavs[value.split()[0]].value, cut)
    return found


def _cut(value: str, wavs: Mapping[str, _Entry]) -> tuple[Cut | None, str]:
    words = value.split()
    if len(words) != 3:
        return None, f"{value!r}: expected <recording> <start> <end>"
    if words[0] not in wavs:
        return None, f"its recording {words[0]} is not in wav.scp, or was refused there"
    try:
        start, end = float(words[1]), float(words[2])
    except ValueError:
        return None, f"{value!r}: start and end must be seconds"
    if end == -1:
        return Cut(start), ""
    if not 0 <= start < end < float("inf"):
        return None, f"{value!r}: must start at 0 or later and end after its start"
    return Cut(start, round(end - start, 6)), ""


def write_kaldi(folder: Path, utterances: Iterable[Utterance]) -> None:
    """Write wav.scp, text, utt2spk and spk2utt, sorted by byte as LC_ALL=C sort does.

    A speaker's blanks become ``_``. RecipeError for a path that Kaldi would take for a command or for two lines, and
    for two speakers whose names become one.
    """
    ordered = sorted(utterances, key=lambda item: item.key.encode())
    names = _speaker_words({item.speaker for item in ordered})
    for item in ordered:
        if item.source.strip() != item.source or item.source.endswith("|") or "\n" in item.source:
            raise RecipeError(f"{item.source!r}: {item.key}: Kaldi cannot have a path like this; rename the file")
    with atomic_open(folder / "wav.scp") as stream:
        stream.writelines(f"{item.key} {item.source}\n" for item in ordered)
    with atomic_open(folder / "text") as stream:
        stream.writelines(f"{item.key} {item.target}".rstrip(" ") + "\n" for item in ordered)
    with atomic_open(folder / "utt2spk") as stream:
        stream.writelines(f"{item.key} {names[item.speaker]}\n" for item in ordered)
    said: dict[str, list[str]] = {}
    for item in ordered:
        said.setdefault(names[item.speaker], []).append(item.key)
    with atomic_open(folder / "spk2utt") as stream:
        stream.writelines(f"{speaker} {' '.join(said[speaker])}\n" for speaker in sorted(said, key=os.fsencode))


def _speaker_words(speakers: Iterable[str]) -> dict[str, str]:
    words = {speaker: "_".join(speaker.split()) for speaker in sorted(speakers)}
    owner: dict[str, str] = {}
    for speaker, word in words.items():
        if owner.setdefault(word, speaker) != speaker:
            raise RecipeError(f"speakers {owner[word]!r} and {speaker!r} would both be {word} in utt2spk; rename one")
    return words
