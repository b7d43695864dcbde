"""A clip: a file or a piece of one."""

from __future__ import annotations

from typing import NamedTuple

TOLERANCE = 0.02  # seconds between what a manifest says and its file has: times are rounded, and resamplers round too


class UnreadableError(Exception):
    """A clip that cannot be used; the message says why, without the file's name. ``kind``: as in problems.tsv."""

    def __init__(self, detail: str, kind: str = "unreadable audio") -> None:
        super().__init__(detail)
        self.kind = kind


def sound_error(error: Exception) -> str:
    """Return libsndfile's message without its frame."""
    return str(getattr(error, "error_string", "") or error).removeprefix("Error : ").rstrip(". ")


class Cut(NamedTuple):
    """Which part of a file is the clip, where that is not all of it.

    ``start`` and ``seconds`` are in seconds (``seconds`` None: to the end); ``channel`` counts from 0 (None: the mean
    of all channels).
    """

    start: float = 0.0
    seconds: float | None = None
    channel: int | None = None


def frames_of(cut: Cut | None, frames: int, rate: int, channels: int) -> tuple[int, int]:
    """Return (first frame, number of frames) of a clip in a file of ``frames`` at ``rate``.

    UnreadableError for a cut that the file does not have; up to TOLERANCE too much is cut off at the file's end.
    """
    if cut is None:
        return 0, frames
    if not 0 <= (cut.channel or 0) < channels:
        raise UnreadableError(f"channel {cut.channel} of a file that has {channels}", "cut beyond the end")
    first = round(cut.start * rate)
    last = frames if cut.seconds is None else first + round(cut.seconds * rate)
    if not first < min(last, frames) or last > frames + TOLERANCE * rate:
        times = f"{first / rate:.2f} s to {last / rate:.2f} s of a file of {frames / rate:.2f} s"
        raise UnreadableError(times, "cut beyond the end")
    return first, min(last, frames) - first
