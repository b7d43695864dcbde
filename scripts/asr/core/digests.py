"""sha256 of files and of texts, in hexadecimal."""

from __future__ import annotations

import hashlib
import os


def sha256_file(path: str | os.PathLike[str]) -> str:
    """Return the sha256 of a file's bytes."""
    digest, buffer = hashlib.sha256(), memoryview(bytearray(1 << 18))
    with open(path, "rb", buffering=0) as stream:
        while size := stream.readinto(buffer):
            digest.update(buffer[:size])
    return digest.hexdigest()


def sha256_text(text: str, errors: str = "strict") -> str:
    """Return the sha256 of a text in UTF-8; ``errors`` as in str.encode."""
    return hashlib.sha256(text.encode("utf-8", errors)).hexdigest()
