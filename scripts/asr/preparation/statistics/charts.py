"""The pictures of data_statistics.html.

What is written in a picture is numbers and names only, so that one picture serves both languages; titles, axes and
legends are the page's (page.py). Every chart is a function from statistics.json to a matplotlib figure.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from asr.core.text_tables import width
from asr.pages.svg import PAGE, WIDTH, bars, new_figure, shown
from asr.preparation.splits.split_file import SPLITS
from asr.preparation.statistics.tables import Statistics, by_split
from asr.preparation.statistics.text import bin_names

MOST_NAMED = 60  # speakers that have room for a name each
MOST_LETTERS = 30  # bars of characters without a token
TONES = {name: PAGE[name] for name in (*SPLITS, "several")}
INK, RULE, PALE, BAD, CARD = (PAGE[name] for name in ("ink", "rule", "pale", "bad", "card"))
Rows = Sequence[tuple[str, Mapping[str, Any]]]  # speakers and their rows of statistics.json


def _top(axis: Any, highest: float) -> None:
    axis.set_ylim(0, 1.06 * highest or 1)


def _tone(row: Mapping[str, Any]) -> str:
    return row["split"] if row["split"] in SPLITS else "several"


def _in_order(rows: Rows, key: Callable[[Mapping[str, Any]], float]) -> Rows:
    """Return rows by split and name; where names have no room by ``key``, so that the picture is a distribution."""
    if len(rows) <= MOST_NAMED:
        return rows
    return sorted(rows, key=lambda pair: (list(TONES).index(_tone(pair[1])), -key(pair[1]), pair[0]))


def _positions(rows: Rows) -> list[float]:
    """Return where each speaker's column stands: those of a split side by side, with a gap to the next split."""
    positions = [0.0]
    for (_, one), (_, other) in itertools.pairwise(rows):
        positions.append(positions[-1] + 1 + (_tone(one) != _tone(other)) * max(1, len(rows) / 60))
    return positions


def _room_for_names(rows: Rows) -> float:
    """Return the height that speakers' names take below a chart."""
    return 12 if len(rows) > MOST_NAMED else 16 + 7 * max(2, *(width(shown(name)) for name, _ in rows))


def _names_below(axis: Any, rows: Rows, positions: Sequence[float]) -> None:
    """Write the speakers' names below the columns, upright where they are long; none where there are too many."""
    axis.set_xlim(positions[0] - 0.8, positions[-1] + 0.8)
    names = [shown(name) for name, _ in rows]
    axis.set_xticks(positions, names, fontsize=11, parse_math=False)
    axis.tick_params(axis="x", pad=5)
    if len(names) > MOST_NAMED:
        axis.set_xticks([])
    elif max(map(width, names)) * 7 > WIDTH * 0.9 / (positions[-1] - positions[0] + 1):
        for label in axis.get_xticklabels():
            label.set(ha="right", va="center", rotation=90, rotation_mode="anchor")


def _columns(
    axis: Any, rows: Rows, positions: Sequence[float], half: float, ends: Callable, alpha: float = 1, edge: float = 0
) -> None:
    """Draw a column ``2 * half`` wide for every speaker, from and to the ``ends`` of its row, in its split's colour."""
    for tone, colour in TONES.items():
        drawn = [(at, *ends(row)) for at, (_, row) in zip(positions, rows, strict=True) if _tone(row) == tone]
        boxes = [(at - half, low, at + half, high) for at, low, high in drawn]
        bars(axis, boxes, (colour, alpha), edgecolor=colour, linewidth=edge)


def _stacked(
    axis: Any, positions: Sequence[float], half: float, parts: Mapping[str, Sequence[float]], **look: Any
) -> None:
    """Draw columns ``2 * half`` wide, each split's part on top of the others'."""
    below = [0.0] * len(positions)
    for split, values in parts.items():
        above = [low + value for low, value in zip(below, values, strict=True)]
        boxes = [(at - half, low, at + half, high) for at, low, high in zip(positions, below, above, strict=True)]
        bars(axis, boxes, TONES[split], **look)
        below = above
    _top(axis, max(below))
    axis.yaxis.set_major_formatter("{x:,.10g}")


def speakers(statistics: Statistics) -> Any:
    """Draw utterances (above) and minutes (below) of every speaker, in the splits' colours."""
    rows = by_split(statistics["by_speaker"])
    bottom, half = _room_for_names(rows), 0.4 if len(rows) <= MOST_NAMED else 0.5
    figure, axes = new_figure(300 + bottom, bottom=bottom, rows=2)
    for axis, measure, scale in zip(axes, ("utterances", "hours"), (1, 60), strict=True):
        rows = _in_order(rows, lambda row, measure=measure: row[measure])
        none = {"utterances": 0, "hours": 0.0}
        parts = {split: [scale * row["by_split"].get(split, none)[measure] for _, row in rows] for split in SPLITS}
        _stacked(axis, _positions(rows), half, parts)
    _names_below(axes[1], rows, _positions(rows))
    return figure


def _by_bin(axis: Any, histogram: Mapping[str, Any]) -> None:
    """Draw shares of each split's utterances in per cent, three columns side by side for every bin."""
    highest = 0.0
    for turn, split in enumerate(SPLITS):
        shares = [100 * count / max(1, sum(histogram[split])) for count in histogram[split]]
        highest = max(highest, *shares)
        left = -0.42 + 0.28 * turn
        bars(axis, [(at + left, 0, at + left + 0.26, share) for at, share in enumerate(shares)], TONES[split])
    axis.set_xlim(-0.6, len(histogram["from"]) - 0.4)
    _top(axis, highest)


