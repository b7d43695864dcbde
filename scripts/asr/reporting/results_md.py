"""RESULTS.md, made from score.json and provenance.json by asr/pages/templates/results.md.j2; nothing in it is typed.

What a run did not record is said to be "not recorded". No path of a machine gets into the page.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from asr.pages.html import fill
from asr.pages.words import words
from asr.reporting import view


def results(title: str, score: Mapping[str, Any], provenance: Mapping[str, Any]) -> str:
    """Return the page, as Markdown. ``provenance`` may lack any field."""
    content = view.content(score, provenance)
    return fill(
        "results.md.j2",
        title=title,
        normaliser=score["normalizer"],
        bold=lambda rows: [[row[0], f"**{row[1]}**", *row[2:]] for row in rows],
        recorded=[(words(key), value or content["unknown"]) for key, value in content["facts"].items()],
        **content,
    )
