"""Drawing with matplotlib, once for a page and for a paper.

For a page (report.html, data_statistics.html) a figure becomes SVG that takes the page's looks: text stays text in the
reader's font and, where it is words, in the reader's language; colours are the page's variables, so that pictures
follow its dark and light looks. For a paper it has one language, print colours, and outlines in place of text, which
look the same on a machine without fonts (Han characters are those of fonts/, SIL OFL 1.1). matplotlib is imported where
it is used: it takes a second.
"""

from __future__ import annotations

import contextlib
import io
import re
import warnings
from collections.abc import Iterable, Iterator, Sequence
from html import escape
from pathlib import Path
from typing import Any

from asr.core.files import atomic_open, write_text
from asr.core.text_tables import width
from asr.pages.words import Words

_HERE = Path(__file__).resolve().parent
FONT = _HERE / "fonts" / "RecipeCJK-Regular.otf"
WIDTH = 680  # user units of every picture; its text is 12 of them high, speakers' names 11
DPI = 200  # of a paper's PNG
LONGEST_NAME = 12  # columns; longer names are cut, the page's tables have them whole

# The light looks of the pages, which stand before the dark ones.
_LOOKS = "".join((_HERE / name).read_text("utf-8") for name in ("page.css", "report.css", "statistics.css"))
PRINT = dict(reversed(re.findall(r"--([\w-]+): (#\w{6});", _LOOKS)))
PAGE = {name: f"#01{place:04x}" for place, name in enumerate(PRINT, start=0x0203)}  # stand for the page's variables
_NAMES = {tone: name for name, tone in PAGE.items()}
_PLAIN = {
    "svg.hashsalt": "recipe",  # the same picture has the same bytes
    "font.size": 12,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid.axis": "y",
    "axes.grid": True,
    "grid.linewidth": 0.5,
}
_TONED = {
    "rule": ("axes.edgecolor", "grid.color", "xtick.color", "ytick.color"),
    "ink": ("xtick.labelcolor", "ytick.labelcolor", "text.color", "axes.labelcolor"),
}


class Pen:
    """What a figure is drawn with: for the page (``language`` None: both), or for a paper in "en" or "zh"."""

    def __init__(self, language: str | None = None) -> None:
        self.language = language
        self.colours = PAGE if language is None else PRINT
        self.marks: list[tuple[Words, str]] = []

    def __getitem__(self, name: str) -> str:
        """Return the colour called ``name``."""
        return self.colours[name]

    def write(self, axis: Any, x: float, y: float, words: Words, **look: Any) -> None:
        """Write ``words`` in the figure's language; on a page in both, of which the reader's is shown."""
        if words.en == words.zh:
            axis.text(x, y, words.en, parse_math=False, **look)
            return
        for language, text in words._asdict().items():
            if self.language in (None, language):
                gid = {} if self.language else {"gid": f"words-{language}"}
                axis.text(x, y, text, parse_math=False, **gid, **look)

    def mark(self, artist: Any, words: Words, link: str = "") -> None:
        """Let a page show ``words`` where the pointer is over ``artist``, and a click go to ``link`` (page.js)."""
        if self.language is None:
            artist.set_gid(f"mark-{len(self.marks)}")
            self.marks.append((words, link))

    def settings(self) -> dict[str, Any]:
        """Return matplotlib's rcParams."""
        looks = {key: self[tone] for tone, keys in _TONED.items() for key in keys}
        if self.language is None:
            return {**_PLAIN, **looks, "svg.fonttype": "none", "figure.facecolor": "none", "axes.facecolor": "none"}
        return {**_PLAIN, **looks, "svg.fonttype": "path", "font.family": [_paper_font(), "DejaVu Sans"]}


def _paper_font() -> str:
    from matplotlib import font_manager

    font_manager.fontManager.addfont(FONT)
    return font_manager.FontProperties(fname=FONT).get_name()


def shown(name: str) -> str:
    """Return a speaker's name as there is room for it, without characters that no picture can hold."""
    name = "".join(char if char.isprintable() else "\ufffd" for char in name)
    return name if width(name) <= LONGEST_NAME else name[: LONGEST_NAME - 1] + "…"


