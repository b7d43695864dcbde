"""The figures of report.html: rates with their intervals, confusions, and training curves.

Every one is drawn by one function for the page and for a paper (asr.pages.svg.Pen), from score.json alone or from
progress.jsonl.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from asr.core.text_tables import width
from asr.pages.svg import WIDTH, Pen, bars, new_figure, shown
from asr.pages.words import Words, words
from asr.progress.record import Points, Records, points

MOST_NAMED = 60  # rows that have room for a name each
MOST_POINTS = 400  # of a curve; more are averaged by stretches, which no eye can tell
SYSTEMS = ("baseline", "tuned")
BOTTOM, RIGHT = 42, 64  # units below and beside the axes of rates


class Row(NamedTuple):
    """A row of a rate plot: its name, its utterances, and each system's rate with its interval, if there is one."""

    name: Words
    utterances: int
    rates: Mapping[str, tuple[float, Sequence[float] | None]]


def group_rows(groups: Mapping[str, Any], interval: str) -> list[Row]:
    """Return rows of score.json's groups that hold an utterance; ``interval`` names the field that has the interval."""
    rows = []
    texts = {name: words(name) for name in ("seen", "unseen")}
    for name, group in groups.items():
        counts = {system: group[system] for system in SYSTEMS if group.get(system)}
        rates = {system: (row["cer"], row[interval]) for system, row in counts.items() if row["cer"] is not None}
        if rates:
            rows.append(Row(texts.get(name) or Words(shown(name), shown(name)), group["n_utt"], rates))
    return rows


def rates(rows: Sequence[Row], pen: Pen, lines: Sequence[Mapping[str, Any]] = ()) -> Any:
    """Draw the CER by row, baseline above tuned, each with its interval; ``lines`` are score.json's reference lines."""
    named = len(rows) <= MOST_NAMED
    if not named:
        rows = sorted(rows, key=lambda row: -max(rate for rate, _ in row.rates.values()))
    inner = (28 if named else 600 / len(rows)) * len(rows) + 8
    left = 24 + 7 * max((width(word) for row in rows for word in row.name), default=2) if named else 24
    top = 22 + 16 * len(lines) + (0 if pen.language is None else 18)
    figure, (axis,) = new_figure(inner + top + BOTTOM, left=left, bottom=BOTTOM, right=RIGHT, top=top)
    axis.set_xlim(0, _highest(rows, lines))
    axis.set_ylim(len(rows) - 0.5, -0.5)
    axis.grid(True, axis="x")
    axis.grid(False, axis="y")
    axis.set_yticks([])
    axis.spines["left"].set_visible(False)
    for system in SYSTEMS:
        _marks(axis, rows, system, pen, named)
    if named:
        _row_names(axis, rows, WIDTH - left - RIGHT, pen)
    pen.write(axis, 0.5, -32 / inner, words("cer_axis"), transform=axis.transAxes, ha="center", va="center")
    _reference_lines(axis, lines, inner, WIDTH - left - RIGHT, pen)
    if pen.language is not None:
        _legend(figure, [name for name in SYSTEMS if any(name in row.rates for row in rows)], pen)
    return figure


def _highest(rows: Sequence[Row], lines: Sequence[Mapping[str, Any]]) -> float:
    ends = [line["cer"] for line in lines]
    for row in rows:
        ends += [max(rate, *(interval or [rate])) for rate, interval in row.rates.values()]
    return 1.06 * max([*(100 * end for end in ends), 1])


def _mark(system: str, pen: Pen) -> dict[str, Any]:
    """Return a system's mark; hollow or filled, so that the two are told apart without their colours too."""
    look = {"linestyle": "none", "markeredgecolor": pen[system], "markeredgewidth": 1.8}
    if system == "baseline":
        return {**look, "marker": "o", "markersize": 7, "markerfacecolor": pen["card"]}
    return {**look, "marker": "D", "markersize": 6, "markerfacecolor": pen[system]}


