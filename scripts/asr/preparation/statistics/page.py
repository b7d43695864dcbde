"""data_statistics.html: the figures of statistics.json as a page to look at, in English and Chinese.

It is made of statistics.json's content alone, so it holds no transcript and can be shown to people who may not read the
corpus. The page itself is asr/pages/templates/data_statistics.html.j2; here is what it shows, as plain data.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from asr.pages.html import Card, Cell, Table, render, trusted
from asr.pages.svg import drawing, svg
from asr.pages.words import Words, words
from asr.preparation.splits.split_file import SPLITS
from asr.preparation.statistics import charts, tables
from asr.preparation.statistics.tables import Statistics, percent


def page(statistics: Statistics) -> str:
    """Return the whole page, the same bytes for the same statistics."""
    corpus = statistics["corpus"]
    name, parts = str(corpus["name"]), " + ".join(map(str, corpus.get("parts", [])))
    with drawing():
        pictures = {
            chart.__name__: trusted(svg(chart(statistics), f"picture-{chart.__name__}"))
            for chart in charts.CHARTS
            if chart is not charts.uncovered or (statistics["vocabulary"] or {}).get("uncovered")
        }
    return render(
        "data_statistics.html.j2",
        words("statistics_of", name=name),
        ["statistics.css"],
        heading=words("statistics_of_part", name=name, parts=parts) if parts else words("statistics_of", name=name),
        statistics=statistics,
        cards=_cards(statistics),
        splits=tables.splits(statistics),
        problems=_problems(statistics),
        pictures=pictures,
        captions=_captions(statistics),
        legends=_legends(statistics),
        overlap=_overlap(statistics),
        characters=tables.characters(statistics),
        speakers=tables.speakers(statistics),
    )


def _cards(statistics: Statistics) -> list[Card]:
    total, seen = statistics["total"], statistics["splits"]["test"]["in_train"]
    cards = [
        Card(words(key), f"{total[key]:.2f}" if key == "hours" else f"{total[key]:,}")
        for key in ("speakers", "utterances", "hours", "characters", "distinct_characters", "distinct_texts")
    ]
    cards.append(Card(words("test_text_in_train"), percent(seen["share"] if seen else 0)))
    if statistics["vocabulary"]:
        cards.append(Card(words("without_token"), f"{statistics['vocabulary']['uncovered_characters']:,}"))
    return cards


def _problems(statistics: Statistics) -> Table:
    rows = [(words(row["severity"]), row["kind"], f"{row['count']:,}") for row in statistics.get("problems", [])]
    return Table([words("severity"), words("kind"), words("count")], rows)


def _legends(statistics: Statistics) -> dict[str, list[tuple[str, Words]]]:
    """Return the legend of each chart: the CSS class and the name of each entry."""
    splits = [(name, words(name)) for name in SPLITS]
    mixed = any("+" in row["split"] for row in statistics["by_speaker"].values())
    several = [("several", words("several"))] if mixed else []
    characters = [*splits, ("pale", words("not_in_train"))]
    if statistics["vocabulary"]:
        characters.append(("bad", words("without_token_of_base")))
    return {
        "speakers": splits,
        "lengths": splits,
        "durations": [*splits, ("limit", words("default_limit"))],
        "rates": splits + several,
        "overlap": [*splits[1:], *several, ("line", words("by_characters"))],
        "characters": characters,
        "uncovered": splits,
    }


def _captions(statistics: Statistics) -> dict[str, Words]:
    """Return what each chart shows, in a sentence or two."""
    values = {**_caption_values(statistics), "overlap": _overlap_values(statistics)}
    if vocabulary := statistics["vocabulary"]:
        shown = min(len(vocabulary["uncovered"]), charts.MOST_LETTERS)
        values["uncovered"] = {"shown": shown, "count": f"{vocabulary['uncovered_characters']:,}"}
    return {name: words(f"{name}_chart_caption", **each) for name, each in values.items()}


def _caption_values(statistics: Statistics) -> dict[str, dict[str, object]]:
    speakers = list(statistics["by_speaker"].values())
    medians = sorted(row["rate"]["median"] for row in speakers)
    splits = [statistics["splits"][name] for name in SPLITS]
    train, _, test = splits
    return {
        "speakers": {
            "utterances": _range([row["utterances"] for row in speakers], ""),
            "minutes": _range([row["hours"] * 60 for row in speakers], ".1f"),
            "more": _unnamed(len(speakers)),
        },
        "lengths": {
            "median": _each([f"{row['length']['median']:g}" for row in splits]),
            "one": _each([percent(row["one_character"]) for row in splits]),
            "two": _each([percent(row["at_most_two_characters"]) for row in splits]),
            "longest": max(row["length"]["max"] for row in splits),
        },
        "durations": {
            "median": _each([f"{row['seconds']['median']:.2f}" for row in splits]),
            "short": _each([percent(row["under_one_second"]) for row in splits]),
            "longest": f"{max(row['seconds']['max'] for row in splits):.2f}",
            "above": f"{sum(row['above_default_limit'] for row in splits):,}",
        },
        "rates": {"low": f"{medians[0]:.2f}", "high": f"{medians[-1]:.2f}", "more": _unnamed(len(speakers))},
        "characters": {
            "new": f"{test['characters_not_in_train']:,}",
            "times": f"{test['occurrences_not_in_train']:,}",
            "once": f"{train['singletons']:,}",
        },
    }


def _overlap_values(statistics: Statistics) -> dict[str, object]:
    test, val = (statistics["splits"][name]["in_train"] for name in ("test", "val"))
    counted = sum(row["in_train"] is not None for row in statistics["by_speaker"].values())
    return {
        "test": percent(test["share"]),
        "test_characters": percent(test["characters_share"]),
        "val": percent(val["share"]),
        "val_characters": percent(val["characters_share"]),
        "more": _unnamed(counted),
    }


def _unnamed(count: int) -> Words:
    """Return a remark where there are too many speakers for a name each."""
    return words("unnamed_speakers", count=f"{count:,}") if count > charts.MOST_NAMED else Words("", "")


def _range(values: Sequence[float], form: str) -> str:
    low, high = (f"{value:,{form}}" for value in (min(values), max(values)))
    return low if low == high else f"{low}–{high}"


def _each(values: Sequence[str]) -> Words:
    """Return one value for train, val and test: ``5 (train), 4 (val), 6 (test)``, or the one they all have."""
    if len(set(values)) == 1:
        return Words(values[0], values[0])
    named = list(zip(SPLITS, values, strict=True))
    return Words(
        ", ".join(f"{value} ({name})" for name, value in named),
        "、".join(f"{value}（{name}）" for name, value in named),
    )


def _overlap(statistics: Statistics) -> Table:
    rows: list[list[Cell]] = []
    for name in SPLITS:
        others = [statistics["splits"][name][f"in_{other}"] for other in SPLITS]
        cells = [f"{percent(seen['share'])} ({seen['utterances']:,})" if seen else "" for seen in others]
        rows.append([words(name), *cells])
    return Table([words("utterances_of"), *(words("text_also_in", split=name) for name in SPLITS)], rows)
