"""Kaldi data folders, in and out.

    wav.scp    <key> <path>                            key: an utterance, or a recording where there is a segments file
    segments   <key> <recording> <start> <end> [<channel>]     in seconds; the end -1 is the recording's; optional
    text       <key> <transcript>
    utt2spk    <key> <speaker>
    spk2utt    <speaker> <key>…                        written, not read

Entries of wav.scp that are commands (``sox … |``) or places in archives (``a.ark:123``) are refused, and never run.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Iterator
from operator import attrgetter
from pathlib import Path
from typing import NamedTuple

from asr.audio.clip import Cut
from asr.core.errors import RecipeError
from asr.core.files import atomic_open
from asr.core.manifest import Utterance
from asr.core.names import plain_name
from asr.preparation.corpus import OWN_SPLITS, Clip, Part, subfolders, tidy_name
from asr.preparation.joining import Clips, Table, audio_path, lines_of, list_other, unsafe_path
from asr.preparation.problems import ERROR, NOTE, Problem

_ARCHIVE = re.compile(r"(ark|scp)[,:].*|.*:\d+")


class _Segment(NamedTuple):
    audio: str
    cut: Cut | None


def is_kaldi(path: Path) -> bool:
    """Return whether ``path`` is a folder with a wav.scp, or with subfolders for train, val or test that have one."""
    return (path / "wav.scp").is_file() or any(folder.name.lower() in OWN_SPLITS for folder in _sets(path))


def _sets(path: Path, problems: list[Problem] | None = None) -> list[Path]:
    """Return the folders in ``path`` that have a wav.scp; one that cannot be read is put into ``problems``."""
    if not path.is_dir():
        return []
    return [folder for folder in subfolders(path, problems) if os.path.isfile(folder / "wav.scp")]


def read_kaldi(path: Path) -> Part:
    """Read a Kaldi data folder, or one with a folder for each set (two for the same set are put together).

    Audio is not looked at here. RecipeError where text or utt2spk is missing, and where a file is empty or not UTF-8.
    """
    part = Part("", path, path)
    clips = Clips(part)
    if (path / "wav.scp").is_file():
        _read_set(clips, path, "")
    for folder in _sets(path, part.problems):
        if (path / "wav.scp").is_file():
            detail = f"not read: {path.name} has a wav.scp itself; give this folder as --corpus if it is meant"
            part.problems.append(Problem(NOTE, "other set", str(folder), None, "", detail))
        elif folder.name.lower() in OWN_SPLITS:
            _read_set(clips, folder, OWN_SPLITS[folder.name.lower()])
        else:
            list_other(part, "other set", folder)
    return clips.finish()


def _read_set(clips: Clips, folder: Path, split: str) -> None:
    """Put together what has a wav, a transcript and a speaker; whatever lacks one of them is a problem."""
    part, path, file = clips.part, folder / "text", str(folder / "text")
    wavs = _recordings(part, folder)
    segments = _segments(part, folder, wavs) if (folder / "segments").is_file() else None
    listing: Table[str] | Table[_Segment] = wavs if segments is None else segments
    speakers = _speakers(clips, folder)
    left_out: set[str] = set()
    number = 0
    for number, key, text in _entries(part, path):
        place = listing.values.get(key)
        if place is None:
            if key not in listing.values:
                detail = f"its id is not in {listing.path.name}"
                part.problems.append(Problem(ERROR, "transcript without wav", file, number, key, detail))
        elif not (speaker := speakers.values.get(key)):
            if key not in speakers.values:
                detail = "its id is not in utt2spk"
                part.problems.append(Problem(ERROR, "no speaker", file, number, key, detail))
        else:
            audio, cut = (place, None) if isinstance(place, str) else place
            clips.add(Clip(key, speaker, audio, text, file, number, cut, split))
        if not clips.holds(key, file):
            left_out.add(key)
    _refuse_empty(path, number)
    listing.list_unused(lambda key: key in left_out or clips.holds(key, file), "its id is not in text")


def _entries(part: Part, path: Path) -> Iterator[tuple[int, str, str]]:
    """Yield (line number, key, value) of a file's lines; the value may be "". Keys are shared by all files (memory)."""
    for number, line in lines_of(part, path):
        key, *value = line.split(None, 1)
        yield number, sys.intern(tidy_name(part.problems, key, path, number)), value[0] if value else ""


def _refuse_empty(path: Path, found: object) -> None:
    if not found:
        raise RecipeError(f"{path}: the file is empty; restore it, or leave this folder out")


def _recordings(part: Part, folder: Path) -> Table[str]:
    """wav.scp, with absolute paths."""
    table: Table[str] = Table(part, folder / "wav.scp")
    for number, key, value in _entries(part, table.path):
        if refused := _refused(value):
            table.problem(ERROR, refused[0], number, key, refused[1])
        table.put(number, key, None if refused else audio_path(value, folder))
    _refuse_empty(table.path, table.values)
    return table


