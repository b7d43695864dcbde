"""Decoding in one process: batches of clips of like length, halved where memory runs out."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from asr.audio.unreadable import Unread
from asr.core.errors import RecipeError
from asr.core.manifest import FRAMES_PER_SECOND, Utterance
from asr.core.out_of_memory import attempt
from asr.core.processes import become_child

Features = tuple[Any, Any, dict[str, Unread]]  # (B, T, D), (B,), and the clips that cannot be read, by key


class Clip(NamedTuple):
    """What decoding needs of an utterance: its key, the audio file, and the seconds that it had in stage 1."""

    key: str
    source: str
    seconds: float


Results = list[tuple[Clip, str | Unread]]  # the clips of a batch, and each one's text


def batches(utterances: Iterable[Utterance], batch_seconds: float) -> list[list[Clip]]:
    """Return batches of clips of like length, longest first: at most ``batch_seconds`` of padded audio, or one clip."""
    made: list[list[Clip]] = []
    longest = 0  # 10-ms frames of the batch's first clip
    for utterance in sorted(utterances, key=lambda utterance: (-utterance.source_len, utterance.key)):
        if not made or longest * (len(made[-1]) + 1) > batch_seconds * FRAMES_PER_SECOND:
            made.append([])
            longest = utterance.source_len
        made[-1].append(Clip(utterance.key, utterance.source, utterance.duration))
    return made


def features(recogniser: Any, batch: Sequence[Clip]) -> Features | RecipeError:
    """Return a batch's features, or the error where a clip's folder is gone: a DataLoader would change its text."""
    import numpy as np

    from asr.audio.reading import UnreadableError, read_audio

    samples, unread = [], {}
    for clip in batch:
        try:
            samples.append(read_audio(clip.source, clip.seconds))
        except UnreadableError as error:
            unread[clip.key] = Unread(str(error))
        except RecipeError as error:
            return error
    return (*(recogniser.features(samples) if samples else (np.empty(0), np.empty(0))), unread)


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
            texts, out_of_memory = attempt(self.recogniser.hear, speech, lengths)
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

    def run(self, plan: Sequence[Sequence[Clip]], readers: int = 0) -> Iterator[Results]:
        """Yield the results of each batch. RecipeError where a clip's folder is gone.

        ``readers``: processes that read audio and make features ahead of the model; without, it is done in between.
        """
        from torch.utils.data import DataLoader

        make = functools.partial(features, self.recogniser)
        loader = DataLoader(
            plan, batch_size=None, collate_fn=make, num_workers=readers, worker_init_fn=lambda _: become_child()
        )
        for batch, made in zip(plan, loader, strict=True):
            if isinstance(made, RecipeError):
                raise made
            speech, lengths, unread = made
            readable = [clip for clip in batch if clip.key not in unread]
            texts = self.texts(readable, speech, lengths) if readable else []
            results = unread | {clip.key: text for clip, text in zip(readable, texts, strict=True)}
            yield [(clip, results[clip.key]) for clip in batch]
