"""Decoding in several processes, one a GPU or, on the processor, as many as asked for; each has a model of its own.

All are sent the plan: every batch, longest first. When each has loaded its model and decoded a first clip, the clock
starts, and they take batches from one queue, so that a slow one takes fewer. The first that fails ends all: what came
until then is kept (asr.decoding.partial), and a failure is one line.
"""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, NamedTuple

from asr.core.errors import RecipeError
from asr.core.files import write_text
from asr.core.processes import cores, die_with_parent, leave_stopping_to_parent
from asr.decoding.batches import Clip

READERS = 4  # processes that read audio for a GPU, where there are as many cores
FAULT = "decode_fault.txt"


class Job(NamedTuple):
    """What to decode: a model folder, GPUs (0 for the processor), dither, batches longest first, processes, options."""

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


@dataclass
class Shard:
    """A process, the pipe to it, and the numbers of the batches that it was sent and has not answered."""

    number: int
    process: subprocess.Popen
    pipe: Connection
    asked: set[int] = field(default_factory=set)

    def send(self, value: Any) -> None:
        """Send it; one that is gone is noticed where it is listened to."""
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.pipe.send(value)


def shards(ngpu: int, processes: int, count: int) -> int:
    """How many processes decode ``count`` batches: one a GPU, or ``processes``; never more than batches."""
    return max(min(ngpu or processes, count), 1)


def _begin() -> None:
    die_with_parent()
    leave_stopping_to_parent()


@contextlib.contextmanager
def _started(job: Job) -> Iterator[list[Shard]]:
    """The shards, with the plan sent to each; none is left running."""
    running: list[Shard] = []
    share = max(cores() // job.shards, 1)
    plan = {**job._asdict(), "threads": share, "readers": min(READERS, max(share - 1, 1)) if job.ngpu else 0}
    try:
        for number in range(job.shards):
            ours, theirs = Pipe()
            command = [sys.executable, "-m", "asr.decoding.worker", str(theirs.fileno())]
            process = subprocess.Popen(command, pass_fds=[theirs.fileno()], preexec_fn=_begin)
            theirs.close()
            running.append(Shard(number, process, ours))
        for shard in running:
            shard.send({**plan, "shard": shard.number})
        yield running
    finally:
        for shard in running:
            shard.pipe.close()
            shard.process.kill()
        for shard in running:
            shard.process.wait()


def _ended(shard: Shard, job: Job) -> RecipeError:
    """What to say of a process that left without a word."""
    status, name = shard.process.wait(), f"decoding process {shard.number + 1} of {job.shards}"
    why = f"ended with status {status}"
    if status < 0:
        why = f"was killed by {signal.Signals(-status).name}"
    if status == -signal.SIGKILL:
        why += (
            f", most likely for want of memory (lower decode_conf.batch_seconds{'' if job.ngpu else ' or --processes'})"
        )
    return RecipeError(f"{name} {why}; the same command goes on from what is done")


def _hear(shard: Shard, job: Job, out: Path) -> tuple[Any, ...]:
    """The next message of a shard. RecipeError where it has failed or is gone."""
    try:
        kind, *values = shard.pipe.recv()
    except (EOFError, ConnectionResetError):
        raise _ended(shard, job) from None
    if kind == "error":
        raise RecipeError(values[0])
    if kind == "fault":
        write_text(out / FAULT, values[0])
        last = values[0].strip().splitlines()[-1]
        raise RecipeError(f"a decoding process failed ({last[:160]}); its traceback is in {out / FAULT}")
    return tuple(values)


def decode(job: Job, out: Path, keep: Callable[[int, list[str]], None]) -> Facts:
    """Decode every batch of the job; ``keep(number, texts)`` is called for each as it comes, in any order.

    RecipeError, with all processes ended, where one fails or is killed. A fault of the program leaves its traceback in
    ``out``.
    """
    (out / FAULT).unlink(missing_ok=True)
    with _started(job) as running:
        ready = [_hear(shard, job, out)[0] for shard in _each(running)]
        slowest = {name: max(item[name] for item in ready) for name in ("load_seconds", "warm_up_seconds")}
        facts = Facts(sorted({item["device"] for item in ready}), **slowest)
        began = time.perf_counter()
        _decode(job, running, out, keep)
        facts.decode_seconds = time.perf_counter() - began
        for shard in running:
            shard.process.wait()
    return facts


def _each(running: list[Shard]) -> Iterator[Shard]:
    """Every shard once, when it has something to say or is gone."""
    waiting = {shard.pipe: shard for shard in running}
    while waiting:
        for pipe in wait(list(waiting)):
            yield waiting.pop(pipe)  # type: ignore[call-overload]


def _decode(job: Job, running: list[Shard], out: Path, keep: Callable[[int, list[str]], None]) -> None:
    queue = deque(range(len(job.batches)))
    depth = (READERS if job.ngpu else 1) + 1  # as many as a shard reads ahead (Readers.depth), or more

    def ask(shard: Shard) -> None:
        number = queue.popleft() if queue else None
        shard.asked |= set() if number is None else {number}
        shard.send(number)

    for _ in range(depth):
        for shard in running:
            ask(shard)
    busy = {shard.pipe: shard for shard in running if shard.asked}
    while busy:
        for pipe in wait(list(busy)):
            shard = busy[pipe]  # type: ignore[index]
            number, texts = _hear(shard, job, out)
            shard.asked.remove(number)
            keep(number, texts)
            ask(shard)
            if not shard.asked:
                del busy[pipe]  # type: ignore[arg-type]
