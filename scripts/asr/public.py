"""What may be published of a run: names of files and models, never a path of one machine."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]

_OUTSIDE = ("/", "~", "../")
_INNER_PATH = re.compile(r"(?<![\w/:.~*…])(?:~\w*|\.\.)?/[^\s'\",;:]+")


def public(value: Any, root: Path = REPOSITORY) -> Any:
    """``value`` with every path made relative to the repository, or cut to its name where it lies elsewhere.

    Works through lists and mappings; ``--out=/a/b/exp``, ``++a.b=~/c`` and paths within a sentence are cut too.
    """
    if isinstance(value, dict):
        return {key: public(item, root) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [public(item, root) for item in value]
    if not isinstance(value, (str, os.PathLike)):
        return value
    text = os.fspath(value)
    head, sign, tail = text.partition("=")
    if sign and tail.startswith(_OUTSIDE) and not head.startswith(_OUTSIDE):
        return f"{head}={_shortened(tail, root)}"
    if text.startswith(_OUTSIDE) or text == "..":
        return _shortened(text, root)
    return _INNER_PATH.sub(lambda match: _shortened(match[0], root), text)


def _shortened(text: str, root: Path) -> str:
    full = os.path.normpath(os.path.join(root, os.path.expanduser(text)))
    if os.path.commonpath([full, root]) == str(root):
        return os.path.relpath(full, root)
    return os.path.basename(full) or "/"
