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
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from asr.core.digests import sha256_text
from asr.core.errors import RecipeError, at
from asr.core.files import atomic_open
from asr.core.made_by import STAGE1, refuse_older

FRAMES_PER_SECOND = 100
MODEL_SAMPLE_RATE = 16000


class Utterance(NamedTuple):
    """One clip and what was said in it; ``extra`` are the manifest line's other fields."""

    key: str
    source: str
    target: str
    source_len: int
    target_len: int
    speaker: str
    duration: float
    num_samples: int
    extra: Mapping[str, Any] = MappingProxyType({})

    def as_dict(self) -> dict[str, Any]:
        """Return the manifest line's object, the fields that every line has first."""
        return {**dict(zip(_TYPES, self, strict=False)), **self.extra}


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


def _has_category(text: str, *categories: str) -> bool:
    return any(unicodedata.category(char) in categories for char in text)


def _fault(value: Any) -> str | None:
    """Return what is wrong with a line's object."""
    if not isinstance(value, dict):
        return "a manifest line must be a JSON object"
    for name, types in _TYPES.items():
        if name not in value:
            return f"field '{name}' is missing; rerun stage 1"
        if not isinstance(value[name], types) or isinstance(value[name], bool):
            return f"field '{name}' has the wrong type: {value[name]!r}"
    if value["key"].split() != [value["key"]]:
        return f"key {value['key']!r} is empty or holds whitespace"
    if not 0 <= value["duration"] < math.inf:
        return f"invalid duration {value['duration']}; rerun stage 1"
    if _has_category(value["speaker"], "Cc", "Zl", "Zp", "Cs"):
        return f"speaker {value['speaker']!r} holds a control character or is not UTF-8"
    if _has_category(value["target"], "Cs"):
        return "field 'target' holds a lone surrogate, half a character; mend the text"
    if "text" in value:
        return "a field named 'text' makes FunASR crash; call it 'target'"
    return None


def _parse(line: bytes, where: str) -> Utterance:
    try:
        value = json.loads(line)
    except UnicodeDecodeError:
        raise RecipeError(f"{where}: not UTF-8; rerun stage 1") from None
    except json.JSONDecodeError as error:
        raise RecipeError(f"{where}: not JSON ({error.msg}); rerun stage 1") from None
    return parse_object(value, where)


def parse_object(value: Any, where: str) -> Utterance:
    """Return the utterance of a line's object. RecipeError, which names ``where``, for one that is none."""
    if fault := _fault(value):
        raise RecipeError(f"{where}: {fault}")
    return Utterance(*map(value.pop, _TYPES), extra=value)


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
            utterance = _parse(line, at(path, number))
            if (first := seen.setdefault(utterance.key, number)) != number:
                raise RecipeError(f"{at(path, number)}: duplicate key {utterance.key}, first on line {first}")
            utterances.append(utterance)
    if not utterances:
        raise RecipeError(f"{path}: holds no utterance; see problems.tsv beside it, and rerun stage 1")
    return utterances


def write_manifest(path: str | os.PathLike[str], utterances: Iterable[Utterance]) -> None:
    """Write a manifest as a whole or not at all."""
    encode = json.JSONEncoder(ensure_ascii=False).encode  # json.dumps would make an encoder for each line
    with atomic_open(path) as stream:
        for utterance in utterances:
            stream.write(encode(utterance.as_dict()) + "\n")


def corpus_digest(utterances: Iterable[Utterance]) -> str:
    """Return the sha256 of the sorted (key, target, sample count): the same for a corpus on every machine."""
    rows = sorted((clip.key, clip.target, clip.num_samples) for clip in utterances)
    return sha256_text("".join(f"{key}\t{target}\t{count}\n" for key, target, count in rows))


def split_digest(splits: Mapping[str, Iterable[Utterance]]) -> str:
    """Return the sha256 of the sorted (key, split): the same for runs that trained and tested on the same clips."""
    rows = (f"{clip.key}\t{name}\n" for name, utterances in splits.items() for clip in utterances)
    return sha256_text("".join(sorted(rows)))
