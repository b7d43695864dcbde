"""What preparation found wrong: one row of problems.tsv each, counted by kind on screen."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from asr.files import atomic_open

ERROR = "error"  # the item is left out
WARNING = "warning"  # the item is kept, or there was nothing to keep: look at it
NOTE = "note"  # nothing to do: it is said so that nobody is surprised later
SEVERITIES = (ERROR, WARNING, NOTE)
COLUMNS = ("severity", "kind", "file", "line", "key", "detail")


class Problem(NamedTuple):
    """One finding. ``line`` is 1-based within ``file``; None where the finding is about a whole file."""

    severity: str
    kind: str
    file: str
    line: int | None
    key: str
    detail: str


def tsv_field(value: object) -> str:
    """A value as one TSV field: tabs, line breaks and bytes that are not UTF-8 become visible escapes."""
    text = "" if value is None else str(value)
    text = text.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n").replace("\r", "\\r")
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def write_problems(path: str | os.PathLike[str], problems: Iterable[Problem]) -> None:
    """Write problems.tsv (a header line, then errors, warnings, notes), as a whole or not at all."""
    with atomic_open(path) as stream:
        stream.write("\t".join(COLUMNS) + "\n")
        for problem in sorted(problems, key=lambda item: SEVERITIES.index(item.severity)):
            stream.write("\t".join(map(tsv_field, problem)) + "\n")


def count_kinds(problems: Iterable[Problem]) -> dict[tuple[str, str], int]:
    """{(severity, kind): count}, the most severe and then the most frequent first."""
    counts = Counter((problem.severity, problem.kind) for problem in problems)
    return dict(sorted(counts.items(), key=lambda item: (SEVERITIES.index(item[0][0]), -item[1], item[0][1])))
