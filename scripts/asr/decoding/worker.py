"""One process of a decode, with a model of its own, started by decoding.shards, to which it is connected by a pipe.

It is sent the plan (decoding.shards._started), then numbers of batches, at last None. It sends ("ready", facts), then
("texts", number, texts) for each batch, or at any time ("error", line) or ("fault", traceback), and ends.
"""

from __future__ import annotations

import contextlib
import sys
import time
import traceback
from multiprocessing.connection import Connection
from typing import Any

from asr.core import errors
from asr.core.errors import RecipeError
from asr.decoding.batches import Decoder, Readers

_BEGAN = time.perf_counter()


def warm_up(recogniser: Any) -> float:
    """Return the seconds of a first clip, a second of quiet noise: a GPU's libraries load and choose kernels in it."""
    import numpy as np

    began = time.perf_counter()
    recogniser.transcribe([np.random.default_rng(0).normal(0, 0.01, 16000).astype("float32")])
    return time.perf_counter() - began


def serve(pipe: Connection, plan: dict[str, Any]) -> None:
    """Load the model, report that it is ready, and decode the batches that are asked for."""
    import torch

    torch.set_num_threads(min(torch.get_num_threads(), plan["threads"]))
    from asr.models.loading import load

    recogniser = load(plan["model"], plan["ngpu"], plan["dither"], plan["shard"], plan["options"])
    loaded = time.perf_counter() - _BEGAN
    decoder = Decoder(recogniser, lambda line: print(line, flush=True))
    with Readers(recogniser, plan["readers"]) as readers:
        facts = {
            "device": torch.cuda.get_device_name() if recogniser.device == "cuda" else "cpu",
            "load_seconds": loaded,
            "warm_up_seconds": warm_up(recogniser),
        }
        pipe.send(("ready", facts))
        for number, texts in decoder.run(plan["batches"], iter(pipe.recv, None), readers):
            pipe.send(("texts", number, texts))


def main() -> None:
    pipe = Connection(int(sys.argv[1]))
    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):  # the parent is gone
        try:
            serve(pipe, pipe.recv())
        except RecipeError as error:
            pipe.send(("error", str(error)))
        except (EOFError, BrokenPipeError, ConnectionResetError):
            raise
        except Exception:
            pipe.send(("fault", traceback.format_exc()))


if __name__ == "__main__":
    errors.run(main)
