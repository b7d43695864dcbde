"""digests.json of a run: the sha256 that every checkpoint was written with. Whoever reads the file compares it."""

from __future__ import annotations

import json
from pathlib import Path

from asr.core.files import write_json

DIGESTS = "digests.json"


def note(exp: Path, name: str, sha256: str) -> None:
    """Remember the digest of exp/name, which has just been written; forget those of files that are gone."""
    kept = {key: value for key, value in read(exp).items() if (exp / key).is_file()}
    write_json(exp / DIGESTS, {**kept, name: sha256})


def read(exp: Path) -> dict[str, str]:
    """What is known, by file name. Nothing where there is no such file or it is none."""
    try:
        found = json.loads((exp / DIGESTS).read_text(encoding="utf-8"))
        return {key: value for key, value in found.items() if isinstance(value, str)}
    except (OSError, ValueError, AttributeError):
        return {}
