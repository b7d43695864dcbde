"""Decoding in several processes, one a GPU or, on the CPU, as many as asked for; each has a model of its own.

Batches are dealt out, longest first. The first process that fails ends all: what came until then is kept
(asr.decoding.partial), and a failure is one line.
"""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Sequence
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

from asr.core.errors import RecipeError
from asr.core.files import write_text
from asr.core.processes import Child, ChildEndedError, cores
from asr.core.run_folder import DecodeFolder
from asr.decoding.batches import Clip, Results

READERS = 4  # processes that read audio for a GPU, where there are as many cores
SECONDS = ("load_seconds", "warm_up_seconds", "decode_seconds")


def process_count(ngpu: int, processes: int, count: int) -> int:
    """Return how many processes decode ``count`` batches: one a GPU, or ``processes``; never more than batches."""
    return max(min(ngpu or processes, count), 1)


def decode(
    job: dict[str, Any], plan: Sequence[Sequence[Clip]], processes: int, out: Path, keep: Callable[[Results], None]
) -> dict[str, Any]:
    """Decode every batch of the plan; return decode.json's shards, device and seconds, of the slowest process each.

    Args:
        job: model, ngpu, dither and options, as ``asr.models.loading.load`` takes them.
        out: where a fault of the program leaves its traceback.
        keep: is given the results of each batch as they come, in any order.

    RecipeError, with all processes ended, where one fails or is killed.
    """
    fault = DecodeFolder(out).fault
    fault.unlink(missing_ok=True)
    if not plan:
        return {"shards": 0, "device": None, **dict.fromkeys(SECONDS, 0.0)}
    threads = max(cores() // processes, 1)
    readers = min(READERS, max(threads - 1, 1)) if job["ngpu"] else 0
    facts: list[dict[str, Any]] = []
    with contextlib.ExitStack() as stack:
        children = [Child("asr.decoding.worker") for _ in range(processes)]
        for number, child in enumerate(children):
            stack.callback(child.end)
            child.send((job | {"gpu": number}, plan[number::processes], threads, readers))
        working = list(children)
        while working:
            for child in wait(working):
                name = f"decoding process {children.index(child) + 1} of {processes}"
                kind, value = _receive(child, name, job["ngpu"], fault)
                if kind == "done":
                    working.remove(child)
                    facts.append(value)
                else:
                    keep(value)
    devices = ", ".join(sorted({entry["device"] for entry in facts}))
    slowest = {key: max(entry[key] for entry in facts) for key in SECONDS}
    return {"shards": processes, "device": devices, **slowest}


def _receive(child: Child, name: str, ngpu: int, fault: Path) -> tuple[str, Any]:
    """Return the next message of a process. RecipeError where it has failed or is gone."""
    try:
        kind, value = child.receive()
    except ChildEndedError as ended:
        why = str(ended)
        if ended.status == -signal.SIGKILL:
            why += f", most likely out of memory (lower decode_conf.batch_seconds{'' if ngpu else ' or --processes'})"
        raise RecipeError(f"{name} {why}; the same command resumes from what is done") from None
    if kind == "error":
        raise RecipeError(value)
    if kind == "fault":
        write_text(fault, value)
        last = value.strip().splitlines()[-1]
        raise RecipeError(f"a decoding process failed ({last[:160]}); its traceback is in {fault}")
    return kind, value
