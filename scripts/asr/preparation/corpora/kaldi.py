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
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from asr.audio.clip import Cut
from asr.core.errors import RecipeError, at
from asr.core.files import atomic_open
from asr.core.manifest import Utterance
from asr.core.names import kaldi_id, kaldi_speakers, plain_name
from asr.preparation.corpus import OWN_SPLITS, Clip, Part, subfolders, tidy_name
from asr.preparation.joining import Clips, RefusedError, Table, Value, audio_path, decoded, named_sets, unsafe_path
from asr.preparation.problems import ERROR, NOTE, Problems

_ARCHIVE = re.compile(r"(ark|scp)[,:].*|.*:\d+")
Place = tuple[str, Cut | None]  # an audio file, and which part of it where that is not all


def is_kaldi(path: Path) -> bool:
    """Return whether ``path`` is a folder with a wav.scp, or with subfolders for train, val or test that have one."""
    return (path / "wav.scp").is_file() or any(name.lower() in OWN_SPLITS for name in _sets(path).values())


def _sets(path: Path, problems: Problems | None = None) -> dict[Path, str]:
    """Return {folder: name} of the folders in ``path`` that have a wav.scp; a disk's lost+found, say, has none."""
    return {folder: folder.name for folder in subfolders(path, problems) if os.path.isfile(folder / "wav.scp")}


def read_kaldi(path: Path) -> Part:
    """Read a Kaldi data folder, or one with a folder for each set (two for the same set are put together).

    Audio is not looked at here. RecipeError where text or utt2spk is missing, and where a file is empty or not UTF-8.
    """
    part = Part("", path, path)
    clips = Clips(part)
    if (path / "wav.scp").is_file():
        _read_set(clips, path, "")
        detail = f"not read: {path.name} has a wav.scp itself; give this folder as --corpus if it is meant"
        for folder in _sets(path, part.problems):
            part.problems.add(NOTE, "other set", folder, detail)
    else:
        for folder, split in named_sets(part, _sets(path, part.problems), "other set"):
            _read_set(clips, folder, split)
    return clips.finish()


def _read_set(clips: Clips, folder: Path, split: str) -> None:
    """Put together what has a wav, a transcript and a speaker; whatever lacks one of them is a problem."""
    part, file = clips.part, str(folder / "text")
    places = _table(part, folder / "wav.scp", lambda value: _recording(value, folder))
    if (folder / "segments").is_file():
        places = _segments(part, folder / "segments", places)
    speakers = _table(part, folder / "utt2spk", lambda value: clips.speaker(_not_empty(value, "<speaker>")))
    left_out: set[str] = set()
    for number, key, text in _entries(part, folder / "text"):
        if key not in places.values:
            detail = f"its id is not in {places.path.name}"
            part.problems.add(ERROR, "transcript without wav", file, detail, number, key)
        elif (place := places.values[key]) and key not in speakers.values:
            part.problems.add(ERROR, "no speaker", file, "its id is not in utt2spk", number, key)
        elif place and (speaker := speakers.values[key]):
            audio, cut = place
            clips.add(Clip(key, speaker, audio, text, file, number, cut, split))
        if not clips.holds(key, file):
            left_out.add(key)
    places.list_unused(lambda key: key in left_out or clips.holds(key, file), "its id is not in text")


def _entries(part: Part, path: Path) -> Iterator[tuple[int, str, str]]:
    """Yield (line number, key, value) of a file's lines; the value may be "". Keys are shared by all files (memory).

    RecipeError for a missing file, an empty one, and bytes that are not UTF-8.
    """
    if not path.is_file():
        raise RecipeError(f"{path}: no such file; a Kaldi data folder has wav.scp, text and utt2spk")
    empty = True
    with open(path, "rb") as stream:
        for number, raw in enumerate(stream, 1):
            try:
                key, *value = decoded(part, path, number, raw).strip().split(None, 1) or [""]
            except ValueError as error:
                raise RecipeError(f"{at(path, number)}: {error}; save the file as UTF-8") from None
            if key:
                empty = False
                yield number, sys.intern(tidy_name(part.problems, key, path, number)), value[0] if value else ""
    if empty:
        raise RecipeError(f"{path}: the file is empty; restore it, or leave this folder out")


def _table(part: Part, path: Path, parse: Callable[[str], Value]) -> Table[Value]:
    table: Table[Value] = Table(part, path)
    for number, key, value in _entries(part, path):
        table.put(number, key, parse, value)
    return table


def _not_empty(value: str, expected: str) -> str:
    if not value:
        raise RefusedError("line without value", f"expected <key> {expected}")
    return value


