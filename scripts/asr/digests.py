"""digests.json of a run: the sha256 of every checkpoint, known since it was written, so that it is not read for it.

A file counts as the one that was written while its size and its time of change (nanoseconds) are what they were. One of
another time, such as a copied run's, is hashed by whoever reads it, and must have the sha256 it was written with.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from asr.files import write_json

DIGESTS = "digests.json"
UNKNOWN = (-1, -1)  # size and time of a file whose digest alone is known


@dataclass(frozen=True)
class Written:
    """A file as it was written."""

    sha256: str
    size: int
    mtime_ns: int

    def is_still(self, path: Path) -> bool:
        """Whether ``path`` has not been touched since."""
        found = path.stat()
        return (found.st_size, found.st_mtime_ns) == (self.size, self.mtime_ns)


def note(exp: Path, name: str, sha256: str) -> None:
    """Remember the digest of exp/name, which has just been written; forget those of files that are gone."""
    found = (exp / name).stat()
    kept = {key: item for key, item in read(exp).items() if (exp / key).is_file()}
    kept[name] = Written(sha256, found.st_size, found.st_mtime_ns)
    write_json(exp / DIGESTS, {key: asdict(item) for key, item in kept.items()})


def read(exp: Path) -> dict[str, Written]:
    """What is known, by file name. Nothing where there is no such file or it is none: then files are hashed."""
    try:
        return {
            str(key): Written(**item) for key, item in json.loads((exp / DIGESTS).read_text(encoding="utf-8")).items()
        }
    except (OSError, ValueError, TypeError, AttributeError):
        return {}
