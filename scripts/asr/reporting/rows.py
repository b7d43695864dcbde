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
from asr.scoring.files import read_table

MP3 = {"format": "MP3", "subtype": "MPEG_LAYER_III", "bitrate_mode": "VARIABLE"}
MP3_QUALITY = 0.6  # libsndfile's compression level: 0 large, 1 small


def browser_data(exp: Path, path: Path, systems: Sequence[str], embed_audio: bool) -> dict[str, Any]:
    """Return what the page's script reads: ``systems`` and ``rows``, one row an utterance, without its fields' names.

    A row is [key, speaker, text, duration, ref_len, ref, clip, system, …], a system [status, errors, alignment, hyp],
    the clip a path from ``exp`` on (or, with ``embed_audio``, a data: URI), empty where there is none. RecipeError
    where a column is missing, or not what it should be.
    """
    rows = []
    for line, row in enumerate(read_table(path), start=2):
        try:
            seconds = float(row["duration"]) if row["duration"] else None
            about = [row["key"], row["speaker"], row["text"], seconds, int(row["ref_len"]), row["ref"]]
            rows.append(
                [*about, _clip(exp, path, row["audio"], embed_audio), *(_system(row, name) for name in systems)]
            )
        except KeyError as error:
            raise RecipeError(f"{at(path, 1)}: no column {error.args[0]}; score again") from None
        except ValueError as error:
            raise RecipeError(f"{at(path, line)}: {row['key']}: not a number or an alignment ({error})") from None
    return {"systems": list(systems), "embedded": embed_audio, "rows": rows}


def _system(row: Mapping[str, str], name: str) -> list[Any]:
    errors = sum(int(row[f"{name}_{count}"]) for count in ("sub", "del", "ins"))
    return [row[f"{name}_status"], errors, json.loads(row[f"{name}_alignment"] or "[]"), row[f"{name}_hyp"]]


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
