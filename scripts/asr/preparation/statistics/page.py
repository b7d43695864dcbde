"""data_statistics.html: the figures of statistics.json as a page to look at, in English and Chinese.

It is made of statistics.json's content alone, so it holds no transcript and can be shown to people who may not read the
corpus. The page itself is asr/pages/templates/data_statistics.html.j2; here is what it shows, as plain data.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from asr.pages.html import Card, Table, render, trusted
from asr.pages.svg import drawing, svg
from asr.pages.words import Words, words
from asr.preparation.splits.split_file import SPLITS
from asr.preparation.statistics import charts, tables
from asr.preparation.statistics.tables import Statistics, percent


def page(statistics: Statistics) -> str:
    """Return the whole page, the same bytes for the same statistics."""
    corpus = statistics["corpus"]
    name, parts = str(corpus["name"]), " + ".join(map(str, corpus["parts"]))
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
        captions={name: words(f"{name}_chart_caption", **each) for name, each in _caption_values(statistics).items()},
        legends=_legends(statistics),
        overlap=_overlap(statistics),
        characters=tables.characters(statistics),
        speakers=tables.speakers(statistics),
    )


def _cards(statistics: Statistics) -> list[Card]:
    sizes = tables.splits(statistics)
    cards = [
        Card(cast(Words, name), value) for name, value in list(zip(sizes.columns, sizes.rows[-1], strict=True))[1:]
    ]
    cards.append(Card(words("test_text_in_train"), percent(statistics["splits"]["test"]["in_train"]["share"])))
    if statistics["vocabulary"]:
        cards.append(Card(words("without_token"), f"{statistics['vocabulary']['uncovered_characters']:,}"))
    return cards


def _problems(statistics: Statistics) -> Table:
    rows = [(words(row["severity"]), row["kind"], f"{row['count']:,}") for row in statistics["problems"]]
    return Table([words("severity"), words("kind"), words("count")], rows)


def _legends(statistics: Statistics) -> dict[str, list[tuple[str, Words]]]:
    """Return the legend of each chart: the CSS class and the name of each entry."""
    splits = [(name, words(name)) for name in SPLITS]
    mixed = any("+" in row["split"] for row in statistics["by_speaker"].values())
    several = [("several", words("several"))] if mixed else []
    without_token = [("bad", words("without_token_of_base"))] if statistics["vocabulary"] else []
    return {
        "speakers": splits,
        "lengths": splits,
        "durations": [*splits, ("limit", words("default_limit"))],
        "rates": splits + several,
        "overlap": [*splits[1:], *several, ("line", words("by_characters"))],
        "characters": [*splits, ("pale", words("not_in_train")), *without_token],
        "uncovered": splits,
    }


def _caption_values(statistics: Statistics) -> dict[str, dict[str, object]]:
    """Return what is filled in where the captions say what each chart shows."""
    speakers = list(statistics["by_speaker"].values())
    medians = [row["rate"]["median"] for row in speakers]
    rows = [statistics["splits"][name] for name in SPLITS]
    values: dict[str, dict[str, object]] = {
        "speakers": {
            "utterances": _range([row["utterances"] for row in speakers], ""),
            "minutes": _range([row["hours"] * 60 for row in speakers], ".1f"),
            "more": _unnamed(len(speakers)),
        },
        "lengths": {
            "median": _each([f"{row['length']['median']:g}" for row in rows]),
            "one": _each([percent(row["one_character"]) for row in rows]),
            "two": _each([percent(row["at_most_two_characters"]) for row in rows]),
            "longest": max(row["length"]["max"] for row in rows),
        },
        "durations": {
            "median": _each([f"{row['seconds']['median']:.2f}" for row in rows]),
            "short": _each([percent(row["under_one_second"]) for row in rows]),
            "longest": f"{max(row['seconds']['max'] for row in rows):.2f}",
            "above": f"{sum(row['above_default_limit'] for row in rows):,}",
        },
        "rates": {"low": f"{min(medians):.2f}", "high": f"{max(medians):.2f}", "more": _unnamed(len(speakers))},
        **_text_values(statistics),
    }
    if vocabulary := statistics["vocabulary"]:
        shown = min(len(vocabulary["uncovered"]), charts.MOST_LETTERS)
        values["uncovered"] = {"shown": shown, "count": f"{vocabulary['uncovered_characters']:,}"}
    return values


def _text_values(statistics: Statistics) -> dict[str, dict[str, object]]:
    """Return what is filled in where the captions speak of texts and characters that sets have in common."""
    train, val, test = (statistics["splits"][name] for name in SPLITS)
    return {
        "overlap": {
            "test": percent(test["in_train"]["share"]),
            "test_characters": percent(test["in_train"]["characters_share"]),
            "val": percent(val["in_train"]["share"]),
            "val_characters": percent(val["in_train"]["characters_share"]),
            "more": _unnamed(sum(row["in_train"] is not None for row in statistics["by_speaker"].values())),
        },
        "characters": {
            "new": f"{test['characters_not_in_train']:,}",
            "times": f"{test['occurrences_not_in_train']:,}",
            "once": f"{train['singletons']:,}",
        },
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
    rows = []
    for name in SPLITS:
        others = [statistics["splits"][name][f"in_{other}"] for other in SPLITS]
        rows.append(
            (words(name), *(f"{percent(seen['share'])} ({seen['utterances']:,})" if seen else "" for seen in others))
        )
    return Table([words("utterances_of"), *(words("text_also_in", split=name) for name in SPLITS)], rows)
