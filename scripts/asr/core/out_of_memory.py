"""Want of memory: which errors are that, and what did not fit, kept for the processes that go on from here.

exp/<tag>/too_large.json  by device, the padded frames of the smallest batch, or part of one, that did not fit, and when
                          that was: the training's processes that begin after it begin batches as large in parts. It is
                          removed at the next start of stage 3: what took the memory then may be gone.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

from asr.core.files import write_json

TOO_LARGE = "too_large.json"
EXCHANGING = "out of memory while gradients were exchanged"  # the error after which a training is begun anew
CPU_SIGNS = ("can't allocate memory", "could not create a primitive", "std::bad_alloc")  # torch's, oneDNN's, C++'s
# CUDA and its libraries take memory beside torch's, and say so in errors of their own.
SIGNS = (
    *CPU_SIGNS,
    "CUDA error: out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
    "CUSOLVER_STATUS_ALLOC_FAILED",
)


def ran_out_of_memory(error: BaseException) -> bool:
    """Whether an error is one of memory, the GPU's or the processor's."""
    kinds = [kind.__name__ for kind in type(error).__mro__]  # torch's own class, and torch is not imported for it
    return isinstance(error, MemoryError) or "OutOfMemoryError" in kinds or any(sign in str(error) for sign in SIGNS)


class TooLarge(NamedTuple):
    """What did not fit, and the local time at which that was found."""

    padded_frames: int
    made: str


def all_too_large(exp: Path) -> dict[str, TooLarge]:
    """Return what did not fit in this training, by device; nothing where all did."""
    try:
        found = json.loads((exp / TOO_LARGE).read_text(encoding="utf-8"))
        return {device: TooLarge(int(item["padded_frames"]), str(item["made"])) for device, item in found.items()}
    except (OSError, ValueError, TypeError, LookupError, AttributeError):
        return {}


def keep_too_large(exp: Path, device: str, found: TooLarge) -> None:
    """Keep what did not fit for the processes that begin after this; what another process has kept may be less."""
    kept = all_too_large(exp)
    if device not in kept or found.padded_frames < kept[device].padded_frames:
        kept[device] = found
        write_json(exp / TOO_LARGE, {name: item._asdict() for name, item in kept.items()})
