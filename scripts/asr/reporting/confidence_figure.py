"""The figure of confidences: the CER of the surest utterances, and how often characters are right that are so sure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from asr.pages.svg import WIDTH, Pen
from asr.pages.words import Words, words

HEIGHT = 250


def confidence(quality: Mapping[str, Any], pen: Pen) -> Any:
    """Draw risk by coverage, and reliability before and after calibration; ``quality`` is language.json's."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH / 72, HEIGHT / 72))
    risk, reliability = figure.subplots(1, 2)
    edges = {"left": 52 / WIDTH, "right": 1 - 12 / WIDTH, "bottom": 46 / HEIGHT, "top": 1 - 26 / HEIGHT}
    figure.subplots_adjust(**edges, wspace=0.22)
    _risk(risk, quality, pen)
    _reliability(reliability, quality, pen)
    named = ((risk, "cer_axis", "coverage_axis"), (reliability, "right_axis", "confidence_axis"))
    for axis, above, below in named:
        axis.set_xlim(0, 102)
        axis.tick_params(length=0, labelsize=10)
        axis.grid(True)
        pen.write(axis, 0, 1.04, words(above), transform=axis.transAxes, va="bottom", fontsize=11)
        pen.write(axis, 0.5, -0.16, words(below), transform=axis.transAxes, ha="center", va="top", fontsize=11)
    return figure


def _risk(axis: Any, quality: Mapping[str, Any], pen: Pen) -> None:
    rows = [row for row in quality["risk_coverage"] if row["cer"] is not None]
    shares, rates = [100 * row["coverage"] for row in rows], [100 * row["cer"] for row in rows]
    axis.plot(shares, rates, color=pen["tuned"], linewidth=1.6)
    for share, rate in zip(shares, rates, strict=True):
        (dot,) = axis.plot([share], [rate], marker="o", markersize=4, color=pen["tuned"])
        said = f"{share:.0f} %: {rate:.2f} %"
        pen.mark(dot, Words(said, said))
    axis.set_ylim(0, 1.08 * max(rates, default=0) or 1)


def _reliability(axis: Any, quality: Mapping[str, Any], pen: Pen) -> None:
    axis.plot([0, 100], [0, 100], color=pen["muted"], linewidth=0.9, linestyle=(0, (2, 3)))
    for name, colour, width in (("raw", "several", 1.0), ("calibrated", "tuned", 1.6)):
        bins = quality[name]["bins"]
        axis.plot(
            [100 * row["confidence"] for row in bins],
            [100 * row["right"] for row in bins],
            color=pen[colour],
            linewidth=width,
        )
        for row in bins:
            (dot,) = axis.plot(
                [100 * row["confidence"]], [100 * row["right"]], marker="o", markersize=4, color=pen[colour]
            )
            said = f"{100 * row['confidence']:.0f} %: {100 * row['right']:.0f} % ({row['count']:,})"
            pen.mark(dot, Words(said, said))
    axis.set_ylim(0, 102)
