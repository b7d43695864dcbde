"""What is in a prepared corpus: statistics.json, and the page that people read, data_statistics.txt."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from asr.manifest import Utterance, corpus_digest
from asr.normalize import normalize
from asr.tables import text_table
from split import SPLITS, Split

Splits = Mapping[str, Sequence[Utterance]]


def spread(values: Sequence[float]) -> dict[str, float]:
    """Smallest, median, mean, 95th percentile (nearest rank) and largest of ``values``."""
    ranked = sorted(values)

    def rank(share: float) -> float:
        return ranked[max(0, math.ceil(share * len(ranked)) - 1)]

    mean = round(sum(ranked) / len(ranked), 3)
    return {"min": ranked[0], "median": rank(0.5), "mean": mean, "p95": rank(0.95), "max": ranked[-1]}


def totals(utterances: Sequence[Utterance]) -> dict[str, Any]:
    """Speakers, utterances, hours, characters, and how many different characters and texts."""
    texts = {item.target for item in utterances}
    return {
        "speakers": len({item.speaker for item in utterances}),
        "utterances": len(utterances),
        "hours": round(sum(item.duration for item in utterances) / 3600, 4),
        "characters": sum(item.target_len for item in utterances),
        "distinct_characters": len(set().union(*texts) - {" "}),
        "distinct_texts": len(texts),
    }


def overlap(train_texts: set[str], utterances: Sequence[Utterance]) -> dict[str, float | int]:
    """How many utterances (and their characters) have a text that occurs, normalised, in train."""
    seen = [item for item in utterances if normalize(item.target) in train_texts]
    characters = sum(item.target_len for item in seen)
    return {
        "utterances": len(seen),
        "share": round(len(seen) / len(utterances), 4),
        "characters": characters,
        "characters_share": round(characters / max(1, sum(item.target_len for item in utterances)), 4),
    }


def collect(about: Mapping[str, Any], splits: Splits, split: Split) -> dict[str, Any]:
    """All the figures, ``about`` the corpus (its name, parts, …). No path and no time, so that runs can be compared."""
    everything = [item for name_ in SPLITS for item in splits[name_]]
    train_texts = {normalize(item.target) for item in splits["train"]}
    known = set().union(*(item.target for item in splits["train"]))
    found: dict[str, Any] = {
        "schema_version": 1,
        "corpus": {**about, "digest": corpus_digest(everything)},
        "split": {
            "origin": split.origin,
            "description": split.describe(),
            "seed": split.seed,
            "speakers": {name_: list(split.speakers[name_]) for name_ in SPLITS},
        },
        "splits": {},
        "total": totals(everything),
        "by_speaker": {},
    }
    for name_ in SPLITS:
        utterances = splits[name_]
        found["splits"][name_] = {
            **totals(utterances),
            "digest": corpus_digest(utterances),
            "seconds": spread([item.duration for item in utterances]),
            "length": spread([item.target_len for item in utterances]),
            "in_train": None if name_ == "train" else overlap(train_texts, utterances),
            "characters_not_in_train": len(set().union(*(item.target for item in utterances)) - known - {" "}),
        }
        found["by_speaker"].update(_by_speaker(name_, utterances, train_texts))
    return found


def _by_speaker(split: str, utterances: Sequence[Utterance], train_texts: set[str]) -> dict[str, Any]:
    groups: dict[str, list[Utterance]] = {}
    for item in utterances:
        groups.setdefault(item.speaker, []).append(item)
    return {
        speaker: {
            "split": split,
            **{key: value for key, value in totals(group).items() if key != "speakers"},
            "median_length": spread([item.target_len for item in group])["median"],
            "median_seconds": spread([item.duration for item in group])["median"],
            "in_train": None if split == "train" else overlap(train_texts, group),
        }
        for speaker, group in sorted(groups.items())
    }


def compare_with_expected(counts: Mapping[str, int], split: Split) -> list[str] | None:
    """Lines that say by how much, and for which speakers, ``counts`` differ from the published ones.

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


