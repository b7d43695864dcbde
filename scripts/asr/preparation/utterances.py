"""From a clip and its transcript to a manifest's utterance: target, lengths, and what to know about it."""

from __future__ import annotations

import os
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from operator import attrgetter
from typing import Any, NamedTuple

from asr.audio.headers import AudioError, Header
from asr.core.manifest import FRAMES_PER_SECOND, MODEL_SAMPLE_RATE, Utterance, source_len
from asr.core.processes import cores, halves
from asr.preparation.corpus import Clip, Cut, Part
from asr.preparation.header_cache import HeaderCache, Recorder
from asr.preparation.problems import ERROR, NOTE, WARNING, Problem
from asr.preparation.target_text import TargetText
from asr.preparation.vocabulary import Pieces, Vocabulary

LFR_FRAMES = 6  # 10-ms frames to one frame of the encoder, in the hub's Paraformer models
WINDOW_MS = 25  # the feature window: a shorter clip has no frame at all
_BLOCK = 1 << 16  # clips read before the next ones are: what the other process sends back must fit into memory
_OWN_SHARE = 0.45  # of the clips: what the other process sends has to be put together here as well
_WORTH_SHARING = 4096  # clips: fewer are read before another process has begun
_PLAIN = (MODEL_SAMPLE_RATE, 1, 0, 0)  # rate, channels, unread, floating: a header that nothing needs to be said of
TRAINER_LIMIT = 2048  # 10-ms frames: FunASR's default max_source_length, above which it drops clips silently


@dataclass
class Reader:
    """What making utterances needs beside the clips: the longest clip to keep, the model's tokens, what is cached."""

    headers: HeaderCache | Recorder
    texts: TargetText = field(default_factory=TargetText)
    vocabulary: Vocabulary | Pieces | None = None
    max_seconds: float | None = None


@dataclass
class Read:
    """One part as utterances, by speaker and key."""

    utterances: list[Utterance] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    to_convert: dict[str, Cut | None] = field(
        default_factory=dict
    )  # by key: clips that training cannot take as they are
    floating: set[str] = field(default_factory=set)  # keys: clips that can hold samples that are no sound
    own_split: dict[str, str] = field(default_factory=dict)  # by key, where the corpus says it


def read_utterances(part: Part, prefix: str, reader: Reader) -> Read:
    """Read every header of ``part``, and empty ``part.clips`` on the way (memory). What cannot be used is a problem.

    Where nothing is known of the files yet, two processes share the work.
    """
    read = Read()
    part.clips.sort(key=attrgetter("audio"), reverse=True)  # in the order of the header cache's table
    while part.clips:
        block = part.clips[-_BLOCK:][::-1]
        del part.clips[-_BLOCK:]
        if reader.headers.fresh and len(block) >= _WORTH_SHARING and cores() > 1:
            _read_in_halves(block, prefix, reader, read)
        else:
            _read_block(block, prefix, reader, read)
    read.utterances.sort(key=lambda item: (item.speaker, item.key))
    return read


def _read_block(clips: Sequence[Clip], prefix: str, reader: Reader, read: Read) -> None:
    for clip in clips:
        key = prefix + clip.key
        try:
            read.utterances.append(_utterance(clip, key, reader, read))
        except AudioError as error:
            read.problems.append(Problem(ERROR, error.kind, clip.audio, None, key, error.detail))
            continue
        except _NoWordsError as error:
            read.problems.append(Problem(ERROR, "empty transcript", clip.file, clip.line, key, str(error)))
            continue
        if clip.split:
            read.own_split[key] = clip.split


def _read_in_halves(clips: list[Clip], prefix: str, reader: Reader, read: Read) -> None:
    parent = os.getpid()

    def work(half: list[Clip]) -> Any:
        if os.getpid() == parent:
            return _read_block(half, prefix, reader, read)
        recorder, own = Recorder(), Read()
        apart = replace(reader, headers=recorder, texts=TargetText())
        _read_block(half, prefix, apart, own)
        return _packed(half, prefix, own), own, apart.texts.rows, recorder

    _, (packed, own, changes, recorder) = halves(work, clips, _OWN_SHARE)
    read.utterances += _unpacked(packed, clips[-packed.count :], prefix)
    read.utterances += own.utterances
    read.problems += own.problems
    read.to_convert |= own.to_convert
    read.floating |= own.floating
    read.own_split |= own.own_split
    reader.texts.add(changes)
    reader.headers.adopt(recorder)


class _Packed(NamedTuple):
    """Utterances without what their clips hold as well, as columns: sent in a tenth of the time."""

    count: int  # clips that these were chosen from
    places: array[int]
    frames: array[int]
    lengths: array[int]
    seconds: array[float]
    samples: array[int]


def _packed(clips: Sequence[Clip], prefix: str, read: Read) -> _Packed:
    """Take out of ``read`` the utterances that say no more than their clip and four numbers: nearly all."""
    packed = _Packed(len(clips), *(array(kind) for kind in "qqqdq"))
    rest, waiting = [], iter(enumerate(clips))
    for item in read.utterances:  # in the order of their clips
        place, _ = next(pair for pair in waiting if prefix + pair[1].key == item.key)
        if item.extra:
            rest.append(item)
            continue
        for column, number in zip(packed[1:], (place, *item[3:5], *item[6:8]), strict=True):
            column.append(number)
    read.utterances = rest
    return packed


def _unpacked(packed: _Packed, clips: Sequence[Clip], prefix: str) -> Iterator[Utterance]:
    for place, frames, length, seconds, samples in zip(*packed[1:], strict=True):
        clip = clips[place]
        yield Utterance(prefix + clip.key, clip.audio, clip.text, frames, length, clip.speaker, seconds, samples)


class _NoWordsError(Exception):
    """Nothing is left of a transcript when it is normalised."""


def _utterance(clip: Clip, key: str, reader: Reader, read: Read) -> Utterance:
    header = reader.headers.header(clip.audio)
    samples = _samples(clip.cut, header)
    seconds = samples / header.sample_rate
    if seconds * 1000 < WINDOW_MS:
        raise AudioError("too short audio", f"{seconds * 1000:.1f} ms, less than one {WINDOW_MS}-ms feature window")
    if reader.max_seconds is not None and seconds > reader.max_seconds:
        raise AudioError("clip above --max-seconds", f"{seconds:.2f} s, more than {reader.max_seconds:g} s")
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
    unknown = vocabulary.unknown(target) if vocabulary else ()
    if unknown or header[1:] != _PLAIN or not count * LFR_FRAMES <= frames <= TRAINER_LIMIT:
        _remark(read.problems, utterance, header, unknown)
    return utterance


def _samples(cut: Cut | None, header: Header) -> int:
    """Samples of the clip at the file's own rate; AudioError for a cut that the file does not have."""
    if cut is None:
        return header.num_samples
    if cut.channel is not None and cut.channel >= header.channels:
        raise AudioError("cut beyond the end", f"channel {cut.channel} of a file that has {header.channels}")
    first = round(cut.start * header.sample_rate)
    last = header.num_samples if cut.seconds is None else first + round(cut.seconds * header.sample_rate)
    tolerated = header.num_samples + header.sample_rate // 50  # 20 ms: times in manifests are rounded
    if first >= header.num_samples or last > tolerated:
        times = (first / header.sample_rate, last / header.sample_rate, header.num_samples / header.sample_rate)
        raise AudioError("cut beyond the end", "{:.2f} s to {:.2f} s of a file of {:.2f} s".format(*times))
    return min(last, header.num_samples) - first


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
