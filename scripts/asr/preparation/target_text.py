"""From transcripts to training targets, and a table of every change that was made on the way.

Targets keep what was said (erhua, fillers, repetitions, digits as they stand); marks, blanks and ways of writing go.
The normaliser is the scorer's, so that a model is trained towards what it is scored on.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections import Counter
from typing import NamedTuple

from asr.core.files import atomic_open
from asr.preparation.corpus import Clip
from asr.preparation.problems import NOTE, WARNING, Problems, tsv_field
from asr.scoring.characters import TAG, spelt_out
from asr.scoring.normalize import is_han, normalize, normalize_target

COLUMNS = ("from", "code points", "name", "to", "occurrences", "utterances", "first")
_FULL_WIDTH = frozenset("０１２３４５６７８９") | {
    chr(code) for start in (0xFF21, 0xFF41) for code in range(start, start + 26)
}

_DIGIT = re.compile(r"\d")  # of any script
_PIECE = re.compile(f"{TAG.pattern}|[\\s\\S]")
# What stands in a transcript and was hardly said; looked for in its NFKC form.
SUSPECT = (
    (
        "annotation tag in transcript",
        re.compile(r"<[^<>]+>|\[[^\[\]]+\]|\{[^{}]+\}|\([^()]+\)|【[^【】]+】|〔[^〔〕]+〕"),
        "take it out if nobody said it",
    ),
    ("HTML entity in transcript", re.compile(r"&#?\w+;"), "write the character that it stands for"),
    ("damaged character in transcript", re.compile("\ufffd"), "a character was lost when the file was converted"),
    (
        "missing value as transcript",
        re.compile(r"\A\s*(?:nan|null|none|undefined|#?n/a|<na>)\s*\Z", re.IGNORECASE),
        "a table's empty cell?",
    ),
)


class Change(NamedTuple):
    """``old`` became ``new`` (empty: it was removed). ``old`` is one character, or a sequence that changed as one."""

    old: str
    new: str


_PUT_IN = Change("", " ")


def changes(text: str, target: str) -> list[Change]:
    """Return what was done to ``text``, character by character, to make ``target`` of it, in order."""
    spoken = spelt_out(text)
    pieces = [(match[0], normalize(spoken[slice(*match.span())])) for match in _PIECE.finditer(text)]
    if "".join(piece for _, piece in pieces) != target.replace(" ", ""):
        return [Change(text, target)]  # characters that were put together, such as a letter and its accent
    made, at = [], 0
    for char, piece in pieces:
        if target[at : at + 1] == " ":
            if not piece and char.isspace():
                piece = " "
            elif piece:
                made.append(_PUT_IN)
                at += 1
        if piece != char:
            made.append(Change(char, piece))
        at += len(piece)
    return made


class TargetText:
    """Make targets and remember every change, for text_changes.tsv and problems.tsv."""

    def __init__(self) -> None:
        self.occurrences: Counter[Change] = Counter()
        self.utterances: Counter[Change] = Counter()
        self.first: dict[Change, str] = {}  # label file and line

    def target(self, clip: Clip, key: str, problems: Problems) -> str:
        """Return the training target of ``clip``, "" where no word is left; ``problems`` gets what to know."""

        def add(severity: str, kind: str, detail: str) -> None:
            problems.add(severity, kind, clip.file, detail, clip.line, key)

        if is_han(clip.text):  # nearly all are, and there is nothing to say of them
            return clip.text
        target = normalize_target(clip.text)
        written = unicodedata.normalize("NFKC", clip.text)
        for kind, pattern, advice in SUSPECT:
            if suspects := dict.fromkeys(pattern.findall(written)):
                made = ", ".join(describe(Change(piece, normalize(piece))) for piece in suspects)
                add(WARNING, kind, f"{made}: {advice}")
        if target and target != clip.text:
            made = changes(clip.text, target)
            self.occurrences.update(made)
            self.utterances.update(set(made))
            for change in made:
                self.first.setdefault(change, f"{os.path.basename(clip.file)}:{clip.line}")
            if _PUT_IN in made:
                add(NOTE, "Latin word without blanks", "a blank was put beside it in the target")
            if shown := [change for change in dict.fromkeys(made) if change != _PUT_IN]:
                wide = any(change.old in _FULL_WIDTH for change in shown)
                kind = "full-width letter or digit" if wide else "transcript normalised"
                add(NOTE, kind, ", ".join(map(describe, shown)))
        if _DIGIT.search(target):
            detail = f"{clip.text}: kept as they stand, though nobody can tell how they were read"
            add(WARNING, "digits in transcript", detail)
        return target

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write the table, the most frequent change first; only its header where nothing was changed."""
        with atomic_open(path) as stream:
            stream.write("\t".join(COLUMNS) + "\n")
            for change, count in sorted(self.occurrences.items(), key=lambda item: (-item[1], item[0])):
                old, points = change.old, _code_points(change.old[:8]) + "…" * (len(change.old) > 8)
                name = "sequence" if old else "no character"
                if len(old) == 1:
                    name = unicodedata.name(old, "control character")
                cells = (old, points, name, _shown(change.new), count, self.utterances[change], self.first[change])
                stream.write("\t".join(map(tsv_field, cells)) + "\n")


def describe(change: Change) -> str:
    """Return one change in words: ``， -> removed``, ``Ａ -> a``; what cannot be seen is named by its code point."""
    hidden = any(unicodedata.category(char)[0] in "CZ" for char in change.old)
    return f"{_code_points(change.old) if hidden else change.old} -> {_shown(change.new)}"


def _code_points(text: str) -> str:
    return " ".join(f"U+{ord(char):04X}" for char in text)


def _shown(new: str) -> str:
    return {"": "removed", " ": "a blank"}.get(new, new)
