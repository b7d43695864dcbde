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
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from asr.audio.clip import Cut
from asr.core.errors import RecipeError, at
from asr.core.files import atomic_open
from asr.core.manifest import Utterance
from asr.core.names import plain_name
from asr.preparation.corpus import OWN_SPLITS, UNKNOWN_SPEAKER, Clip, Part, tidy_name
from asr.preparation.joining import Clips, Table, audio_path, decoded, json_object, list_other
from asr.preparation.problems import ERROR, NOTE, Problem

_NAME = re.compile(r"([^.].*)?recordings(.*)\.jsonl(\.gz)?")
_SAME = 0.01  # seconds by which a supervision may miss its recording's end and still be the whole of it
_BEFORE = 0.001  # seconds by which rounding may put a start before 0; lhotse bears as much
_encode = json.JSONEncoder(ensure_ascii=False).encode

Channels = tuple[int, ...]


class _Recording(NamedTuple):
    """Path and channels of each file, and the length in seconds."""

    files: tuple[tuple[str, Channels], ...]
    seconds: float


class _Pair(NamedTuple):
    recordings: Path
    supervisions: Path
    suffix: str


class _RefusedError(Exception):
    """A recording that is sound but not read."""


def _pairs(path: Path, alone: list[Path] | None = None) -> list[_Pair]:
    """Return the pairs in a folder; files for which there is no other half are put into ``alone``."""
    pairs: dict[str, _Pair] = {}
    for recordings in sorted(path.iterdir(), reverse=True) if path.is_dir() else ():  # .gz, then the same without
        if match := _NAME.fullmatch(recordings.name):
            name = f"{match[1] or ''}supervisions{match[2]}.jsonl"
            there = [path / f"{name}{end}" for end in (match[3] or "", ".gz", "") if (path / f"{name}{end}").is_file()]
            if there and name not in pairs:
                pairs[name] = _Pair(recordings, there[0], match[2].strip("_-."))
            elif alone is not None:
                alone.append(recordings)
    return sorted(pairs.values())


def is_lhotse(path: Path) -> bool:
    """Return whether ``path`` is a folder with recordings and the supervisions that belong to them."""
    return bool(_pairs(path))


def lhotse_parts(path: Path, names: Sequence[str]) -> list[str]:
    """Return which of the parts ``names`` there are, by the ends of the files' names."""
    return [part for part in names if part in {pair.suffix for pair in _pairs(path)}]


def read_lhotse(path: Path, part: str = "") -> Part:
    """Read the recordings and supervisions of a folder: of ``part``, or all, sets for train, val and test as the split.

    RecipeError where there are none, and with file and line for a file that is damaged or no JSON. Audio is not looked
    at here.
    """
    found, alone = Part(part, path, path), []
    clips = Clips(found)
    pairs = [pair for pair in _pairs(path, alone) if not part or pair.suffix == part]
    if not pairs:
        raise RecipeError(f"{path}: no recordings{part and f'_{part}'}.jsonl.gz with supervisions; prepare them again")
    splits = {pair: "" if part else OWN_SPLITS.get(pair.suffix.lower(), "") for pair in pairs}
    for pair, split in splits.items():
        if split or not any(splits.values()):
            _read_pair(clips, pair, split)
        else:
            list_other(found, "other set", pair.recordings)
    detail = "not read: no supervisions belong to it, or the same set is there twice"
    found.problems += [Problem(NOTE, "other file", str(file), None, "", detail) for file in alone if not part]
    return clips.finish()


def _read_pair(clips: Clips, pair: _Pair, split: str) -> None:
    """Join supervisions with their recordings. Those of a recording that was refused are left out with it."""
    recordings = _recordings(clips.part, pair.recordings)
    used: set[str] = set()
    for number, value in _objects(clips.part, pair.supervisions):
        key, name = str(value.get("id", "")), str(value.get("recording_id", ""))
        key = tidy_name(clips.part.problems, key, pair.supervisions, number)
        name = key if name == key else plain_name(name)  # one string for both (memory)
        used.add(name)
        kind = "bad JSONL line"
        try:
            speaker, text = _word(value, "speaker") or UNKNOWN_SPEAKER, _word(value, "text")
            if name not in recordings.values:
                kind = "transcript without wav"
                raise ValueError(f"its recording {name!r} is not in {pair.recordings.name}")
            kind = "bad segment"
            if recording := recordings.values[name]:
                audio, cut = _place(recording, value)
                clips.add(Clip(key, speaker, audio, text, str(pair.supervisions), number, cut, split))
        except ValueError as error:
            clips.part.problems.append(Problem(ERROR, kind, str(pair.supervisions), number, key, str(error)))
    recordings.list_unused(used.__contains__, f"no supervision in {pair.supervisions.name} is of it")


def _word(value: Mapping[str, Any], name: str) -> str:
    """Return a field that is a string, or null or missing, which is an empty one."""
    word = value.get(name)
    if not isinstance(word, str | None):
        raise ValueError(f"'{name}' is {word!r}, not a string")
    return word or ""


def _recordings(part: Part, path: Path) -> Table[_Recording]:
    table: Table[_Recording] = Table(part, path)
    for number, value in _objects(part, path):
        key, recording = plain_name(str(value.get("id", ""))), None
        try:
            recording = _recording(value, path.parent)
        except ValueError as error:
            table.problem(ERROR, "bad JSONL line", number, key, str(error))
        except _RefusedError as error:
            detail = f"refused, not run or fetched: {error}; its supervisions are left out"
            table.problem(ERROR, "refused recording source", number, key, detail)
        table.put(number, key, recording)
    return table


