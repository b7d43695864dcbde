"""From a clip and its transcript to a manifest's utterance: target, lengths, and what to know about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from operator import attrgetter

from asr.audio.clip import TOLERANCE, UnreadableError, frames_of
from asr.audio.headers import ESTIMATED, Header, read_header
from asr.core.manifest import FRAMES_PER_SECOND, MODEL_SAMPLE_RATE, Utterance, source_len
from asr.preparation.corpus import Clip, Part, Stated
from asr.preparation.problems import ERROR, NOTE, WARNING, Problems
from asr.preparation.target_text import TargetText
from asr.preparation.vocabulary import Pieces, Vocabulary, characters_of

LFR_FRAMES = 6  # 10-ms frames to one frame of the encoder, in the hub's Paraformer models
WINDOW_MS = 25  # the feature window: a shorter clip has no frame at all
TRAINER_LIMIT = 2048  # 10-ms frames: FunASR's default max_source_length, above which it drops clips silently


@dataclass
class Reader:
    """Make utterances of clips, by the model's tokens and the longest clip to keep; list problems and changed texts."""

    problems: Problems
    vocabulary: Vocabulary | Pieces | None = None
    max_seconds: float | None = None
    texts: TargetText = field(default_factory=TargetText)
    _misstated: set[Stated] = field(default_factory=set)

    def read(self, part: Part, prefix: str = "") -> None:
        """Read every header of ``part``, by path, and make its clips utterances. What cannot be used is listed."""
        part.clips.sort(key=attrgetter("audio"))
        for clip in part.clips:
            key = prefix + clip.key
            try:
                header = read_header(clip.audio)
                self._compare_length(clip, header)
                samples = self._samples(clip, header)
            except UnreadableError as error:
                self.problems.add(ERROR, error.kind, clip.audio, str(error), key=key)
                continue
            if target := self.texts.target(clip, key, self.problems):
                self._add(part, clip, key, target, header, samples)
            else:
                detail = f"no word is left of {clip.text!r} when it is normalised"
                self.problems.add(ERROR, "empty transcript", clip.file, detail, clip.line, key)
        part.clips = []
        part.utterances.sort(key=attrgetter("speaker", "key"))

    def _compare_length(self, clip: Clip, header: Header) -> None:
        """Name the line that states another length than the file has, once."""
        stated, seconds = clip.stated, header.num_samples / header.sample_rate
        if clip.audio.lower().endswith(ESTIMATED):
            return
        if stated and abs(seconds - stated.seconds) > TOLERANCE and stated not in self._misstated:
            self._misstated.add(stated)
            detail = f"{stated.seconds:.2f} s, and {clip.audio} has {seconds:.2f} s: is it the same recording?"
            self.problems.add(WARNING, "length disagrees with the file", stated.file, detail, stated.line, clip.key)

    def _samples(self, clip: Clip, header: Header) -> int:
        """Return the samples of a clip at its file's rate. UnreadableError where it is too short or too long."""
        _, samples = frames_of(clip.cut, header.num_samples, header.sample_rate, header.channels)
        seconds = samples / header.sample_rate
        if seconds * 1000 < WINDOW_MS:
            detail = f"{seconds * 1000:.1f} ms, less than one {WINDOW_MS}-ms feature window"
            raise UnreadableError(detail, "too short audio")
        if self.max_seconds is not None and seconds > self.max_seconds:
            raise UnreadableError(f"{seconds:.2f} s, more than {self.max_seconds:g} s", "clip above --max-seconds")
        return samples

    def _add(self, part: Part, clip: Clip, key: str, target: str, header: Header, samples: int) -> None:
        count, unknown = self.vocabulary.look_up(target) if self.vocabulary else (characters_of(target), [])
        frames, seconds = source_len(samples, header.sample_rate), round(samples / header.sample_rate, 6)
        utterance = Utterance(key, clip.audio, target, frames, count, clip.speaker, seconds, samples)
        if target != clip.text:
            utterance = utterance._replace(extra={"transcript": clip.text})
        part.utterances.append(utterance)
        if clip.split:
            part.own_split[key] = clip.split
        as_it_is = header.sample_rate == MODEL_SAMPLE_RATE and header.channels == 1
        if clip.cut or not as_it_is or clip.audio.lower().endswith(ESTIMATED):
            part.to_convert[key] = clip.cut
        if header.floating:
            part.floating.add(key)
        self._remark(utterance, header, unknown)

    def _remark(self, item: Utterance, header: Header, unknown: Sequence[str]) -> None:
        def add(severity: str, kind: str, detail: str) -> None:
            self.problems.add(severity, kind, item.source, detail, key=item.key)

        if header.unread < 0:
            excess = f"{-header.unread} bytes more than there are, its own among them"
            add(WARNING, "header disagrees with size", f"the header counts {excess}: all sound is kept")
        if header.unread > 0:
            detail = f"{header.unread:,} bytes behind the sound that the header counts"
            add(WARNING, "header disagrees with size", detail)
        if item.target_len * LFR_FRAMES > item.source_len:
            seconds, room = item.source_len / FRAMES_PER_SECOND, item.source_len // LFR_FRAMES
            text = f"{item.target_len} characters, but {seconds:.2f} s carry {room}"
            add(WARNING, "more characters than frames", f"{text}: is the transcript this clip's?")
        if unknown:
            add(WARNING, "character not in vocabulary", f"{' '.join(unknown)}: becomes <unk>")
        if header.sample_rate != MODEL_SAMPLE_RATE:
            below = ", and stays without what a telephone takes away" if header.sample_rate < MODEL_SAMPLE_RATE else ""
            add(NOTE, "rate not 16 kHz", f"{header.sample_rate} Hz: converted to 16 kHz once, in stage 1{below}")
        if header.channels != 1:
            add(NOTE, "not mono", f"{header.channels} channels: made one once, in stage 1")
        if item.source_len > TRAINER_LIMIT:
            detail = (
                f"stage 3 trains on it if dataset_conf.batch_size is {item.source_len} or more (with speed_perturb or"
                f" tempo more), else it stops; ++dataset_conf.max_source_length={TRAINER_LIMIT} leaves such clips out,"
                " which FunASR does without a word"
            )
            add(NOTE, f"clip above {TRAINER_LIMIT / FRAMES_PER_SECOND} s", f"{item.duration:.2f} s: {detail}")
