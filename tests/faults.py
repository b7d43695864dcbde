"""Faults to plant in a small corpus laid out as CDSD is: each one says what stage 1 must answer.

A fault is a function of a place in the corpus that damages the clips or labels of one speaker and returns the row that
problems.tsv must then hold: (severity, kind, the end of the file's name, line, key, a piece of the detail). Those of
clips are in tests/faults_clips.py, those of labels and of what belongs to what in tests/faults_labels.py.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests import cdsd_tree

Row = tuple[str, str, str, str, str, str]


@dataclass(frozen=True)
class Place:
    """Where a fault is planted: a part of a corpus, one of its speakers, and another one."""

    part: Path
    speaker: str = "04"
    other: str = "05"

    def utt(self, number: int = 2) -> str:
        return cdsd_tree.utt_id(self.speaker, number)

    def clip(self, number: int = 2) -> Path:
        return self.part / "Audio" / self.speaker / f"{self.utt(number)}.wav"

    @property
    def labels(self) -> Path:
        return self.part / "Text" / f"{self.speaker}_label.txt"

    def edit_line(self, number: int, change: Callable[[str], str], encoding: str = "utf-8") -> None:
        """Change line ``number`` of the speaker's label file."""
        lines = self.labels.read_text(encoding="utf-8").split("\n")
        lines[number - 1] = change(lines[number - 1])
        self.labels.write_bytes("\n".join(lines).encode(encoding))

    def add_line(self, line: str, speaker: str = "") -> int:
        """Append a line to a label file; its number is returned."""
        path = self.part / "Text" / f"{speaker or self.speaker}_label.txt"
        raw = path.read_bytes()
        path.write_bytes(raw + line.encode() + b"\n")
        return raw.count(b"\n") + 1
