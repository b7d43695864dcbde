"""The figures of report.html: rates with their intervals, and confusions; training curves are in curve_figure.py.

Every one is drawn by one function for the page and for a paper (asr.pages.svg.Pen), from score.json alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from asr.core.text_tables import width
from asr.pages.html import filtered
from asr.pages.svg import WIDTH, Pen, bars, new_figure, shown
from asr.pages.words import Words, speaker_table_words, words

MOST_NAMED = 60  # rows that have room for a name each
SYSTEMS = ("baseline", "tuned")
BOTTOM, RIGHT = 42, 64  # units below and beside the axes of rates


class Row(NamedTuple):
    """A row of a rate plot: its name, its utterances, and each system's rate with its interval, if there is one."""

    name: Words
    utterances: int
    rates: Mapping[str, tuple[float, Sequence[float] | None]]
    link: str = ""


def group_rows(groups: Mapping[str, Any], interval: str, link: Callable[[str], str] = lambda name: "") -> list[Row]:
    """Return rows of score.json's groups that hold an utterance; ``interval`` names the field that has the interval,
    ``link`` gives what a click on a group goes to."""
    rows = []
    texts = {name: words(name) for name in ("seen", "unseen")} | speaker_table_words(groups)
    for name, group in groups.items():
        counts = {system: group[system] for system in SYSTEMS if group.get(system)}
        rates = {system: (row["cer"], row[interval]) for system, row in counts.items() if row["cer"] is not None}
        if rates:
            words_of = texts.get(name) or Words(shown(name), shown(name))
            rows.append(Row(words_of, group["n_utt"], rates, link(name)))
    return rows


def rates(rows: Sequence[Row], pen: Pen, lines: Sequence[Mapping[str, Any]] = ()) -> Any:
    """Draw the CER by row, baseline above tuned, each with its interval; ``lines`` are score.json's reference lines."""
    from matplotlib.ticker import MaxNLocator

    named = len(rows) <= MOST_NAMED
    if not named:
        rows = sorted(rows, key=lambda row: -max(rate for rate, _ in row.rates.values()))
    inner = (28 if named else 600 / len(rows)) * len(rows) + 8
    left = 24 + 7 * max((width(word) for row in rows for word in row.name), default=2) if named else 24
    top = 22 + 16 * len(lines) + (0 if pen.language is None else 18)
    figure, (axis,) = new_figure(inner + top + BOTTOM, left=left, bottom=BOTTOM, right=RIGHT, top=top)
    axis.set_xlim(0, highest := _highest(rows, lines))
    axis.set_xticks(MaxNLocator(9, steps=[1, 2, 5, 10]).tick_values(0, highest))
    axis.set_xlim(0, axis.get_xticks()[-1])
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
    return max([*(100 * end for end in ends), 1])


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
    if not named:  # too many for one of their own each
        axis.plot([100 * rate for _, rate, _ in marks], [index for index, *_ in marks], **mark, zorder=3, clip_on=False)
        return
    for row, (index, rate, interval) in zip((row for row in rows if system in row.rates), marks, strict=True):
        (drawn,) = axis.plot([100 * rate], [index], **mark, zorder=3, clip_on=False)
        pen.mark(drawn, _said(row, system, rate, interval), row.link)


def _said(row: Row, system: str, rate: float, interval: Sequence[float] | None) -> Words:
    """Return what is said of a mark that the pointer is on."""
    ends = f" ({100 * interval[0]:.2f} – {100 * interval[1]:.2f})" if interval else ""
    figures = f"{100 * rate:.2f} %{ends}, n {row.utterances:,}"
    return Words(*(f"{name}, {of}: {figures}" for name, of in zip(row.name, words(system), strict=True)))


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
        label = Words(
            _line_words(line, "", ":", ": "),
            _line_words(line, "_zh", "：", "：").replace(" (", "（").replace(")", "）"),
        )
        if scale * at + 6 * max(map(width, label)) < inner_width + RIGHT:
            pen.write(axis, at + 4 / scale, up, label, ha="left", **look)
        else:  # no room: it ends where the picture does
            pen.write(axis, (inner_width + RIGHT - 4) / scale, up, label, ha="right", **look)


def _line_words(line: Mapping[str, Any], language: str, colon: str, after: str) -> str:
    """Return a reference line's name, rate, and of its note what comes before the details."""
    return f"{line[f'name{language}']}{after}{100 * line['cer']:g} % ({line[f'note{language}'].split(colon)[0]})"


