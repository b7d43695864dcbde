"""Write table.md and plot.svg of an experiment into the folder of its published results."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from asr.core.errors import RecipeError
from asr.core.files import write_text
from asr.experiments.plan import Experiment, Run
from asr.experiments.table import ALL, MARK, SIMULATED, UNSEEN, Row, cer, missing, rows, table
from asr.pages.svg import Pen, drawing, new_figure, save_svg

ROW, ABOVE, BELOW, LEFT = 34, 52, 48, 190  # units: of a setting, above them, below them, of their names


def write(experiment: Experiment, runs: Sequence[Run], results: Mapping[Run, Any], path: Path) -> str:
    """Write both files; return the table's page. RecipeError where nothing is published yet."""
    if not results:
        again = f"bash scripts/experiment.sh {shlex.quote(str(path))}"
        raise RecipeError(f"{experiment.published}: no result to compare yet; run the experiment: {again}")
    found = rows(experiment, results)
    page = _page(experiment, found, missing(runs, results), path)
    write_text(experiment.published / "table.md", page)
    pen = Pen("en")
    with drawing(pen):
        save_svg(plot(found, pen, experiment.simulated), experiment.published / "plot.svg")
    return page


def _page(experiment: Experiment, found: Sequence[Row], lacking: str, path: Path) -> str:
    speakers = max((len(of) for row in found for of in row.counts[ALL].values()), default=0)
    lines = [
        f"# {experiment.name}",
        f"**{SIMULATED.capitalize()}.**" if experiment.simulated else "",
        table(experiment, found),
        lacking,
        f"{MARK} The transform resembles the simulation." if experiment.marked else "",
        f"{speakers} speakers, each tested by models that have not heard them, {experiment.folds} folds. In brackets"
        " 95 % intervals, over speakers, and over seeds too where a row has two or more; with one seed nothing is said"
        " of seeds. Changes are relative to the first setting's CER, on the same speakers and seeds, negative where"
        " errors are fewer; p is not adjusted for the number of rows. Audio and time are a run's means, the audio each"
        " clip by its own length in every epoch, the time of all stages; memory is the most that training noted.",
        f"![CER by setting](plot.svg)\n\nAgain: `bash scripts/experiment.sh {shlex.quote(path.as_posix())} --compare`",
    ]
    return "\n\n".join(filter(None, lines)) + "\n"


def plot(found: Sequence[Row], pen: Pen, simulated: bool) -> Any:
    """Draw each row's CER with its interval, all texts above unseen ones."""
    figure, (axis,) = new_figure(ROW * len(found) + ABOVE + BELOW, LEFT, BELOW, top=ABOVE)
    looks = ((ALL, "all texts", pen["tuned"], -0.14), (UNSEEN, "unseen texts", pen["baseline"], 0.14))
    for texts, name, colour, above in looks:
        for place, row in enumerate(found):
            point, ci95 = cer(row.counts[texts])
            if point is not None:
                if ci95:
                    axis.plot([100 * end for end in ci95], [place + above] * 2, color=colour, linewidth=2)
                axis.plot([100 * point], [place + above], "o", color=colour, label=name)
                name = "_"  # the legend has it once
    axis.set_ylim(len(found) - 0.5, -0.5)
    axis.set_xlim(left=0)
    axis.set_yticks(range(len(found)), [row.name for row in found])
    axis.grid(axis="x")
    axis.grid(visible=False, axis="y")
    axis.set_xlabel("CER on unseen speakers, %, with 95 % intervals")
    axis.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=2, frameon=False, borderaxespad=0)
    if simulated:
        figure.text(0.01, 0.985, SIMULATED, ha="left", va="top")
    return figure