def _refused(value: str) -> tuple[str, str] | None:
    """Return kind and detail of the problem with an entry of wav.scp that is not a file's path."""
    if not value:
        return "line without value", "expected <key> <path>"
    if value.endswith("|") or value.startswith("|") or value == "-":
        return "piped wav.scp entry", f"refused, not run: {value}; write the audio to a file and name that"
    if "://" in value:
        return "bad source", f"{value}: not fetched; download the file and name that"
    if _ARCHIVE.fullmatch(value):
        return (
            "archive wav.scp entry",
            f"{value}: audio inside an archive is not read; write it to a file and name that",
        )
    return None


def _speakers(clips: Clips, folder: Path) -> Table[str]:
    table: Table[str] = Table(clips.part, folder / "utt2spk")
    for number, key, value in _entries(clips.part, table.path):
        if not value:
            table.problem(ERROR, "line without value", number, key, "expected <key> <speaker>")
        table.put(number, key, clips.speaker(value) if value else None)
    _refuse_empty(table.path, table.values)
    return table


def _segments(part: Part, folder: Path, wavs: Table[str]) -> Table[_Segment]:
    table: Table[_Segment] = Table(part, folder / "segments")
    used: set[str] = set()
    for number, key, value in _entries(part, table.path):
        segment = None
        try:
            recording, *times = value.split() or [""]
            recording = plain_name(recording)
            used.add(recording)
            segment = _Segment(_audio(recording, wavs), _cut(times))
        except ValueError as error:
            table.problem(ERROR, "bad segment", number, key, str(error))
        table.put(number, key, segment)
    _refuse_empty(table.path, table.values)
    wavs.list_unused(used.__contains__, "no line of segments is of it")
    return table


def _audio(recording: str, wavs: Table[str]) -> str:
    path = wavs.values.get(recording)
    if path is None:
        why = "refused in" if recording in wavs.values else "not in"
        raise ValueError(f"its recording {recording!r} is {why} wav.scp")
    return path


def _cut(words: list[str]) -> Cut | None:
    """Return the cut of a line of segments, None where that is the whole recording. ValueError says what is wrong."""
    said = " ".join(words)
    try:
        start, end, *rest = map(float, words)
        channel = int(*words[2:]) if rest else None
    except (TypeError, ValueError):
        raise ValueError(f"{said!r}: expected <recording> <start> <end>, in seconds") from None
    if not (0 <= start < float("inf") and (end == -1 or start < end < float("inf")) and (channel or 0) >= 0):
        raise ValueError(f"{said!r}: must start at 0 or later and end after its start")
    cut = Cut(start, None if end == -1 else round(end - start, 6), channel)
    return None if cut == Cut() else cut


def write_kaldi(folder: Path, utterances: Iterable[Utterance]) -> None:
    """Write wav.scp, text, utt2spk and spk2utt, each sorted by byte as ``LC_ALL=C sort`` does, and whole or not at all.

    A speaker's blanks become ``_``. RecipeError for a path that Kaldi would take for a command or for two lines, and
    for two speakers whose names become one.
    """
    ordered = sorted(utterances, key=attrgetter("key"))  # by code point, which is UTF-8's order too
    words = _speaker_words({item.speaker for item in ordered}, folder)
    for item in ordered:
        if reason := unsafe_path(item.source) or (_refused(item.source) or ("", ""))[1]:
            where = f"{folder / 'wav.scp'}: {item.key}"
            raise RecipeError(f"{where}: Kaldi cannot have a path like this, {item.source!r}: {reason}")
    with atomic_open(folder / "wav.scp") as stream:
        stream.writelines(f"{item.key} {item.source}\n" for item in ordered)
    with atomic_open(folder / "text") as stream:
        stream.writelines(f"{item.key} {' '.join(item.target.split())}".rstrip(" ") + "\n" for item in ordered)
    with atomic_open(folder / "utt2spk") as stream:
        stream.writelines(f"{item.key} {words[item.speaker]}\n" for item in ordered)
    said: dict[str, list[str]] = {word: [] for word in sorted(words.values())}
    for item in ordered:
        said[words[item.speaker]].append(item.key)
    with atomic_open(folder / "spk2utt") as stream:
        stream.writelines(f"{word} {' '.join(keys)}\n" for word, keys in said.items())


def _speaker_words(speakers: Iterable[str], folder: Path) -> dict[str, str]:
    """Each speaker as one word."""
    words = {speaker: "_".join(speaker.split()) for speaker in sorted(speakers)}
    owner: dict[str, str] = {}
    for speaker, word in words.items():
        if owner.setdefault(word, speaker) != speaker:
            where = f"{folder / 'utt2spk'}: speakers {owner[word]!r} and {speaker!r}"
            raise RecipeError(f"{where} would both be {word} there, as blanks become '_'; rename one")
    return words
