"""What every kind of corpus is read into: clips with their transcripts, and what was wrong on the way."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from asr.audio.clip import Cut
from asr.core.manifest import Utterance
from asr.core.names import UNKNOWN_SPEAKER as UNKNOWN_SPEAKER
from asr.core.names import plain_name, visible
from asr.preparation.problems import ERROR, NOTE, Problems

HALF_CHARACTER = re.compile("[\ud800-\udfff]")  # in names that are not UTF-8; JSON's escapes can make them too
_CONTROL = re.compile("[\0-\x1f\x7f-\x9f\u2028\u2029]")
UNREADABLE = "unreadable folder"  # a kind of problem
READ = os.R_OK | os.X_OK
# What the sets of a corpus that comes split are called, and which split each one is.
OWN_SPLITS = dict.fromkeys(("train", "training"), "train")
OWN_SPLITS |= dict.fromkeys(("val", "dev", "valid", "validation"), "val") | {"test": "test", "eval": "test"}


class Stated(NamedTuple):
    """How long a line of a list says that an audio file is."""

    file: str
    line: int
    seconds: float


class Clip(NamedTuple):
    """A clip and its transcript as it was written; ``key`` is unique within the part.

    ``file`` and ``line`` say where the transcript stands. ``split`` is train, val or test where the corpus itself says
    so, else empty. ``stated``: how long the corpus says that the file is.
    """

    key: str
    speaker: str
    audio: str
    text: str
    file: str
    line: int
    cut: Cut | None = None
    split: str = ""
    stated: Stated | None = None


@dataclass
class Part:
    """One part of a corpus: a reader fills in ``clips``, and utterances.Reader makes ``utterances`` of them.

    ``name`` is a part of the recipe's own corpus, or empty; ``folder`` is where the part lies, ``root`` the corpus's
    own folder or file.
    ``faults`` are one-line errors with which nothing can be prepared, though the rest can still be checked.
    """

    name: str
    folder: Path
    root: Path
    speakers: list[str] = field(default_factory=list)  # with or without a usable clip
    clips: list[Clip] = field(default_factory=list)
    problems: Problems = field(default_factory=Problems)
    faults: list[str] = field(default_factory=list)
    utterances: list[Utterance] = field(default_factory=list)  # by speaker and key
    to_convert: dict[str, Cut | None] = field(default_factory=dict)  # by key: clips to be made 16-kHz mono
    floating: set[str] = field(default_factory=set)  # keys: clips that can hold samples that are no sound
    own_split: dict[str, str] = field(default_factory=dict)  # by key, where the corpus says it


@dataclass(frozen=True)
class HomeCorpus:
    """The corpus that a recipe is made for: its own layout, parts and default splits, which the recipe hands in.

    Args:
        name: what it is called in messages, and in lower case in statistics.json where the corpus is this one.
        default_splits: its parts, and the split file of each. Where parts meet, val and test are of the first.
        read_parts: reads the named parts of a folder in the corpus's own layout; RecipeError where it is none.
    """

    name: str
    default_splits: Mapping[str, Path]
    read_parts: Callable[[Path, Sequence[str]], list[Part]]

    @property
    def evaluated(self) -> str:
        """The part that val and test are made of, where several parts meet."""
        return next(iter(self.default_splits))


@dataclass
class Corpus:
    """The parts of a corpus; ``home`` is the recipe's own corpus, which this may be."""

    parts: Sequence[Part]
    home: HomeCorpus

    @property
    def root(self) -> Path:
        """The corpus's own folder or file."""
        return self.parts[0].root

    @property
    def evaluated(self) -> Part:
        """The part that val and test are made of."""
        return next((part for part in self.parts if part.name == self.home.evaluated), self.parts[0])

    @property
    def utterances(self) -> list[Utterance]:
        """The usable utterances of all parts."""
        return [item for part in self.parts for item in part.utterances]

    @property
    def own_split(self) -> dict[str, str]:
        """The set of each utterance, by key, where the corpus comes as sets for train, val and test."""
        return {key: name for part in self.parts for key, name in part.own_split.items()}


def speakers_of(utterances: Iterable[Utterance]) -> set[str]:
    """Return the speakers of ``utterances``."""
    return {item.speaker for item in utterances}


def subfolders(folder: Path, problems: Problems | None = None) -> list[Path]:
    """Return the folders in ``folder`` by name, hidden ones left out; none where it is not there.

    With ``problems``, one that may not be read, or is a link that leads nowhere, is left out and put there.
    """
    entries = os.scandir(folder) if os.path.isdir(folder) and os.access(folder, READ) else ()
    paths = sorted(Path(entry) for entry in entries if entry.name[0] != "." and (entry.is_symlink() or entry.is_dir()))
    if problems is None:
        return [path for path in paths if os.path.isdir(path)]
    unreadable = {path: "it may not be read" for path in paths if os.path.isdir(path) and not os.access(path, READ)}
    unreadable |= {path: "its link leads nowhere" for path in paths if path.is_symlink() and not path.exists()}
    for path, reason in unreadable.items():
        problems.add(ERROR, UNREADABLE, path, f"left out: {reason}")
    return [path for path in paths if os.path.isdir(path) and path not in unreadable]


def tidy_name(problems: Problems, name: str, file: object, line: int | None = None) -> str:
    """Return ``name`` (an id, a speaker) in its plain form, with a note where it was another."""
    plain = plain_name(name)
    if plain != name:
        detail = f"{visible(name)} is taken for {plain}: without format characters, and in Unicode's NFC"
        problems.add(NOTE, "invisible character in a name", file, detail, line, plain)
    return plain


def unsafe_name(name: str) -> str:
    """Return why ``name`` may not be an utterance id or a speaker, or an empty string.

    Ids become file names and the first word of a line: an id that could lead out of a folder or out of its line is
    refused, wherever it comes from.
    """
    if not name.strip():
        return "it is empty"
    if "/" in name or "\\" in name:
        return "it holds a slash"
    if ".." in name:
        return "it holds '..'"
    return control_character(name)


def control_character(text: str) -> str:
    """Return what may not be in a line of a list: a control character, or half a character; "" where there is none."""
    if match := _CONTROL.search(text):
        return f"it holds the control character U+{ord(match[0]):04X}"
    return "it is not UTF-8" if HALF_CHARACTER.search(text) else ""


def unsafe_id(key: str) -> str:
    """Return why ``key`` may not be an utterance id: what ``unsafe_name`` refuses, and blanks."""
    return unsafe_name(key) or ("" if key.split() == [key] else "it holds a blank")
