"""lhotse's recordings and supervisions, in and out: what ``lhotse prepare X DIR OUT`` writes, and what lhotse loads.

    <anything>recordings<suffix>.jsonl[.gz]        {"id", "sources", "sampling_rate", "num_samples", "duration", …}
    <anything>supervisions<suffix>.jsonl[.gz]      {"id", "recording_id", "start", "duration", "channel", "text", …}

Read here line by line rather than with lhotse: an error can name its line, and neither torch (seconds) nor the whole
manifest (memory) is loaded. Tests hold it against lhotse itself. Sources that are commands or addresses are refused.
"""

from __future__ import annotations

import gzip
import json
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from asr.errors import RecipeError, at
from asr.files import atomic_open
from asr.manifest import Utterance
from corpus import OWN_SPLITS, UNKNOWN_SPEAKER, Clip, Cut, Part
from joining import Clips, audio_path
from problems import ERROR, NOTE, WARNING, Problem

_NAME = re.compile(r"(.*)recordings(.*)\.jsonl(\.gz)?")
_PARTS = ("1h", "10h")
_SAME = 0.01  # seconds by which a supervision may miss its recording's end and still be the whole of it


class _Recording(NamedTuple):
    """Path and channels of each file of a recording, its length in seconds, and its line; no files: it was refused."""

    files: tuple[tuple[str, tuple[int, ...]], ...]
    seconds: float
    line: int


class _Pair(NamedTuple):
    recordings: Path
    supervisions: Path
    suffix: str


def _pairs(path: Path) -> list[_Pair]:
    if not path.is_dir():
        return []
    found = []
    for recordings in sorted(path.iterdir()):
        if match := _NAME.fullmatch(recordings.name):
            name = f"{match[1]}supervisions{match[2]}.jsonl"
            there = [path / f"{name}{ending}" for ending in (".gz", "") if (path / f"{name}{ending}").is_file()]
            found += [_Pair(recordings, there[0], match[2].strip("_-."))] if there else []
    return found


def is_lhotse(path: Path) -> bool:
    """Whether ``path`` is a folder with recordings and the supervisions that belong to them."""
    return bool(_pairs(path))


def lhotse_parts(path: Path) -> list[str]:
    """Which parts of CDSD there are, as ``lhotse prepare cdsd`` names its files."""
    return [part for part in _PARTS if part in {pair.suffix for pair in _pairs(path)}]


def read_lhotse(path: Path, part: str = "") -> Part:
    """Read the recordings and supervisions of a folder: of ``part``, or all, sets for train, val and test as the split.

    RecipeError with file and line for a file that is damaged or no JSON. Audio is not looked at here.
    """
    found = Part(part, path, path)
    clips = Clips(found)
    pairs = [pair for pair in _pairs(path) if not part or pair.suffix == part]
    split_so = not part and any(pair.suffix.lower() in OWN_SPLITS for pair in pairs)
    for pair in pairs:
        split = OWN_SPLITS.get(pair.suffix.lower(), "") if split_so else ""
        if split_so and not split:
            detail = f"is none of {', '.join(OWN_SPLITS)}; not read"
            found.problems.append(Problem(NOTE, "other set", str(pair.recordings), None, "", detail))
            continue
        _read_pair(clips, pair, split)
    return clips.finish()


def _read_pair(clips: Clips, pair: _Pair, split: str) -> None:
    problems, file = clips.part.problems, str(pair.supervisions)
    recordings = _recordings(problems, pair.recordings)
    used = set()
    for number, value in _lines(pair.supervisions):
        key, where = str(value.get("id", "")), str(value.get("recording_id", ""))
        used.add(where)
        recording = recordings.get(where)
        if recording is None:
            detail = f"its recording {where} is not in {pair.recordings.name}"
            problems.append(Problem(ERROR, "transcript without wav", file, number, key, detail))
        elif recording.files:
            try:
                audio, cut = _place(recording, value)
            except ValueError as error:
                problems.append(Problem(ERROR, "bad segment", file, number, key, str(error)))
                continue
            speaker, text = str(value.get("speaker") or UNKNOWN_SPEAKER), str(value.get("text") or "")
            clips.add(Clip(key, speaker, audio, text, file, number, cut, split))
    for name, recording in recordings.items():
        if name not in used:
            at_ = str(pair.recordings), recording.line
            problems.append(Problem(WARNING, "wav without transcript", *at_, name, "no supervision is of it"))


