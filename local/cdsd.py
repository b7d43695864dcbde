"""CDSD as it is on disk: finding a part's folders, and joining clips with transcripts.

    <root>/after_catting/{1h,10h}/Audio/<speaker>/<utt>.wav
    <root>/after_catting/{1h,10h}/Text/<speaker>_label.txt      "<utt> <transcript>" a line

The speaker is the folder, never the id: in 10h speaker 20's ids begin with S001. An id is unique within a part only:
hundreds occur in both parts with different texts. What does not fit is listed and left out, never dropped silently.
"""

from __future__ import annotations

import csv
import os
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from asr.errors import RecipeError
from audio_headers import EXTENSIONS
from labels import Label, read_label_file
from problems import ERROR, NOTE, WARNING, Problem

PARTS = ("1h", "10h")
LAYOUT = "after_catting/{part}/Audio"
_LABEL_FILE = re.compile(r"(.+?)[_-]label\.txt", re.IGNORECASE)  # speaker 20 of 10h has a dash


class Clip(NamedTuple):
    """A clip and its transcript. ``key`` is unique within the part."""

    key: str
    speaker: str
    audio: str
    label: Label


@dataclass
class Part:
    """What one part holds: usable pairs so far (headers are not read yet), the speakers' names, the problems."""

    name: str
    folder: Path
    speakers: list[str] = field(default_factory=list)
    clips: list[Clip] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


def absolute(path: str | os.PathLike[str]) -> Path:
    """An absolute path with symlinks left as the user wrote them, so that paths stay those the user knows."""
    tidy = os.path.abspath(path)  # collapses a/../b by the letter, which a symlinked `a` would make another folder
    if os.path.exists(path) and not (os.path.exists(tidy) and os.path.samefile(path, tidy)):
        return Path.cwd() / path
    return Path(tidy)


def find_part(corpus: str | os.PathLike[str], part: str) -> Path:
    """The folder of ``part`` (the one that holds Audio), also from one or two levels too high or too low."""
    root = absolute(corpus)
    if not root.is_dir():
        there = "is not a folder" if root.exists() else "no such folder"
        raise RecipeError(f"{root}: {there}; --corpus must name CDSD's folder (the one that holds after_catting)")
    for level in _candidates(root, part):
        found = [folder for folder in level if child(folder, "audio")]
        if len(found) > 1:
            names = " and ".join(map(str, found[:3]))
            raise RecipeError(f"{root}: several corpora below it: {names}; give one of them as --corpus")
        if found:
            return found[0]
    looked = f"looked for {LAYOUT.format(part=part)}, {part}/Audio and Audio, here and up to two levels up and down"
    raise RecipeError(f"{root}: no part {part} of CDSD; {looked}; there is: {_listing(root)}")


def corpus_root(folder: Path) -> Path:
    """The corpus's own folder, given a part's: above after_catting and 1h where they are there."""
    root = folder.parent if folder.name in PARTS else folder
    return root.parent if root.name == "after_catting" else root


def is_simulated(root: Path) -> bool:
    """Whether the corpus says of itself, in the ``kind`` column of its speakers.tsv, that its speech is simulated."""
    table = root / "speakers.tsv"
    if not table.is_file():
        return False
    with open(table, encoding="utf-8", errors="replace", newline="") as stream:
        return any(row.get("kind") == "simulated" for row in csv.DictReader(stream, delimiter="\t"))


def child(folder: Path, name: str) -> Path | None:
    """The subfolder called ``name`` in any case (some copies have text/ for Text/)."""
    found = [entry for entry in _folders(folder) if entry.name.lower() == name]
    if len(found) > 1:
        raise RecipeError(f"{folder}: both {found[0].name}/ and {found[1].name}/ are there; keep one of them")
    return found[0] if found else None


def _candidates(root: Path, part: str) -> Iterator[list[Path]]:
    others = [name for name in PARTS if name != part]
    yield [root / "after_catting" / part]
    yield [root / part]
    yield [root] if root.name not in others else [root.parent / part]
    if root.name.lower() in ("audio", "text"):
        yield [root.parent] if root.parent.name not in others else [root.parent.parent / part]
    below = _folders(root)
    yield [folder / "after_catting" / part for folder in below] + [folder / part for folder in below]
    below = [inner for folder in below for inner in _folders(folder)]
    yield [folder / "after_catting" / part for folder in below] + [folder / part for folder in below]


def _folders(folder: Path) -> list[Path]:
    try:
        with os.scandir(folder) as entries:
            return sorted(Path(entry.path) for entry in entries if entry.is_dir() and not entry.name.startswith("."))
    except OSError:
        return []


def _listing(folder: Path, most: int = 8) -> str:
    names = sorted(name for name in os.listdir(folder) if not name.startswith("."))
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return (", ".join(names[:most]) or "nothing") + more


