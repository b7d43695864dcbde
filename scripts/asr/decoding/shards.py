"""Decoding in several processes, one a GPU or, on the CPU, as many as asked for; each has a model of its own.

All are sent the plan: every batch, longest first. When each has loaded its model and decoded a first clip, the clock
starts, and they take batches from one queue, so that a slow one takes fewer. The first that fails ends all: what came
until then is kept (asr.decoding.partial), and a failure is one line.
"""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any, NamedTuple

from asr.audio.unreadable import Unread
from asr.core.errors import RecipeError
from asr.core.files import write_text
from asr.core.processes import Child, ChildEndedError, cores
from asr.core.run_folder import DecodeFolder
from asr.decoding.batches import Clip

Keep = Callable[[int, list[str | Unread]], None]  # is given a batch's number and its texts

READERS = 4  # processes that read audio for a GPU, where there are as many cores


class Job(NamedTuple):
    """What to decode: a model folder, GPUs (0 for the CPU), dither, batches longest first, processes, options."""

    model: Path
    ngpu: int
    dither: float
    batches: Sequence[Sequence[Clip]]
    shards: int
    options: Mapping[str, Any] | None = None  # Family.options; None for its defaults


@dataclass
class Facts:
    """Of a decode: devices, and wall seconds of the slowest load, the slowest first clip, and all batches."""

    devices: list[str]
    load_seconds: float
    warm_up_seconds: float
    decode_seconds: float = 0.0


def process_count(ngpu: int, processes: int, count: int) -> int:
    """Return how many processes decode ``count`` batches: one a GPU, or ``processes``; never more than batches."""
    return max(min(ngpu or processes, count), 1)


@contextlib.contextmanager
def _started(job: Job) -> Iterator[list[Child]]:
    """Yield the processes, with the plan sent to each; none is left running."""
    share = max(cores() // job.shards, 1)
    plan = {**job._asdict(), "threads": share, "readers": min(READERS, max(share - 1, 1)) if job.ngpu else 0}
    children: list[Child] = []
    try:
        for _ in range(job.shards):
            children.append(Child("asr.decoding.worker"))
        for number, child in enumerate(children):
            child.send({**plan, "shard": number})
        yield children
    finally:
        for child in children:
            child.end()


def _ended(name: str, ended: ChildEndedError, ngpu: int) -> RecipeError:
    why = str(ended)
    if ended.status == -signal.SIGKILL:
        why += f", most likely out of memory (lower decode_conf.batch_seconds{'' if ngpu else ' or --processes'})"
    return RecipeError(f"{name} {why}; the same command resumes from what is done")


def _receive(child: Child, children: list[Child], job: Job, out: Path) -> tuple[Any, ...]:
    """Return the next message of a process. RecipeError where it has failed or is gone."""
    try:
        kind, *values = child.receive()
    except ChildEndedError as ended:
        raise _ended(f"decoding process {children.index(child) + 1} of {job.shards}", ended, job.ngpu) from None
    if kind == "error":
        raise RecipeError(values[0])
    if kind == "fault":
        fault = DecodeFolder(out).fault
        write_text(fault, values[0])
        last = values[0].strip().splitlines()[-1]
        raise RecipeError(f"a decoding process failed ({last[:160]}); its traceback is in {fault}")
    return tuple(values)


def decode(job: Job, out: Path, keep: Keep) -> Facts:
    """Decode every batch of the job; ``keep(number, texts)`` is called for each as it comes, in any order.

    RecipeError, with all processes ended, where one fails or is killed. A fault of the program leaves its traceback in
    ``out``.
    """
    DecodeFolder(out).fault.unlink(missing_ok=True)
    with _started(job) as children:

        def receive(child: Child) -> tuple[Any, ...]:
            return _receive(child, children, job, out)

        ready = [receive(child)[0] for child in _as_they_speak(children)]
        devices = sorted({facts["device"] for facts in ready})
        load_seconds, warm_up_seconds = (
            max(facts[name] for facts in ready) for name in ("load_seconds", "warm_up_seconds")
        )
        began = time.perf_counter()
        _decode(job, children, receive, keep)
        seconds = time.perf_counter() - began
        for child in children:
            child.wait()
    return Facts(devices, load_seconds, warm_up_seconds, seconds)


def _as_they_speak(children: list[Child]) -> Iterator[Child]:
    """Yield every process once, when it has sent something or is gone."""
    waiting = list(children)
    while waiting:
        for child in wait(waiting):
            waiting.remove(child)
            yield child


def _decode(
    job: Job,
    children: list[Child],
    receive: Callable[[Child], tuple[Any, ...]],
    keep: Keep,
) -> None:
    numbers = iter(range(len(job.batches)))
    unanswered = dict.fromkeys(children, 0)

    def ask(child: Child) -> None:
        number = next(numbers, None)
        unanswered[child] += number is not None
        child.send(number)  # None: that was all

    for _ in range((READERS if job.ngpu else 1) + 1):  # as many as a process reads ahead (Readers.depth), or more
        for child in children:
            ask(child)
    while busy := [child for child in children if unanswered[child]]:
        for child in wait(busy):
            number, texts = receive(child)
            unanswered[child] -= 1
            keep(number, texts)
            ask(child)
