"""JSONL manifests as a corpus: FunASR's ``{"key", "source", "target"}`` a line, and what this recipe writes.

``speaker`` (or ``spk``) says who speaks, where it is known; ``text`` stands for a missing ``target``. A relative
``source`` is meant from the manifest's own folder.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from asr.core.errors import RecipeError
from asr.preparation.corpus import UNKNOWN_SPEAKER, Clip, Part
from asr.preparation.joining import Clips, RefusedError, audio_path, json_object, named_sets
from asr.preparation.problems import ERROR
from asr.scoring.normalize import normalize_target

_LHOTSE = ("recordings", "supervisions", "cuts")


def is_jsonl(path: Path) -> bool:
    """Return whether ``path`` is a .jsonl file, or a folder that holds one which is none of lhotse's."""
    return bool(_files(path))


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path] if path.suffix == ".jsonl" else []
    files = (file for file in sorted(path.glob("*.jsonl")) if file.is_file() and file.name[0] != ".")
    return [file for file in files if not any(word in file.name for word in _LHOTSE) or _has_keys(file)]


def _has_keys(file: Path) -> bool:
    """Return whether the first line has a key, as those of lhotse's files have not, whatever it is called."""
    with open(file, encoding="utf-8", errors="replace") as stream:
        return '"key"' in stream.readline()


def read_jsonl(path: Path) -> Part:
    """Read a manifest, or a folder of them; files called train, val (dev, valid) and test are taken as the split.

    A line that cannot be used is a problem. RecipeError where none can. Audio is not looked at here.
    """
    part = Part("", path if path.is_dir() else path.parent, path)
    clips = Clips(part)
    names = {file: file.stem if path.is_dir() else "" for file in _files(path)}
    for file, split in named_sets(part, names, "other file"):
        _read_file(clips, file, split)
    if not clips.finish().clips:
        first = next((f"; first {item.file}:{item.line}: {item.detail}" for item in part.problems if item.line), "")
        raise RecipeError(f'{path}: no usable line; a line is {{"key": …, "source": …, "target": …}}{first}')
    return part


def _read_file(clips: Clips, path: Path, split: str) -> None:
    with open(path, "rb") as stream:
        for number, raw in enumerate(stream, 1):
            try:
                if raw.strip():
                    clips.add(_clip(json_object(clips.part, path, number, raw), path, number, split))
            except ValueError as error:
                clips.part.problems.add(ERROR, "bad JSONL line", path, str(error), number)
            except RefusedError as error:
                clips.part.problems.add(ERROR, error.kind, path, str(error), number, error.key)


def _clip(value: Mapping[str, Any], path: Path, number: int, split: str) -> Clip:
    key = _word(value, "", "key")
    source = value["source"] if "source" in value else _word(value, key, "source")
    if not isinstance(source, str) or not source or "://" in source:
        raise RefusedError("bad source", f"{source!r}: must be the path of one audio file", key)
    named = [name for name in ("speaker", "spk") if value.get(name) is not None and str(value[name]).strip()]
    speaker = UNKNOWN_SPEAKER
    if named:  # a number, as pandas writes it, is a name
        name = value[named[0]]
        speaker = str(name) if type(name) is int else _word(value, key, *named)
    audio = audio_path(source, path.parent, working_directory=False)
    return Clip(key, speaker, audio, _transcript(value, key), str(path), number, None, split)


def _transcript(value: Mapping[str, Any], key: str) -> str:
    """Return the target, or what it was normalised from (our own manifests keep that) while the two still agree."""
    target = _word(value, key, "target", "text")
    written = value.get("transcript")
    if isinstance(written, str) and written != target and normalize_target(written) == target:
        return written
    return target


def _word(value: Mapping[str, Any], key: str, *names: str) -> str:
    """Return the string under the first of ``names`` that is there."""
    for name in names:
        if name in value:
            if not isinstance(value[name], str):
                raise RefusedError("bad JSONL line", f"'{name}' is {value[name]!r}, not a string", key)
            return value[name]
    detail = f"no '{names[0]}' among its fields: {', '.join(value) or 'there is none'}"
    raise RefusedError("bad JSONL line", detail, key)
