"""Decoding in several processes, one a GPU or, on the CPU, as many as asked for; each has a model of its own.

They take batches from one queue, longest first. The first that fails ends all: what came until then is kept
(asr.decoding.partial), and a failure is one line.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

from asr.core.errors import RecipeError
from asr.core.files import write_text
from asr.core.processes import cores, die_with_parent
from asr.core.run_folder import DecodeFolder
from asr.decoding.batches import Clip, Decoder, Results

SECONDS = ("load_seconds", "warm_up_seconds", "decode_seconds")
_own: dict[str, Any] = {}  # a decoding process's number, and once it has loaded its model, the decoder and its facts


def process_count(ngpu: int, processes: int, count: int) -> int:
    """Return how many processes decode ``count`` batches: one a GPU, or ``processes``; never more than batches."""
    return max(min(ngpu or processes, count), 1)


def decode(
    job: dict[str, Any], plan: Sequence[Sequence[Clip]], processes: int, out: Path, keep: Callable[[Results], None]
) -> dict[str, Any]:
    """Decode every batch of the plan; return decode.json's shards, device, model size and seconds (of the slowest).

    Args:
        job: model, ngpu, dither and options, as ``asr.models.loading.load`` takes them; adapter, a folder of adapters.
        out: where a fault of the program leaves its traceback.
        keep: is given the results of each batch as they come, in any order.

    RecipeError, with all processes ended, where one fails or is killed.
    """
    fault = DecodeFolder(out).fault
    fault.unlink(missing_ok=True)
    context = multiprocessing.get_context("spawn")
    slowest: dict[str, Any] = {"device": None, "parameters": None, **dict.fromkeys(SECONDS, 0.0)}
    with _leave_stopping_to_parent():
        numbers = context.SimpleQueue()
        for number in range(processes):
            numbers.put(number)
        pool = ProcessPoolExecutor(processes, context, _begin, (numbers,))
        futures = [pool.submit(_decode, job, batch, processes) for batch in plan]
    with pool:
        try:
            for future in as_completed(futures):
                results, facts = _result(future, fault, job["ngpu"])
                keep(results)
                slowest |= facts | {key: max(slowest[key], facts[key]) for key in SECONDS}
        except BaseException:
            for child in multiprocessing.active_children():
                child.kill()
            raise
    return {"shards": processes if plan else 0, **slowest}


def _result(future: Future, fault: Path, ngpu: int) -> tuple[Results, dict[str, Any]]:
    """Return what ``_decode`` did. RecipeError where it failed; of a fault of the program the traceback is kept."""
    try:
        return future.result()
    except RecipeError:
        raise
    except BrokenProcessPool:
        lower = f"decode_conf.batch_seconds{'' if ngpu else ' or --processes'}"
        raise RecipeError(
            f"a decoding process was killed, most likely out of memory (lower {lower}); the same command resumes from"
            " what is done"
        ) from None
    except Exception as error:
        write_text(fault, "".join(traceback.format_exception(error)))
        why = f"{type(error).__name__}: {error}".splitlines()[0][:160]
        raise RecipeError(f"a decoding process failed ({why}); its traceback is in {fault}") from None


@contextlib.contextmanager
def _leave_stopping_to_parent() -> Iterator[None]:
    """Let processes that are started here ignore Ctrl-C and a lost connection: this one ends them."""
    handlers = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def _begin(numbers: Any) -> None:
    """Let this process not outlive its parent; take a number."""
    die_with_parent()
    _own["number"] = numbers.get()


def _decode(job: dict[str, Any], batch: Sequence[Clip], processes: int) -> tuple[Results, dict[str, Any]]:
    """Return a batch's results, the device, and the seconds that this process has taken so far."""
    if "decoder" not in _own:
        _load(job, processes)
    if _own["adapters"]:
        _own["adapters"].use(batch[0].adapter)
    results = _own["decoder"].decode(batch)
    return results, {**_own["facts"], "decode_seconds": time.perf_counter() - _own["ready"]}


def _load(job: dict[str, Any], processes: int) -> None:
    """Load the model. A second of quiet noise is timed apart: a GPU's libraries load and choose kernels in it."""
    began = time.perf_counter()
    import numpy as np
    import torch

    torch.set_num_threads(min(torch.get_num_threads(), max(cores() // processes, 1)))
    from asr.models.adapter_folder import Adapters
    from asr.models.loading import load

    adapter, job = job["adapter"], {name: value for name, value in job.items() if name != "adapter"}
    recogniser = load(**job, gpu=_own["number"])
    _own["adapters"] = Adapters(Path(adapter), Path(job["folder"]), recogniser.model) if adapter else None
    loaded = time.perf_counter()
    recogniser.transcribe([np.random.default_rng(0).normal(0, 0.01, 16000).astype("float32")])
    _own["ready"] = time.perf_counter()
    device = torch.cuda.get_device_name() if recogniser.device == "cuda" else "cpu"
    parameters = sum(value.numel() for value in recogniser.model.parameters())
    seconds = {"load_seconds": loaded - began, "warm_up_seconds": _own["ready"] - loaded}
    _own["facts"] = {"device": device, "parameters": parameters, **seconds}
    _own["decoder"] = Decoder(recogniser, lambda line: print(line, flush=True))
