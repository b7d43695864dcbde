"""The groups that scores are given for: speaker, text seen or unseen, length, duration, rate, and a speaker table."""

from __future__ import annotations

import bisect
import csv
import functools
import itertools
import math
import os
import statistics
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from asr.core.errors import RecipeError, at
from asr.core.names import plain_name

SEEN, UNSEEN = "seen", "unseen"
LENGTHS = {"0": 0, "1": 1, "2": 2, "3-5": 5, "6-10": 10, "11+": math.inf}  # the most characters
DURATIONS = (1.0, 2.0, 4.0, 8.0)  # seconds
RATES = (1.0, 2.0, 3.0, 4.0)  # characters per second
UNKNOWN = "unknown"  # an empty cell, NA, or a speaker that the table lacks
_NOTHING = ("", "na", "n/a", "nan", "none", "null", "-", "?")
_MOST_NUMBERS = 4  # a column with more different numbers is halved at its median


def length_group(ref_len: int) -> str:
    """Return the group of a reference of so many normalised characters."""
    return next(name for name, most in LENGTHS.items() if ref_len <= most)


@functools.cache
def names_between(bounds: tuple[float, ...]) -> tuple[str, ...]:
    """Return the names of the groups between ``bounds``: ``0-1``, ``1-2``, …, ``8+``; each holds its lower bound."""
    edges = [f"{bound:g}" for bound in (0, *bounds)]
    return (*(f"{low}-{high}" for low, high in itertools.pairwise(edges)), f"{edges[-1]}+")


def between(value: float, bounds: tuple[float, ...]) -> str:
    """Return the name of the group that ``value`` is in."""
    return names_between(bounds)[bisect.bisect_right(bounds, value)]


def rate(ref_len: int, seconds: float) -> float | None:
    """Return characters per second; None where the clip has no length."""
    return ref_len / seconds if seconds > 0 else None


@dataclass(frozen=True)
class SpeakerTable:
    """A user's table of the speakers: ``columns`` is {column: {speaker: value}}; ``others`` are not used."""

    columns: Mapping[str, Mapping[str, str]]
    others: Collection[str] = ()

    def value(self, column: str, speaker: str) -> str:
        """Return a speaker's value; ``UNKNOWN`` for an empty cell and a speaker that the table lacks."""
        return self.columns[column].get(speaker, UNKNOWN)

    def values(self, column: str, speakers: Iterable[str]) -> list[str]:
        """Return the values of ``speakers``, each once, in order: halves from low to high, ``UNKNOWN`` last."""
        values = {self.value(column, speaker) for speaker in speakers}
        return sorted(values, key=lambda value: (value == UNKNOWN, value.startswith("above "), _number(value), value))


def _number(value: str) -> float:
    """Return what a cell says as a number; infinity where it is none."""
    try:
        number = float(value)
    except ValueError:
        return math.inf
    return number if math.isfinite(number) else math.inf


def read_speaker_table(path: str | os.PathLike[str], speakers: Collection[str], wanted: Sequence[str]) -> SpeakerTable:
    """Read a table with a column ``speaker``, separated by tabs or commas.

    ``speakers`` are the test set's. Only the ``wanted`` columns are taken, for what they hold is published. A column
    of more than four different numbers (an age) is made ``up to`` and ``above`` its median over these speakers. A
    RecipeError names file and line where the table is no table.
    """
    columns, rows = rows_by_speaker(path, wanted)
    tested = {speaker: row for speaker, row in rows.items() if speaker in speakers}
    if not tested:
        raise RecipeError(f"{path}: knows none of the test set's speakers, e.g. {min(speakers, default='none')}")
    taken = {name: _halved({speaker: row[name] for speaker, row in tested.items()}) for name in wanted}
    return SpeakerTable(taken, columns - set(wanted))


def read_column(path: str | os.PathLike[str], column: str) -> dict[str, str]:
    """Return one column of such a table as it is written: {speaker: value}, an empty cell as ``UNKNOWN``."""
    return {speaker: row[column] for speaker, row in rows_by_speaker(path, [column])[1].items()}


def rows_by_speaker(path: str | os.PathLike[str], wanted: Sequence[str]) -> tuple[set[str], dict[str, dict[str, str]]]:
    """Return the names of the columns beside ``speaker``, and {speaker: {column: value}}.

    RecipeError where the file is no table of speakers, or has not all of the ``wanted`` columns.
    """
    (_, first), *rows = _cells(Path(path)) or [(1, [])]
    header = [name.strip() for name in first]
    if "speaker" not in header or len(set(header)) != len(header):
        raise RecipeError(f"{path}:1: the first line must name the columns, each once, and one must be 'speaker'")
    columns = [name for name in header if name and name != "speaker"]
    for name in wanted:
        if name not in columns:
            raise RecipeError(f"{path}:1: has no column {name} to group by; it has {', '.join(columns)}")
    by_speaker: dict[str, dict[str, str]] = {}
    for line, row in rows:
        if len(row) != len(header):
            raise RecipeError(f"{at(path, line)}: {len(row)} cells, the header has {len(header)}")
        cells = [UNKNOWN if cell.strip().lower() in _NOTHING else cell.strip() for cell in row]
        values = dict(zip(header, cells, strict=True))
        speaker = plain_name(values["speaker"])
        if speaker in by_speaker:
            raise RecipeError(f"{at(path, line)}: duplicate speaker {speaker}")
        by_speaker[speaker] = values
    return set(columns), by_speaker


def _cells(path: Path) -> list[tuple[int, list[str]]]:
    """Return the lines that are not blank, with their numbers. Where tabs part them a quote is a character."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except FileNotFoundError:
        raise RecipeError(f"{path}: no such speaker table") from None
    except UnicodeDecodeError:
        raise RecipeError(f"{path}: not UTF-8; save the table as UTF-8") from None
    if lines and "\t" in lines[0]:
        reader = csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
    else:
        reader = csv.reader(lines, strict=True)
    try:
        return [(reader.line_num, row) for row in reader if any(map(str.strip, row))]
    except csv.Error as error:
        raise RecipeError(f"{at(path, reader.line_num)}: {error}; is a quote left open?") from None


def _halved(values: Mapping[str, str]) -> dict[str, str]:
    numbers = {speaker: _number(value) for speaker, value in values.items() if value != UNKNOWN}
    if math.inf in numbers.values() or len(set(numbers.values())) <= _MOST_NUMBERS:
        return dict(values)
    middle = statistics.median(numbers.values())
    halves = {key: f"up to {middle:g}" if number <= middle else f"above {middle:g}" for key, number in numbers.items()}
    return {key: halves.get(key, UNKNOWN) for key in values}
