"""sha256 of files and of texts, in hexadecimal."""

from __future__ import annotations

import hashlib
import os


def sha256_file(path: str | os.PathLike[str]) -> str:
    """Return the sha256 of a file's bytes."""
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def sha256_text(text: str, errors: str = "strict") -> str:
    """Return the sha256 of a text in UTF-8; ``errors`` as in str.encode."""
    return hashlib.sha256(text.encode("utf-8", errors)).hexdigest()
