"""A transcript in the forms of OpenAI's transcription endpoint; pure functions of segments.

https://platform.openai.com/docs/api-reference/audio/createTranscription. ``verbose_json`` has what is known and leaves
out what is not (avg_logprob, tokens, times of words); what it has besides: how sure the model is, and of what else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from asr.decoding.transcript_formats import Segment, srt, srt_time

FORMATS = ("json", "text", "srt", "verbose_json", "vtt")


def joined(segments: Sequence[Segment]) -> str:
    """Return the texts as one: with a blank only between what would else be one Latin word."""
    text = ""
    for segment in segments:
        part = segment.line
        latin = text[-1:].isascii() and part[:1].isascii() and text[-1:].isalnum() and part[:1].isalnum()
        text += f" {part}" if latin else part
    return text


def verbose(segments: Sequence[Segment]) -> dict[str, Any]:
    """Return verbose_json's object. ``calibrated``: a confidence is the share of such characters that are right."""
    rows = [_row(number, segment) for number, segment in enumerate(segments)]
    duration = round(segments[-1].end, 3) if segments else 0.0
    value = {"task": "transcribe", "language": "chinese", "duration": duration, "text": joined(segments)}
    known = {"calibrated": segments[0].sure["calibrated"]} if segments and segments[0].sure else {}
    return {**value, **known, "segments": rows}


def _row(number: int, segment: Segment) -> dict[str, Any]:
    times = {"start": round(segment.begin, 3), "end": round(segment.end, 3)}
    row = {"id": number, **times, "text": segment.line}
    if segment.sure:
        row |= {
            "confidence": segment.sure["confidence"],
            "characters": spread(segment.line, segment.sure["characters"]),
        }
    return row


def spread(text: str, rows: Sequence[Sequence[Any]]) -> list[dict[str, Any]]:
    """Return the text character by character, each with its confidence and alternatives where it has any.

    ``rows`` are [character, confidence, [[other, confidence], …]] of what is scored: marks and blanks are not, and
    have none. A text that is scored in another spelling (digits as words) has none at all.
    """
    found: list[dict[str, Any]] = []
    at = 0
    for char in text:
        one: dict[str, Any] = {"text": char}
        if at < len(rows) and char.casefold() == rows[at][0].casefold():
            others = [{"text": other, "confidence": sure} for other, sure in rows[at][2]]
            one |= {"confidence": rows[at][1], "alternatives": others}
            at += 1
        found.append(one)
    return found if at == len(rows) else [{"text": char} for char in text]


def vtt(segments: Sequence[Segment]) -> str:
    """Return WebVTT subtitles, a cue a segment."""
    cues = [
        f"{srt_time(one.begin)} --> {srt_time(one.end)}".replace(",", ".") + f"\n{one.line.replace('-->', '→')}\n"
        for one in segments
        if one.line
    ]
    return "\n".join(["WEBVTT\n", *cues])


def answer(response_format: str, segments: Sequence[Segment]) -> Mapping[str, Any] | str:
    """Return the body: an object for JSON, else a text."""
    if response_format == "verbose_json":
        return verbose(segments)
    if response_format == "json":
        return {"text": joined(segments)}
    return {"srt": srt, "vtt": vtt}[response_format](segments) if response_format != "text" else joined(segments) + "\n"