def _marks(axis: Any, rows: Sequence[Row], system: str, pen: Pen, named: bool) -> None:
    lift = {"baseline": -0.17, "tuned": 0.17}[system] if any(len(row.rates) > 1 for row in rows) else 0
    marks = [(index + lift, *row.rates[system]) for index, row in enumerate(rows) if system in row.rates]
    ends = [(index, 100 * interval[0], 100 * interval[1]) for index, _, interval in marks if interval]
    levels, lows, highs = zip(*ends, strict=True) if ends else ((), (), ())
    axis.hlines(levels, lows, highs, colors=pen[system], linewidths=2.2 if named else 0.8)
    mark = _mark(system, pen)
    mark["markersize"] *= 1 if named else 0.5
    axis.plot([100 * rate for _, rate, _ in marks], [index for index, *_ in marks], **mark, zorder=3, clip_on=False)


def _row_names(axis: Any, rows: Sequence[Row], inner_width: float, pen: Pen) -> None:
    right, small = 1 + 58 / inner_width, {"ha": "right", "fontsize": 11, "color": pen["muted"]}
    for index, row in enumerate(rows):
        look = {"transform": axis.get_yaxis_transform(), "va": "center_baseline"}
        pen.write(axis, -10 / inner_width, index, row.name, ha="right", **look)
        axis.text(right, index, f"{row.utterances:,}", **small, **look)
    above = 1 + 8 / (28 * len(rows))
    pen.write(axis, right, above, words("utterance_count"), transform=axis.transAxes, va="center", **small)


def _reference_lines(axis: Any, lines: Sequence[Mapping[str, Any]], inner: float, inner_width: float, pen: Pen) -> None:
    """Draw each line with its words to the right of its end, above the ends of the lines that they pass."""
    scale = inner_width / axis.get_xlim()[1]
    look = {"transform": axis.get_xaxis_transform(), "va": "center", "fontsize": 11, "color": pen["muted"]}
    look["bbox"] = {"facecolor": pen["card"], "linewidth": 0, "pad": 1}
    for index, line in enumerate(sorted(lines, key=lambda line: -line["cer"])):
        at = 100 * line["cer"]
        up = 1 + (24 + 16 * index) / inner
        axis.plot([at, at], [0, up], transform=axis.get_xaxis_transform(), color=pen["muted"], clip_on=False, lw=0.9)
        label = Words(_line_words(line, "", ":"), _line_words(line, "_zh", "："))
        if scale * at + 6 * max(map(width, label)) < inner_width + RIGHT:
            pen.write(axis, at + 4 / scale, up, label, ha="left", **look)
        else:  # no room: it ends where the picture does
            pen.write(axis, (inner_width + RIGHT - 4) / scale, up, label, ha="right", **look)


def _line_words(line: Mapping[str, Any], language: str, colon: str) -> str:
    """Return a reference line's name, rate, and of its note what comes before the details."""
    return f"{line[f'name{language}']}: {100 * line['cer']:g} % ({line[f'note{language}'].split(colon)[0]})"


def _legend(figure: Any, systems: Sequence[str], pen: Pen) -> None:
    height = figure.get_figheight() * 72
    axis = figure.add_axes((0, 1 - 20 / height, 1, 20 / height))
    axis.set_xlim(0, WIDTH)
    axis.set_ylim(0, 20)
    axis.set_axis_off()
    for index, system in enumerate(systems):
        axis.plot([60 + 120 * index], [9], **_mark(system, pen))
        pen.write(axis, 72 + 120 * index, 9, words(system), va="center")


def confusions(tables: Mapping[str, Mapping[str, Any]], pen: Pen) -> Any:
    """Draw confusions by system side by side: rows are references, columns hypotheses, shades the share of the row."""
    from matplotlib.figure import Figure

    size = max(len(table["labels"]) for table in tables.values())
    gap, top, left = 44, 40, 40
    cell = min(40.0, 580 / size, (WIDTH - (left + 12) * len(tables) - gap * (len(tables) - 1)) / (size * len(tables)))
    height = top + cell * size + 40
    figure = Figure(figsize=(WIDTH / 72, height / 72))
    block = left + cell * size + 12
    start = (WIDTH - block * len(tables) - gap * (len(tables) - 1)) / 2
    for index, (system, table) in enumerate(tables.items()):
        corner = start + index * (block + gap) + left
        box = (corner / WIDTH, 40 / height, cell * size / WIDTH, cell * size / height)
        _heat_map(figure.add_axes(box), table, cell, words(system), pen)
    return figure