def lengths(statistics: Statistics) -> Any:
    """Draw how long transcripts are: per cent of each split's utterances by number of characters."""
    histogram = statistics["histograms"]["length"]
    figure, (axis,) = new_figure(240)
    _by_bin(axis, histogram)
    labels = [label.split("-")[0] + "–" if "-" in label else label for label in bin_names(histogram["from"], True)]
    axis.set_xticks(range(len(labels)), labels, fontsize=11)
    return figure


def durations(statistics: Statistics) -> Any:
    """Draw how long clips are, with FunASR's limit as a line. From 10 s on a column is a second, not half of one."""
    histogram = statistics["histograms"]["seconds"]
    edges = histogram["from"]
    figure, (axis,) = new_figure(250)
    _by_bin(axis, histogram)
    limit, wide = len(edges) - 1.5, edges.index(10) - 0.5
    axis.axvline(wide, color=RULE, linewidth=1)
    axis.axvline(limit, color=BAD, linewidth=1.5, linestyle=(0, (4, 3)))
    axis.text(limit - 0.3, axis.get_ylim()[1], "20.48 s", ha="right", va="top", color=BAD)
    positions = [at for at, edge in enumerate(edges[:-1]) if edge == int(edge) and (edge < 10 or edge % 2 == 0)]
    axis.set_xticks([at - 0.5 for at in positions], [f"{edges[at]:g}" for at in positions], fontsize=11)
    return figure


def rates(statistics: Statistics) -> Any:
    """Draw each speaker's characters per second, slowest first: median, and a bar from the 5th to 95th percentile."""
    rows = sorted(statistics["by_speaker"].items(), key=lambda pair: (pair[1]["rate"]["median"], pair[0]))
    positions, bottom = list(range(len(rows))), _room_for_names(rows)
    figure, (axis,) = new_figure(220 + bottom, bottom=bottom)
    edge = 0.8 if len(rows) <= MOST_NAMED else 0
    _columns(axis, rows, positions, 0.3, lambda row: (row["rate"]["p5"], row["rate"]["p95"]), 0.35, edge)
    highest = max(row["rate"]["p95"] for _, row in rows)
    half = max(0.28, 0.0022 * len(rows))  # the mark of a median stays visible among 800
    thick = highest / 80
    _columns(axis, rows, positions, half, lambda row: (row["rate"]["median"] - thick, row["rate"]["median"] + thick))
    _top(axis, highest)
    _names_below(axis, rows, positions)
    return figure


def overlap(statistics: Statistics) -> Any:
    """Draw val and test speakers' per cent of utterances whose text is in train, and of their characters (a line)."""
    rows = [(speaker, row) for speaker, row in by_split(statistics["by_speaker"]) if row["in_train"]]
    rows = _in_order(rows, lambda row: row["in_train"]["share"])
    positions, bottom = _positions(rows), _room_for_names(rows)
    figure, (axis,) = new_figure(200 + bottom, bottom=bottom)
    half = 0.4 if len(rows) > 12 else 0.25
    _columns(axis, rows, positions, half, lambda row: (0, 100 * row["in_train"]["share"]))
    edge = {"edgecolor": CARD, "linewidth": 0.8 if len(rows) <= MOST_NAMED else 0}
    marks = [(at, 100 * row["in_train"]["characters_share"]) for at, (_, row) in zip(positions, rows, strict=True)]
    bars(axis, [(at - half, value - 0.8, at + half, value + 0.8) for at, value in marks], INK, **edge)
    axis.set_ylim(0, 103)
    axis.set_yticks(range(0, 101, 20))
    _names_below(axis, rows, positions)
    return figure


def characters(statistics: Statistics) -> Any:
    """Draw how many different characters each split has: known, not in train (pale), without a token (red)."""
    figure, (axis,) = new_figure(150)
    splits, vocabulary = statistics["splits"], statistics["vocabulary"]
    most = max(row["distinct_characters"] for row in splits.values())
    for place, split in enumerate(SPLITS):
        total, new, absent = splits[split]["distinct_characters"], splits[split]["characters_not_in_train"], 0
        if vocabulary:
            tokens = vocabulary["splits"][split]
            absent = total - tokens["covered_characters"]
            new -= tokens["uncovered_not_in_train"]
        low, high = place - 0.32, place + 0.32
        bars(axis, [(0, low, total - absent - new, high)], TONES[split])
        bars(axis, [(total - absent - new, low, total - absent, high)], PALE, edgecolor=INK, linewidth=0.8)
        bars(axis, [(total - absent, low, total, high)], BAD, edgecolor=CARD, linewidth=0.8)
        axis.text(total + most * 0.01, place, f"{total:,}", ha="left", va="center")
    axis.set_yticks(range(len(SPLITS)), SPLITS)
    axis.set_ylim(len(SPLITS) - 0.5, -0.5)
    axis.set_xlim(0, most * 1.12 or 1)
    axis.grid(False)
    axis.xaxis.set_major_formatter("{x:,.10g}")
    return figure


def uncovered(statistics: Statistics) -> Any:
    """Draw the most frequent characters that the base model has no token for, by split."""
    rows = statistics["vocabulary"]["uncovered"][:MOST_LETTERS]
    figure, (axis,) = new_figure(200)
    parts = {split: [row[split] for row in rows] for split in SPLITS}
    _stacked(axis, range(len(rows)), 0.36, parts, edgecolor=CARD, linewidth=0.6)
    axis.set_xlim(-0.8, max(len(rows), 12) - 0.2)
    axis.set_xticks(range(len(rows)), [shown(row["character"]) for row in rows], fontsize=13, parse_math=False)
    axis.locator_params(axis="y", integer=True, nbins=6)
    return figure


CHARTS = (speakers, lengths, durations, rates, overlap, characters, uncovered)  # in the page's order
