"""exp/<tag>/curves.png: loss, CER, learning rate, speed and memory of a run, from its progress.jsonl.

``python -m asr.curves --exp exp/<tag>``

Drawn at the end of training, at most once a minute after a validation, and by this command at any time. Without torch;
matplotlib is imported where it draws, because that takes a second.
"""

from __future__ import annotations

import argparse
import math
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import yaml

from asr.core.errors import RecipeError
from asr.core.files import atomic_open, sweep
from asr.core.metrics import METRICS, Metric
from asr.core.run_folder import RunFolder
from asr.core.run_records import read_average, read_ranking
from asr.progress import record as progress_file
from asr.progress.record import Points, Records, points

MOST_MARKED = 60  # validations that get a dot each
FEW = 20  # logged steps; fewer get a dot each and are not smoothed
WIDE_RANGE = 30  # the largest value over the smallest, from which a loss is drawn on a logarithmic scale


def draw(exp: Path) -> None:
    """Write exp/curves.png, whole or not at all. RecipeError where nothing was recorded."""
    records = progress_file.read(exp)
    if not records.train and not records.validation:
        raise RecipeError(f"{exp / progress_file.FILE}: no training is recorded there; run stage 3 first")
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    from asr.pages.svg import Pen, drawing

    pen = Pen("en")
    sweep(exp)  # what a training killed while it drew has left
    with drawing(pen), atomic_open(RunFolder(exp).curves, "wb") as stream:
        FigureCanvasAgg(_figure(exp, records, pen)).print_png(stream, metadata={"Software": None})


def draw_or_report(exp: Path, report: Callable[[str], None]) -> bool:
    """Draw, and return whether it was drawn: a picture must not end a training, so that any error is only reported."""
    try:
        draw(exp)
    except Exception as error:
        reason = str(error).partition("\n")[0] or type(error).__name__
        report(f"{RunFolder(exp).curves}: could not be drawn ({reason})")
        return False
    return True


def smoothed(values: Sequence[float]) -> list[float]:
    """Return the mean of each value with its neighbours, in all a twentieth and at least five; fewer at the ends."""
    reach = max(len(values) // 40, 2)
    means = []
    for index in range(len(values)):
        side = min(reach, index, len(values) - 1 - index)
        means.append(statistics.fmean(values[index - side : index + side + 1]))
    return means


def marked(exp: Path) -> tuple[str, list[str], str]:
    """Return the ranking's metric, the checkpoints that stage 4 averages, best first, and whether it has done so."""
    if not RunFolder(exp).ranking.is_file():
        return "cer", [], ""
    ranking = read_ranking(exp)
    ranked = [entry["file"] for entry in ranking["checkpoints"]]
    if RunFolder(exp).average.is_file():
        averaged = [entry["file"] for entry in read_average(exp)["checkpoints"]]
        if ranked[: len(averaged)] == averaged:
            return ranking["ranked_by"], averaged, "averaged"
    conf = RunFolder(exp).conf / "average.yaml"
    count = yaml.safe_load(conf.read_text(encoding="utf-8"))["avg_nbest_model"] if conf.is_file() else 10
    return ranking["ranked_by"], ranked[:count], "to be averaged"


def _figure(exp: Path, records: Records, pen: Any) -> Any:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 9), dpi=110, layout="constrained")
    axes = figure.subplots(3, 2, sharex=True).ravel()
    ranked_by, chosen, why = marked(exp)
    rate = ranked_by
    if rate == "loss" or not points(records.validation, METRICS[rate].record):  # loss has a panel of its own
        rate = "cer" if points(records.validation, "cer") else "acc"
    _training_loss(axes[0], points(records.train, "loss"), pen)
    for axis, name in ((axes[1], "loss"), (axes[2], rate)):
        _validation(axis, records, METRICS[name], chosen if name == ranked_by else [], why, pen)
    _line(axes[3], points(records.train, "lr"), "learning rate", pen)
    _line(axes[4], points(records.train, "audio_s_per_s"), "speed: seconds of audio a second", pen)
    _memory(axes[5], records, pen)
    for axis in axes:
        _finish(axis, records, pen)
    for axis in axes[4:]:
        axis.set_xlabel("training steps")
    figure.get_layout_engine().set(w_pad=0.08, wspace=0.04, h_pad=0.06)
    figure.suptitle(_title(exp, records, chosen), fontsize=13, x=0.01, ha="left", parse_math=False)
    return figure


def _title(exp: Path, records: Records, chosen: Sequence[str]) -> str:
    parts = [exp.resolve().name]
    if records.train:
        last = records.train[-1]
        parts.append(f"epoch {last.get('epoch')} of {last.get('max_epoch')}, step {last['total_step']:,}")
    for record in records.validation:
        if record["checkpoint"] in chosen[:1] and record.get("cer") is not None:
            parts.append(f"best CER {100 * record['cer']:.2f} % ({chosen[0].removeprefix('model.pt.')})")
    resumed = sum(start["resumed_at"] > 0 for start in records.starts)
    if resumed:
        parts.append(f"resumed from a checkpoint {'once' if resumed == 1 else f'{resumed} times'} (dotted)")
    return "   ".join(parts)


