"""Pieces of HTML that the recipe's pages (report.html, data_statistics.html) are put together from.

A page is one file that opens from disk, asks the network for nothing, and speaks English and Chinese by a switch.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

Words = tuple[str, str]  # in English and in Chinese

_HERE = Path(__file__).resolve().parent
SWITCH = '<button type="button" id="language" hidden>中文</button>'


def both(english: str, chinese: str) -> str:
    """HTML of which the page shows the reader's language. Both are HTML already."""
    return f'<span class="en" lang="en">{english}</span><span class="zh" lang="zh-Hans">{chinese}</span>'


def heading(english: str, chinese: str) -> str:
    return f"<h2>{both(english, chinese)}</h2>"


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
    return f'<div class="box" tabindex="0"><table{kind}>{inside}</table></div>'


def entry(kind: str, words: str) -> str:
    """An entry of a picture's legend."""
    return f'<li class="{kind}"><i></i>{words}</li>'


def figure(name: str, picture: str, legend: Sequence[str], caption: Words, axis: Words | None = None) -> str:
    """A picture with its legend above and its caption, which says what it shows, below."""
    above = f'<ul class="legend">{"".join(legend)}</ul>\n' if legend else ""
    above += f'<p class="axis">{both(*axis)}</p>\n' if axis else ""
    return (
        f'<figure>\n{above}<div class="box" tabindex="0" role="group" aria-labelledby="{name}">\n{picture}\n</div>\n'
        f'<figcaption id="{name}">{both(*caption)}</figcaption>\n</figure>'
    )


def part(name: str) -> str:
    """A style sheet or a script that lies beside this module."""
    return (_HERE / name).read_text(encoding="utf-8")


def document(title: Words, body: Sequence[str], *, style: str = "", script: str = "", policy: str = "") -> str:
    """A whole page; ``body`` begins with a header that holds ``SWITCH`` and ends inside ``<main>``.

    Nothing may be loaded from anywhere, and no script may run but the page's own, known by its digest: the browser
    keeps to it even if a name gets past the escaping. ``policy`` is what a page may do besides.
    """
    script = f"{part('page.js')}{script}"
    digest = base64.b64encode(hashlib.sha256(f"\n{script}".encode()).digest()).decode()
    rules = ["default-src 'none'", "style-src 'unsafe-inline'", f"script-src 'sha256-{digest}'", "img-src data:"]
    rules += [policy] if policy else []
    english, chinese = (escape(words) for words in title)
    return "\n".join(
        [
            '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{"; ".join(rules)}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<meta name="color-scheme" content="light dark">\n<link rel="icon" href="data:,">',
            f"<title>{english}</title>\n<style>\n{part('page.css')}{style}</style>\n</head>",
            f'<body data-en="{english}" data-zh="{chinese}">',
            *body,
            f"</main>\n<script>\n{script}</script>\n</body>\n</html>\n",
        ]
    )
