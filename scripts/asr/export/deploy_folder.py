"""exp/<tag>/deploy: where its files lie, and whether a folder is one and whole."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from asr.core.digests import sha256_file
from asr.core.errors import RecipeError
from asr.core.files import read_json

COMMAND = "export"  # as asr.core.made_by marks the folder
PARITY, CARD = "parity.json", "README.md"
SCHEMA_VERSION = 1
AGAIN = "export the model again: python -m asr.export --exp exp/<tag>"


def file_records(folder: Path) -> dict[str, dict[str, Any]]:
    """Return {path below ``folder``: its sha256 and bytes} of all but hidden files, parity.json and the card."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))
    names = {path.relative_to(folder).as_posix(): path for path in paths}
    return {
        name: {"sha256": sha256_file(path), "bytes": path.stat().st_size}
        for name, path in names.items()
        if name not in (PARITY, CARD)
    }


def read_parity(deploy: Path) -> dict[str, Any]:
    """Return deploy/parity.json. RecipeError where there is none, or one of another version."""
    if not (deploy / PARITY).is_file():
        raise RecipeError(
            f"{deploy}: no {PARITY} in it, so it is not what asr.export makes (a runtime's folder alone keeps its name,"
            f" such as sherpa-onnx); {AGAIN}"
        )
    record = read_json(deploy / PARITY, AGAIN)
    if record.get("schema_version") != SCHEMA_VERSION or not all(
        isinstance(record.get(key), dict) for key in ("runtimes", "files")
    ):
        raise RecipeError(f"{deploy / PARITY}: not of this version of the recipe; {AGAIN}")
    return record


def refuse_additions(deploy: Path) -> None:
    """RecipeError for a file that no export has put there: a new export would take its place."""
    try:
        ours = read_parity(deploy)["files"]
    except RecipeError:  # none yet, or a damaged one, which a new export mends
        return
    theirs = [name for name in file_records(deploy) if name not in ours]
    if theirs:
        raise RecipeError(f"{deploy / theirs[0]}: is not of the export, which would remove it: move it away")


def check_files(deploy: Path, runtime: str) -> None:
    """RecipeError for a file of a runtime's folder that is not as it was exported."""
    recorded = {name: record for name, record in read_parity(deploy)["files"].items() if name.startswith(f"{runtime}/")}
    for name, expected in recorded.items():
        path = deploy / name
        if not path.is_file():
            raise RecipeError(f"{path}: not there; {AGAIN}")
        if os.path.getsize(path) != expected["bytes"] or sha256_file(path) != expected["sha256"]:
            raise RecipeError(f"{path}: not as it was exported (damaged, or of another export); {AGAIN}")
