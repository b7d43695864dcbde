"""Want of memory: which errors are that, and what did not fit, kept for the processes that go on from here.

exp/<tag>/too_large.json  by device, the padded frames of the smallest batch, or part of one, that did not fit: batches
                          as large are begun in parts from the first time on. It may be removed.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from asr.files import write_json

TOO_LARGE = "too_large.json"
EXCHANGING = "out of memory while gradients were exchanged"  # the error after which a training is begun anew
PROCESSOR_SIGN = "can't allocate memory"
# CUDA and its libraries take memory beside torch's, and say so in errors of their own.
SIGNS = (
    PROCESSOR_SIGN,
    "CUDA error: out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
    "CUSOLVER_STATUS_ALLOC_FAILED",
)


def ran_out_of_memory(error: BaseException) -> bool:
    """Whether an error is one of memory, the GPU's or the processor's."""
    kinds = [kind.__name__ for kind in type(error).__mro__]  # torch's own class, and torch is not imported for it
    return "OutOfMemoryError" in kinds or any(sign in str(error) for sign in SIGNS)


def all_too_large(exp: Path) -> dict[str, int]:
    """What did not fit, by device; nothing where all did."""
    try:
        found: dict[str, Any] = json.loads((exp / TOO_LARGE).read_text(encoding="utf-8"))
        return {str(device): int(size) for device, size in found.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def keep_too_large(exp: Path, device: str, padded_frames: int) -> None:
    """Keep what did not fit, for all processes that begin after this; what is kept of it already may be less."""
    kept = all_too_large(exp)
    if padded_frames < kept.get(device, padded_frames + 1):
        write_json(exp / TOO_LARGE, {**kept, device: padded_frames})
