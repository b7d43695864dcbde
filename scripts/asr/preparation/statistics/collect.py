"""What is in a prepared corpus: statistics.json, from which data_statistics.txt and data_statistics.html are made.

Figures only: no transcript, no path and no time gets into them, so that they can be shared, and runs compared. Texts
are compared in the scorer's form (asr.scoring.normalize), characters are counted without blanks.
"""

from __future__ import annotations

import functools
import itertools
import math
from bisect import bisect_right
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from asr.core.manifest import FRAMES_PER_SECOND, Utterance, corpus_digest
from asr.core.names import UNKNOWN_SPEAKER
from asr.preparation.splits.split_file import SPLITS, Split
from asr.scoring.normalize import scoring_form

SCHEMA_VERSION = 2
MOST_FREQUENT = 50  # characters without a token that are named
DEFAULT_LIMIT = 2048  # 10-ms frames: what FunASR drops by default is longer (max_source_length)
LENGTH_BINS = (*range(1, 21), 21, 26, 31)  # the smallest length of each bin; the last one is open
FRAME_BINS = (*range(0, 1000, 50), *range(1000, 2001, 100), DEFAULT_LIMIT + 1)  # in 10-ms frames, likewise


class Clip(NamedTuple):
    """What is counted of an utterance."""

    split: str
    speaker: str
    text: str  # as the scorer compares it
    letters: str  # the transcript without blanks
    seconds: float
    frames: int  # of 10 ms


Clips = Sequence[Clip]


def collect(
    about: Mapping[str, Any],
    splits: Mapping[str, Sequence[Utterance]],
    split: Split,
    vocabulary: Collection[str] | None = None,
) -> dict[str, Any]:
    """Return all figures, ``about`` the corpus (name, parts, …) first. ``vocabulary``: the base model's characters."""
    form = functools.cache(scoring_form)  # many say the same
    clips = {
        name: [
            Clip(name, one.speaker, form(one.target), one.target.replace(" ", ""), one.duration, one.source_len)
            for one in splits[name]
        ]
        for name in SPLITS
    }
    texts = {name: {clip.text for clip in clips[name]} for name in SPLITS}
    letters = {name: Counter("".join(clip.letters for clip in clips[name])) for name in SPLITS}
    everything = list(itertools.chain.from_iterable(clips.values()))
    return {
        "schema_version": SCHEMA_VERSION,
        "corpus": {**about, "digest": corpus_digest(itertools.chain.from_iterable(splits[name] for name in SPLITS))},
        "split": {
            "origin": split.origin,
            "description": split.describe(),
            "published": split.describe(published=True),
            "seed": split.seed,
            "method": split.method,
            "ratios": split.ratios and list(split.ratios),
            "speakers": {name: list(split.speakers[name]) for name in SPLITS},
        },
        "splits": {
            name: {**_split_row(name, clips[name], texts, letters), "digest": corpus_digest(splits[name])}
            for name in SPLITS
        },
        "total": _totals(everything),
        "by_speaker": _by_speaker(everything, texts),
        "histograms": _histograms(clips),
        "vocabulary": None if vocabulary is None else coverage(letters, frozenset(vocabulary)),
    }


def _totals(clips: Clips) -> dict[str, Any]:
    """Return what every table begins with."""
    return {
        "speakers": len({clip.speaker for clip in clips} - {UNKNOWN_SPEAKER}),
        "utterances": len(clips),
        "hours": round(_seconds(clips) / 3600, 4),
        "characters": _characters(clips),
        "distinct_characters": len(set().union(*(clip.letters for clip in clips))),
        "distinct_texts": len({clip.text for clip in clips}),
    }


def _seconds(clips: Clips) -> float:
    return sum(clip.seconds for clip in clips)


def _characters(clips: Clips) -> int:
    return sum(len(clip.letters) for clip in clips)


def _split_row(
    name: str, clips: Clips, texts: Mapping[str, set[str]], letters: Mapping[str, Counter[str]]
) -> dict[str, Any]:
    new = [count for letter, count in letters[name].items() if letter not in letters["train"]]
    lengths = [len(clip.letters) for clip in clips]
    under_a_second = sum(clip.frames < FRAMES_PER_SECOND for clip in clips)
    return {
        **_totals(clips),
        "seconds": spread(clip.seconds for clip in clips),
        "length": spread(lengths),
        "one_character": _share(lengths.count(1), len(clips)),
        "at_most_two_characters": _share(lengths.count(1) + lengths.count(2), len(clips)),
        "under_one_second": _share(under_a_second, len(clips)),
        "above_default_limit": sum(clip.frames > DEFAULT_LIMIT for clip in clips),
        **{f"in_{other}": None if other == name else _overlap(clips, texts[other]) for other in SPLITS},
        "characters_not_in_train": len(new),
        "occurrences_not_in_train": sum(new),
        "singletons": sum(count == 1 for count in letters[name].values()),
    }


def spread(values: Iterable[float]) -> dict[str, float]:
    """Return the smallest, median, mean, 95th percentile (nearest rank) and largest of ``values``."""
    ranked = sorted(values)
    mean = round(sum(ranked) / len(ranked), 3)
    return {"min": ranked[0], "median": rank(ranked, 0.5), "mean": mean, "p95": rank(ranked, 0.95), "max": ranked[-1]}