def _heat_map(axis: Any, table: Mapping[str, Any], cell: float, name: Words, pen: Pen) -> None:
    labels, matrix = [shown(label) or "–" for label in table["labels"]], table["matrix"]
    size = len(labels)
    axis.set_xlim(0, size)
    axis.set_ylim(size, 0)
    axis.set_xticks([])
    axis.set_yticks([])
    axis.spines[:].set_visible(True)
    axis.grid(False)
    for row, counts in enumerate(matrix):
        total = sum(counts)
        for column, count in enumerate(counts):
            if count:
                # Shades end where ink is still read on them; the square root lifts what is rare into sight.
                tone, share = "several" if row == column else "bad", count / total
                bars(axis, [(column, row, column + 1, row + 1)], pen[tone], alpha=0.08 + 0.5 * share**0.5)
                if cell >= 24 and share >= 0.005:
                    look = {"ha": "center", "va": "center_baseline", "fontsize": 10 if cell < 36 else 11}
                    axis.text(column + 0.5, row + 0.5, f"{100 * share:.0f}", **look)
    small = {"fontsize": 9 if cell < 16 else 10 if cell < 24 else 12, "parse_math": False}
    for index, label in enumerate(labels):
        axis.text(-4 / cell, index + 0.5, label, ha="right", va="center_baseline", **small)
        turn = {"rotation": 90} if cell < 24 and len(label) > 1 else {}
        axis.text(index + 0.5, -4 / cell, label, ha="center", va="bottom", **turn, **small)
    middle = {"ha": "center", "va": "center"}
    pen.write(axis, size / 2, size + 12 / cell, name, **middle)
    note = {**middle, "fontsize": 10, "color": pen["muted"]}
    pen.write(axis, size / 2, size + 28 / cell, words("confusion_axes"), **note)


def curves(records: Records, pen: Pen) -> Any:
    """Draw training curves over steps: loss in training and validation, CER of validation, learning rate."""
    losses = [("several", points(records.train, "loss")), ("tuned", points(records.validation, "loss"))]
    panels = [
        (words("loss_axis"), losses),
        (words("validation_cer_axis"), [("tuned", points(records.validation, "cer", 100))]),
        (words("lr_axis"), [("several", points(records.train, "lr"))]),
    ]
    panels = [panel for panel in panels if any(line for _, line in panel[1])]
    height = 140 * len(panels) + 48
    figure, axes = new_figure(height, left=72, bottom=40, rows=len(panels), top=20)
    figure.subplots_adjust(hspace=0.28)
    for axis, (name, lines) in zip(axes, panels, strict=True):
        for tone, line in lines:
            dots = {"marker": "o", "markersize": 3.5} if tone == "tuned" and len(line) <= 80 else {}
            if line:
                axis.plot(*zip(*thinned(line), strict=True), color=pen[tone], linewidth=1.6, **dots)
        axis.set_ylim(bottom=0)
        axis.yaxis.set_major_formatter(lambda value, _: f"{value:,.6g}")
        pen.write(axis, 0, 1.03, name, transform=axis.transAxes, va="bottom", fontsize=11)
    axes[-1].xaxis.set_major_formatter(lambda value, _: f"{value:,.10g}")
    look = {"transform": axes[-1].transAxes, "ha": "center", "va": "center"}
    pen.write(axes[-1], 0.5, -32 / (axes[-1].get_position().height * height), words("steps_axis"), **look)
    if pen.language is not None and all(line for _, line in losses):
        for index, (tone, name) in enumerate((("several", words("train_curve")), ("tuned", words("validation_curve")))):
            look = {"transform": axes[0].transAxes, "ha": "right", "va": "bottom", "fontsize": 11, "color": pen[tone]}
            pen.write(axes[0], 1 - 0.14 * (1 - index), 1.03, name, **look)
    return figure


def thinned(line: Points) -> Points:
    """Return at most ``MOST_POINTS`` points, each the mean of its stretch at the stretch's last step."""
    stretch = math.ceil(len(line) / MOST_POINTS)
    parts = [line[at : at + stretch] for at in range(0, len(line), stretch)]
    return [(part[-1][0], sum(value for _, value in part) / len(part)) for part in parts]
