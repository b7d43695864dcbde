"""The pictures of data_statistics.html.

What is written in a picture is numbers and names only, so that one picture serves both languages; titles, axes and
legends are the page's (page.py). Every chart is a function from statistics.json to a matplotlib figure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from asr.core.text_tables import width
from asr.pages.svg import PAGE, WIDTH, bars, new_figure, shown, write_below
from asr.preparation.splits.split_file import SPLITS
from asr.preparation.statistics.tables import by_split
from asr.preparation.statistics.text import bin_names

MOST_NAMED = 60  # speakers that have room for a name each
MOST_LETTERS = 30  # bars of characters without a token
TONES = {name: PAGE[name] for name in (*SPLITS, "several")}
INK, RULE, PALE, BAD, CARD = (PAGE[name] for name in ("ink", "rule", "pale", "bad", "card"))


def _top(axis: Any, highest: float, room: float = 1.06) -> None:
    axis.set_ylim(0, highest * room or 1)


def _places(tones: Sequence[str]) -> list[float]:
    """Where each speaker stands, those of a split side by side, with a gap to the next split."""
    at, places = 0.0, []
    gap = max(1, len(tones) / 60)
    for place, tone in enumerate(tones):
        if place:
            at += 1 if tone == tones[place - 1] else 1 + gap
        places.append(at)
    return places


def _names_below(axis: Any, names: Sequence[str], places: Sequence[float]) -> None:
    """Names below the columns; without names where there are too many for it."""
    axis.set_xlim(places[0] - 0.8, places[-1] + 0.8)
    if len(names) > MOST_NAMED:
        axis.set_xticks([])
        return
    words = [shown(name) for name in names]
    upright = max(map(width, words)) * 7 > WIDTH * 0.9 / (places[-1] - places[0] + 1)
    write_below(axis, places, words, upright=upright)


def _room_for_names(names: Sequence[str]) -> float:
    if len(names) > MOST_NAMED:
        return 12
    return 16 + 7 * max(2, *(width(shown(name)) for name in names))


def _tone(row: Mapping[str, Any]) -> str:
    return row["split"] if row["split"] in SPLITS else "several"


def _in_order(rows: Sequence[tuple[str, Mapping[str, Any]]], key: Any) -> list[Any]:
    """By split and name; where names have no room by what is shown, so that the picture is a distribution."""
    tones = list(TONES)
    if len(rows) <= MOST_NAMED:
        return list(rows)
    return sorted(rows, key=lambda item: (tones.index(_tone(item[1])), -key(item[1]), item[0]))


def speakers(statistics: Mapping[str, Any]) -> Any:
    """Utterances (above) and minutes (below) of every speaker, in the splits' colours."""
    rows = by_split(statistics["by_speaker"])
    bottom = _room_for_names([speaker for speaker, _ in rows])
    figure, axes = new_figure(300 + bottom, bottom=bottom, rows=2)
    half = 0.4 if len(rows) <= MOST_NAMED else 0.5
    for axis, measure, scale in zip(axes, ("utterances", "hours"), (1, 60), strict=True):
        ordered = _in_order(rows, lambda row, measure=measure: row[measure])
        places, below = _places([_tone(row) for _, row in ordered]), [0.0] * len(ordered)
        for split in SPLITS:
            more = [scale * row["by_split"][split][measure] if split in row["by_split"] else 0 for _, row in ordered]
            boxes = [(at - half, low, at + half, low + new) for at, low, new in zip(places, below, more, strict=True)]
            bars(axis, boxes, TONES[split])
            below = [low + new for low, new in zip(below, more, strict=True)]
        _top(axis, max(below))
        axis.yaxis.set_major_formatter(_number)
    _names_below(axes[1], [speaker for speaker, _ in ordered], places)
    return figure


def _number(value: float, _place: int) -> str:
    return f"{value:,.10g}"


def _by_bin(axis: Any, found: Mapping[str, Any]) -> None:
    """Shares of each split's utterances in per cent, three columns side by side for every bin."""
    highest = 0.0
    for turn, split in enumerate(SPLITS):
        whole = max(1, sum(found[split]))
        shares = [100 * count / whole for count in found[split]]
        highest = max(highest, *shares)
        left = -0.42 + 0.28 * turn
        bars(axis, [(at + left, 0, at + left + 0.26, share) for at, share in enumerate(shares)], TONES[split])
    axis.set_xlim(-0.6, len(found["from"]) - 0.4)
    _top(axis, highest)


def lengths(statistics: Mapping[str, Any]) -> Any:
    """How long transcripts are: per cent of each split's utterances by number of characters."""
    found = statistics["histograms"]["length"]
    figure, (axis,) = new_figure(240)
    _by_bin(axis, found)
    labels = [label.split("-")[0] + "–" if "-" in label else label for label in bin_names(found["from"], True)]
    write_below(axis, range(len(labels)), labels)
    return figure


def durations(statistics: Mapping[str, Any]) -> Any:
    """How long clips are, with FunASR's limit as a line. From 10 s on a column is a second, not half of one."""
    found = statistics["histograms"]["seconds"]
    edges = found["from"]
    figure, (axis,) = new_figure(250)
    _by_bin(axis, found)
    limit, wide = len(edges) - 1.5, edges.index(10) - 0.5
    axis.axvline(wide, color=RULE, linewidth=1)
    axis.axvline(limit, color=BAD, linewidth=1.5, linestyle=(0, (4, 3)))
    height = axis.get_ylim()[1]
    axis.text(limit - 0.3, height, "20.48 s", ha="right", va="top", color=BAD)
    places = [at for at, edge in enumerate(edges[:-1]) if edge == int(edge) and (edge < 10 or edge % 2 == 0)]
    write_below(axis, [at - 0.5 for at in places], [f"{edges[at]:g}" for at in places])
    return figure