def _recording(value: str, folder: Path) -> Place:
    _refuse_other_than_a_file(_not_empty(value, "<path>"))
    return audio_path(value, folder), None


def _refuse_other_than_a_file(value: str) -> None:
    if value.endswith("|") or value.startswith("|") or value == "-":
        detail = f"refused, not run: {value}; write the audio to a file and name that"
        raise RefusedError("piped wav.scp entry", detail)
    if "://" in value:
        raise RefusedError("bad source", f"{value}: not fetched; download the file and name that")
    if _ARCHIVE.fullmatch(value):
        detail = f"{value}: audio inside an archive is not read; write it to a file and name that"
        raise RefusedError("archive wav.scp entry", detail)


def _segments(part: Part, path: Path, wavs: Table[Place]) -> Table[Place]:
    used: set[str] = set()

    def parse(value: str) -> Place:
        recording, *times = value.split() or [""]
        recording = plain_name(recording)
        used.add(recording)
        if not (place := wavs.values.get(recording)):
            why = "refused in" if recording in wavs.values else "not in"
            raise RefusedError("bad segment", f"its recording {recording!r} is {why} wav.scp")
        return place[0], _cut(times)

    segments = _table(part, path, parse)
    wavs.list_unused(used.__contains__, "no line of segments is of it")
    return segments


def _cut(words: list[str]) -> Cut | None:
    """Return the cut of a line of segments, None where that is the whole recording."""
    try:
        start, end, *rest = map(float, words)
        channel = int(*words[2:]) if rest else None
    except (TypeError, ValueError):
        detail = f"{' '.join(words)!r}: expected <recording> <start> <end>, in seconds"
        raise RefusedError("bad segment", detail) from None
    if not (0 <= start < float("inf") and (end == -1 or start < end < float("inf")) and (channel or 0) >= 0):
        raise RefusedError("bad segment", f"{' '.join(words)!r}: must start at 0 or later and end after its start")
    cut = Cut(start, None if end == -1 else round(end - start, 6), channel)
    return None if cut == Cut() else cut


def write_kaldi(folder: Path, utterances: Iterable[Utterance]) -> None:
    """Write wav.scp, text, utt2spk and spk2utt by the rules of Kaldi's validate_data_dir.sh, each whole or not at all.

    Ids are ``<speaker>-<key>`` unless the key begins so, and every file is sorted by byte, as ``LC_ALL=C sort`` does. A
    speaker's blanks become ``_``. RecipeError for a path that Kaldi would take for a command or for two lines, and
    where two speakers or two ids would become one.
    """
    ordered = list(utterances)
    words = _speaker_words(ordered, folder)
    ordered.sort(key=lambda item: kaldi_id(item.key, words[item.speaker]))  # by code point, UTF-8's order too
    ids = [kaldi_id(item.key, words[item.speaker]) for item in ordered]
    for item in ordered:
        try:
            reason = unsafe_path(item.source) or _refuse_other_than_a_file(item.source)
        except RefusedError as error:
            reason = str(error)
        if reason:
            where = f"{folder / 'wav.scp'}: {item.key}"
            raise RecipeError(f"{where}: Kaldi cannot have a path like this, {item.source!r}: {reason}")
    said: dict[str, list[str]] = {word: [] for word in sorted(words.values())}
    for place, (name, item) in enumerate(zip(ids, ordered, strict=True)):
        if place and name == ids[place - 1]:
            where = f"{folder / 'text'}: utterances {ordered[place - 1].key} and {item.key}"
            raise RecipeError(f"{where} of speaker {item.speaker} would both be {name} there; rename one")
        said[words[item.speaker]].append(name)
    for file, lines in {
        "wav.scp": (f"{name} {item.source}" for name, item in zip(ids, ordered, strict=True)),
        "text": (" ".join([name, *item.target.split()]) for name, item in zip(ids, ordered, strict=True)),
        "utt2spk": (f"{name} {words[item.speaker]}" for name, item in zip(ids, ordered, strict=True)),
        "spk2utt": (f"{word} {' '.join(names)}" for word, names in said.items()),
    }.items():
        with atomic_open(folder / file) as stream:
            stream.writelines(f"{line}\n" for line in lines)


def _speaker_words(utterances: Iterable[Utterance], folder: Path) -> dict[str, str]:
    words = kaldi_speakers(item.speaker for item in utterances)
    speaker_of: dict[str, str] = {}
    for speaker, word in words.items():
        if speaker_of.setdefault(word, speaker) != speaker:
            where = f"{folder / 'utt2spk'}: speakers {speaker_of[word]!r} and {speaker!r}"
            raise RecipeError(f"{where} would both be {word} there, as blanks become '_'; rename one")
    return words
