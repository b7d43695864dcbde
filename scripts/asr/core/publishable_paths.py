"""Paths that may be published: those within the repository, never where the user keeps something.

A path may hold blanks, commas, quotes, and the name of a patient. So nothing is looked for in a quoted line: a command
is taken word by word, before it is quoted, and a path outside the repository is replaced as a whole, its last part too.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from asr.core.names import is_code

REPOSITORY = Path(__file__).resolve().parents[3]

_OPTION = re.compile(r"(--|\+\+)([\w.-]*?)([\w-]+)=", re.ASCII)
_SETTING = re.compile(r"([A-Za-z_]\w*)=", re.ASCII)  # CDSD_ROOT=… before a command
_NAME = re.compile(r"--[\w-]+", re.ASCII)
_BUDGET, _FLAGS = r"(?:@[0-9.]+(?:s|min))?", r"(?:\+(?:text-disjoint|shared-speakers))*"
_RULE = re.compile(rf"(loso|speaker-dependent):(.*?)({_BUDGET}{_FLAGS})", re.DOTALL | re.ASCII)
_OUTSIDE = re.compile(r"/|~|\.\.(?:/|$)")
_BEGINNING = re.compile(r"(?<![\w/.~*…])(?<!https:)(?<!http:)(?:~[\w.-]*)?/|\.\./")  # of a path within a text
_KIND = re.compile(rf"(?:\.(?:csv|json|jsonl|pt|tsv|txt|yaml|yml))?{_FLAGS}$", re.ASCII)
_PLACE = "/path/to/"


def public(value: Any, root: Path = REPOSITORY, name: str = "file") -> Any:
    """Return ``value`` with paths relative to the repository ``root``; those that lie elsewhere become a placeholder.

    Goes through lists and mappings; what a mapping calls ``command`` is a list of words. ``name`` is what a path is
    called: ``/path/to/base``. Of a text with such a path in it, what stands behind its beginning is left out too, for
    nobody can tell where it ends.
    """
    if isinstance(value, dict):
        return {
            key: public_command(part, root) if key == "command" else public(part, root, name if key == "id" else key)
            for key, part in value.items()
        }
    if isinstance(value, (list, tuple)):
        return [public(part, root, name) for part in value]
    return _text(os.fspath(value), root, name) if isinstance(value, (str, os.PathLike)) else value


def public_command(words: Sequence[str], root: Path = REPOSITORY) -> list[str]:
    """Return the words of a command as they may be shown; the speakers that ``--split`` names are left out too."""
    shown, option = [], "file"
    for word in words:
        rule = _RULE.fullmatch(word) if option == "split" else None
        shown.append(_rule(*rule.groups()) if rule else _text(word, root, option))
        option = word[2:] if _NAME.fullmatch(word) else "file"
    return shown


def _rule(rule: str, speakers: str, behind: str) -> str:
    named = (name if is_code(name) else "SPEAKER" for name in speakers.split(","))
    return f"{rule}:{','.join(named)}{behind}"


def _text(text: str, root: Path, name: str) -> str:
    if option := _OPTION.match(text):
        return option[0] + _text(text[option.end() :], root, option[3])
    if (setting := _SETTING.match(text)) and _OUTSIDE.match(text, setting.end()):
        return setting[0] + _text(text[setting.end() :], root, setting[1])
    expanded = os.path.expanduser(text)
    full = os.path.normpath(os.path.join(root, expanded))
    inside = not expanded.startswith("~") and (full == str(root) or full.startswith(f"{root}{os.sep}"))
    if _OUTSIDE.match(text) and inside:
        return os.path.relpath(full, root)
    if _OUTSIDE.match(text) or not inside:
        kind = _KIND.search(text)
        return f"{_PLACE}{name}{kind[0] if kind else ''}"
    beginning = _BEGINNING.search(text)
    return f"{text[: beginning.start()]}{_PLACE}…" if beginning else text
