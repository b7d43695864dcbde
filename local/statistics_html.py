"""Pieces of HTML that data_statistics.html is put together from."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

_SPLIT_ZH = {"train": "训练集", "val": "验证集", "test": "测试集"}


def both(english: str, chinese: str) -> str:
    """HTML of which the page shows the reader's language. Both are HTML already."""
    return f'<span class="en" lang="en">{english}</span><span class="zh" lang="zh-Hans">{chinese}</span>'


def table(caption: str, header: Sequence[str], rows: Iterable[Sequence[str]], *, words: Sequence[int] = ()) -> str:
    """A table in a box that scrolls by itself; every cell is HTML already. ``words``: columns that are no numbers."""
    marks = ["" if column in words or not words else ' class="number"' for column in range(len(header))]
    head = "".join(f'<th scope="col"{mark}>{cell}</th>' for cell, mark in zip(header, marks, strict=True))
    lines = []
    for first, *rest in rows:
        cells = "".join(f"<td{mark}>{cell}</td>" for cell, mark in zip(rest, marks[1:], strict=True))
        lines.append(f'<tr><th scope="row">{first}</th>{cells}</tr>')
    kind = ' class="words"' if words else ""
    named = f"<caption>{caption}</caption>" if caption else ""
    body = "\n".join(lines)
    inside = f"{named}\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>"
    return f'<div class="box"><table{kind}>{inside}</table></div>'


def heading(english: str, chinese: str) -> str:
    return f"<h2>{both(english, chinese)}</h2>"


def split_name(name: str) -> str:
    """``train`` as the files are called; in Chinese with the word for it."""
    return both(name, f"{_SPLIT_ZH[name]} {name}") if name in _SPLIT_ZH else escape(name)
