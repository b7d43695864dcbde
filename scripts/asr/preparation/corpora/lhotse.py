"""lhotse's recordings and supervisions, in and out: what ``lhotse prepare X DIR OUT`` writes, and what lhotse loads.

    <anything>recordings<suffix>.jsonl[.gz]        {"id", "sources", "sampling_rate", "num_samples", "duration", …}
    <anything>supervisions<suffix>.jsonl[.gz]      {"id", "recording_id", "start", "duration", "channel", "text", …}

Read here line by line rather than with lhotse: an error can name its line, and neither torch (seconds) nor the whole
manifest (memory) is loaded. Tests hold it against lhotse itself. Sources that are commands or addresses are refused.
"""

from __future__ import annotations

import gzip
import json
import math
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from asr.audio.clip import Cut
from asr.core.errors import RecipeError, at
from asr.core.files import atomic_open
from asr.core.manifest import MODEL_SAMPLE_RATE, Utterance
from asr.core.names import plain_name
from asr.preparation.corpus import UNKNOWN_SPEAKER, Clip, Part, Stated, tidy_name
from asr.preparation.joining import Clips, RefusedError, Table, audio_path, json_object, named_sets
from asr.preparation.problems import ERROR, NOTE

_NAME = re.compile(r"(?!\.).*recordings.*\.jsonl(\.gz)?")
_SAME = 0.01  # seconds by which a supervision may miss its recording's end and still be the whole of it
_BEFORE = 0.001  # seconds by which rounding may put a start before 0; lhotse bears as much


class _Recording(NamedTuple):
    """A file, the channels that are in it, and its length in seconds."""

    path: str
    channels: tuple[int, ...]
    seconds: float


def _pairs(path: Path) -> tuple[dict[Path, Path], list[Path]]:
    """Return {recordings: supervisions} of a folder, and recordings without supervisions or of a set that is there."""
    pairs: dict[Path, Path] = {}
    alone = []
    for recordings in sorted(path.iterdir(), reverse=True) if path.is_dir() else ():  # .gz, then the same without
        if _NAME.fullmatch(recordings.name):
            supervisions = recordings.with_name("supervisions".join(recordings.name.rsplit("recordings", 1)))
            if supervisions.is_file() and Path(f"{recordings}.gz") not in pairs:
                pairs[recordings] = supervisions
            else:
                alone.append(recordings)
    return dict(sorted(pairs.items())), alone


def _suffix(recordings: Path) -> str:
    """Return which set or part a file is of: ``train`` of ``cdsd_recordings_train.jsonl.gz``."""
    return recordings.name.rpartition("recordings")[2].partition(".jsonl")[0].strip("_-.")


def is_lhotse(path: Path) -> bool:
    """Return whether ``path`` is a folder with recordings and the supervisions that belong to them."""
    return bool(_pairs(path)[0])


def lhotse_parts(path: Path, names: Sequence[str]) -> list[str]:
    """Return which of the parts ``names`` there are, by the ends of the files' names."""
    suffixes = set(map(_suffix, _pairs(path)[0]))
    return [part for part in names if part in suffixes]


def read_lhotse(path: Path, name: str = "") -> Part:
    """Read the recordings and supervisions of a folder: of part ``name``, or all, with sets for train, val and test.

    RecipeError where there are none, and with file and line for a file that is damaged or no JSON. Audio is not looked
    at here.
    """
    part = Part(name, path, path)
    clips = Clips(part)
    pairs, alone = _pairs(path)
    names = {recordings: _suffix(recordings) for recordings in pairs}
    if name:
        names = {recordings: "" for recordings, suffix in names.items() if suffix == name}
    if not names:
        raise RecipeError(f"{path}: no recordings{name and f'_{name}'}.jsonl.gz with supervisions; prepare them again")
    for recordings, split in named_sets(part, names, "other set"):
        _read_pair(clips, recordings, pairs[recordings], split)
    for file in alone if not name else ():
        detail = "not read: no supervisions belong to it, or the same set is there twice"
        part.problems.add(NOTE, "other file", file, detail)
    return clips.finish()


def _read_pair(clips: Clips, recordings: Path, supervisions: Path, split: str) -> None:
    """Join supervisions with their recordings. Those of a recording that was refused are left out with it."""
    part = clips.part
    table: Table[_Recording] = Table(part, recordings)
    for number, value in _objects(part, recordings):
        table.put(number, plain_name(str(value.get("id", ""))), _recording, value, recordings.parent)
    used: set[str] = set()
    for number, value in _objects(part, supervisions):
        key = tidy_name(part.problems, str(value.get("id", "")), supervisions, number)
        name = plain_name(str(value.get("recording_id", "")))
        used.add(name)
        try:
            speaker, text = _word(value, "speaker") or UNKNOWN_SPEAKER, _word(value, "text")
            if name not in table.values:
                detail = f"its recording {name!r} is not in {recordings.name}"
                raise RefusedError("transcript without wav", detail)
            if recording := table.values[name]:
                cut, stated = _cut(recording, value), Stated(str(recordings), table.lines[name], recording.seconds)
                clips.add(Clip(key, speaker, recording.path, text, str(supervisions), number, cut, split, stated))
        except RefusedError as error:
            part.problems.add(ERROR, error.kind, supervisions, str(error), number, key)
    table.list_unused(used.__contains__, f"no supervision in {supervisions.name} is of it")