def _plot(axis: Any, line: Points, title: str, few: int, **look: Any) -> None:
    """Draw a line with its title; fewer points than ``few`` with a dot at each."""
    dots = {"marker": "o", "markersize": 3.5} if len(line) < few else {}
    axis.plot(*_columns(line), **look, **dots)
    axis.set_title(title if line else f"{title}: none", loc="left", fontsize=11)


def _columns(line: Points) -> tuple[list[int], list[float]]:
    return [step for step, _ in line], [value for _, value in line]


def scale(axis: Any, line: Points) -> None:
    """Scale an axis from 0 up, unless its values could then not be told apart: close to them, or logarithmic."""
    low, high = min(value for _, value in line), max(value for _, value in line)
    if low > 0 and high > WIDE_RANGE * low:
        axis.set_yscale("log")
    elif low > 0 and (low < high / 2 or low == high):
        axis.set_ylim(0, 1.08 * high)


def _training_loss(axis: Any, line: Points, pen: Any) -> None:
    faint = {"alpha": 0.4, "linewidth": 0.8} if len(line) >= FEW else {}
    _plot(axis, line, "training loss", FEW, color=pen["several"], label="as logged", **faint)
    if line:
        scale(axis, line)
    if len(line) >= FEW:
        steps, values = _columns(line)
        if axis.get_yscale() == "log":  # a mean of what falls a hundredfold would stand high above it
            mean = [math.exp(value) for value in smoothed([math.log(value) for value in values])]
        else:
            mean = smoothed(values)
        axis.plot(steps, mean, color=pen["tuned"], linewidth=1.8, label="smoothed")
        axis.legend(loc="upper right", frameon=False)


def _validation(axis: Any, records: Records, metric: Metric, chosen: Sequence[str], why: str, pen: Any) -> None:
    """Draw a metric of validation; rings around the ``chosen``, a star on the first."""
    line = points(records.validation, metric.record, metric.scale)
    _plot(axis, line, metric.title, MOST_MARKED + 1, color=pen["tuned"], linewidth=1.4)
    by_name = {record["checkpoint"]: record for record in records.validation}
    rings = points([by_name[name] for name in chosen if name in by_name], metric.record, metric.scale)
    if rings:
        ring = {"linestyle": "none", "marker": "o", "markersize": 9, "markerfacecolor": "none"}
        axis.plot(*_columns(rings), **ring, markeredgecolor=pen["val"], label=f"{why}: {len(rings)}")
        best = f"best: {rings[0][1]:.4g}" + (" %" if metric.scale == 100 else "")
        star = {"linestyle": "none", "marker": "*", "markersize": 13, "markeredgecolor": pen["card"]}
        axis.plot(*rings[0], **star, color=pen["bad"], label=best)
        axis.legend(loc="best", frameon=False)
    if line:
        scale(axis, line)


def _line(axis: Any, line: Points, title: str, pen: Any) -> None:
    _plot(axis, line, title, FEW, color=pen["several"], linewidth=1.3 if len(line) < 200 else 0.8)
    if line:
        axis.set_ylim(0, 1.08 * max(value for _, value in line) or 1)


def _memory(axis: Any, records: Records, pen: Any) -> None:
    reserved = points(records.train, "reserved_gb")
    title = "GPU memory, GB: the most so far" if reserved else "memory in use, GB"
    _line(axis, points(records.train, "memory_gb"), title, pen)
    if reserved:
        axis.lines[0].set_label("allocated")
        axis.plot(*_columns(reserved), color=pen["val"], linewidth=1.3, label="reserved")
        axis.set_ylim(0, 1.08 * max(value for _, value in reserved))
        axis.legend(loc="lower right", frameon=False)


def _finish(axis: Any, records: Records, pen: Any) -> None:
    """Set ticks and one range of steps for all; draw a dotted line at each step that the run was resumed from."""
    from matplotlib.ticker import LogFormatter, MaxNLocator

    steps = [record["total_step"] for record in (*records.train, *records.validation)]
    first, last = min(steps), max(steps)
    edge = max(0.02 * (last - first), 0.5)
    axis.set_xlim(first - edge, last + edge)
    axis.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axis.xaxis.set_major_formatter("{x:,.0f}")
    axis.tick_params(length=0, labelbottom=True)
    log = axis.get_yscale() == "log"
    axis.yaxis.set_major_formatter(LogFormatter(labelOnlyBase=False, minor_thresholds=(2, 0.5)) if log else "{x:,.6g}")
    for start in records.starts:
        if first < start["resumed_at"] < last:
            axis.axvline(start["resumed_at"], color=pen["muted"], linewidth=0.9, linestyle=(0, (2, 3)), zorder=0)


def main() -> None:
    """Draw the curves of the run that the command line names."""
    parser = argparse.ArgumentParser(prog="python -m asr.curves", description=__doc__.splitlines()[0])
    parser.add_argument("--exp", required=True, type=Path, help="exp/<tag>, in or after training")
    draw(parser.parse_args().exp)
