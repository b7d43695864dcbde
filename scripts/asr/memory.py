"""Want of memory: which errors are that, and what did not fit, kept for the processes that go on from here.

exp/<tag>/too_large.json  the smallest batch that did not fit, and where: it is begun in parts from the first time on
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from asr.files import write_json

TOO_LARGE = "too_large.json"
# CUDA and its libraries take memory beside torch's, and say so in errors of their own.
SIGNS = (
    "can't allocate memory",
    "CUDA error: out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
    "CUSOLVER_STATUS_ALLOC_FAILED",
)


def ran_out_of_memory(error: BaseException) -> bool:
    """Whether an error is one of memory, the GPU's or the processor's."""
    kinds = [kind.__name__ for kind in type(error).__mro__]  # torch's own class, and torch is not imported for it
    return "OutOfMemoryError" in kinds or any(sign in str(error) for sign in SIGNS)


def too_large(exp: Path, device: str | None = None) -> int | None:
    """Padded frames of the smallest batch that did not fit; None where all did.

    ``device``: the one that it is asked for; what did not fit on another one is not known not to fit here.
    """
    try:
        found: dict[str, Any] = json.loads((exp / TOO_LARGE).read_text(encoding="utf-8"))
        return int(found["padded_frames"]) if device in (None, found["device"]) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def keep_too_large(exp: Path, device: str, padded_frames: int) -> None:
    """Keep what did not fit, for all processes that begin after this."""
    write_json(exp / TOO_LARGE, {"padded_frames": padded_frames, "device": device})