def _recordings(problems: list[Problem], path: Path) -> dict[str, _Recording]:
    found: dict[str, _Recording] = {}
    for number, value in _lines(path):
        key, files = str(value.get("id", "")), []
        refused = "has transforms, which are not applied here" if value.get("transforms") else ""
        for source in value.get("sources") or [{}]:
            name, kind = source.get("source"), source.get("type")
            if kind != "file" or not isinstance(name, str) or "://" in name or "\0" in name:
                refused = refused or f"a source of type {kind}: {name!r}; only files are read"
            else:
                files.append((audio_path(name, path.parent), tuple(source.get("channels") or (0,))))
        if key in found:
            refused = f"its id is also on line {found[key].line}: left out"
        if refused:
            detail = f"refused, not run: it {refused}"
            problems.append(Problem(ERROR, "refused recording source", str(path), number, key, detail))
            files = []
        found[key] = _Recording(tuple(files), float(value.get("duration") or 0), number)
    return found


def _place(recording: _Recording, supervision: Mapping[str, Any]) -> tuple[str, Cut | None]:
    """The file of a supervision, and the cut where it is not the whole of it. ValueError says what is wrong."""
    try:
        start, seconds = float(supervision.get("start", 0)), float(supervision.get("duration", recording.seconds))
    except (TypeError, ValueError):
        raise ValueError("start and duration must be seconds") from None
    if start < 0 or seconds <= 0:
        raise ValueError(f"start {start:g}, duration {seconds:g}: must start at 0 or later and last")
    channel = supervision.get("channel", 0)
    wanted = tuple(channel) if isinstance(channel, list) else (channel,)
    files = [(name, channels) for name, channels in recording.files if set(wanted) <= set(channels)]
    if not files:
        raise ValueError(f"its channel {channel} is in none of the recording's files")
    name, channels = files[0]
    one = channels.index(wanted[0]) if len(wanted) == 1 and len(channels) > 1 else None
    if len(wanted) not in (1, len(channels)):
        raise ValueError(f"channels {channel} of {len(channels)}: one of them or all can be used")
    whole = start == 0 and abs(seconds - recording.seconds) <= _SAME
    if whole:
        return name, None if one is None else Cut(channel=one)
    return name, Cut(start, seconds, one)


def _lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    number = 0
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else open(path, "rb") as stream:
            for number, raw in enumerate(stream, 1):
                if not raw.strip():
                    continue
                value = json.loads(raw.decode("utf-8"))
                if not isinstance(value, dict):
                    raise RecipeError(f"{at(path, number)}: not a JSON object; prepare the manifest again")
                yield number, value
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise RecipeError(f"{at(path, number + 1)}: the gzip file is damaged ({error}); prepare it again") from None
    except ValueError as error:
        raise RecipeError(f"{at(path, number)}: not JSON ({error}); prepare the manifest again") from None


def write_lhotse(folder: Path, split: str, utterances: Iterable[Utterance]) -> None:
    """Write recordings_<split>.jsonl.gz and supervisions_<split>.jsonl.gz; the utterances' files have one channel.

    The same utterances give the same bytes.
    """
    items = list(utterances)
    _write(folder / f"recordings_{split}.jsonl.gz", (_as_recording(item) for item in items))
    _write(folder / f"supervisions_{split}.jsonl.gz", (_as_supervision(item) for item in items))


def _as_recording(item: Utterance) -> dict[str, Any]:
    rate = round(item.num_samples / item.duration)
    return {
        "id": item.key,
        "sources": [{"type": "file", "channels": [0], "source": item.source}],
        "sampling_rate": rate,
        "num_samples": item.num_samples,
        "duration": item.num_samples / rate,
        "channel_ids": [0],
    }


def _as_supervision(item: Utterance) -> dict[str, Any]:
    seconds = item.num_samples / round(item.num_samples / item.duration)
    return {
        "id": item.key,
        "recording_id": item.key,
        "start": 0.0,
        "duration": seconds,
        "channel": 0,
        "text": item.target,
        "language": "Chinese",
        "speaker": item.speaker,
    }


def _write(path: Path, values: Iterable[Mapping[str, Any]]) -> None:
    with atomic_open(path, "wb") as stream, gzip.GzipFile("", "wb", 1, stream, mtime=0) as packed:
        for value in values:
            packed.write(json.dumps(value, ensure_ascii=False).encode() + b"\n")
