"""Decoding in one process: batches of clips of like length, read ahead of the model, split where memory runs out."""

from __future__ import annotations

import contextlib
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
from asr.core.processes import die_with_parent, leave_stopping_to_parent

_inherited: list[Any] = []  # a reading process's recogniser: it comes by the fork, and its model is not touched


class Clip(NamedTuple):
    """What decoding needs of an utterance: the audio file, and the seconds that it had in stage 1."""

    source: str
    seconds: float


def batches(utterances: Iterable[Utterance], batch_seconds: float) -> Iterator[list[Utterance]]:
    """Batches of clips of like length, longest first, each at most ``batch_seconds`` of padded audio (or one clip)."""
    order = sorted(utterances, key=lambda item: (-item.source_len, item.key))
    batch: list[Utterance] = []
    for item in order:
        if batch and batch[0].source_len * (len(batch) + 1) > batch_seconds * FRAMES_PER_SECOND:
            yield batch
            batch = []
        batch.append(item)
    if batch:
        yield batch


def clips(batch: Sequence[Utterance]) -> list[Clip]:
    """The clips of a batch, in its order."""
    return [Clip(item.source, item.duration) for item in batch]


def _features(recogniser: Any, batch: Sequence[Clip]) -> tuple[Any, Any, dict[int, Unread]]:
    """Features and lengths of the clips that can be read; the places of the others."""
    import numpy as np

    from asr.audio.reading import UnreadableError, read_audio

    found, lost = [], {}
    for place, clip in enumerate(batch):
        try:
            found.append(read_audio(clip.source, clip.seconds))
        except UnreadableError as error:
            lost[place] = Unread(str(error))
    return (*(recogniser.features(found) if found else (np.empty(0), np.empty(0))), lost)


def _begin_reading(recogniser: Any) -> None:
    import torch

    die_with_parent()
    leave_stopping_to_parent()
    torch.set_num_threads(1)
    _inherited[:] = [recogniser]


def _read_in_process(batch: Sequence[Clip]) -> tuple[Any, Any, dict[int, Unread]]:
    import numpy as np

    speech, lengths, lost = _features(_inherited[0], batch)
    return np.asarray(speech), np.asarray(lengths), lost  # tensors would take shared memory and a file descriptor each


class Readers(contextlib.AbstractContextManager["Readers"]):
    """Audio and features, made while the model works on the batches before.

    Args:
        recogniser: its frontend makes the features.
        processes: 0 for one thread. Beside a GPU a thread will not do: launching kernels and making features both
            hold Python's lock.
    """

    def __init__(self, recogniser: Any, processes: int = 0) -> None:
        self.depth = max(processes, 1) + 1  # batches read or being read beside the one in the model
        self._recogniser, self._processes = recogniser, processes
        if processes:
            fork = multiprocessing.get_context("fork")
            self._pool: Executor = ProcessPoolExecutor(processes, fork, _begin_reading, (recogniser,))
        else:
            self._pool = ThreadPoolExecutor(1)
        self._pool.submit(int).result()  # they start now, not in the time that is measured

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    def read(self, batch: Sequence[Clip]) -> Future[tuple[Any, Any, dict[int, Unread]]]:
        """(B, T, D) features and (B,) lengths, in time, of the clips that can be read, and the others by their place.

        RecipeError in it where their folder is gone.
        """
        if self._processes:
            return self._pool.submit(_read_in_process, batch)
        return self._pool.submit(_features, self._recogniser, batch)

    @staticmethod
    def result(read: Future[tuple[Any, Any, dict[int, Unread]]]) -> tuple[Any, Any, dict[int, Unread]]:
        """What ``read`` promised, with tensors."""
        import torch

        try:
            speech, lengths, lost = read.result()
            return torch.as_tensor(speech), torch.as_tensor(lengths), lost
        except BrokenProcessPool:
            raise RecipeError("a process that read audio was killed, most likely for want of memory") from None


class Decoder:
    """Texts of batches by one recogniser. A batch that the GPU's memory does not hold is split in two, and told of.

    Args:
        recogniser: ``asr.models.loading.Recogniser``.
        tell: is given the line.
    """

    def __init__(self, recogniser: Any, tell: Callable[[str], None] = print) -> None:
        self.recogniser, self.tell = recogniser, tell
        self.too_large: int | None = None  # padded frames that did not fit; as many are not tried again

    def texts(self, batch: Sequence[Clip], speech: Any, lengths: Any) -> list[str]:
        """One text a clip. RecipeError naming a clip that does not fit the GPU's memory alone."""
        padded = speech.shape[0] * speech.shape[1]
        if len(batch) > 1 and self.too_large is not None and padded >= self.too_large:
            return self._halves(batch, speech, lengths)
        texts, full = attempt(self.recogniser.hear, speech, lengths)
        if not full:
            return texts
        if len(batch) == 1:
            raise RecipeError(
                f"{batch[0].source}: its {batch[0].seconds:.1f} s do not fit the GPU's memory, in a batch of their own;"
                " cut the clip, or decode with --ngpu 0"
            )
        self.too_large = padded
        longest = max(clip.seconds for clip in batch)
        self.tell(
            f"out of GPU memory with {len(batch)} clips of up to {longest:.1f} s: batches of that size are split in two"
            " (a lower decode_conf.batch_seconds saves the attempt)"
        )
        return self._halves(batch, speech, lengths)

    def _halves(self, batch: Sequence[Clip], speech: Any, lengths: Any) -> list[str]:
        middle, found = len(batch) // 2, []
        for part in (slice(None, middle), slice(middle, None)):
            longest = int(lengths[part].max())
            found += self.texts(batch[part], speech[part, :longest], lengths[part])
        return found

    def run(
        self, plan: Sequence[Sequence[Clip]], numbers: Iterable[int], readers: Readers
    ) -> Iterator[tuple[int, list[str | Unread]]]:
        """(number, texts of ``plan[number]``) for each of ``numbers``, in order; ``readers.depth`` are asked ahead."""
        waiting: deque[tuple[int, Future[tuple[Any, Any, dict[int, Unread]]]]] = deque()
        source = iter(numbers)
        while True:
            while len(waiting) < readers.depth and (number := next(source, None)) is not None:
                waiting.append((number, readers.read(plan[number])))
            if not waiting:
                return
            number, read = waiting.popleft()
            speech, lengths, lost = readers.result(read)
            whole = [clip for place, clip in enumerate(plan[number]) if place not in lost]
            texts = iter(self.texts(whole, speech, lengths) if whole else ())
            yield number, [lost.get(place) or next(texts) for place in range(len(plan[number]))]