def _word(value: Mapping[str, Any], name: str) -> str:
    """Return a field that is a string, or null or missing, which is an empty one."""
    word = value.get(name)
    if not isinstance(word, str | None):
        raise RefusedError("bad JSONL line", f"'{name}' is {word!r}, not a string")
    return word or ""


def _recording(value: Mapping[str, Any], folder: Path) -> _Recording:
    sources, seconds = value.get("sources"), _seconds(value, "duration", "bad JSONL line")
    if not isinstance(sources, list) or not sources or not all(isinstance(source, dict) for source in sources):
        raise RefusedError("bad JSONL line", f"'sources' is {sources!r}, not a list of files")
    kind, name = sources[0].get("type"), sources[0].get("source")
    reason = ""
    if value.get("transforms"):
        reason = "it has transforms, and they are not applied here"
    elif kind != "file" or not isinstance(name, str) or "://" in name:
        reason = f"a source of type {kind}, {name!r}; only files are read"
    elif len(sources) > 1:
        reason = f"it has {len(sources)} files, and one is read"
    if reason:
        detail = f"refused, not run or fetched: {reason}; its supervisions are left out"
        raise RefusedError("refused recording source", detail)
    return _Recording(audio_path(name, folder), _channels(sources[0].get("channels"), "bad JSONL line"), seconds)


def _seconds(value: Mapping[str, Any], name: str, kind: str = "bad segment") -> float:
    number = value.get(name)
    if isinstance(number, bool) or not isinstance(number, int | float) or not math.isfinite(number):
        raise RefusedError(kind, f"'{name}' is {number!r}, not a number of seconds")
    return float(number)


def _channels(value: Any, kind: str = "bad segment") -> tuple[int, ...]:
    channels = value if isinstance(value, list) else [value]
    if not channels or not all(isinstance(channel, int) for channel in channels):
        raise RefusedError(kind, f"channel {value!r}: not a number, or a list of numbers")
    return tuple(channels)


def _cut(recording: _Recording, supervision: Mapping[str, Any]) -> Cut | None:
    """Return which part of its recording a supervision is, None where it is the whole of it."""
    start, seconds = _seconds(supervision, "start"), _seconds(supervision, "duration")
    if start < -_BEFORE or seconds <= 0:
        detail = f"start {start:g}, duration {seconds:g}: must start at 0 or later, and last"
        raise RefusedError("bad segment", detail)
    wanted, channels = set(_channels(supervision.get("channel", 0))), recording.channels
    if len(wanted) not in (1, len(channels)) or not wanted <= set(channels):
        detail = f"its channels {sorted(wanted)} are not one, or all, of the file's {list(channels)}"
        raise RefusedError("bad segment", detail)
    channel = channels.index(min(wanted)) if len(wanted) == 1 < len(channels) else None
    whole = start <= 0 and abs(seconds - recording.seconds) <= _SAME
    cut = Cut(channel=channel) if whole else Cut(max(start, 0.0), seconds, channel)
    return None if cut == Cut() else cut


def _objects(part: Part, path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (line number, object) of a manifest, plain or gzipped, one at a time."""
    number = 0
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else open(path, "rb") as stream:
            for number, raw in enumerate(stream, 1):
                if raw.strip():
                    yield number, json_object(part, path, number, raw)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        where = at(path, number + 1)
        raise RecipeError(f"{where}: the gzip file is damaged ({error}); copy or prepare it again") from None
    except ValueError as error:
        raise RecipeError(f"{at(path, number)}: {error}; prepare the manifest again") from None


def write_lhotse(folder: Path, split: str, utterances: Sequence[Utterance]) -> None:
    """Write recordings_<split>.jsonl.gz and supervisions_<split>.jsonl.gz, each as a whole or not at all.

    The files are 16-kHz mono, as all are that stage 1 hands on. The same utterances give the same bytes.
    """
    _write(folder / f"recordings_{split}.jsonl.gz", map(_as_recording, utterances))
    _write(folder / f"supervisions_{split}.jsonl.gz", map(_as_supervision, utterances))


def _as_recording(item: Utterance) -> dict[str, Any]:
    return {
        "id": item.key,
        "sources": [{"type": "file", "channels": [0], "source": item.source}],
        "sampling_rate": MODEL_SAMPLE_RATE,
        "num_samples": item.num_samples,
        "duration": item.num_samples / MODEL_SAMPLE_RATE,
        "channel_ids": [0],
    }


def _as_supervision(item: Utterance) -> dict[str, Any]:
    return {
        "id": item.key,
        "recording_id": item.key,
        "start": 0.0,
        "duration": item.num_samples / MODEL_SAMPLE_RATE,
        "channel": 0,
        "text": item.target,
        "language": "Chinese",
        "speaker": item.speaker,
    }


def _write(path: Path, values: Iterable[Mapping[str, Any]]) -> None:
    with atomic_open(path, "wb") as stream, gzip.GzipFile("", "wb", 1, stream, mtime=0) as packed:
        for value in values:
            packed.write(f"{json.dumps(value, ensure_ascii=False)}\n".encode())
