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
from dataclasses import dataclass, field
from typing import Any

from asr.core.manifest import FRAMES_PER_SECOND, Utterance, corpus_digest
from asr.core.names import UNKNOWN_SPEAKER
from asr.preparation.splits.split_file import SPLITS, Split
from asr.preparation.statistics.text import manual_block, percent, render, split_table
from asr.scoring.normalize import scoring_form

__all__ = ["SCHEMA_VERSION", "collect", "compare_with_expected", "manual_block", "percent", "render", "split_table"]

SCHEMA_VERSION = 2
Splits = Mapping[str, Sequence[Utterance]]
MOST_FREQUENT = 50  # characters without a token that are named
DEFAULT_LIMIT = 2048  # 10-ms frames: what FunASR drops by default is longer (max_source_length)
LENGTH_BINS = (*range(1, 21), 21, 26, 31)  # the smallest length of each bin; the last one is open
FRAME_BINS = (*range(0, 1000, 50), *range(1000, 2001, 100), DEFAULT_LIMIT + 1)  # in 10-ms frames, likewise


def spread(values: Iterable[float]) -> dict[str, float]:
    """Return the smallest, median, mean, 95th percentile (nearest rank) and largest of ``values``."""
    ranked = sorted(values)
    mean = round(sum(ranked) / len(ranked), 3)
    return {"min": ranked[0], "median": rank(ranked, 0.5), "mean": mean, "p95": rank(ranked, 0.95), "max": ranked[-1]}


def rank(ranked: Sequence[float], share: float) -> float:
    """Return a percentile by nearest rank of ``ranked``, which is sorted."""
    return ranked[max(0, math.ceil(share * len(ranked)) - 1)]


@dataclass
class Tally:
    """Counts of some utterances; two can be added."""

    speakers: int = 0
    seconds: float = 0.0
    letters: Counter[str] = field(default_factory=Counter)  # characters and how often each occurs
    lengths: list[int] = field(default_factory=list)  # in characters, by utterance
    frames: Counter[int] = field(default_factory=Counter)  # source_len and how many utterances have it
    durations: list[float] = field(default_factory=list)
    seen: dict[str, tuple[int, int]] = field(default_factory=dict)  # by split: utterances and characters it has too

    @property
    def utterances(self) -> int:
        return len(self.lengths)

    @property
    def characters(self) -> int:
        return sum(self.lengths)

    def add(self, other: Tally) -> None:
        self.speakers += other.speakers
        self.seconds += other.seconds
        self.letters.update(other.letters)
        self.lengths += other.lengths
        self.frames.update(other.frames)
        self.durations += other.durations
        for name, pair in other.seen.items():
            self.seen[name] = _plus(self.seen.get(name, (0, 0)), pair)

    def totals(self, texts: int) -> dict[str, Any]:
        """Return what every table begins with; ``texts`` is the number of different texts."""
        return {
            "speakers": self.speakers,
            "utterances": self.utterances,
            "hours": round(self.seconds / 3600, 4),
            "characters": self.characters,
            "distinct_characters": len(self.letters),
            "distinct_texts": texts,
        }


def _plus(one: tuple[int, int], two: tuple[int, int]) -> tuple[int, int]:
    return one[0] + two[0], one[1] + two[1]


def tally(utterances: Sequence[Utterance], texts: Sequence[str], others: Mapping[str, Collection[str]]) -> Tally:
    """Count the utterances of one speaker. ``texts``: theirs, as compared; ``others``: the other splits' texts."""
    lengths = [len(item.target) - item.target.count(" ") for item in utterances]
    durations = [item.duration for item in utterances]
    letters = Counter("".join([item.target for item in utterances]))
    letters.pop(" ", None)
    frames = Counter([item.source_len for item in utterances])
    seen = {}
    for name, known in others.items():
        shared = [length for length, text in zip(lengths, texts, strict=True) if text in known]
        seen[name] = (len(shared), sum(shared))
    known = int(utterances[0].speaker != UNKNOWN_SPEAKER)
    return Tally(known, sum(durations), letters, lengths, frames, durations, seen)


