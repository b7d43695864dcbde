"""A run's training curves, from TensorBoard's event files."""

from __future__ import annotations

import logging
import math
from pathlib import Path

TAGS = ("train/loss", "train/lr", "validation/loss", "validation/cer")
MOST_POINTS = 400  # of a curve; more are averaged by stretches, which no eye can tell

Curves = dict[str, list[tuple[int, float]]]

logger = logging.getLogger(__name__)


def read_curves(exp: Path) -> Curves:
    """(step, value) of each of ``TAGS`` in the run; a tag that was not written is not there.

    A run that was stopped and went on has several files and may have done some steps twice: from the step at which a
    file begins, what the files before it say no longer counts. A file cut off by a kill is read as far as it goes.
    """
    curves: Curves = {}
    for file in sorted((exp / "tensorboard").glob("events.out.tfevents.*")):
        read = _read(file)
        first = min((points[0][0] for points in read.values()), default=math.inf)
        curves = {tag: [point for point in points if point[0] < first] for tag, points in curves.items()}
        for tag, points in read.items():
            curves.setdefault(tag, []).extend(points)
    return {tag: _thinned(curves[tag]) for tag in TAGS if curves.get(tag)}


def _read(file: Path) -> Curves:
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
    from tensorboard.util.tensor_util import make_ndarray

    found: dict[str, dict[int, float]] = {}
    try:
        for event in EventFileLoader(str(file)).Load():
            for value in event.summary.value:
                if value.tag in TAGS and value.HasField("tensor"):
                    number = float(make_ndarray(value.tensor))
                    if math.isfinite(number):
                        found.setdefault(value.tag, {})[event.step] = number
    except Exception as error:  # TensorBoard raises bare errors of many kinds for a damaged record
        logger.warning(f"{file}: read up to a damaged record ({type(error).__name__})")
    return {tag: sorted(points.items()) for tag, points in found.items()}


def _thinned(points: list[tuple[int, float]]) -> list[tuple[int, float]]:
    """At most ``MOST_POINTS`` points, each the mean of its stretch at the stretch's last step."""
    stretch = math.ceil(len(points) / MOST_POINTS)
    parts = [points[at : at + stretch] for at in range(0, len(points), stretch)]
    return [(part[-1][0], sum(value for _, value in part) / len(part)) for part in parts]
