"""Decoding in one process: batches of clips of like length, read ahead of the model, halved where memory runs out."""

from __future__ import annotations

import contextlib
import functools
import multiprocessing
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any, NamedTuple

from asr.audio.unreadable import Unread
from asr.core.errors import RecipeError
from asr.core.manifest import FRAMES_PER_SECOND, Utterance
from asr.core.out_of_memory import attempt
from asr.core.processes import become_child

Features = tuple[Any, Any, dict[int, Unread]]  # (B, T, D), (B,), and the clips that cannot be read, by index

_inherited: list[Any] = []  # a reading process's recogniser: it comes by the fork, and its model is not touched


class Clip(NamedTuple):
    """What decoding needs of an utterance: the audio file, and the seconds that it had in stage 1."""

    source: str
    seconds: float


def batches(utterances: Iterable[Utterance], batch_seconds: float) -> Iterator[list[Utterance]]:
    """Yield batches of clips of like length, longest first: at most ``batch_seconds`` of padded audio, or one clip."""
    batch: list[Utterance] = []
    for utterance in sorted(utterances, key=lambda utterance: (-utterance.source_len, utterance.key)):
        if batch and batch[0].source_len * (len(batch) + 1) > batch_seconds * FRAMES_PER_SECOND:
            yield batch
            batch = []
        batch.append(utterance)
    if batch:
        yield batch


def clips(batch: Sequence[Utterance]) -> list[Clip]:
    """Return the clips of a batch, in its order."""
    return [Clip(utterance.source, utterance.duration) for utterance in batch]


def _features(recogniser: Any, batch: Sequence[Clip]) -> Features:
    import numpy as np

    from asr.audio.reading import UnreadableError, read_audio

    samples, unread = [], {}
    for index, clip in enumerate(batch):
        try:
            samples.append(read_audio(clip.source, clip.seconds))
        except UnreadableError as error:
            unread[index] = Unread(str(error))
    features, lengths = recogniser.features(samples) if samples else (np.empty(0), np.empty(0))
    return features, lengths, unread


def _begin_reading(recogniser: Any) -> None:
    import torch

    become_child()
    torch.set_num_threads(1)
    _inherited[:] = [recogniser]


def _read_in_process(batch: Sequence[Clip]) -> Features:
    import numpy as np

    features, lengths, unread = _features(_inherited[0], batch)
    return np.asarray(features), np.asarray(lengths), unread  # a tensor would take shared memory and a file descriptor


class Readers(contextlib.AbstractContextManager["Readers"]):
    """Audio and features, made while the model works on the batches before.

    Args:
        recogniser: its frontend makes the features.
        processes: 0 for one thread. Beside a GPU a thread will not do: launching kernels and making features both
            hold Python's lock.
    """

    def __init__(self, recogniser: Any, processes: int = 0) -> None:
        self.depth = max(processes, 1) + 1  # batches read or being read beside the one in the model
        self._read: Callable[[Sequence[Clip]], Features] = functools.partial(_features, recogniser)
        if processes:
            fork = multiprocessing.get_context("fork")
            self._pool: Executor = ProcessPoolExecutor(processes, fork, _begin_reading, (recogniser,))
            self._read = _read_in_process
        else:
            self._pool = ThreadPoolExecutor(1)
        self._pool.submit(int).result()  # they start now, not in the time that is measured

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    def read(self, batch: Sequence[Clip]) -> Future[Features]:
        """Start to read a batch. The future raises RecipeError where a clip's folder is gone."""
        return self._pool.submit(self._read, batch)

    @staticmethod
    def result(future: Future[Features]) -> Features:
        """Return what ``read`` promised, as tensors."""
        import torch

        try:
            features, lengths, unread = future.result()
            return torch.as_tensor(features), torch.as_tensor(lengths), unread
        except BrokenProcessPool:
            raise RecipeError("a process that read audio was killed, most likely out of memory") from None


class Decoder:
    """Texts of batches by one recogniser. A batch that does not fit in memory is halved, and reported.

    Args:
        recogniser: ``asr.models.loading.Recogniser``.
        report: is given the line.
    """

    def __init__(self, recogniser: Any, report: Callable[[str], None] = print) -> None:
        self.recogniser, self.report = recogniser, report
        self.oom_limit: int | None = None  # padded frames that did not fit; as many are not tried again

    def texts(self, batch: Sequence[Clip], speech: Any, lengths: Any) -> list[str]:
        """Return one text a clip. RecipeError naming a clip that does not fit in memory alone."""
        padded = speech.shape[0] * speech.shape[1]
        if len(batch) == 1 or self.oom_limit is None or padded < self.oom_limit:
            texts, out_of_memory = attempt(self.recogniser.decode_batch, speech, lengths)
            if not out_of_memory:
                return texts
            self._report_out_of_memory(batch)
            self.oom_limit = padded
        middle = len(batch) // 2
        texts = []
        for half in (slice(None, middle), slice(middle, None)):
            longest = int(lengths[half].max())
            texts += self.texts(batch[half], speech[half, :longest], lengths[half])
        return texts

    def _report_out_of_memory(self, batch: Sequence[Clip]) -> None:
        longest = max(clip.seconds for clip in batch)
        if len(batch) == 1:
            raise RecipeError(
                f"{batch[0].source}: its {longest:.1f} s do not fit the GPU's memory, in a batch of their own; cut the"
                " clip, or decode with --ngpu 0"
            )
        self.report(
            f"out of GPU memory with {len(batch)} clips of up to {longest:.1f} s: batches of that size are split in two"
            " (a lower decode_conf.batch_seconds saves the attempt)"
        )

    def run(
        self, plan: Sequence[Sequence[Clip]], numbers: Iterable[int], readers: Readers
    ) -> Iterator[tuple[int, list[str | Unread]]]:
        """Yield (number, texts of ``plan[number]``) for each of ``numbers``, in order, with batches read ahead."""
        reading: deque[tuple[int, Future[Features]]] = deque()
        source = iter(numbers)
        while True:
            while len(reading) < readers.depth and (number := next(source, None)) is not None:
                reading.append((number, readers.read(plan[number])))
            if not reading:
                return
            number, future = reading.popleft()
            features, lengths, unread = readers.result(future)
            readable = [clip for index, clip in enumerate(plan[number]) if index not in unread]
            texts = iter(self.texts(readable, features, lengths) if readable else ())
            yield number, [unread.get(index) or next(texts) for index in range(len(plan[number]))]