@contextlib.contextmanager
def drawing(pen: Pen | None = None) -> Iterator[None]:
    """Set matplotlib to the pen's settings and no user's, without its complaints of glyphs it need not have."""
    import matplotlib

    plain = {key: value for key, value in matplotlib.rcParamsDefault.items() if not key.startswith("backend")}
    with matplotlib.rc_context({**plain, **(pen or Pen()).settings()}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph")
        yield


def new_figure(
    height: float, left: float = 56, bottom: float = 28, rows: int = 1, *, right: float = 12, top: float = 12
) -> tuple[Any, list[Any]]:
    """Return a figure ``height`` units high with ``rows`` axes; the edges are kept for what is written there."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH / 72, height / 72))
    axes = figure.subplots(rows, 1, sharex=True, squeeze=False)[:, 0]
    edges = {"left": left / WIDTH, "right": 1 - right / WIDTH, "bottom": bottom / height, "top": 1 - top / height}
    figure.subplots_adjust(**edges, hspace=0.18)
    for axis in axes:
        axis.tick_params(length=0)
    return figure, list(axes)


def _svg(figure: Any) -> str:
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    stream = io.StringIO()
    FigureCanvasSVG(figure).print_svg(stream, metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
    return stream.getvalue()


def svg(figure: Any, name: str, pen: Pen | None = None) -> str:
    """Return ``figure`` as an ``<svg>`` element; the page's element with the id ``name`` says what it shows.

    ``pen`` is the one that it was drawn with, where it has marked something.
    """
    marks = pen.marks if pen else []
    text = _svg(figure)
    text = re.sub("<style.*?</style>", "", text[text.index("<svg") :], flags=re.DOTALL)  # matplotlib's, for the page
    text = re.sub(r'<svg [^>]*(viewBox="[^"]*")[^>]*>', rf'<svg \1 aria-labelledby="{name}" role="img">', text, count=1)
    # Only in tags: a speaker's name may look like anything.
    text = re.sub("<[^>]*>", lambda tag: _page_tag(tag[0], name, marks), text)
    return re.sub(r"\n\s*", "\n", text).strip()


def _page_tag(tag: str, name: str, marks: Sequence[tuple[Words, str]]) -> str:
    """Return a tag of matplotlib's SVG as it stands in a page."""
    if mark := re.fullmatch(r'<g id="mark-(\d+)">', tag):
        (en, zh), link = marks[int(mark[1])]
        both = "" if en == zh else f' data-text-en="{escape(en)}" data-text-zh="{escape(zh)}"'
        go = f' data-go="{escape(link)}"' if link else ""
        return f"<g{go}><title{both}>{escape(en)}</title>"
    tag = re.sub(r' id="words-(en|zh)"', r' class="\1"', tag)
    # Ids have the picture's name before them: a page has every id once.
    tag = re.sub(r'( id="|href="#|url\(#)', rf"\1{name}-", tag).replace("xlink:href", "href")
    tag = re.sub(r' d="[^"]*"', lambda path: re.sub(r"(\.\d)\d+", r"\1", path[0]), tag)
    # The fonts give way to the page's own.
    tag = re.sub(r" font-family: [^;\"]*;", "", tag)
    tag = re.sub(r'style="font: ([\d.]+px)[^;"]*', r'style="font-size: \1', tag)
    return re.sub("#01[0-9a-f]{4}", lambda tone: f"var(--{_NAMES[tone[0]]})" if tone[0] in _NAMES else tone[0], tag)


def save_svg(figure: Any, path: Path) -> None:
    """Write ``figure`` as it stands alone, outside a page."""
    write_text(path, _svg(figure))


def save_for_paper(figure: Any, path: Path) -> None:
    """Write ``figure`` as ``path`` with .svg and with .png, the same bytes for the same figure."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    save_svg(figure, path.with_name(f"{path.name}.svg"))
    figure.set_dpi(DPI)
    with atomic_open(path.with_name(f"{path.name}.png"), "wb") as image:
        FigureCanvasAgg(figure).print_png(image, metadata={"Software": None})


def bars(axis: Any, boxes: Iterable[tuple[float, float, float, float]], colour: Any, **look: Any) -> Any:
    """Draw boxes (left, bottom, right, top) as one path, and return it: 800 bars are not 800 elements of the page."""
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path

    corners = [
        ((left, low), (left, high), (right, high), (right, low)) for left, low, right, high in boxes if low != high
    ]
    if corners:
        path = Path.make_compound_path(*(Path([*four, four[0]], closed=True) for four in corners))
        return axis.add_patch(PathPatch(path, **{"facecolor": colour, "linewidth": 0, **look}))
    return None
