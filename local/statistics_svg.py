"""Drawing for data_statistics.html: matplotlib's figures as SVG that stands inside a page and takes its looks.

Text stays text and takes the reader's font; colours are the page's variables, so that pictures follow its dark and
light looks. matplotlib is imported where it is used: it takes a second.
"""

from __future__ import annotations

import contextlib
import io
import re
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

from split import SPLITS

WIDTH = 680  # user units of every picture; its text is 12 of them high, speakers' names 11
INK, RULE = "#010203", "#010204"  # stand for the page's variables: see _COLOURS
TONES = dict(zip((*SPLITS, "several"), ("#010205", "#010206", "#010207", "#010208"), strict=True))
PALE, BAD, CARD = "#010209", "#01020a", "#01020b"
_COLOURS = {INK: "ink", RULE: "rule", PALE: "pale", BAD: "bad", CARD: "card"} | {
    tone: name for name, tone in TONES.items()
}
_RC = {
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "data_statistics",  # the same picture has the same bytes
    "font.size": 12,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": RULE,
    "axes.axisbelow": True,
    "axes.grid.axis": "y",
    "axes.grid": True,
    "grid.color": RULE,
    "grid.linewidth": 0.5,
    "xtick.color": RULE,
    "ytick.color": RULE,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "text.color": INK,
}


@contextlib.contextmanager
def drawing() -> Iterator[None]:
    """matplotlib with this page's settings and no user's, and without its complaints of glyphs it need not have."""
    import matplotlib

    plain = {key: value for key, value in matplotlib.rcParamsDefault.items() if not key.startswith("backend")}
    with matplotlib.rc_context({**plain, **_RC}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph")
        yield


def new_figure(height: float, left: float = 56, bottom: float = 28, rows: int = 1) -> tuple[Any, list[Any]]:
    """A figure ``height`` units high with ``rows`` axes; ``left`` and ``bottom`` units are kept for what is written."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH / 72, height / 72))
    axes = figure.subplots(rows, 1, sharex=True, squeeze=False)[:, 0]
    edges = {"left": left / WIDTH, "right": 1 - 12 / WIDTH, "bottom": bottom / height, "top": 1 - 12 / height}
    figure.subplots_adjust(**edges, hspace=0.18)
    for axis in axes:
        axis.tick_params(length=0)
    return figure, list(axes)


def svg(figure: Any, name: str) -> str:
    """``figure`` as an ``<svg>`` element; the page's element with the id ``name`` says what it shows."""
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    stream = io.StringIO()
    FigureCanvasSVG(figure).print_svg(stream, metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
    text = stream.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r'<svg [^>]*(viewBox="[^"]*")[^>]*>', rf'<svg \1 aria-labelledby="{name}" role="img">', text, count=1)
    used = set(re.findall(r'(?:href="#|url\(#)([^")]+)', text))
    # Only ids that something points to stay, each with the picture's name before it: a page has every id once.
    text = re.sub(r' id="([^"]+)"', lambda found: f' id="{name}-{found[1]}"' if found[1] in used else "", text)
    text = re.sub(r'(href="#|url\(#)', rf"\1{name}-", text).replace("xlink:href", "href")
    text = re.sub(r' d="[^"]*"', lambda found: re.sub(r"(\.\d)\d+", r"\1", found[0]), text)
    # The fonts, and matplotlib's style for whatever is on the page, give way to the page's own.
    text = re.sub(r" font-family: [^;\"]*;|<style.*?</style>", "", text, flags=re.DOTALL)
    text = re.sub(r'style="font: ([\d.]+px)[^;"]*', r'style="font-size: \1', text)
    for tone, variable in _COLOURS.items():
        text = text.replace(tone, f"var(--{variable})")
    return re.sub(r"\n\s*", "\n", text).strip()


def bars(axis: Any, boxes: Sequence[tuple[float, float, float, float]], colour: Any, **look: Any) -> None:
    """Boxes (left, bottom, right, top) as one path: 800 bars are not 800 elements of the page."""
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path

    boxes = [box for box in boxes if box[1] != box[3] and box[0] != box[2]]
    if not boxes:
        return
    points = [
        point
        for left, bottom, right, top in boxes
        for point in ((left, bottom), (left, top), (right, top), (right, bottom), (left, bottom))
    ]
    codes = [Path.MOVETO, Path.LINETO, Path.LINETO, Path.LINETO, Path.CLOSEPOLY] * len(boxes)
    axis.add_patch(PathPatch(Path(points, codes), **{"facecolor": colour, "linewidth": 0, **look}))


def write_below(
    axis: Any, places: Sequence[float], words: Sequence[str], size: int = 11, upright: bool = False
) -> None:
    """Words below the axis, as bare texts: matplotlib's tick labels bring three lines each and take half the time."""
    height = axis.get_position().height * axis.figure.get_figheight() * 72
    look = {"ha": "center", "va": "top"}
    if upright:  # by its end, which no font moves
        look = {"ha": "right", "va": "center", "rotation": 90, "rotation_mode": "anchor"}
    axis.set_xticks([])
    for place, word in zip(places, words, strict=True):
        axis.text(
            place, -5 / height, word, transform=axis.get_xaxis_transform(), fontsize=size, parse_math=False, **look
        )
