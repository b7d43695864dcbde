"""The utterances of report.html's error browser, from per_utterance.tsv."""

from __future__ import annotations

import base64
import io
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from asr.core.errors import RecipeError, at
from asr.scoring import mandarin
from asr.scoring.files import read_table

Row = Mapping[str, str]

MP3 = {"format": "MP3", "subtype": "MPEG_LAYER_III", "bitrate_mode": "VARIABLE"}
MP3_QUALITY = 0.6  # libsndfile's compression level: 0 large, 1 small


def browser_data(
    exp: Path,
    path: Path,
    systems: Sequence[str],
    embed_audio: bool,
    others: Mapping[str, Mapping[str, Row]] | None = None,
    confidences: Mapping[str, float] | None = None,
) -> dict[str, Any]:
    """Return what the page's script reads: the systems, and a row an utterance, without its fields' names.

    A row is [key, speaker, text, duration, ref_len, ref, clip, readings, system, …], a system [status, errors,
    alignment, hyp, readings, confused]; the clip is a path from ``exp`` on (or, with ``embed_audio``, a data: URI),
    empty where there is none. Readings are pinyin: of each character of the reference, and of those of a hypothesis
    that are not the reference's; "" where a character is not Han. ``confused`` is ``ba1>da1`` for each pair of
    syllables of which score.json counts tones, initials and finals, and that are not the same; ``syllables`` has the
    initial and final of each without its tone. ``others`` are other runs' rows by key, whose tuned hypotheses stand
    beside; ``confidences`` are per cent by key, of the last system. RecipeError where a column is missing, or not what
    it should be.
    """
    rows, syllables = [], Syllables()
    for line, row in enumerate(read_table(path), start=2):
        try:
            seconds = float(row["duration"]) if row["duration"] else None
            about = [row["key"], row["speaker"], row["text"], seconds, int(row["ref_len"]), row["ref"]]
            found = [_system(row, name, syllables) for name in systems]
            found += [_system(table[row["key"]], "tuned", syllables) for table in (others or {}).values()]
            clip, reading = _clip(exp, path, row["audio"], embed_audio), syllables.reference(found[0][2])
            rows.append([*about, clip, reading, *found])
        except KeyError as error:
            raise RecipeError(f"{at(path, 1)}: no column {error.args[0]}; score again") from None
        except ValueError as error:
            raise RecipeError(f"{at(path, line)}: {row['key']}: not a number or an alignment ({error})") from None
    names = {"systems": [*systems, *(others or {})], "own": len(systems)}
    sure = {"confidence": [confidences.get(row[0]) for row in rows]} if confidences else {}
    return {**names, "embedded": embed_audio, "rows": rows, "syllables": syllables.parts, **sure}


def read_confidences(path: Path) -> dict[str, float]:
    """Return the confidence of each utterance in per cent, of a confidence.jsonl; nothing where there is none."""
    if not path.is_file():
        return {}
    rows = map(json.loads, path.read_text(encoding="utf-8").splitlines())
    return {row["key"]: round(100 * row["confidence"], 1) for row in rows}


class Syllables:
    """Reads pinyin; ``parts`` are the initial and final of every syllable that was met."""

    def __init__(self) -> None:
        self.parts: dict[str, tuple[str, str]] = {}

    def reference(self, runs: Sequence[Sequence[str]]) -> str:
        """Return the readings of the reference of an alignment."""
        return _joined(mandarin.read("".join(run[1] for run in runs if run[0] != "i")))

    def hypothesis(self, runs: Sequence[Sequence[str]]) -> tuple[str, str]:
        """Return the readings of what is not the reference's in a hypothesis, and which syllables were confused."""
        reference = "".join(run[1] for run in runs if run[0] != "i")
        hypothesis = "".join(run[-1] for run in runs if run[0] != "d")
        if reference == hypothesis:
            return "", ""
        _, heard, pairs = mandarin.read_aligned(reference, hypothesis)
        wrong: list[mandarin.Syllable] = []
        place = 0
        for mark, *texts in runs:
            size = 0 if mark == "d" else len(texts[-1])
            wrong += heard[place : place + size] if mark in "si" else []
            place += size
        confused = []
        for one, other in pairs:
            if one and other and one.tone and other.tone and one.toned != other.toned:
                confused.append(f"{one.toned}>{other.toned}")
                self.parts.update({each.toneless: (each.initial, each.final) for each in (one, other)})
        return _joined(wrong), " ".join(confused)


def _joined(syllables: Sequence[mandarin.Syllable]) -> str:
    return " ".join(one.toned if one.tone else "" for one in syllables)


def _system(row: Row, name: str, syllables: Syllables) -> list[Any]:
    errors = sum(int(row[f"{name}_{count}"]) for count in ("sub", "del", "ins"))
    runs = json.loads(row[f"{name}_alignment"] or "[]")
    return [row[f"{name}_status"], errors, runs, row[f"{name}_hyp"], *syllables.hypothesis(runs)]


def clip_path(path: Path, audio: str) -> Path:
    """Return where the clip is that ``path``, a per_utterance.tsv, names ``audio``: by the letter, as a browser goes
    from the page's address, for where exp is a link its target is another way."""
    return Path(os.path.normpath(os.path.join(os.path.abspath(path.parent), audio)))


def _clip(exp: Path, path: Path, audio: str, embed: bool) -> str:
    if not audio:
        return ""
    file = clip_path(path, audio)
    return mp3_uri(file) if embed else os.path.relpath(file, os.path.abspath(exp)).replace(os.sep, "/")


def mp3_uri(file: Path) -> str:
    """Return a clip as a small MP3, mono, in a data: URI, "" without samples; RecipeError where it cannot be read."""
    import soundfile

    stream = io.BytesIO()
    try:
        samples, rate = soundfile.read(file, dtype="float32", always_2d=True)
        if not len(samples):
            return ""
        soundfile.write(stream, samples.mean(axis=1), rate, compression_level=MP3_QUALITY, **MP3)
    except (OSError, soundfile.SoundFileError) as error:
        reason = "no such file" if not file.exists() else str(error).splitlines()[0]
        raise RecipeError(f"{file}: {reason}; without --embed-audio the page only links to clips") from None
    return f"data:audio/mpeg;base64,{base64.b64encode(stream.getvalue()).decode()}"