def rank(values: Iterable[float], share: float) -> float:
    """Return a percentile of ``values`` by nearest rank."""
    ranked = sorted(values)
    return ranked[max(0, math.ceil(share * len(ranked)) - 1)]


def _share(part: int, whole: int) -> float:
    return round(part / max(1, whole), 4)


def _overlap(clips: Clips, texts: Collection[str]) -> dict[str, float | int]:
    """Return how many of ``clips`` have a text that is in ``texts``, and how many of their characters."""
    seen = [clip for clip in clips if clip.text in texts]
    return {
        "utterances": len(seen),
        "share": _share(len(seen), len(clips)),
        "characters": _characters(seen),
        "characters_share": _share(_characters(seen), _characters(clips)),
    }


def _by_speaker(clips: Clips, texts: Mapping[str, set[str]]) -> dict[str, Any]:
    grouped = itertools.groupby(sorted(clips, key=lambda clip: clip.speaker), lambda clip: clip.speaker)
    return {speaker: _speaker_row(list(own), texts) for speaker, own in grouped}


def _speaker_row(clips: Clips, texts: Mapping[str, set[str]]) -> dict[str, Any]:
    """Return one speaker's row. What others say too is counted in the speaker's val and test utterances only."""
    parts = {name: part for name in SPLITS if (part := [clip for clip in clips if clip.split == name])}
    asked = {
        other: [clip for name, part in parts.items() if name not in ("train", other) for clip in part]
        for other in SPLITS
    }
    totals = _totals(clips)
    del totals["speakers"]
    return {
        "split": "+".join(parts),
        "by_split": {
            name: {"utterances": len(part), "hours": round(_seconds(part) / 3600, 6)} for name, part in parts.items()
        },
        **totals,
        "median_length": rank((len(clip.letters) for clip in clips), 0.5),
        "median_seconds": rank((clip.seconds for clip in clips), 0.5),
        "rate": _rate(clips),
        **{f"in_{other}": _overlap(part, texts[other]) if part else None for other, part in asked.items()},
    }


def _rate(clips: Clips) -> dict[str, float]:
    """Return characters per second of audio, pauses and silent ends included: of all audio, and over utterances."""
    rates = [len(clip.letters) / clip.seconds for clip in clips if clip.seconds > 0] or [0.0]
    overall = _characters(clips) / (_seconds(clips) or math.inf)
    marks = {"overall": overall, "median": rank(rates, 0.5), "p5": rank(rates, 0.05), "p95": rank(rates, 0.95)}
    return {name: round(value, 3) for name, value in marks.items()}


def _histograms(clips: Mapping[str, Clips]) -> dict[str, Any]:
    """Return the utterances by length and by duration, binned; ``from`` is each bin's lower end, the last is open."""
    lengths = {name: _binned((len(clip.letters) for clip in clips[name]), LENGTH_BINS) for name in SPLITS}
    frames = {name: _binned((clip.frames for clip in clips[name]), FRAME_BINS) for name in SPLITS}
    seconds = [edge / FRAMES_PER_SECOND for edge in (*FRAME_BINS[:-1], DEFAULT_LIMIT)]
    return {"length": {"from": list(LENGTH_BINS), **lengths}, "seconds": {"from": seconds, **frames}}


def _binned(values: Iterable[int], edges: Sequence[int]) -> list[int]:
    counts = Counter(bisect_right(edges, value) - 1 for value in values)
    return [counts[place] for place in range(len(edges))]


def coverage(letters: Mapping[str, Counter[str]], vocabulary: frozenset[str]) -> dict[str, Any]:
    """Return which characters the base model has a token for, by split, and the most frequent ones that it has not.

    ``letters`` are the characters of each split with their counts.
    """
    uncovered: Counter[str] = Counter()
    by_split: dict[str, Any] = {}
    for name in SPLITS:
        missing = {letter: count for letter, count in letters[name].items() if letter not in vocabulary}
        uncovered.update(missing)
        occurrences, absent = letters[name].total(), sum(missing.values())
        by_split[name] = {
            "distinct_characters": len(letters[name]),
            "covered_characters": len(letters[name]) - len(missing),
            "occurrences": occurrences,
            "covered_occurrences": occurrences - absent,
            "covered_share": _share(occurrences - absent, occurrences),
            "uncovered_not_in_train": sum(letter not in letters["train"] for letter in missing),
        }
    named = sorted(uncovered.items(), key=lambda pair: (-pair[1], pair[0]))[:MOST_FREQUENT]
    return {
        "characters": len(vocabulary),
        "splits": by_split,
        "uncovered_characters": len(uncovered),
        "uncovered": [
            {"character": letter, "count": count, **{name: letters[name][letter] for name in SPLITS}}
            for letter, count in named
        ],
    }


def compare_with_expected(counts: Mapping[str, int], split: Split) -> list[str] | None:
    """Return lines that say by how much, and for which speakers, ``counts`` differ from the published ones.

    Empty where they agree; None where nothing is published for this split.
    """
    if not split.expected:
        return None
    lines = []
    for name in SPLITS:
        off = {speaker: counts.get(speaker, 0) - split.expected.get(speaker, 0) for speaker in split.speakers[name]}
        if any(off.values()):
            total, more = sum(counts.get(speaker, 0) for speaker in off), sum(off.values())
            which = ", ".join(f"{speaker} {count:+,}" for speaker, count in off.items() if count)
            lines.append(f"{name} {total:,} utterances, {more:+,} against the manual's {total - more:,}: {which}")
    return lines
