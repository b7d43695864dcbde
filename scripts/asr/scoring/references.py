"""The texts that hypotheses are scored against, in the forms that people have them in.

A manifest of stage 1; any JSONL with ``key`` and ``target``, such as FunASR's own; a Kaldi ``text``, a label file or a
trn. What such a file does not say (speaker, length, audio) is not known: the score says so, and guesses nothing.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from asr.core.errors import RecipeError, at
from asr.core.kaldi_text import Line, read_lines
from asr.core.manifest import FRAMES_PER_SECOND, Utterance, parse_object, read_manifest
from asr.core.names import UNKNOWN_SPEAKER

UTT2SPK = "utt2spk"


def is_jsonl(path: Path) -> bool:
    """Return whether a file is to hold JSON objects, by its name or its beginning; False where it is not there."""
    if not path.is_file() or path.suffix == ".jsonl":
        return path.is_file()
    with open(path, "rb") as stream:
        return stream.read(1 << 12).removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"{")


def read_references(path: Path, speakers: Path | None = None) -> list[Utterance]:
    """Return the utterances of ``path``. RecipeError for a bad line, a duplicate key and an empty file.

    ``speakers`` is an utt2spk. Without it a JSONL's own field counts, and of another file the utt2spk beside it.
    """
    if (path.parent / "statistics.json").is_file() and path.suffix == ".jsonl":
        utterances = read_manifest(path)
    elif is_jsonl(path):
        utterances = _read_jsonl(path)
    else:
        utterances = [_utterance({"key": key, "target": line.text}) for key, line in read_lines(path).items()]
        beside = path.parent / UTT2SPK
        speakers = speakers or (beside if beside.is_file() else None)
    if not utterances:
        raise RecipeError(f"{path}: holds no utterance")
    return _with_speakers(utterances, speakers) if speakers else utterances


def _read_jsonl(path: Path) -> list[Utterance]:
    first: dict[str, int] = {}
    utterances = []
    for number, line in enumerate(path.read_bytes().removeprefix(b"\xef\xbb\xbf").splitlines(), 1):
        if not line.strip():
            continue
        where = at(path, number)
        utterance = _parse(line, where)
        if (earlier := first.setdefault(utterance.key, number)) != number:
            raise RecipeError(f"{where}: duplicate key {utterance.key}, first on line {earlier}")
        utterances.append(utterance)
    return utterances


def _parse(line: bytes, where: str) -> Utterance:
    try:
        value = json.loads(line)
    except UnicodeDecodeError:
        raise RecipeError(f"{where}: not UTF-8; save the file as UTF-8") from None
    except json.JSONDecodeError as error:
        raise RecipeError(f"{where}: not JSON ({error.msg})") from None
    if not isinstance(value, dict):
        raise RecipeError(f"{where}: expected a JSON object with 'key' and 'target'")
    for name in ("key", "target"):
        if name not in value:
            raise RecipeError(f"{where}: no field '{name}', only {', '.join(value)}; key and target are needed")
    value.pop("text", None)  # which a manifest must not have
    return parse_object(_completed(value), where)


def _completed(value: dict[str, Any]) -> dict[str, Any]:
    """Return a line's object with every field of a manifest: integers as names, lengths of 0 where there is none."""
    names = {name: str(value[name]) for name in ("key", "speaker") if type(value.get(name)) is int}
    frames = value.get("source_len")
    known = frames if isinstance(frames, int) else 0
    default = {"source": "", "speaker": UNKNOWN_SPEAKER, "source_len": 0, "target_len": 0, "num_samples": 0}
    filled = {name: default[name] if value.get(name) is None else value[name] for name in default}
    return {"duration": known / FRAMES_PER_SECOND, **value, **filled, **names}


def _utterance(value: dict[str, Any]) -> Utterance:
    return parse_object(_completed(value), value["key"])


def _with_speakers(utterances: list[Utterance], path: Path) -> list[Utterance]:
    """Return the utterances with the speakers of an utt2spk. RecipeError where it lacks one of them."""
    speaker_of: dict[str, Line] = read_lines(path)
    missing = [one.key for one in utterances if not speaker_of.get(one.key, Line(0, "")).text.strip()]
    if missing:
        more = f" (and {len(missing) - 1:,} more)" * (len(missing) > 1)
        raise RecipeError(f"{path}: has no speaker for {missing[0]}{more}; expected '<key> <speaker>' a line")
    return [one._replace(speaker=speaker_of[one.key].text.strip()) for one in utterances]
