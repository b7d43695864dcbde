"""``--keep DIR``: each recording as it was sent, and its text beside it, for the owner of the files alone.

    DIR/20260131-142501-1a2b3c4d.wav    the upload, byte for byte
    DIR/20260131-142501-1a2b3c4d.json   what was answered (verbose_json), and how long the upload is

Written beside and renamed, the .json last: where it is, the recording is whole.
"""

from __future__ import annotations

import datetime
import json
import os
import secrets
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def prepare(folder: Path) -> None:
    """Make the folder if it is not there, and find out now whether it can be written."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    _write(folder / ".writable", b"")
    (folder / ".writable").unlink()


def keep(folder: Path, recording: Path, answer: Mapping[str, Any]) -> Path:
    """Copy ``recording`` into ``folder`` and write its text; return the text's file."""
    name = f"{datetime.datetime.now():%Y%m%d-%H%M%S}-{secrets.token_hex(4)}"
    audio, text = folder / f"{name}{recording.suffix}", folder / f"{name}.json"
    _write(audio, recording)
    about = {"file": audio.name, "bytes": recording.stat().st_size, **answer}
    _write(text, (json.dumps(about, ensure_ascii=False, indent=2) + "\n").encode())
    return text


def _write(path: Path, content: Path | bytes) -> None:
    partial = path.with_name(f".{path.name}.tmp")
    try:
        with open(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as stream:
            if isinstance(content, bytes):
                stream.write(content)
            else:
                with open(content, "rb") as source:
                    shutil.copyfileobj(source, stream)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
