"""The pages' words, all of strings.yaml: one entry a phrase, in English and in Chinese."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

import yaml

STRINGS = Path(__file__).resolve().parent / "strings.yaml"


class Words(NamedTuple):
    """A text in both languages: in a template HTML of which the page shows the reader's, elsewhere the English."""

    en: str
    zh: str

    def __str__(self) -> str:
        return self.en

    def __html__(self) -> str:
        english, chinese = escape(self.en), escape(self.zh)
        return f'<span class="en" lang="en">{english}</span><span class="zh" lang="zh-Hans">{chinese}</span>'


@functools.cache
def _strings() -> dict[str, Any]:
    return yaml.load(STRINGS.read_text(encoding="utf-8"), getattr(yaml, "CSafeLoader", yaml.SafeLoader))


def words(key: str, **values: object) -> Words:
    """Return the phrase ``key`` with its ``{names}`` filled in; a value may be Words. KeyError where there is none."""
    chinese = {name: value.zh if isinstance(value, Words) else value for name, value in values.items()}
    en, zh = _strings()[key]
    return Words(en.format(**values), zh.format(**chinese))


def speaker_table_words(values: Iterable[str]) -> dict[str, Words]:
    """Return those of a speaker table's columns and values that have a Chinese name, such as mild and severity."""
    known = _strings()["speaker_table"]
    return {value: Words(value, known[value.lower()]) for value in values if value.lower() in known}


def browser_words() -> dict[str, list[str]]:
    """Return the phrases of the error browser, which its script fills in."""
    return _strings()["browser"]


def group(key: str) -> dict[str, list[str]]:
    """Return the phrases of a page that fills them in itself: {name: [English, Chinese]}."""
    return _strings()[key]


def sentences(*parts: Words) -> Words:
    """Return sentences as one text: with a blank between English ones, without one between Chinese ones."""
    return Words(" ".join(part.en for part in parts), "".join(part.zh for part in parts))