def rates(statistics: Mapping[str, Any]) -> Any:
    """Characters per second of every speaker, slowest first: median, and a bar from the 5th to the 95th percentile."""
    rows = sorted(statistics["by_speaker"].items(), key=lambda item: (item[1]["rate"]["median"], item[0]))
    names, bottom = [speaker for speaker, _ in rows], _room_for_names([speaker for speaker, _ in rows])
    figure, (axis,) = new_figure(220 + bottom, bottom=bottom)
    half = max(0.28, 0.0022 * len(rows))  # the mark of a median stays visible among 800
    for tone, colour in TONES.items():
        chosen = [(at, row["rate"]) for at, (_, row) in enumerate(rows) if _tone(row) == tone]
        boxes = [(at - 0.3, rate["p5"], at + 0.3, rate["p95"]) for at, rate in chosen]
        bars(axis, boxes, (colour, 0.35), edgecolor=colour, linewidth=0.8 if len(rows) <= MOST_NAMED else 0)
    highest = max(row["rate"]["p95"] for _, row in rows)
    thick = highest / 80
    for tone, colour in TONES.items():
        chosen = [(at, row["rate"]["median"]) for at, (_, row) in enumerate(rows) if _tone(row) == tone]
        bars(axis, [(at - half, value - thick, at + half, value + thick) for at, value in chosen], colour)
    _top(axis, highest)
    _names_below(axis, names, list(range(len(rows))))
    return figure


def overlap(statistics: Mapping[str, Any]) -> Any:
    """Val and test speakers: per cent of utterances whose text is in train, and of their characters (a line)."""
    rows = [(speaker, row) for speaker, row in by_split(statistics["by_speaker"]) if row["in_train"]]
    rows = _in_order(rows, lambda row: row["in_train"]["share"])
    names, tones = [speaker for speaker, _ in rows], [_tone(row) for _, row in rows]
    bottom, places = _room_for_names(names), _places(tones)
    figure, (axis,) = new_figure(200 + bottom, bottom=bottom)
    half = 0.4 if len(rows) > 12 else 0.25
    for tone, colour in TONES.items():
        chosen = [at for at, own in enumerate(tones) if own == tone]
        boxes = [(places[at] - half, 0, places[at] + half, 100 * rows[at][1]["in_train"]["share"]) for at in chosen]
        bars(axis, boxes, colour)
    edge = {"edgecolor": CARD, "linewidth": 0.8 if len(rows) <= MOST_NAMED else 0}
    marks = [(at, 100 * row["in_train"]["characters_share"]) for at, (_, row) in zip(places, rows, strict=True)]
    bars(axis, [(at - half, value - 0.8, at + half, value + 0.8) for at, value in marks], INK, **edge)
    axis.set_ylim(0, 103)
    axis.set_yticks(range(0, 101, 20))
    _names_below(axis, names, places)
    return figure


def characters(statistics: Mapping[str, Any]) -> Any:
    """Different characters of each split: known, not in train (pale), without a token (red)."""
    figure, (axis,) = new_figure(150, left=56)
    vocabulary, most = (
        statistics["vocabulary"],
        max(row["distinct_characters"] for row in statistics["splits"].values()),
    )
    for place, split in enumerate(SPLITS):
        row = statistics["splits"][split]
        found = vocabulary["splits"][split] if vocabulary else None
        absent = found["distinct_characters"] - found["covered_characters"] if found else 0
        new = row["characters_not_in_train"] - (found["uncovered_not_in_train"] if found else 0)
        total = row["distinct_characters"]
        low, high = place - 0.32, place + 0.32
        bars(axis, [(0, low, total - absent - new, high)], TONES[split])
        bars(axis, [(total - absent - new, low, total - absent, high)], PALE, edgecolor=INK, linewidth=0.8)
        bars(axis, [(total - absent, low, total, high)], BAD, edgecolor=CARD, linewidth=0.8)
        axis.text(total + most * 0.01, place, f"{total:,}", ha="left", va="center")
    axis.set_yticks(range(len(SPLITS)), SPLITS)
    axis.set_ylim(len(SPLITS) - 0.5, -0.5)
    axis.set_xlim(0, most * 1.12 or 1)
    axis.grid(False)
    axis.xaxis.set_major_formatter(_number)
    return figure


def uncovered(statistics: Mapping[str, Any]) -> Any:
    """The most frequent characters that the base model has no token for, by split."""
    rows = statistics["vocabulary"]["uncovered"][:MOST_LETTERS]
    figure, (axis,) = new_figure(200)
    below = [0] * len(rows)
    for split in SPLITS:
        above = [start + row[split] for start, row in zip(below, rows, strict=True)]
        boxes = [(at - 0.36, below[at], at + 0.36, above[at]) for at in range(len(rows))]
        bars(axis, boxes, TONES[split], edgecolor=CARD, linewidth=0.6)
        below = above
    _top(axis, max(below))
    letters = [shown(row["character"]) for row in rows]
    axis.set_xlim(-0.8, max(len(rows), 12) - 0.2)
    write_below(axis, range(len(rows)), letters, size=13)
    axis.locator_params(axis="y", integer=True, nbins=6)
    axis.yaxis.set_major_formatter(_number)
    return figure


CHARTS = (speakers, lengths, durations, rates, overlap, characters, uncovered)  # in the page's order
