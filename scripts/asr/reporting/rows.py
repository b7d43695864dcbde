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
from asr.core.manifest import MODEL_SAMPLE_RATE
from asr.scoring.files import read_table

COLUMNS = ("key", "speaker", "text", "duration", "rate", "ref_len", "audio", "ref")
COUNTS = ("sub", "del", "ins")
MP3_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)
MP3_QUALITY = 0.6  # libsndfile's compression level: 0 large, 1 small


def read_rows(path: Path, systems: Sequence[str]) -> list[dict[str, str]]:
    """per_utterance.tsv's rows; RecipeError where a column is missing."""
    rows = read_table(path)
    needed = [*COLUMNS, *(f"{name}_{what}" for name in systems for what in ("status", *COUNTS, "alignment", "hyp"))]
    lacking = [name for name in needed if rows and name not in rows[0]]
    if lacking:
        raise RecipeError(f"{at(path, 1)}: no column {lacking[0]}; score again")
    return rows


def browser_data(exp: Path, path: Path, systems: Sequence[str], embed_audio: bool) -> dict[str, Any]:
    """What the page's script reads: ``systems`` and ``rows``, one row an utterance, without its fields' names.

    A row is [key, speaker, text, duration, ref_len, ref, clip, system, …], a system [status, errors, alignment, hyp],
    the clip a path from ``exp`` on (or, with ``embed_audio``, a data: URI), empty where there is none.
    """
    rows = []
    for place, row in enumerate(read_rows(path, systems), start=2):
        try:
            rows.append([*_about(row), _clip(exp, path, row, embed_audio), *(_system(row, name) for name in systems)])
        except ValueError as error:
            raise RecipeError(f"{at(path, place)}: {row['key']}: not a number or an alignment ({error})") from None
    return {"systems": list(systems), "embedded": embed_audio, "rows": rows}


def _about(row: Mapping[str, str]) -> list[Any]:
    seconds = float(row["duration"]) if row["duration"] else None
    return [row["key"], row["speaker"], row["text"], seconds, int(row["ref_len"]), row["ref"]]


def _system(row: Mapping[str, str], name: str) -> list[Any]:
    errors = sum(int(row[f"{name}_{count}"]) for count in COUNTS)
    runs = json.loads(row[f"{name}_alignment"] or "[]")
    return [row[f"{name}_status"], errors, runs, row[f"{name}_hyp"]]


def clip_path(path: Path, row: Mapping[str, str]) -> Path:
    """Return where the clip of a row of ``path``, a per_utterance.tsv, is: by the letter, as a browser goes from the
    page's address, for where exp is a link its target is another way."""
    return Path(os.path.normpath(os.path.abspath(path.parent) + os.sep + row["audio"]))


def _clip(exp: Path, path: Path, row: Mapping[str, str], embed: bool) -> str:
    if not row["audio"]:
        return ""
    file = clip_path(path, row)
    return mp3_uri(file) if embed else os.path.relpath(file, os.path.abspath(exp)).replace(os.sep, "/")


def mp3_uri(file: Path) -> str:
    """Return a clip as a small MP3, mono, in a data: URI; "" where it has no samples. RecipeError where it cannot be
    read."""
    import soundfile
    import soxr

    stream = io.BytesIO()
    look = {"format": "MP3", "subtype": "MPEG_LAYER_III", "bitrate_mode": "VARIABLE"}
    try:
        samples, rate = soundfile.read(file, dtype="float32", always_2d=True)
        if not len(samples):
            return ""
        samples = samples.mean(axis=1)
        if rate not in MP3_RATES:
            samples, rate = soxr.resample(samples, rate, MODEL_SAMPLE_RATE), MODEL_SAMPLE_RATE
        soundfile.write(stream, samples, rate, compression_level=MP3_QUALITY, **look)
    except (OSError, soundfile.SoundFileError) as error:
        reason = "no such file" if not file.exists() else str(error).splitlines()[0]
        raise RecipeError(f"{file}: {reason}; without --embed-audio the page only links to clips") from None
    return f"data:audio/mpeg;base64,{base64.b64encode(stream.getvalue()).decode()}"
