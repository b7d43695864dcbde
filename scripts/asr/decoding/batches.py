"""Decoding in one process: batches of clips of like length, halved where memory runs out."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any, NamedTuple

from asr.audio.unreadable import Unread
from asr.core.errors import RecipeError
from asr.core.manifest import FRAMES_PER_SECOND, Utterance
from asr.core.nbest import NBest
from asr.core.out_of_memory import attempt


class Clip(NamedTuple):
    """What decoding needs of an utterance: its key, the audio file, and the seconds that it had in stage 1.

    adapter: whose adapter decodes it; "" for none.
    """

    key: str
    source: str
    seconds: float
    adapter: str = ""


Results = list[tuple[Clip, NBest | Unread]]  # the clips of a batch, and each one's text and candidates


def batches(utterances: Iterable[Utterance], batch_seconds: float, adapted: Collection[str] = ()) -> list[list[Clip]]:
    """Return batches of clips of like length, longest first: at most ``batch_seconds`` of padded audio, or one clip.

    Args:
        adapted: speakers with an adapter of their own. A batch is decoded by one model: theirs follow each other.
    """

    def adapter_of(utterance: Utterance) -> str:
        return utterance.speaker if utterance.speaker in adapted else ""

    made: list[list[Clip]] = []
    longest = 0  # 10-ms frames of the batch's first clip
    for utterance in sorted(utterances, key=lambda item: (adapter_of(item), -item.source_len, item.key)):
        clip = Clip(utterance.key, utterance.source, utterance.duration, adapter_of(utterance))
        too_long = longest * (len(made[-1]) + 1) > batch_seconds * FRAMES_PER_SECOND if made else True
        if too_long or made[-1][0].adapter != clip.adapter:
            made.append([])
            longest = utterance.source_len
        made[-1].append(clip)
    return made


class Decoder:
    """Texts of batches by one recogniser. A batch that does not fit in memory is halved, and reported.

    Args:
        recogniser: ``asr.models.loading.Recogniser``.
        report: is given the line.
    """

    def __init__(self, recogniser: Any, report: Callable[[str], None] = print) -> None:
        self.recogniser, self.report = recogniser, report
        self.oom_limit: int | None = None  # padded frames that did not fit; as many are not tried again

    def texts(self, batch: Sequence[Clip], speech: Any, lengths: Any) -> list[NBest]:
        """Return one text a clip, of (B, T, D) features. RecipeError naming a clip that does not fit memory alone."""
        padded = speech.shape[0] * speech.shape[1]
        if len(batch) == 1 or self.oom_limit is None or padded < self.oom_limit:
            texts, out_of_memory = attempt(self.recogniser.decode_batch, speech, lengths, [clip.key for clip in batch])
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

    def decode(self, batch: Sequence[Clip]) -> Results:
        """Read a batch and return its results. RecipeError where a clip's folder is gone."""
        from asr.audio.reading import UnreadableError, read_audio

        samples, results = {}, {}
        for clip in batch:
            try:
                samples[clip] = read_audio(clip.source, clip.seconds)
            except UnreadableError as error:
                results[clip] = Unread(str(error))
        if samples:
            texts = self.texts(list(samples), *self.recogniser.features(list(samples.values())))
            results |= zip(samples, texts, strict=True)
        return [(clip, results[clip]) for clip in batch]