def collect(
    about: Mapping[str, Any], splits: Splits, split: Split, vocabulary: Collection[str] | None = None
) -> dict[str, Any]:
    """Return all figures, ``about`` the corpus (name, parts, …) first. ``vocabulary``: the base model's characters."""
    form = functools.cache(scoring_form)  # many say the same
    texts = {name: {form(item.target) for item in splits[name]} for name in SPLITS}
    sums = {name: Tally() for name in SPLITS}
    by_speaker: dict[str, Any] = {}
    for speaker, parts in sorted(_by_speaker(splits).items()):
        own: set[str] = set()
        found = {}
        for name, utterances in parts.items():
            said = [form(item.target) for item in utterances]
            found[name] = tally(utterances, said, {other: texts[other] for other in SPLITS if other != name})
            sums[name].add(found[name])
            own.update(said)
        by_speaker[speaker] = _speaker(found, len(own))
    total = Tally()
    for name in SPLITS:
        total.add(sums[name])
    total.speakers = len(by_speaker.keys() - {UNKNOWN_SPEAKER})
    train, val, test = (texts[name] for name in SPLITS)
    different = len(train) + len(val - train) + len(test - val - train)  # without a set of them all
    known = sums["train"].letters
    digest = corpus_digest(itertools.chain.from_iterable(splits[name] for name in SPLITS))
    return {
        "schema_version": SCHEMA_VERSION,
        "corpus": {**about, "digest": digest},
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
            name: {**_split_row(name, sums[name], len(texts[name]), known), "digest": corpus_digest(splits[name])}
            for name in SPLITS
        },
        "total": total.totals(different),
        "by_speaker": by_speaker,
        "histograms": _histograms(sums),
        "vocabulary": None if vocabulary is None else coverage(sums, frozenset(vocabulary)),
    }


def _by_speaker(splits: Splits) -> dict[str, dict[str, list[Utterance]]]:
    """Return the utterances by speaker and split; a speaker may be in several splits."""
    groups: dict[str, dict[str, list[Utterance]]] = {}
    for name in SPLITS:
        for item in splits[name]:
            groups.setdefault(item.speaker, {}).setdefault(name, []).append(item)
    return groups


def _share(part: int, whole: int) -> float:
    return round(part / max(1, whole), 4)


def _seen(pair: tuple[int, int], utterances: int, characters: int) -> dict[str, float | int]:
    return {
        "utterances": pair[0],
        "share": _share(pair[0], utterances),
        "characters": pair[1],
        "characters_share": _share(pair[1], characters),
    }


def _split_row(name: str, found: Tally, texts: int, known: Mapping[str, int]) -> dict[str, Any]:
    new = [count for letter, count in found.letters.items() if letter not in known]
    lengths = Counter(found.lengths)
    under_a_second = sum(count for frames, count in found.frames.items() if frames < FRAMES_PER_SECOND)
    row: dict[str, Any] = {
        **found.totals(texts),
        "seconds": spread(found.durations),
        "length": spread(found.lengths),
        "one_character": _share(lengths[1], found.utterances),
        "at_most_two_characters": _share(lengths[1] + lengths[2], found.utterances),
        "under_one_second": _share(under_a_second, found.utterances),
        "above_default_limit": sum(count for frames, count in found.frames.items() if frames > DEFAULT_LIMIT),
    }
    for other in SPLITS:
        pair = found.seen.get(other)
        row[f"in_{other}"] = None if pair is None else _seen(pair, found.utterances, found.characters)
    row["characters_not_in_train"] = len(new)
    row["occurrences_not_in_train"] = sum(new)
    row["singletons"] = sum(count == 1 for count in found.letters.values())
    return row