def _legend(figure: Any, systems: Sequence[str], pen: Pen) -> None:
    height = figure.get_figheight() * 72
    axis = figure.add_axes((0, 1 - 20 / height, 1, 20 / height))
    axis.set_xlim(0, WIDTH)
    axis.set_ylim(0, 20)
    axis.set_axis_off()
    for index, system in enumerate(systems):
        axis.plot([60 + 120 * index], [9], **_mark(system, pen))
        pen.write(axis, 72 + 120 * index, 9, words(system), va="center")


def confusions(tables: Mapping[str, Mapping[str, Any]], pen: Pen, kind: str = "") -> Any:
    """Draw confusions by system side by side: rows are references, columns hypotheses, shades the share of the row.

    Behind each row stands how many it has. ``kind`` is what the page's links search for: tone, initial, or final.
    """
    from matplotlib.figure import Figure

    size = max(len(table["labels"]) for table in tables.values())
    gap, top, left, right = 12, 40, 40, 44
    cell = min(
        40.0, 580 / size, (WIDTH - (left + right) * len(tables) - gap * (len(tables) - 1)) / (size * len(tables))
    )
    height = top + cell * size + 40
    figure = Figure(figsize=(WIDTH / 72, height / 72))
    block = left + cell * size + right
    start = (WIDTH - block * len(tables) - gap * (len(tables) - 1)) / 2
    for index, (system, table) in enumerate(tables.items()):
        corner = start + index * (block + gap) + left
        box = (corner / WIDTH, 40 / height, cell * size / WIDTH, cell * size / height)
        axis = figure.add_axes(box)
        _heat_map(axis, table, cell, pen, lambda pair, system=system: confusion_link(kind, pair[0], pair[1], system))
        _heat_map_words(axis, table, cell, words(system), pen)
    return figure


def confusion_link(kind: str, reference: str, hypothesis: str, system: str) -> str:
    """Return where the page shows the utterances in which a system took ``reference`` for ``hypothesis``."""
    return filtered(words=f"{kind}:{reference}>{hypothesis}", system=system)


def _heat_map(axis: Any, table: Mapping[str, Any], cell: float, pen: Pen, link: Callable[[Any], str]) -> None:
    size, labels = len(table["labels"]), table["labels"]
    axis.set_xlim(0, size)
    axis.set_ylim(size, 0)
    axis.set_xticks([])
    axis.set_yticks([])
    axis.spines[:].set_visible(True)
    axis.grid(False)
    for row, counts in enumerate(table["matrix"]):
        total = sum(counts)
        for column, count in enumerate(counts):
            if count:
                # Shades end where ink is still read on them; the square root lifts what is rare into sight.
                tone, share = "several" if row == column else "bad", count / total
                box = bars(axis, [(column, row, column + 1, row + 1)], pen[tone], alpha=0.08 + 0.5 * share**0.5)
                pair = labels[row], labels[column]
                said = f"{pair[0]} → {pair[1]}: {count:,} / {total:,} = {100 * share:.1f} %"
                pen.mark(box, Words(said, said), link(pair) if row != column else "")
                if cell >= 24:
                    look = {"ha": "center", "va": "center_baseline", "fontsize": 10 if cell < 36 else 11}
                    axis.text(column + 0.5, row + 0.5, f"{100 * share:.0f}" if share >= 0.005 else "<1", **look)


def _heat_map_words(axis: Any, table: Mapping[str, Any], cell: float, name: Words, pen: Pen) -> None:
    """Write a heat map's labels, beside each row how many it has, and below what it is of."""
    labels = [shown(label) or "–" for label in table["labels"]]
    size = len(labels)
    small = {"fontsize": 9 if cell < 20 else 10 if cell < 24 else 12, "parse_math": False}
    count = {**small, "fontsize": min(small["fontsize"], 10), "color": pen["muted"], "va": "center_baseline"}
    for index, label in enumerate(labels):
        axis.text(-4 / cell, index + 0.5, label, ha="right", va="center_baseline", **small)
        turn = {"rotation": 90} if cell < 24 and len(label) > 1 else {}
        axis.text(index + 0.5, -4 / cell, label, ha="center", va="bottom", **turn, **small)
        axis.text(size + 36 / cell, index + 0.5, f"{sum(table['matrix'][index]):,}", ha="right", **count)
    axis.text(size + 36 / cell, -4 / cell, "n", ha="right", **{**count, "va": "bottom"})
    middle = {"ha": "center", "va": "center"}
    pen.write(axis, size / 2, size + 12 / cell, name, **middle)
    note = {**middle, "fontsize": 10, "color": pen["muted"]}
    pen.write(axis, size / 2, size + 28 / cell, words("confusion_axes"), **note)
