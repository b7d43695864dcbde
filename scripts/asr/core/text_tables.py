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


def _padded(cell: str, columns: int, left: bool) -> str:
    gap = " " * (columns - width(cell))
    return cell + gap if left else gap + cell


def text_table(header: Row, rows: Sequence[Row], left: Collection[int] = (0,)) -> str:
    """Return an aligned table with a rule under its header; the columns ``left`` are flush left, the others right."""
    cells = [[str(cell) for cell in row] for row in (header, *rows)]
    widths = [max(width(row[column]) for row in cells) for column in range(len(header))]
    lines = [
        "  ".join(_padded(cell, widths[column], column in left) for column, cell in enumerate(row)).rstrip()
        for row in cells
    ]
    lines.insert(1, "-" * max(map(width, lines)))
    return "\n".join(lines)


def markdown_table(header: Row, rows: Sequence[Row], left: Collection[int] = (0,)) -> str:
    """Return the same in GitHub's Markdown; what would be markup inside a cell is escaped."""
    cells = [[markdown_text(str(cell)) for cell in row] for row in (header, *rows)]
    widths = [max(3, *(width(row[column]) for row in cells)) for column in range(len(header))]
    rule = ["-" * size if column in left else "-" * (size - 1) + ":" for column, size in enumerate(widths)]
    lines = [
        "| " + " | ".join(_padded(cell, widths[column], column in left) for column, cell in enumerate(row)) + " |"
        for row in cells
    ]
    lines.insert(1, "| " + " | ".join(rule) + " |")
    return "\n".join(lines)


def markdown_text(text: str) -> str:
    """Return ``text`` so that Markdown shows it as it is: no table border, no HTML, one line."""
    for char, escaped in (
        *(("\\", "\\\\"), ("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("|", "\\|")),
        *(("[", "\\["), ("]", "\\]"), ("`", "\\`")),
    ):
        text = text.replace(char, escaped)
    return " ".join(text.splitlines())
