"""The tables that data_statistics.txt and data_statistics.html share, from statistics.json."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from asr.pages.html import Cell, Table
from asr.pages.words import words
from asr.preparation.splits.split_file import SPLITS

Statistics = Mapping[str, Any]


def percent(share: float) -> str:
    """Return a fraction as per cent with one decimal."""
    return f"{100 * share:.1f} %"


def by_split(speakers: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, Mapping[str, Any]]]:
    """Return speakers and their rows: those of train, val, test, then those of several splits; each by name."""
    order = {split: place for place, split in enumerate(SPLITS)}
    return sorted(speakers.items(), key=lambda pair: (order.get(pair[1]["split"], len(SPLITS)), pair[0]))


def splits(statistics: Statistics) -> Table:
    """Return the sizes of each split and of the corpus; the first five columns are those of CDSD's manual."""
    columns = ("speakers", "utterances", "hours", "characters", "distinct_characters", "distinct_texts")
    rows = [(words(name), statistics["splits"][name]) for name in SPLITS] + [(words("total"), statistics["total"])]
    return Table(
        [words(key) for key in ("split", *columns)],
        [(name, *(_size(row, key) for key in columns)) for name, row in rows],
    )


def _size(row: Mapping[str, Any], key: str) -> Cell:
    if key == "speakers" and row["utterances"] and not row["speakers"]:
        return words("not_known")
    return f"{row[key]:.2f}" if key == "hours" else f"{row[key]:,}"


def characters(statistics: Statistics) -> Table:
    """Return by split how many characters there are, how many train has not, and how many have no token."""
    vocabulary = statistics["vocabulary"]
    columns = ["split", "distinct_characters", "occur_once", "not_in_train", "occurrences"]
    columns += ["without_token_short", "occurrences"] if vocabulary else []
    keys = ("distinct_characters", "singletons", "characters_not_in_train", "occurrences_not_in_train")
    rows = []
    for name in SPLITS:
        values = [statistics["splits"][name][key] for key in keys]
        if vocabulary:
            tokens = vocabulary["splits"][name]
            values.append(tokens["distinct_characters"] - tokens["covered_characters"])
            values.append(tokens["occurrences"] - tokens["covered_occurrences"])
        rows.append([words(name), *(f"{value:,}" for value in values)])
    return Table([words(key) for key in columns], rows)


def speakers(statistics: Statistics) -> Table:
    """Return a row for each speaker."""
    columns = ("speaker", "split", "utterances", "minutes", "characters", "distinct_characters", "distinct_texts")
    columns += ("median_seconds", "median_characters", "characters_per_s", "percentile_5", "median", "percentile_95")
    rows = []
    for speaker, row in by_split(statistics["by_speaker"]):
        counts = (f"{row[key]:,}" for key in ("characters", "distinct_characters", "distinct_texts"))
        rates = (f"{row['rate'][key]:.2f}" for key in ("overall", "p5", "median", "p95"))
        medians = (f"{row['median_seconds']:.2f}", f"{row['median_length']}")
        seen = percent(row["in_train"]["share"]) if row["in_train"] else ""
        about = (speaker, row["split"], f"{row['utterances']:,}", f"{row['hours'] * 60:.1f}")
        rows.append((*about, *counts, *medians, *rates, seen))
    return Table([words(key) for key in (*columns, "text_in_train")], rows)
