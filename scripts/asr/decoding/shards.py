"""Decoding in several processes, one a GPU or, on the CPU, as many as asked for; each has a model of its own.

Batches are dealt out, longest first. The first process that fails ends all: what came until then is kept
(asr.decoding.partial), and a failure is one line.
"""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any, NamedTuple

from asr.core.errors import RecipeError
from asr.core.files import write_text
from asr.core.processes import Child, ChildEndedError, cores
from asr.core.run_folder import DecodeFolder
from asr.decoding.batches import Clip, Results

READERS = 4  # processes that read audio for a GPU, where there are as many cores


class Job(NamedTuple):
    """How to decode: a model folder, GPUs (0 for the CPU), dither, and Family.options, None for its defaults."""

    model: Path
    ngpu: int
    dither: float
    options: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Facts:
    """Of a decode: processes, devices, and wall seconds of the slowest load, first clip, and decoding."""

    processes: int = 0
    device: str | None = None
    load_seconds: float = 0.0
    warm_up_seconds: float = 0.0
    decode_seconds: float = 0.0


def process_count(ngpu: int, processes: int, count: int) -> int:
    """Return how many processes decode ``count`` batches: one a GPU, or ``processes``; never more than batches."""
    return max(min(ngpu or processes, count), 1)


def decode(
    job: Job, plan: Sequence[Sequence[Clip]], processes: int, out: Path, keep: Callable[[Results], None]
) -> Facts:
    """Decode every batch of the plan; ``keep`` is given the results of each as they come, in any order.

    RecipeError, with all processes ended, where one fails or is killed. A fault of the program leaves its traceback in
    ``out``.
    """
    fault = DecodeFolder(out).fault
    fault.unlink(missing_ok=True)
    threads = max(cores() // processes, 1)
    readers = min(READERS, max(threads - 1, 1)) if job.ngpu else 0
    with contextlib.ExitStack() as stack:
        children = [Child("asr.decoding.worker") for _ in range(processes)]
        for number, child in enumerate(children):
            stack.callback(child.end)
            more = {"gpu": number, "threads": threads, "readers": readers, "plan": plan[number::processes]}
            child.send(job._asdict() | more)
        working, facts = list(children), []
        while working:
            for child in wait(working):
                name = f"decoding process {children.index(child) + 1} of {processes}"
                kind, value = _receive(child, name, job.ngpu, fault)
                if kind == "done":
                    working.remove(child)
                    facts.append(value)
                else:
                    keep(value)
    devices = sorted({entry.pop("device") for entry in facts})
    slowest = {key: max(entry[key] for entry in facts) for key in facts[0]}
    return Facts(processes, ", ".join(devices), **slowest)


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