def _speaker(parts: Mapping[str, Tally], texts: int) -> dict[str, Any]:
    """Return one speaker's row. What others say too is counted in the speaker's val and test utterances only."""
    whole = Tally()
    for part in parts.values():
        whole.add(part)
    totals = whole.totals(texts)
    del totals["speakers"]
    row: dict[str, Any] = {
        "split": "+".join(parts),
        "by_split": {
            name: {"utterances": part.utterances, "hours": round(part.seconds / 3600, 6)}
            for name, part in parts.items()
        },
        **totals,
        "median_length": rank(sorted(whole.lengths), 0.5),
        "median_seconds": rank(sorted(whole.durations), 0.5),
        "rate": _rate(whole),
    }
    for other in SPLITS:
        asked = [part for name, part in parts.items() if name not in ("train", other)]
        pair = (0, 0)
        for part in asked:
            pair = _plus(pair, part.seen[other])
        counts = sum(part.utterances for part in asked), sum(part.characters for part in asked)
        row[f"in_{other}"] = _seen(pair, *counts) if asked else None
    return row


def _rate(found: Tally) -> dict[str, float]:
    """Return characters per second of audio, pauses and silent ends included: of all audio, and over utterances."""
    rates = sorted(
        length / seconds for length, seconds in zip(found.lengths, found.durations, strict=True) if seconds > 0
    ) or [0.0]
    of_all = found.characters / found.seconds if found.seconds else 0.0
    marks = {"overall": of_all, "median": rank(rates, 0.5), "p5": rank(rates, 0.05), "p95": rank(rates, 0.95)}
    return {name: round(value, 3) for name, value in marks.items()}


def _histograms(sums: Mapping[str, Tally]) -> dict[str, Any]:
    """Return the utterances by length and by duration, binned; ``from`` is each bin's lower end, the last is open."""
    lengths = {name: _binned(Counter(sums[name].lengths), LENGTH_BINS) for name in SPLITS}
    frames = {name: _binned(sums[name].frames, FRAME_BINS) for name in SPLITS}
    seconds = [edge / FRAMES_PER_SECOND for edge in (*FRAME_BINS[:-1], DEFAULT_LIMIT)]
    return {"length": {"from": list(LENGTH_BINS), **lengths}, "seconds": {"from": seconds, **frames}}


def _binned(counts: Mapping[int, int], edges: Sequence[int]) -> list[int]:
    """Return how many lie in each bin; what is below the first edge (no prepared utterance is) counts in the first."""
    bins = [0] * len(edges)
    for value, count in counts.items():
        bins[max(0, bisect_right(edges, value) - 1)] += count
    return bins


def coverage(sums: Mapping[str, Tally], vocabulary: frozenset[str]) -> dict[str, Any]:
    """Return which characters the base model has a token for, by split, and the most frequent ones that it has not."""
    uncovered: Counter[str] = Counter()
    by_split: dict[str, Any] = {}
    for name in SPLITS:
        letters = sums[name].letters
        missing = {letter: count for letter, count in letters.items() if letter not in vocabulary}
        uncovered.update(missing)
        occurrences, absent = sum(letters.values()), sum(missing.values())
        by_split[name] = {
            "distinct_characters": len(letters),
            "covered_characters": len(letters) - len(missing),
            "occurrences": occurrences,
            "covered_occurrences": occurrences - absent,
            "covered_share": _share(occurrences - absent, occurrences),
            "uncovered_not_in_train": sum(letter not in sums["train"].letters for letter in missing),
        }
    named = sorted(uncovered.items(), key=lambda item: (-item[1], item[0]))[:MOST_FREQUENT]
    return {
        "characters": len(vocabulary),
        "splits": by_split,
        "uncovered_characters": len(uncovered),
        "uncovered": [
            {"character": letter, "count": count, **{name: sums[name].letters[letter] for name in SPLITS}}
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
        here = {speaker: counts.get(speaker, 0) for speaker in split.speakers[name]}
        there = {speaker: split.expected.get(speaker, 0) for speaker in here}
        if here != there:
            total, published = sum(here.values()), sum(there.values())
            off = [
                f"{speaker} {here[speaker] - there[speaker]:+,}" for speaker in here if here[speaker] != there[speaker]
            ]
            head = f"{name} {total:,} utterances, {total - published:+,} against the manual's {published:,}"
            lines.append(f"{head}: {', '.join(off)}")
    return lines