def read_part(folder: Path, name: str) -> Part:
    """Join the clips of a part with its transcripts. Headers are not read here.

    RecipeError where there is no speaker, no label file at all, or a label file that is empty or not text.
    """
    part = Part(name, folder)
    audio, text = child(folder, "audio"), child(folder, "text")
    if audio is None or text is None:
        raise RecipeError(f"{folder}: no folder {'Text' if audio else 'Audio'}; there is: {_listing(folder)}")
    label_files = _label_files(part, text)
    folders = {speaker.name: speaker for speaker in _folders(audio) if _nameable(part, speaker)}
    if not folders:
        raise RecipeError(f"{audio}: no speaker's folder in it; expected {audio}/<speaker>/<utterance>.wav")
    if not label_files:
        raise RecipeError(f"{text}: no label file; expected <speaker>_label.txt; there is: {_listing(text)}")
    _stray_audio(part, audio)
    part.speakers = sorted({*folders, *label_files})
    pairs: list[tuple[str, str, Label]] = []
    for speaker in part.speakers:
        clips = _clips(part, folders[speaker]) if speaker in folders else {}
        pairs += _join(part, speaker, clips, label_files.get(speaker))
    part.clips = _with_keys(part, pairs)
    return part


def _nameable(part: Part, folder: Path) -> bool:
    try:
        folder.name.encode()
    except UnicodeEncodeError:
        detail = "left out: its name is not UTF-8; rename the speaker's folder and label file"
        part.problems.append(Problem(ERROR, "name not UTF-8", str(folder), None, "", detail))
        return False
    return True


def _label_files(part: Part, text: Path) -> dict[str, list[Path]]:
    files: dict[str, list[Path]] = {}
    for path in sorted(text.iterdir()):
        match = _LABEL_FILE.fullmatch(path.name)
        if path.name.startswith(".") or not path.is_file():
            continue
        if match and _nameable(part, path):
            files.setdefault(match[1], []).append(path)
        elif not match:
            detail = "not called <speaker>_label.txt, so not read"
            part.problems.append(Problem(NOTE, "other file", str(path), None, "", detail))
    return files


def _stray_audio(part: Part, audio: Path) -> None:
    detail = "in Audio itself, not in a speaker's folder, so not read"
    for path in sorted(audio.iterdir()):
        if path.suffix.lower() in EXTENSIONS and not path.name.startswith(".") and not path.is_dir():
            part.problems.append(Problem(WARNING, "audio without speaker", str(path), None, path.stem, detail))


def _clips(part: Part, folder: Path) -> dict[str, str]:
    """{id: path} of a speaker's clips. Of one id in several formats the first of EXTENSIONS is taken."""
    clips: dict[str, str] = {}
    with os.scandir(folder) as entries:
        found = [(entry.name, entry.path) for entry in entries if not entry.name.startswith(".")]
    for extension in EXTENSIONS:
        for name, path in sorted(found):
            if not name.lower().endswith(extension):
                continue
            utt = name[: -len(extension)]
            if utt in clips:
                detail = f"{os.path.basename(clips[utt])} is taken"
                part.problems.append(Problem(WARNING, "clip in two formats", path, None, utt, detail))
            else:
                clips[utt] = path
    return clips


def _join(part: Part, speaker: str, clips: dict[str, str], files: list[Path] | None) -> list[tuple[str, str, Label]]:
    """(speaker, clip, label) of each id that has both; whatever has only one is a problem."""
    if files is None:
        where = os.path.dirname(next(iter(clips.values()), str(part.folder / "Audio" / speaker / "")))
        detail = f"no {speaker}_label.txt: the speaker's {len(clips)} clips are left out"
        part.problems.append(Problem(ERROR, "no label file", where, None, "", detail))
        return []
    labels: dict[str, list[Label]] = {}
    named = set()
    for file in files:
        found, problems = read_label_file(file)
        part.problems += problems
        named.update(problem.key for problem in problems)
        for label in found:
            labels.setdefault(label.utt, []).append(label)
    for utt, path in clips.items():
        if utt not in labels and utt not in named:
            detail = f"its id is not in {files[0].name}"
            part.problems.append(Problem(WARNING, "wav without transcript", path, None, utt, detail))
    pairs = []
    for utt, same in labels.items():
        if utt not in clips:
            detail = f"no {utt}.wav (or flac, ogg, opus) in Audio/{speaker}"
            part.problems += [Problem(ERROR, "transcript without wav", at.file, at.line, utt, detail) for at in same]
        elif _unambiguous(part, same):
            pairs.append((speaker, clips[utt], same[0]))
    return pairs


def _unambiguous(part: Part, same: list[Label]) -> bool:
    """Whether the labels of one id agree. Where they do not, nobody knows which one was said, and all are left out."""
    agree = len({label.text for label in same}) == 1
    severity = WARNING if agree else ERROR
    for label in same[1:]:
        also = f"also in {os.path.basename(same[0].file)}:{same[0].line}"
        detail = f"{also}, with the same text" if agree else f"{also}, with another text: the id is left out"
        part.problems.append(Problem(severity, "duplicate id", label.file, label.line, label.utt, detail))
    return agree


def _with_keys(part: Part, pairs: list[tuple[str, str, Label]]) -> list[Clip]:
    """The id is the key; an id that two speakers have becomes ``<speaker>-<id>`` for both."""
    uses = Counter(label.utt for _, _, label in pairs)
    clips = []
    for speaker, path, label in pairs:
        key = label.utt
        if uses[key] > 1:
            key = f"{''.join(speaker.split())}-{key}"
            detail = f"{uses[label.utt]} speakers have this id: the key is {key}"
            part.problems.append(Problem(WARNING, "id of two speakers", label.file, label.line, label.utt, detail))
        clips.append(Clip(key, speaker, path, label))
    return clips
