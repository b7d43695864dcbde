"""From a clip and its transcript to a manifest's utterance: lengths from the header, and what to know about it."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

from asr.errors import RecipeError
from asr.manifest import FRAMES_PER_SECOND, MODEL_SAMPLE_RATE, Utterance, source_len
from audio_headers import AudioError, Header, read_header
from cdsd import Clip, Part
from problems import ERROR, NOTE, WARNING, Problem

LFR_FRAMES = 6  # 10-ms frames to one frame of the encoder, in the hub's Paraformer models
WINDOW_MS = 25  # the feature window: a shorter clip has no frame at all
TRAINER_LIMIT = 2048  # 10-ms frames: FunASR's default max_source_length, above which it drops clips silently


@dataclass(frozen=True)
class Limits:
    """What to check beside the headers: the longest clip to keep, and the model's characters, where known."""

    max_seconds: float | None = None
    vocabulary: frozenset[str] | None = None


def read_vocabulary(path: Path) -> frozenset[str]:
    """The tokens of a model: a tokens.json (a list), or a tokens.txt (one a line)."""
    try:
        text = path.read_text(encoding="utf-8")
        tokens = json.loads(text) if path.suffix == ".json" else text.split("\n")
    except FileNotFoundError:
        raise RecipeError(f"{path}: no such token list") from None
    except ValueError as error:
        raise RecipeError(f"{path}: not a token list: {error}") from None
    if not isinstance(tokens, list) or not all(isinstance(token, str) for token in tokens):
        raise RecipeError(f"{path}: not a token list: a JSON list of strings is needed")
    vocabulary = frozenset(token.rstrip() for token in tokens) - {""}
    if not vocabulary:
        raise RecipeError(f"{path}: the token list is empty")
    return vocabulary


def target_len(target: str) -> int:
    """Tokens of a transcript as FunASR's CharTokenizer counts them: one a character, blanks none.

    Models with a seg_dict (the hub's Paraformer-large) may cut Latin words into fewer pieces; Han is the same.
    """
    return len(target) - target.count(" ")


def make_utterances(part: Part, key_of: Callable[[str], str], limits: Limits) -> tuple[list[Utterance], list[Problem]]:
    """Read every header of ``part``. Clips that cannot be used become problems; the others utterances, by speaker."""
    utterances: list[Utterance] = []
    problems: list[Problem] = []
    for clip in part.clips:
        try:
            utterance = _utterance(clip, key_of(clip.key), limits, problems)
        except AudioError as error:
            key, where = clip.label.utt, clip.audio
            problems.append(Problem(ERROR, error.kind, where, None, key, error.detail))
        else:
            utterances.append(utterance)
    return sorted(utterances, key=lambda item: (item.speaker, item.key)), problems


def _utterance(clip: Clip, key: str, limits: Limits, problems: list[Problem]) -> Utterance:
    header = read_header(clip.audio)
    seconds = header.num_samples / header.sample_rate
    if seconds * 1000 < WINDOW_MS:
        raise AudioError("too short audio", f"{seconds * 1000:.1f} ms, less than one {WINDOW_MS}-ms feature window")
    if limits.max_seconds is not None and seconds > limits.max_seconds:
        raise AudioError("clip above --max-seconds", f"{seconds:.2f} s, more than {limits.max_seconds:g} s")
    text = clip.label.text
    frames = source_len(header.num_samples, header.sample_rate)
    utterance = Utterance(
        key, clip.audio, text, frames, target_len(text), clip.speaker, round(seconds, 6), header.num_samples
    )
    problems += _remarks(clip, utterance, header, limits.vocabulary)
    return utterance


def _remarks(clip: Clip, utterance: Utterance, header: Header, vocabulary: Collection[str] | None) -> list[Problem]:
    found: list[Problem] = []

    def add(severity: str, kind: str, detail: str) -> None:
        found.append(Problem(severity, kind, clip.audio, None, utterance.key, detail))

    if utterance.target_len * LFR_FRAMES > utterance.source_len:
        room = utterance.source_len // LFR_FRAMES
        text = f"{utterance.target_len} characters, but {utterance.source_len / FRAMES_PER_SECOND:.2f} s carry {room}"
        add(WARNING, "more characters than frames", f"{text}: is the transcript this clip's?")
    if vocabulary is not None and (unknown := set(utterance.target) - vocabulary - {" "}):
        add(WARNING, "character not in vocabulary", f"{' '.join(sorted(unknown))}: becomes <unk>")
    if header.sample_rate != MODEL_SAMPLE_RATE:
        add(NOTE, "rate not 16 kHz", f"{header.sample_rate} Hz: FunASR resamples on reading")
    if header.channels != 1:
        add(NOTE, "not mono", f"{header.channels} channels: FunASR takes their mean on reading")
    if utterance.source_len > TRAINER_LIMIT:
        limit = TRAINER_LIMIT / FRAMES_PER_SECOND
        add(
            NOTE,
            f"clip above {limit} s",
            f"{utterance.duration:.2f} s: FunASR drops it unless max_source_length is set",
        )
    return found