def manual_block(differences: list[str] | None) -> list[str]:
    """One block that compares with the manual's counts of the 1h part, or none."""
    if differences is None:
        return []
    if not differences:
        return ["The 1h part's counts are the manual's."]
    return ["\n".join(["The 1h part's counts differ from the manual's:", *_indent(differences)])]


def split_table(statistics: Mapping[str, Any]) -> str:
    """The manual's table: speakers and utterances by split, with hours and characters beside them."""
    rows = [(name, statistics["splits"][name]) for name in SPLITS] + [("total", statistics["total"])]
    return text_table(
        ("split", "speakers", "utterances", "hours", "characters"),
        [
            (name, row["speakers"], f"{row['utterances']:,}", f"{row['hours']:.2f}", f"{row['characters']:,}")
            for name, row in rows
        ],
    )


def render(statistics: Mapping[str, Any], differences: list[str] | None, problems: Sequence[str]) -> str:
    """data_statistics.txt: the manual's table first, then what a reader of the results should know."""
    corpus, split = statistics["corpus"], statistics["split"]
    blocks = [split_table(statistics)]
    blocks += manual_block(differences)
    blocks.append(
        f"corpus  {corpus['name']}, part {' and '.join(corpus['parts'])}\nsplit   {split['description']}\n"
        f"digest  {corpus['digest']}"
    )
    blocks += [_distributions(statistics), _overlap(statistics), _speakers(statistics)]
    blocks.append("\n".join(["Problems (each one is in problems.tsv)", *_indent(problems or ["none"])]))
    return "\n\n".join(blocks) + "\n"


def _indent(lines: Sequence[str]) -> list[str]:
    return [f"  {line}" for line in lines]


def _distributions(statistics: Mapping[str, Any]) -> str:
    rows = []
    for name in SPLITS:
        row = statistics["splits"][name]
        seconds = [f"{value:.2f}" for value in row["seconds"].values()]
        length = [f"{value:.1f}" if key == "mean" else f"{value}" for key, value in row["length"].items()]
        rows.append((name, *seconds, *length))
    measures = ("min", "median", "mean", "p95", "max")
    header = ("split", "s " + measures[0], *measures[1:], "chars " + measures[0], *measures[1:])
    return "Durations in seconds, and lengths in characters\n\n" + text_table(header, rows)


def _overlap(statistics: Mapping[str, Any]) -> str:
    rows = []
    for name in SPLITS:
        row, seen = statistics["splits"][name], statistics["splits"][name]["in_train"]
        shares = (percent(seen["share"]), percent(seen["characters_share"])) if seen else ("", "")
        new = row["characters_not_in_train"] if seen else ""
        rows.append((name, f"{row['distinct_texts']:,}", f"{row['distinct_characters']:,}", *shares, new))
    header = ("split", "different texts", "different characters", "text in train", "by characters", "new characters")
    return (
        "Prompt overlap: utterances whose exact text (normalised) is in train, and characters that train has not.\n"
        "Unseen speakers are not unseen sentences: read the CER of both groups.\n\n" + text_table(header, rows)
    )


def _speakers(statistics: Mapping[str, Any]) -> str:
    rows = []
    for speaker, row in sorted(
        statistics["by_speaker"].items(), key=lambda item: (SPLITS.index(item[1]["split"]), item)
    ):
        minutes = row["hours"] * 60
        rate = row["characters"] / (row["hours"] * 3600) if row["hours"] else 0
        seen = percent(row["in_train"]["share"]) if row["in_train"] else ""
        medians = (f"{row['median_seconds']:.2f}", row["median_length"])
        counts = (f"{row['utterances']:,}", f"{minutes:.1f}", f"{row['characters']:,}")
        rows.append((row["split"], speaker, *counts, *medians, f"{rate:.1f}", seen))
    header = (
        "split",
        "speaker",
        "utterances",
        "minutes",
        "characters",
        "median s",
        "median chars",
        "chars/s",
        "in train",
    )
    return "Speakers\n\n" + text_table(header, rows, left=(0, 1))


def percent(share: float) -> str:
    """A fraction as per cent with one decimal."""
    return f"{100 * share:.1f} %"
