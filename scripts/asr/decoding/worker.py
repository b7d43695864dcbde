"""One process of a decode, with a model of its own, started by decoding.shards, to which it is connected by a pipe.

It is sent the job and its batches (decoding.shards.decode). It sends ("results", results) for each batch and at last
("done", facts), or at any time ("error", line) or ("fault", traceback).
"""

from __future__ import annotations

import sys
import time
import traceback
from collections.abc import Sequence
from multiprocessing.connection import Connection
from typing import Any

from asr.core import errors
from asr.core.errors import RecipeError
from asr.decoding.batches import Clip, Decoder

BEGAN = time.perf_counter()


def decode(
    pipe: Connection, job: dict[str, Any], plan: Sequence[Sequence[Clip]], threads: int, readers: int
) -> dict[str, Any]:
    """Load the model and decode the plan; return the device, and the seconds that it took.

    A first clip, a second of quiet noise, is timed apart: a GPU's libraries load and choose kernels in it.
    """
    import numpy as np
    import torch

    torch.set_num_threads(min(torch.get_num_threads(), threads))
    from asr.models.loading import load

    recogniser = load(job.pop("model"), **job)
    loaded = time.perf_counter()
    recogniser.transcribe([np.random.default_rng(0).normal(0, 0.01, 16000).astype("float32")])
    warm = time.perf_counter()
    for results in Decoder(recogniser, lambda line: print(line, flush=True)).run(plan, readers):
        pipe.send(("results", results))
    return {
        "device": torch.cuda.get_device_name() if recogniser.device == "cuda" else "cpu",
        "load_seconds": loaded - BEGAN,
        "warm_up_seconds": warm - loaded,
        "decode_seconds": time.perf_counter() - warm,
    }


def main() -> None:
    pipe = Connection(int(sys.argv[1]))
    try:
        pipe.send(("done", decode(pipe, *pipe.recv())))
    except RecipeError as error:
        pipe.send(("error", str(error)))
    except Exception:
        pipe.send(("fault", traceback.format_exc()))


if __name__ == "__main__":
    errors.run(main, at_once=True)
