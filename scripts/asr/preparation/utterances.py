"""From a clip and its transcript to a manifest's utterance: target, lengths, and what to know about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from operator import attrgetter

from asr.audio.clip import Cut, UnreadableError, frames_of
from asr.audio.headers import Header, read_header
from asr.core.manifest import FRAMES_PER_SECOND, MODEL_SAMPLE_RATE, Utterance, source_len
from asr.preparation.corpus import Clip, Part
from asr.preparation.problems import ERROR, NOTE, WARNING, Problem
from asr.preparation.target_text import TargetText
from asr.preparation.vocabulary import Pieces, Vocabulary

LFR_FRAMES = 6  # 10-ms frames to one frame of the encoder, in the hub's Paraformer models
WINDOW_MS = 25  # the feature window: a shorter clip has no frame at all
TRAINER_LIMIT = 2048  # 10-ms frames: FunASR's default max_source_length, above which it drops clips silently


@dataclass
class Reader:
    """What making utterances needs beside the clips: the model's tokens, the longest clip to keep; and all changes."""

    vocabulary: Vocabulary | Pieces | None = None
    max_seconds: float | None = None
    texts: TargetText = field(default_factory=TargetText)


@dataclass
class Read:
    """One part as utterances, by speaker and key."""

    utterances: list[Utterance] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    to_convert: dict[str, Cut | None] = field(default_factory=dict)  # by key: clips to be made 16-kHz mono
    floating: set[str] = field(default_factory=set)  # keys: clips that can hold samples that are no sound
    own_split: dict[str, str] = field(default_factory=dict)  # by key, where the corpus says it


def read_utterances(part: Part, prefix: str, reader: Reader) -> Read:
    """Read every header of ``part``, by path, and empty ``part.clips``. What cannot be used is listed."""
    read = Read()
    part.clips.sort(key=attrgetter("audio"))
    for clip in part.clips:
        key = prefix + clip.key
        try:
            read.utterances.append(_utterance(clip, key, reader, read))
        except UnreadableError as error:
            read.problems.append(Problem(ERROR, error.kind, clip.audio, None, key, str(error)))
        except _NoWordsError as error:
            read.problems.append(Problem(ERROR, "empty transcript", clip.file, clip.line, key, str(error)))
        else:
            if clip.split:
                read.own_split[key] = clip.split
    part.clips = []
    read.utterances.sort(key=attrgetter("speaker", "key"))
    return read


class _NoWordsError(Exception):
    """Nothing is left of a transcript when it is normalised."""


def _utterance(clip: Clip, key: str, reader: Reader, read: Read) -> Utterance:
    header = read_header(clip.audio)
    _, samples = frames_of(clip.cut, header.num_samples, header.sample_rate, header.channels)
    seconds = samples / header.sample_rate
    if seconds * 1000 < WINDOW_MS:
        detail = f"{seconds * 1000:.1f} ms, less than one {WINDOW_MS}-ms feature window"
        raise UnreadableError(detail, "too short audio")
    if reader.max_seconds is not None and seconds > reader.max_seconds:
        raise UnreadableError(f"{seconds:.2f} s, more than {reader.max_seconds:g} s", "clip above --max-seconds")
    target = reader.texts.target(clip, key, read.problems)
    if not target:
        raise _NoWordsError(f"no word is left of {clip.text!r} when it is normalised")
    vocabulary = reader.vocabulary
    count = vocabulary.count(target) if vocabulary else len(target) - target.count(" ")
    frames = source_len(samples, header.sample_rate)
    utterance = Utterance(key, clip.audio, target, frames, count, clip.speaker, round(seconds, 6), samples)
    if target != clip.text:
        utterance = utterance._replace(extra={"transcript": clip.text})
    if clip.cut or header.sample_rate != MODEL_SAMPLE_RATE or header.channels != 1:
        read.to_convert[key] = clip.cut
    if header.floating:
        read.floating.add(key)
    _remark(read.problems, utterance, header, vocabulary.unknown(target) if vocabulary else ())
    return utterance


def _remark(problems: list[Problem], item: Utterance, header: Header, unknown: Sequence[str]) -> None:
    def add(severity: str, kind: str, detail: str) -> None:
        problems.append(Problem(severity, kind, item.source, None, item.key, detail))

    if header.unread < 0:
        detail = f"the header counts {-header.unread} bytes more than there are, its own among them: all sound is kept"
        add(WARNING, "header disagrees with size", detail)
    if header.unread > 0:
        add(WARNING, "header disagrees with size", f"{header.unread:,} bytes behind the sound that the header counts")
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
        limit = TRAINER_LIMIT / FRAMES_PER_SECOND
        detail = f"{item.duration:.2f} s: FunASR would drop it without a word; here training's limit is set to keep it"
        add(NOTE, f"clip above {limit} s", detail)