def _recording(value: Mapping[str, Any], folder: Path) -> _Recording:
    sources, seconds = value.get("sources"), _seconds(value, "duration")
    if not isinstance(sources, list) or not sources or not all(isinstance(source, dict) for source in sources):
        raise ValueError(f"'sources' is {sources!r}, not a list of files")
    if value.get("transforms"):
        raise _RefusedError("it has transforms, and they are not applied here")
    files = []
    for source in sources:
        kind, name = source.get("type"), source.get("source")
        if kind != "file" or not isinstance(name, str) or "://" in name:
            raise _RefusedError(f"a source of type {kind}, {name!r}; only files are read")
        files.append((audio_path(name, folder), _channels(source.get("channels"))))
    return _Recording(tuple(files), seconds)


def _seconds(value: Mapping[str, Any], name: str) -> float:
    number = value.get(name)
    if isinstance(number, bool) or not isinstance(number, int | float) or not math.isfinite(number):
        raise ValueError(f"'{name}' is {number!r}, not a number of seconds")
    return float(number)


def _channels(value: Any) -> Channels:
    channels = value if isinstance(value, list) else [value]
    if not channels or not all(isinstance(channel, int) for channel in channels):
        raise ValueError(f"channel {value!r}: not a number, or a list of numbers")
    return tuple(channels)


def _place(recording: _Recording, supervision: Mapping[str, Any]) -> tuple[str, Cut | None]:
    """Return the file of a supervision, and the cut where it is not the whole of it. ValueError says what is wrong."""
    start, seconds = _seconds(supervision, "start"), _seconds(supervision, "duration")
    if start < -_BEFORE or seconds <= 0:
        raise ValueError(f"start {start:g}, duration {seconds:g}: must start at 0 or later, and last")
    wanted = _channels(supervision.get("channel", 0))
    found = [(path, channels) for path, channels in recording.files if set(wanted) <= set(channels)]
    if not found:
        raise ValueError(f"its channels {list(wanted)} are in no one file of its recording")
    path, channels = found[0]
    if len(set(wanted)) not in (1, len(channels)):
        raise ValueError(f"its channels {list(wanted)} are some of the file's {list(channels)}: give one, or all")
    channel = channels.index(wanted[0]) if len(channels) > 1 and len(set(wanted)) == 1 else None
    whole = start <= 0 and abs(seconds - recording.seconds) <= _SAME
    cut = Cut(channel=channel) if whole else Cut(max(start, 0.0), seconds, channel)
    return path, None if cut == Cut() else cut


def _objects(part: Part, path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (line number, object) of a manifest, plain or gzipped, one at a time."""
    number = 0
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else open(path, "rb") as stream:
            for number, raw in enumerate(stream, 1):
                if raw.strip():
                    yield number, json_object(decoded(part, path, number, raw))
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        where = at(path, number + 1)
        raise RecipeError(f"{where}: the gzip file is damaged ({error}); copy or prepare it again") from None
    except UnicodeDecodeError:
        raise RecipeError(f"{at(path, number)}: not UTF-8; prepare the manifest again") from None
    except ValueError as error:
        raise RecipeError(f"{at(path, number)}: {error}; prepare the manifest again") from None


def _mono(_: Utterance) -> int:
    return 1


def write_lhotse(
    folder: Path, split: str, utterances: Iterable[Utterance], channels: Callable[[Utterance], int] = _mono
) -> None:
    """Write recordings_<split>.jsonl.gz and supervisions_<split>.jsonl.gz, each as a whole or not at all.

    ``channels`` says how many an utterance's file has. The same utterances give the same bytes.
    """
    items = list(utterances)
    _write(folder / f"recordings_{split}.jsonl.gz", (_as_recording(item, channels(item)) for item in items))
    _write(folder / f"supervisions_{split}.jsonl.gz", (_as_supervision(item, channels(item)) for item in items))


def sampling_rate(item: Utterance) -> int:
    """Return samples a second, from their count and a duration that is rounded to microseconds.

    For a short clip that leaves some doubt; then it is the multiple of 25 (8000, 11025, 44100, …) that fits.
    """
    exact = item.num_samples / item.duration
    usual = 25 * round(exact / 25)
    return usual if abs(usual - exact) <= exact * 1e-6 / item.duration else round(exact)


def _as_recording(item: Utterance, channels: int) -> dict[str, Any]:
    rate, ids = sampling_rate(item), list(range(channels))
    return {
        "id": item.key,
        "sources": [{"type": "file", "channels": ids, "source": item.source}],
        "sampling_rate": rate,
        "num_samples": item.num_samples,
        "duration": item.num_samples / rate,
        "channel_ids": ids,
    }


def _as_supervision(item: Utterance, channels: int) -> dict[str, Any]:
    return {
        "id": item.key,
        "recording_id": item.key,
        "start": 0.0,
        "duration": item.num_samples / sampling_rate(item),
        "channel": 0 if channels == 1 else list(range(channels)),
        "text": item.target,
        "language": "Chinese",
        "speaker": item.speaker,
    }


def _write(path: Path, values: Iterable[Mapping[str, Any]]) -> None:
    with atomic_open(path, "wb") as stream, gzip.GzipFile("", "wb", 1, stream, mtime=0) as packed:
        for value in values:
            packed.write(_encode(value).encode() + b"\n")
