"""What preparation found wrong: one row of problems.tsv each, counted by kind on screen."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from asr.core.files import atomic_open
from asr.core.names import visible

ERROR = "error"  # the item is left out
WARNING = "warning"  # the item is kept, or there was nothing to keep: look at it
NOTE = "note"  # nothing to do: it is said so that nobody is surprised later
SEVERITIES = (ERROR, WARNING, NOTE)
COLUMNS = ("severity", "kind", "count", "file", "line", "key", "detail")  # count: how many of this kind there are
_CONTROLS = (*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029)
_VISIBLE = {code: f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}" for code in _CONTROLS}
_VISIBLE |= {ord("\\"): "\\\\", ord("\t"): "\\t", ord("\n"): "\\n", ord("\r"): "\\r"}


class Problem(NamedTuple):
    """One finding. ``line`` is 1-based within ``file``; None where the finding is about a whole file."""

    severity: str
    kind: str
    file: str
    line: int | None
    key: str
    detail: str


class Problems(list[Problem]):
    """Findings in the order in which they were made."""

    def add(self, severity: str, kind: str, file: object, detail: str, line: int | None = None, key: str = "") -> None:
        self.append(Problem(severity, kind, str(file), line, key, detail))


def tsv_field(value: object) -> str:
    """Return a value as one TSV field: control and format characters and bytes that are not UTF-8 become visible.

    So a name can neither break a line nor speak to the terminal that shows it.
    """
    text = "" if value is None else str(value)
    return visible(text).translate(_VISIBLE).encode("utf-8", "backslashreplace").decode("utf-8")


def write_problems(path: str | os.PathLike[str], problems: Iterable[Problem]) -> None:
    """Write problems.tsv (a header line, then errors, warnings, notes), as a whole or not at all."""
    problems = sorted(problems, key=lambda item: SEVERITIES.index(item.severity))
    counts = count_kinds(problems)
    with atomic_open(path) as stream:
        stream.write("\t".join(COLUMNS) + "\n")
        for severity, kind, *more in problems:
            cells = (severity, kind, counts[severity, kind], *more)
            stream.write("\t".join(map(tsv_field, cells)) + "\n")


def count_kinds(problems: Iterable[Problem]) -> dict[tuple[str, str], int]:
    """Return {(severity, kind): count}, the most severe and then the most frequent first."""
    counts = Counter((problem.severity, problem.kind) for problem in problems)
    return dict(sorted(counts.items(), key=lambda item: (SEVERITIES.index(item[0][0]), -item[1], item[0][1])))
