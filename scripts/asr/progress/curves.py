"""exp/<tag>/curves.png: loss, CER, learning rate, speed and memory of a run, from its progress.jsonl.

``python -m asr.curves --exp exp/<tag>``

Drawn after training, and while it runs by a process of low priority (drawer.py). Without torch; matplotlib is imported
where it draws: it takes a second.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from asr.core.errors import RecipeError
from asr.core.files import atomic_open, sweep
from asr.core.processes import die_with_parent
from asr.core.run_folder import RunFolder
from asr.progress import record as progress_file
from asr.progress.record import Record, Records

PICTURE = "curves.png"
MOST_MARKED = 60  # validations that get a dot each
WIDE_RANGE = 30  # the largest value over the smallest, from which a loss is drawn on a logarithmic scale

Points = list[tuple[int, float]]


def points(records: Sequence[Record], key: str, scale: float = 1.0) -> Points:
    """(total step, value) of the records that have a number under ``key``."""
    return [(record["total_step"], scale * record[key]) for record in records if _is_number(record.get(key))]


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def smoothed(values: Sequence[float]) -> list[float]:
    """The mean of each value with its neighbours, in all a twentieth and at least five; fewer towards the ends."""
    reach = max(len(values) // 40, 2)
    result = []
    for place in range(len(values)):
        side = min(reach, place, len(values) - 1 - place)
        part = values[place - side : place + side + 1]
        result.append(sum(part) / len(part))
    return result


def _json(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def marked(exp: Path) -> tuple[str, list[str], str]:
    """What ranks, the ranked checkpoints that stage 4 averages or would average now, best first, and which it is."""
    ranking = _json(RunFolder(exp).ranking)
    ranked = [item["file"] for item in ranking.get("checkpoints", [])]
    average = _json(RunFolder(exp).average)
    chosen = [item["file"] for item in average.get("checkpoints", []) if "file" in item]
    if chosen and ranked[: len(chosen)] == chosen:
        return ranking["ranked_by"], chosen, "averaged"
    count = 10
    with contextlib.suppress(OSError, ValueError):
        for line in (RunFolder(exp).conf / "average.yaml").read_text(encoding="utf-8").splitlines():
            name, _, value = line.partition(":")
            count = int(value) if name == "avg_nbest_model" else count
    return ranking.get("ranked_by", "cer"), ranked[:count], "to be averaged"


def draw(exp: Path) -> None:
    """Write exp/curves.png, whole or not at all. RecipeError where nothing was recorded."""
    records = progress_file.read(exp)
    if not records.train and not records.validation:
        raise RecipeError(f"{exp / progress_file.FILE}: no training is recorded there; run stage 3 first")
    from asr.pages.svg import Pen, drawing

    pen = Pen("en")
    with drawing(pen):
        image = _image(exp, records, pen)
    sweep(exp)  # a drawing process is killed where it would hold up the end of a training
    with atomic_open(exp / PICTURE, "wb") as stream:
        stream.write(image)


def _image(exp: Path, records: Records, pen: Any) -> bytes:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 9), dpi=110, layout="constrained")
    axes = figure.subplots(3, 2, sharex=True).ravel()
    ranked_by, chosen, why = marked(exp)
    _training(axes[0], records, pen)
    _validation(axes[1], records, pen, "loss", ("validation loss", 1), chosen if ranked_by == "loss" else [], why)
    key = "accuracy" if ranked_by == "acc" or not points(records.validation, "cer") else "cer"
    name = ("validation CER, %", 100) if key == "cer" else ("validation accuracy, %", 100)
    _validation(axes[2], records, pen, key, name, [] if ranked_by == "loss" else chosen, why)
    _line(axes[3], records, pen, "lr", "learning rate")
    _line(axes[4], records, pen, "audio_s_per_s", "speed: seconds of audio a second")
    _memory(axes[5], records, pen)
    first, last = _ends(records)
    for axis in axes:
        _finish(axis, records, pen, (first, last))
    for axis in axes[4:]:
        axis.set_xlabel("training steps")
    figure.get_layout_engine().set(w_pad=0.08, wspace=0.04, h_pad=0.06)
    figure.suptitle(_title(exp, records, chosen), fontsize=13, x=0.01, ha="left", parse_math=False)
    stream = io.BytesIO()
    FigureCanvasAgg(figure).print_png(stream, metadata={"Software": None})
    return stream.getvalue()


def _ends(records: Records) -> tuple[int, int]:
    steps = [record["total_step"] for record in (*records.train, *records.validation)]
    return min(steps), max(steps)


def _title(exp: Path, records: Records, chosen: Sequence[str]) -> str:
    parts = [exp.resolve().name]
    if records.train:
        last = records.train[-1]
        parts.append(f"epoch {last.get('epoch')} of {last.get('max_epoch')}, step {last['total_step']:,}")
    best = next((item for item in records.validation if chosen and item.get("checkpoint") == chosen[0]), None)
    if best is not None and _is_number(best.get("cer")):
        parts.append(f"best CER {100 * best['cer']:.2f} % ({chosen[0].removeprefix('model.pt.')})")
    again = sum(start["resumed_at"] > 0 for start in records.starts)
    if again:
        parts.append(f"gone on from a checkpoint {'once' if again == 1 else f'{again} times'} (dotted)")
    return "   ".join(parts)


def _training(axis: Any, records: Records, pen: Any) -> None:
    raw = points(records.train, "loss")
    steps, values = [step for step, _ in raw], [value for _, value in raw]
    few = len(raw) < 20
    look = {"marker": "o", "markersize": 3.5} if few else {"alpha": 0.4, "linewidth": 0.8}
    axis.plot(steps, values, color=pen["several"], **look, label="as logged")
    _scale(axis, values)
    if not few:
        mean = smoothed(values)
        if axis.get_yscale() == "log":  # a mean of what falls a hundredfold would stand high above it
            mean = [math.exp(value) for value in smoothed([math.log(value) for value in values])]
        axis.plot(steps, mean, color=pen["tuned"], linewidth=1.8, label="smoothed")
        axis.legend(loc="upper right", frameon=False)
    _name(axis, "training loss")


def _scale(axis: Any, values: Sequence[float]) -> None:
    """From 0 up, unless the values could then not be told apart: close to what there is, or logarithmic."""
    if not values or min(values) <= 0:
        return
    low, high = min(values), max(values)
    if high > WIDE_RANGE * low:
        axis.set_yscale("log")
    elif low < high / 2 or low == high:
        axis.set_ylim(0, 1.08 * high)


def _validation(
    axis: Any, records: Records, pen: Any, key: str, name: tuple[str, float], chosen: Sequence[str], why: str
) -> None:
    title, scale = name
    found = points(records.validation, key, scale)
    look = {"marker": "o", "markersize": 3.5} if len(found) <= MOST_MARKED else {}
    axis.plot([step for step, _ in found], [value for _, value in found], color=pen["tuned"], linewidth=1.4, **look)
    by_name = {record.get("checkpoint"): record for record in records.validation if _is_number(record.get(key))}
    rings = points([by_name[item] for item in chosen if item in by_name], key, scale)
    if rings:
        ring = {"linestyle": "none", "marker": "o", "markersize": 9, "markerfacecolor": "none"}
        axis.plot(*zip(*rings, strict=True), **ring, markeredgecolor=pen["val"], label=f"{why}: {len(rings)}")
        best = f"best: {rings[0][1]:.4g}" + (" %" if scale == 100 else "")
        star = {"linestyle": "none", "marker": "*", "markersize": 13, "markeredgecolor": pen["card"]}
        axis.plot(*rings[0], **star, color=pen["bad"], label=best)
        axis.legend(loc="best", frameon=False)
    _scale(axis, [value for _, value in found])
    _name(axis, title if found else f"{title}: none")


def _line(axis: Any, records: Records, pen: Any, key: str, title: str) -> None:
    found = points(records.train, key)
    few = len(found) < 20
    look = (
        {"marker": "o", "markersize": 3.5, "linewidth": 1.3} if few else {"linewidth": 1.3 if len(found) < 200 else 0.8}
    )
    axis.plot([step for step, _ in found], [value for _, value in found], color=pen["several"], **look)
    if found:
        axis.set_ylim(0, 1.08 * max(value for _, value in found) or 1)
    _name(axis, title if found else f"{title}: none")


def _memory(axis: Any, records: Records, pen: Any) -> None:
    reserved = points(records.train, "reserved_gb")
    _line(axis, records, pen, "memory_gb", "GPU memory, GB: the most so far" if reserved else "memory in use, GB")
    if reserved:
        axis.lines[0].set_label("allocated")
        axis.plot(*zip(*reserved, strict=True), color=pen["val"], linewidth=1.3, label="reserved")
        axis.set_ylim(0, 1.08 * max(value for _, value in reserved))
        axis.legend(loc="lower right", frameon=False)


def _name(axis: Any, title: str) -> None:
    axis.set_title(title, loc="left", fontsize=11)


def _finish(axis: Any, records: Records, pen: Any, ends: tuple[int, int]) -> None:
    """Ticks, one range of steps for all, and a line at each step that the run went on from."""
    from matplotlib.ticker import FuncFormatter, LogFormatter, MaxNLocator

    first, last = ends
    edge = max(0.02 * (last - first), 0.5)
    axis.set_xlim(first - edge, last + edge)
    axis.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axis.tick_params(length=0, labelbottom=True)
    if axis.get_yscale() == "log":
        axis.yaxis.set_major_formatter(LogFormatter(labelOnlyBase=False, minor_thresholds=(2, 0.5)))
    else:
        axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.6g}"))
    for start in records.starts:
        if first < start["resumed_at"] < last:
            axis.axvline(start["resumed_at"], color=pen["muted"], linewidth=0.9, linestyle=(0, (2, 3)), zorder=0)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m asr.curves", description=__doc__.splitlines()[0])
    parser.add_argument("--exp", required=True, type=Path, help="exp/<tag>, in or after training")
    parser.add_argument("--while-training", action="store_true", help="at low priority, ended with what started it")
    arguments = parser.parse_args()
    if arguments.while_training:
        die_with_parent()
        os.nice(19)
    draw(arguments.exp)
