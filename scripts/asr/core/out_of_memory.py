"""Out-of-memory errors, and what did not fit, remembered across restarts.

exp/<tag>/too_large.json  by device, the padded frames of the smallest batch, or part of one, that did not fit, and when
                          that was: processes of the training that start later compute batches as large in parts. It is
                          removed at the next start of stage 3: what took the memory then may be gone.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from asr.core.files import write_json
from asr.core.run_folder import RunFolder

EXCHANGING = "out of memory while gradients were exchanged"  # the error after which a training is restarted
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
    """Return whether an error is one of memory, the GPU's or the CPU's."""
    kinds = [kind.__name__ for kind in type(error).__mro__]  # torch's own class, and torch is not imported for it
    return isinstance(error, MemoryError) or "OutOfMemoryError" in kinds or any(sign in str(error) for sign in SIGNS)


def attempt(function: Callable[..., Any], *arguments: Any) -> tuple[Any, str]:
    """Return ``function(*arguments)`` and "", or None and the error's first line where memory ran out.

    Nothing of a failed attempt is kept: the error, whose frames hold what it had in memory, is let go of before the
    GPU's cache is emptied.
    """
    try:
        return function(*arguments), ""
    except RuntimeError as error:  # torch.OutOfMemoryError is one
        if not ran_out_of_memory(error):
            raise
        reason = str(error).partition("\n")[0]
    empty_gpu_cache()
    return None, reason


def empty_gpu_cache() -> None:
    """Give the memory that torch keeps for later back to the GPU."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.empty_cache()


class TooLarge(NamedTuple):
    """What did not fit, and the local time of the failure."""

    padded_frames: int
    made: str


def all_too_large(exp: Path) -> dict[str, TooLarge]:
    """Return what did not fit in this training, by device; nothing where all did."""
    try:
        limits = json.loads(RunFolder(exp).oom_limits.read_text(encoding="utf-8"))
        return {device: TooLarge(int(limit["padded_frames"]), str(limit["made"])) for device, limit in limits.items()}
    except (OSError, ValueError, TypeError, LookupError, AttributeError):
        return {}


def keep_too_large(exp: Path, device: str, limit: TooLarge) -> None:
    """Remember what did not fit for the processes that start after this one; another may have met a smaller one."""
    limits = all_too_large(exp)
    smallest = min(limit, limits.get(device, limit))
    write_json(RunFolder(exp).oom_limits, {name: kept._asdict() for name, kept in {**limits, device: smallest}.items()})
