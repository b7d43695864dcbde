"""The server of asr.serve in a thread, with its own settings of uvicorn; what it hears is said by the test."""

from __future__ import annotations

import contextlib
import io
import math
import socket
import threading
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import soundfile

from asr.core.nbest import NBest
from asr.decoding.transcribe import Transcriber
from asr.models import families
from asr.serving.app import create_app
from asr.serving.decoder import Decoder, Worker
from asr.serving.run import make_server
from asr.serving.settings import Settings

RATE = 16000
LOOPBACK = frozenset({"127.0.0.1", "localhost"})
# 走 is unsure, 了 is fairly sure, 吧 is sure; with what else each may be.
SAID = ({"走": 0.4, "周": 0.3, "奏": 0.1}, {"了": 0.7, "乐": 0.2}, {"吧": 0.95, "爸": 0.01})
Steps = Sequence[dict[str, float]]


class Heard:
    """In a model's place: ``hear`` says what is in samples, as probabilities of characters."""

    family, options = families.of("paraformer"), {}

    def __init__(self, hear: Callable[[np.ndarray], Steps]) -> None:
        self.hear = hear

    def nbest(self, clips):
        return [self._result(self.hear(clip)) for clip in clips]

    @staticmethod
    def _result(steps: Steps) -> NBest:
        candidates = tuple(tuple((char, math.log(share)) for char, share in step.items()) for step in steps)
        return NBest("", "positions", "".join(max(step, key=lambda char: step[char]) for step in steps), candidates)


def decoder(hear: Callable[[np.ndarray], Steps] = lambda _: SAID) -> Decoder:
    return Decoder("mini", Transcriber(Heard(hear)), sure=True)


@contextlib.contextmanager
def served(made: Decoder | None = None, **settings) -> Iterator[str]:
    """Serve on a free port of 127.0.0.1, and give the address."""
    listening = socket.create_server(("127.0.0.1", 0))
    worker = Worker()
    app = create_app(Settings(**{"hosts": LOOPBACK, **settings}), made or decoder(), worker)
    server = make_server(app)
    worker.is_ending = lambda: server.should_exit
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
        worker.end()
        listening.close()


def wav(seconds: float = 1.0, rate: int = RATE, container: str = "WAV", level: float = 0.1) -> bytes:
    """Return a file of noise."""
    stream = io.BytesIO()
    samples = np.random.default_rng(0).normal(0, level, round(seconds * rate)).clip(-1, 1)
    soundfile.write(stream, samples, rate, format=container)
    return stream.getvalue()
