"""A transcript as text, JSON lines, a table (TSV) and subtitles (SRT); pure functions of segments.

A segment is a stretch of a recording that was recognised as one, and the smallest thing that has times: a cue of SRT
is a segment.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from asr.core.names import visible

TSV_HEADER = "file\tbegin\tend\tconfidence\ttext\n"


@dataclass(frozen=True)
class Segment:
    """A stretch of a recording and its text.

    Attributes:
        file: the recording's name, as it was given.
        begin, end: seconds from its beginning.
        whole: whether it is the whole recording.
        sure: {confidence, characters, calibrated}, as ``asr.decoding.second_text.describe`` has them; {} where they
            were not asked for.
    """

    file: str
    begin: float
    end: float
    whole: bool
    text: str
    sure: Mapping[str, Any]

    @property
    def name(self) -> str:
        """Return the file's name on one line and in one field, with nothing in it that cannot be seen."""
        return re.sub(r"\s", " ", visible(self.file))

    @property
    def line(self) -> str:
        """Return the text on one line."""
        return " ".join(self.text.split())


def plain(segments: Iterable[Segment]) -> str:
    """Return the texts alone, a line a segment."""
    return "".join(f"{segment.line}\n" for segment in segments)


def text_lines(segments: Iterable[Segment]) -> str:
    """Return ``FILE<tab>text``, with ``begin-end<tab>`` (seconds) before the text of a part of a file."""
    lines = []
    for segment in segments:
        where = [] if segment.whole else [f"{segment.begin:.2f}-{segment.end:.2f}"]
        lines.append("\t".join([segment.name, *where, segment.line]) + "\n")
    return "".join(lines)


def json_lines(segments: Iterable[Segment]) -> str:
    """Return an object a line: file, begin, end, text, and how sure the model is."""
    lines = []
    for segment in segments:
        times = {"begin": round(segment.begin, 2), "end": round(segment.end, 2)}
        value = {"file": segment.file, **times, "text": segment.text, **segment.sure}
        lines.append(json.dumps(value, ensure_ascii=False) + "\n")
    return "".join(lines)


def tsv_rows(segments: Iterable[Segment]) -> str:
    """Return rows for below ``TSV_HEADER``; a confidence that was not asked for is an empty field."""
    rows = []
    for segment in segments:
        times = (f"{segment.begin:.2f}", f"{segment.end:.2f}")
        sure = str(segment.sure.get("confidence", ""))
        rows.append("\t".join((segment.name, *times, sure, segment.line)) + "\n")
    return "".join(rows)


def tsv(segments: Iterable[Segment]) -> str:
    """Return a table with a header: file, begin, end (seconds), confidence, text."""
    return TSV_HEADER + tsv_rows(segments)


def srt(segments: Iterable[Segment]) -> str:
    """Return SubRip subtitles, a cue a segment; one in which nothing was recognised has no cue."""
    spoken = [segment for segment in segments if segment.line]
    return "\n".join(_cue(number, segment) for number, segment in enumerate(spoken, 1))


def _cue(number: int, segment: Segment) -> str:
    return f"{number}\n{srt_time(segment.begin)} --> {srt_time(segment.end)}\n{segment.line}\n"


def srt_time(seconds: float) -> str:
    """Return HH:MM:SS,mmm."""
    milliseconds = round(1000 * seconds)
    minutes, rest = divmod(milliseconds, 60_000)
    return f"{minutes // 60:02d}:{minutes % 60:02d}:{rest // 1000:02d},{rest % 1000:03d}"


# What a file of its own is written as, by the ending that it gets.
WRITERS: Mapping[str, Callable[[Iterable[Segment]], str]] = {
    "txt": plain,
    "jsonl": json_lines,
    "tsv": tsv,
    "srt": srt,
}
