"""Plain-text and Markdown tables whose columns line up, Han characters taken as two columns wide."""

from __future__ import annotations

import unicodedata
from collections.abc import Collection, Sequence

Row = Sequence[object]


def width(text: str) -> int:
    """Return the columns that ``text`` takes on a terminal."""
    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text
    )


def _lines(cells: Sequence[Sequence[str]], widths: Sequence[int], left: Collection[int], gap: str) -> list[str]:
    """Return the rows with their cells filled up to the columns' widths."""
    lines = []
    for row in cells:
        blanks = [" " * (size - width(cell)) for cell, size in zip(row, widths, strict=True)]
        padded = [row[n] + blank if n in left else blank + row[n] for n, blank in enumerate(blanks)]
        lines.append(gap.join(padded))
    return lines


def text_table(header: Row, rows: Sequence[Row], left: Collection[int] = (0,)) -> str:
    """Return an aligned table with a rule under its header; the columns ``left`` are flush left, the others right."""
    cells = [[str(cell) for cell in row] for row in (header, *rows)]
    widths = [max(map(width, column)) for column in zip(*cells, strict=True)]
    lines = [line.rstrip() for line in _lines(cells, widths, left, "  ")]
    return "\n".join([lines[0], "-" * max(map(width, lines)), *lines[1:]])


def markdown_table(header: Row, rows: Sequence[Row], left: Collection[int] = (0,)) -> str:
    """Return the same in GitHub's Markdown; what would be markup inside a cell is escaped."""
    cells = [[markdown_text(str(cell)) for cell in row] for row in (header, *rows)]
    widths = [max(3, *map(width, column)) for column in zip(*cells, strict=True)]
    cells.insert(1, ["-" * size if n in left else "-" * (size - 1) + ":" for n, size in enumerate(widths)])
    return "\n".join(f"| {line} |" for line in _lines(cells, widths, left, " | "))


_MARKUP = str.maketrans({**{char: f"\\{char}" for char in "\\|[]`"}, "&": "&amp;", "<": "&lt;", ">": "&gt;"})


def markdown_text(text: str) -> str:
    """Return ``text`` so that Markdown shows it as it is: no table border, no HTML, one line."""
    return " ".join(text.translate(_MARKUP).splitlines())
