"""Write the recipe's pages (report.html, data_statistics.html, RESULTS.md) from templates/ and plain data.

An HTML page is one file that opens from disk, asks the network for nothing, and speaks English and Chinese by a switch.
Its templates escape every value; Words become HTML in both languages.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlencode

from asr.core.text_tables import markdown_table, markdown_text
from asr.pages.words import Words, sentences, words

if TYPE_CHECKING:
    import jinja2

_HERE = Path(__file__).resolve().parent
Cell = object  # str, Words, or whatever else has __str__ and perhaps __html__


class Table(NamedTuple):
    """A table: what its columns are called, and rows whose first cell names the row."""

    columns: Sequence[Cell]
    rows: Sequence[Sequence[Cell]]


class Card(NamedTuple):
    """A number to see first; ``below`` is a remark, ``kind`` a CSS class, ``link`` where a click on it goes."""

    name: Words
    value: Cell
    below: Cell = ""
    kind: str = ""
    link: str = ""


class Link(NamedTuple):
    """A text that is a link on a page, and a text elsewhere."""

    text: Cell
    address: str

    def __str__(self) -> str:
        return str(self.text)

    def __html__(self) -> str:
        from markupsafe import Markup, escape

        return Markup('<a href="{}">{}</a>').format(self.address, escape(self.text))


def filtered(**filters: str) -> str:
    """Return the address of report.html's error browser with ``filters`` set (report_browser.js)."""
    return f"#{urlencode(filters, errors='replace')}"


def part(name: str) -> str:
    """Return a style sheet or a script that lies beside this module."""
    return (_HERE / name).read_text(encoding="utf-8")


@functools.cache
def _templates() -> jinja2.Environment:
    import jinja2  # here, because stage 1 imports this module and mostly writes no page in its own process

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE / "templates"),
        autoescape=jinja2.select_autoescape(["html.j2"]),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.globals.update(words=words, sentences=sentences, table=markdown_table, text=markdown_text)
    return environment


def fill(template: str, **values: Any) -> str:
    """Return ``template`` filled with ``values``."""
    return _templates().get_template(template).render(values)


def render(
    template: str,
    title: Words,
    styles: Sequence[str],
    scripts: Sequence[str] = (),
    policy: str = "",
    script_source: str = "",
    **values: Any,
) -> str:
    """Return a whole page: ``template``, which extends page.html.j2, filled with ``values``.

    Nothing may be loaded from anywhere, and no script may run but the page's own, known by its digest: the browser
    keeps to it even if a name gets past the escaping. ``policy`` is what a page may do besides; ``script_source`` is
    where scripts may come from besides: ``blob:`` for microphone.js, whose worklet is one that the page makes itself.
    """
    style = "".join(map(part, ("page.css", *styles)))
    script = "".join(map(part, ("page.js", *scripts)))
    digest = base64.b64encode(hashlib.sha256(f"\n{script}".encode()).digest()).decode()
    rules = ["default-src 'none'", "style-src 'unsafe-inline'", f"script-src 'sha256-{digest}' {script_source}".strip()]
    rules.append("img-src data:")
    rules += [policy] if policy else []
    ours = {"style": trusted(style), "script": trusted(script), "policy": trusted("; ".join(rules))}
    return fill(template, title=title, **ours, **values)


def trusted(html: str) -> str:
    """Mark HTML that this package has made itself, such as a drawn figure: a template does not escape it."""
    from markupsafe import Markup

    return Markup(html)


def as_script(value: Any) -> str:
    """Return ``value`` as JSON that may stand inside a ``<script>`` element: nothing in it ends one."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return trusted(text.replace("<", "\\u003c").encode("utf-8", "replace").decode("utf-8"))
