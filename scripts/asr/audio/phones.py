"""Recordings as phones write them (m4a, aac, amr, …), which libsndfile does not read: by PyAV, an optional package.

They are decoded to their end wherever they are read: their headers say how long they last only by estimate, or not.
"""

from __future__ import annotations

import importlib
import itertools
import os
import shlex
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from asr.audio.clip import UnreadableError

if TYPE_CHECKING:
    import numpy as np

EXTENSIONS = (".m4a", ".aac", ".amr", ".3gp", ".mp4", ".wma", ".caf")
INSTALL = "bash scripts/install.sh --phone"
_SHORT = 0.1  # seconds by which a whole file may last less than it says


def is_phones(path: str | os.PathLike[str]) -> bool:
    """Return whether a file is one of these, by its name."""
    return os.fspath(path).lower().endswith(EXTENSIONS)


def decoded(path: str | os.PathLike[str]) -> Iterator[tuple[np.ndarray, int]]:
    """Yield (samples [frames, channels] float32, rate) of a file, block by block.

    UnreadableError where it cannot be decoded to its end, or PyAV is not installed.
    """
    try:
        av: Any = importlib.import_module("av")
    except ModuleNotFoundError:
        old, new = (shlex.quote(name) for name in (os.fspath(path), f"{os.path.splitext(path)[0]}.wav"))
        raise UnreadableError(
            f"to have such files read: {INSTALL}; or convert it: ffmpeg -i {old} -ar 16000 -ac 1 {new}"
        ) from None
    try:
        with av.open(os.fspath(path)) as container:
            if not container.streams.audio:
                raise UnreadableError("no sound in it")
            stream, floats, seconds = container.streams.audio[0], av.AudioResampler(format="fltp"), 0.0
            for frame in itertools.chain(container.decode(stream), [None]):
                for block in floats.resample(frame):
                    seconds += block.samples / block.sample_rate
                    yield block.to_ndarray().T, block.sample_rate
            stated = float(stream.duration * stream.time_base) if stream.duration and stream.time_base else 0.0
            if "mp4" in container.format.name and seconds < stated - _SHORT:  # others estimate it
                raise UnreadableError(f"it breaks off {stated - seconds:.2f} s before its header says")
    except (av.FFmpegError, OSError) as error:
        raise UnreadableError(f"cannot be decoded: {error.strerror or error}") from None
