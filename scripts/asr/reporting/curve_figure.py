"""The training curves of report.html and figures/: what curves.png shows, in both languages."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from asr.core.metrics import METRICS
from asr.pages.svg import WIDTH, Pen
from asr.pages.words import Words, words
from asr.progress.curves import FEW, MOST_MARKED, scale, smoothed
from asr.progress.record import Points, Records, points

MOST_POINTS = 400  # of a curve; more are averaged by stretches, which no eye can tell
HEIGHT, ROW = 48, 170  # of what is above and below the panels, of a row of panels


class Chosen(NamedTuple):
    """The checkpoints that are averaged, best first, and the metric that they are ranked by."""

    ranked_by: str = "cer"
    files: Sequence[str] = ()


NONE_CHOSEN = Chosen()


class Panel(NamedTuple):
    """A line over steps: its name, and what it is of."""

    name: Words
    line: Points
    kind: str
    metric: str = ""


def curves(records: Records, pen: Pen, chosen: Chosen = NONE_CHOSEN) -> Any:
    """Draw training curves over steps: losses, the validation's CER, learning rate, speed, memory; two beside each
    other, with a ring around each checkpoint that is averaged and a star on the best."""
    from matplotlib.figure import Figure

    shown = [panel for panel in _panels(records, chosen) if panel.line]
    rows = math.ceil(len(shown) / 2)
    height = ROW * rows + HEIGHT
    figure = Figure(figsize=(WIDTH / 72, height / 72))
    axes = figure.subplots(rows, 2, sharex=True, squeeze=False).ravel()
    edges = {"left": 52 / WIDTH, "right": 1 - 12 / WIDTH, "bottom": 44 / height, "top": 1 - 24 / height}
    figure.subplots_adjust(**edges, hspace=0.3, wspace=0.22)
    for axis in axes[len(shown) :]:
        axis.set_visible(False)
    for axis, panel in zip(axes, shown, strict=False):
        _draw(axis, panel, pen)
        if panel.kind == "validation":
            _validations(axis, panel, records, chosen, pen)
        _finish(axis, records, pen)
        pen.write(axis, 0, 1.03, panel.name, transform=axis.transAxes, va="bottom", fontsize=11)
    for axis in axes[max(len(shown) - 2, 0) : len(shown)]:
        axis.tick_params(labelbottom=True)
        below = {"transform": axis.transAxes, "ha": "center", "va": "center"}
        pen.write(axis, 0.5, -34 / (axis.get_position().height * height), words("steps_axis"), **below)
    return figure


def _panels(records: Records, chosen: Chosen) -> list[Panel]:
    rate = chosen.ranked_by
    if rate == "loss" or not points(records.validation, METRICS[rate].record):  # loss has a panel of its own
        rate = "cer" if points(records.validation, "cer") else "acc"
    metric = METRICS[rate]
    train, validation = records.train, records.validation
    named = words(f"validation_{rate}_axis")
    memory = "reserved_gb" if points(train, "reserved_gb") else "memory_gb"
    return [
        Panel(words("training_loss_axis"), points(train, "loss"), "smoothed"),
        Panel(words("validation_loss_axis"), points(validation, "loss"), "validation", "loss"),
        Panel(named, points(validation, metric.record, metric.scale), "validation", rate),
        Panel(words("lr_axis"), points(train, "lr"), "plain"),
        Panel(words("speed_axis"), points(train, "audio_s_per_s"), "plain"),
        Panel(words("memory_axis"), points(train, memory), "plain"),
    ]


def _draw(axis: Any, panel: Panel, pen: Pen) -> None:
    line = thinned(panel.line)
    steps, values = [step for step, _ in line], [value for _, value in line]
    if panel.kind == "plain":
        axis.plot(steps, values, color=pen["several"], linewidth=1.2)
        axis.set_ylim(0, 1.08 * max(values) or 1)
        return
    scale(axis, line)
    if panel.kind == "validation":
        axis.plot(steps, values, color=pen["tuned"], linewidth=1.4)
        return
    few = len(panel.line) < FEW
    axis.plot(steps, values, color=pen["several"], **({} if few else {"alpha": 0.45, "linewidth": 0.8}))
    if not few:
        log = axis.get_yscale() == "log"  # a mean of what falls a hundredfold would stand high above it
        mean = smoothed([math.log(value) if log else value for value in values])
        axis.plot(steps, [math.exp(value) for value in mean] if log else mean, color=pen["tuned"], linewidth=1.8)


def _validations(axis: Any, panel: Panel, records: Records, chosen: Chosen, pen: Pen) -> None:
    """Mark every validation, unless there are too many, those of ``chosen`` by a ring, and the best by a star."""
    metric = METRICS[panel.metric]
    files = list(chosen.files) if panel.metric == chosen.ranked_by else []
    look = {"linestyle": "none", "clip_on": False}
    for record in records.validation:
        if record.get(metric.record) is None:
            continue
        at = [record["total_step"]], [metric.scale * record[metric.record]]
        ring = record["checkpoint"] in files
        said = [f"{at[0][0]:,}: {at[1][0]:.4g}", record["checkpoint"]]
        if ring:
            axis.plot(*at, **look, marker="o", markersize=9, markerfacecolor="none", markeredgecolor=pen["val"])
        if record["checkpoint"] == next(iter(files), None):
            edge = {"markeredgecolor": pen["card"], "markerfacecolor": pen["bad"]}
            (dot,) = axis.plot(*at, **look, marker="*", markersize=13, **edge, zorder=4)
        elif ring or len(panel.line) <= MOST_MARKED:
            (dot,) = axis.plot(*at, **look, marker="o", markersize=3.5, color=pen["tuned"], zorder=3)
        else:
            continue
        averaged = words("averaged") if ring else Words("", "")
        pen.mark(dot, Words(*(", ".join(filter(None, [*said, word])) for word in averaged)))


def _finish(axis: Any, records: Records, pen: Pen) -> None:
    from matplotlib.ticker import LogFormatter, MaxNLocator

    steps = [record["total_step"] for record in (*records.train, *records.validation)]
    first, last = min(steps), max(steps)
    axis.set_xlim(first - max(0.02 * (last - first), 0.5), last + max(0.02 * (last - first), 0.5))
    axis.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axis.xaxis.set_major_formatter("{x:,.0f}")
    log = axis.get_yscale() == "log"
    axis.yaxis.set_major_formatter(LogFormatter(labelOnlyBase=False, minor_thresholds=(2, 0.5)) if log else "{x:,.6g}")
    axis.tick_params(length=0, labelsize=10)
    for start in records.starts:
        if first < start["resumed_at"] < last:
            axis.axvline(start["resumed_at"], color=pen["muted"], linewidth=0.9, linestyle=(0, (2, 3)), zorder=0)


def thinned(line: Points) -> Points:
    """Return at most ``MOST_POINTS`` points, each the mean of its stretch at the stretch's last step."""
    stretch = math.ceil(len(line) / MOST_POINTS)
    parts = [line[at : at + stretch] for at in range(0, len(line), stretch)]
    return [(part[-1][0], sum(value for _, value in part) / len(part)) for part in parts]
