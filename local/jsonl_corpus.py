"""JSONL manifests as a corpus: FunASR's ``{"key", "source", "target"}``, and what this recipe writes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from asr.errors import RecipeError
from corpus import OWN_SPLITS, UNKNOWN_SPEAKER, Clip, Part
from joining import Clips
from problems import ERROR, NOTE, Problem

_LHOTSE = ("recordings", "supervisions", "cuts")


def is_jsonl(path: Path) -> bool:
    """Whether ``path`` is a .jsonl file, or a folder that holds one (which is none of lhotse's)."""
    return (path.is_file() and path.suffix == ".jsonl") or bool(_files(path))


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return []
    return [file for file in sorted(path.glob("*.jsonl")) if not any(word in file.name for word in _LHOTSE)]


def read_jsonl(path: Path) -> Part:
    """Read a manifest, or a folder of them; files called train, val (dev, valid) and test are taken as the split.

    A line that cannot be used is a problem. RecipeError where none can. Audio is not looked at here.
    """
    part = Part("", path if path.is_dir() else path.parent, path)
    files = [path] if path.is_file() else _files(path)
    named = [file for file in files if path.is_dir() and file.stem.lower() in OWN_SPLITS]
    clips = Clips(part)
    for file in files:
        if named and file not in named:
            detail = f"is none of {', '.join(OWN_SPLITS)}; not read"
            part.problems.append(Problem(NOTE, "other file", str(file), None, "", detail))
            continue
        _read_file(clips, file, OWN_SPLITS[file.stem.lower()] if named else "")
    if not clips.found:
        first = next((f"; first {item.file}:{item.line}: {item.detail}" for item in part.problems if item.line), "")
        raise RecipeError(f'{path}: no usable line; a line is {{"key": …, "source": …, "target": …}}{first}')
    return clips.finish()


def _read_file(clips: Clips, path: Path, split: str) -> None:
    with open(path, "rb") as stream:
        for number, raw in enumerate(stream, 1):
            if not raw.strip():
                continue
            try:
                clips.add(_clip(raw, path, number, split))
            except _BadLineError as error:
                clips.part.problems.append(Problem(ERROR, error.kind, str(path), number, error.key, error.detail))


class _BadLineError(Exception):
    def __init__(self, kind: str, detail: str, key: str = "") -> None:
        super().__init__(detail)
        self.kind, self.detail, self.key = kind, detail, key


def _clip(raw: bytes, path: Path, number: int, split: str) -> Clip:
    try:
        value = json.loads(raw.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise _BadLineError("bad JSONL line", "not UTF-8") from None
    except (ValueError, RecursionError) as error:
        raise _BadLineError("bad JSONL line", f"not JSON: {error}") from None
    if not isinstance(value, dict):
        raise _BadLineError("bad JSONL line", "not a JSON object")
    key = _word(value, ("key",))
    source = value.get("source")
    if source is not None and (not isinstance(source, str) or "://" in source or not source or "\0" in source):
        raise _BadLineError("bad source", f"{source!r}: must be the path of one audio file", key)
    if source is None:
        raise _BadLineError("bad JSONL line", f"no 'source' among {_names(value)}", key)
    text = value.get("transcript") if isinstance(value.get("transcript"), str) else _word(value, ("target", "text"))
    speaker = _word(value, ("speaker", "spk")) if {"speaker", "spk"} & value.keys() else UNKNOWN_SPEAKER
    audio = source if source.startswith("/") else str(path.parent / source)
    return Clip(key, speaker, audio, str(text), str(path), number, None, split)


def _word(value: Mapping[str, Any], names: tuple[str, ...]) -> str:
    """The string under the first of ``names`` that is there."""
    for name in names:
        if name in value:
            if not isinstance(value[name], str):
                raise _BadLineError("bad JSONL line", f"'{name}' is {value[name]!r}, not a string")
            return value[name]
    raise _BadLineError("bad JSONL line", f"no '{names[0]}' among {_names(value)}", str(value.get("key", "")))


def _names(value: Mapping[str, Any]) -> str:
    return ", ".join(map(str, value)) or "nothing"
