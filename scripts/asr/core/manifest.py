"""The manifest: one JSON object a line, the form in which every stage after preparation sees a corpus.

    {"key", "source", "target", "source_len", "target_len", "speaker", "duration", "num_samples", …}

``source`` is an absolute path; ``source_len`` counts 10-ms frames at 16 kHz, before any low-frame-rate stacking (what
FunASR's samplers count); ``target_len`` counts the tokenizer's tokens, characters where no tokenizer is known yet;
``duration`` is in seconds; ``num_samples`` is the sample count at the file's own rate. There is never a field
named ``text``: FunASR 1.4.16 reads such a line as a text-only item and crashes.
"""

from __future__ import annotations

import json
import math
import os
import unicodedata
from collections.abc import Iterable, Mapping
from json.encoder import encode_basestring as quoted
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from asr.core.digests import sha256_text
from asr.core.errors import RecipeError, at
from asr.core.files import atomic_open
from asr.core.made_by import STAGE1, refuse_older

FRAMES_PER_SECOND = 100
MODEL_SAMPLE_RATE = 16000
_NOTHING: Mapping[str, Any] = MappingProxyType({})  # one for all, as a million empty dicts take 64 MB


class Utterance(NamedTuple):
    """One clip and what was said in it. A tuple: a million are made in a quarter of a frozen dataclass's time."""

    key: str
    source: str
    target: str
    source_len: int
    target_len: int
    speaker: str
    duration: float
    num_samples: int
    extra: Mapping[str, Any] = _NOTHING

    def as_dict(self) -> dict[str, Any]:
        """Return the manifest line's object, the fields that every line has first."""
        return {**dict(zip(FIELDS, self, strict=False)), **self.extra}


FIELDS = ("key", "source", "target", "source_len", "target_len", "speaker", "duration", "num_samples")
_TYPES: dict[str, type | tuple[type, ...]] = {
    "key": str,
    "source": str,
    "target": str,
    "source_len": int,
    "target_len": int,
    "speaker": str,
    "duration": (int, float),
    "num_samples": int,
}


def source_len(num_samples: int, sample_rate: int) -> int:
    """Return the 10-ms frames of a clip once it is at 16 kHz."""
    return num_samples * FRAMES_PER_SECOND // sample_rate


def _parse(line: bytes, path: object, number: int) -> Utterance:
    try:
        value = json.loads(line.decode("utf-8"))
    except UnicodeDecodeError:
        raise RecipeError(f"{at(path, number)}: not UTF-8; rerun stage 1") from None
    except json.JSONDecodeError as error:
        raise RecipeError(f"{at(path, number)}: not JSON ({error.msg}); rerun stage 1") from None
    if not isinstance(value, dict):
        raise RecipeError(f"{at(path, number)}: a manifest line must be a JSON object")
    for name in FIELDS:
        if name not in value:
            raise RecipeError(f"{at(path, number)}: field '{name}' is missing; rerun stage 1")
        if not isinstance(value[name], _TYPES[name]) or isinstance(value[name], bool):
            raise RecipeError(f"{at(path, number)}: field '{name}' has the wrong type: {value[name]!r}")
    if not value["key"] or value["key"].split() != [value["key"]]:
        raise RecipeError(f"{at(path, number)}: key {value['key']!r} is empty or holds whitespace")
    if not 0 <= value["duration"] < math.inf:
        raise RecipeError(f"{at(path, number)}: invalid duration {value['duration']}; rerun stage 1")
    if not value["speaker"].isprintable() or not value["target"].isprintable():
        _refuse_unprintable(value, path, number)
    if "text" in value:
        raise RecipeError(f"{at(path, number)}: a field named 'text' makes FunASR crash; call it 'target'")
    extra = {name: item for name, item in value.items() if name not in _TYPES}
    return Utterance(**{name: value[name] for name in FIELDS}, extra=extra or _NOTHING)


def _refuse_unprintable(value: dict[str, Any], path: object, number: int) -> None:
    """RecipeError for a speaker with a line break or a control character, and for text that is not Unicode."""
    if any(unicodedata.category(char) in ("Cc", "Zl", "Zp", "Cs") for char in value["speaker"]):
        raise RecipeError(f"{at(path, number)}: speaker {value['speaker']!r} holds a control character or is not UTF-8")
    if any(unicodedata.category(char) == "Cs" for char in value["target"]):
        raise RecipeError(f"{at(path, number)}: field 'target' holds a lone surrogate, half a character; mend the text")


def read_manifest(path: str | os.PathLike[str]) -> list[Utterance]:
    """Return the utterances of a manifest. RecipeError for a bad line, a duplicate key and an empty file."""
    path = Path(path)
    if not path.is_file():
        raise RecipeError(f"{path}: no such manifest; run stage 1 first")
    if (path.parent / "statistics.json").is_file():  # stage 1's folder, not somebody's own manifests
        refuse_older(path.parent, STAGE1)
    utterances: list[Utterance] = []
    seen: dict[str, int] = {}
    with open(path, "rb") as stream:
        for number, line in enumerate(stream, 1):
            utterance = _parse(line, path, number)
            if utterance.key in seen:
                raise RecipeError(
                    f"{at(path, number)}: duplicate key {utterance.key}, first on line {seen[utterance.key]}"
                )
            seen[utterance.key] = number
            utterances.append(utterance)
    if not utterances:
        raise RecipeError(f"{path}: holds no utterance; see problems.tsv beside it, and rerun stage 1")
    return utterances


def write_manifest(path: str | os.PathLike[str], utterances: Iterable[Utterance]) -> None:
    """Write a manifest as a whole or not at all."""
    with atomic_open(path) as stream:
        stream.writelines(map(_line, utterances))


def _line(item: Utterance) -> str:
    """Return ``json.dumps(item.as_dict(), ensure_ascii=False)`` and a line break, in a third of the time."""
    more = f", {json.dumps(dict(item.extra), ensure_ascii=False)[1:-1]}" if item.extra else ""
    return (
        f'{{"key": {quoted(item.key)}, "source": {quoted(item.source)}, "target": {quoted(item.target)},'
        f' "source_len": {item.source_len}, "target_len": {item.target_len}, "speaker": {quoted(item.speaker)},'
        f' "duration": {item.duration!r}, "num_samples": {item.num_samples}{more}}}\n'
    )


def corpus_digest(utterances: Iterable[Utterance]) -> str:
    """Return the sha256 of the sorted (key, target, sample count): the same for a corpus on every machine."""
    rows = sorted([(item.key, item.target, item.num_samples) for item in utterances])
    return sha256_text("".join([f"{key}\t{target}\t{count}\n" for key, target, count in rows]))


def split_digest(splits: Mapping[str, Iterable[Utterance]]) -> str:
    """Return the sha256 of the sorted (key, split): the same for runs that trained and tested on the same clips."""
    rows = sorted([f"{item.key}\t{name}\n" for name, utterances in splits.items() for item in utterances])
    return sha256_text("".join(rows))
