"""data_statistics.txt: the figures of statistics.json as aligned tables, for a terminal.

The page itself is asr/pages/templates/data_statistics.txt.j2; here are the tables that it alone shows.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from asr.core.text_tables import text_table
from asr.pages.html import Table, fill
from asr.preparation.splits.split_file import SPLITS
from asr.preparation.statistics import tables
from asr.preparation.statistics.tables import Statistics, percent

BAR = 40  # columns of the longest bar
NAMED = 20  # characters without a token that are listed


def manual_block(differences: list[str] | None) -> list[str]:
    """Return one block that compares with the manual's counts of the 1h part, or none."""
    if differences is None:
        return []
    if not differences:
        return ["The 1h part's counts are the manual's."]
    return ["\n".join(["The 1h part's counts differ from the manual's:", *(f"  {line}" for line in differences)])]


def split_table(statistics: Statistics) -> str:
    """Return the manual's table: speakers and utterances by split, with hours and characters beside them."""
    columns, rows = tables.splits(statistics)
    return text_table(columns[:5], [row[:5] for row in rows])


def render(statistics: Statistics, differences: list[str] | None, problems: Sequence[str]) -> str:
    """Return data_statistics.txt: the manual's table first, then what a reader of the results should know."""
    columns, rows = tables.speakers(statistics)
    return fill(
        "data_statistics.txt.j2",
        statistics=statistics,
        table=text_table,
        splits=split_table(statistics),
        manual=manual_block(differences),
        nearness=_nearness(statistics),
        distributions=_distributions(statistics),
        few=_few(statistics),
        overlap=_overlap(statistics),
        characters=tables.characters(statistics),
        uncovered=_uncovered(statistics),
        lengths=_histogram(statistics, "length", "characters"),
        durations=_histogram(statistics, "seconds", "seconds"),
        speakers=Table(
            [*columns[:5], *columns[7:]], [[*row[:5], *row[7:]] for row in rows]
        ),  # as a terminal has room for
        problems=problems,
    )


def _nearness(statistics: Statistics) -> Table | None:
    """Return how near a speaker-dependent split brings each speaker to the ratios that were asked for."""
    ratios = statistics["split"]["ratios"]
    if statistics["split"]["method"] != "speaker-dependent" or not ratios:
        return None
    rows = []
    for speaker, row in statistics["by_speaker"].items():
        have = [row["by_split"].get(name, {}).get("utterances", 0) for name in SPLITS]
        wanted = [row["utterances"] * ratio / sum(ratios) for ratio in ratios]
        off = max(abs(count - share) for count, share in zip(have, wanted, strict=True))
        rows.append((speaker, *have, *(f"{share:.1f}" for share in wanted), f"{off:.1f}"))
    asked = ":".join(f"{ratio:g}" for ratio in ratios)
    return Table(("speaker", *SPLITS, *(f"{name} {asked}" for name in SPLITS), "off by"), rows)


def _distributions(statistics: Statistics) -> Table:
    rows = []
    for name in SPLITS:
        row = statistics["splits"][name]
        seconds = [f"{value:.2f}" for value in row["seconds"].values()]
        length = [f"{value:.1f}" if key == "mean" else f"{value}" for key, value in row["length"].items()]
        rows.append((name, *seconds, *length))
    measures = ("median", "mean", "p95", "max")
    return Table(("split", "s min", *measures, "chars min", *measures), rows)


def _few(statistics: Statistics) -> Table:
    rows = []
    for name, row in statistics["splits"].items():
        shares = (row[key] for key in ("one_character", "at_most_two_characters", "under_one_second"))
        rows.append((name, *map(percent, shares), row["above_default_limit"]))
    return Table(("split", "one character", "at most two", "under 1 s", "above 20.48 s"), rows)


def _overlap(statistics: Statistics) -> Table:
    rows = []
    for name in SPLITS:
        row, cells = statistics["splits"][name], []
        for seen in (row[f"in_{other}"] for other in SPLITS):
            cells += [percent(seen["share"]), percent(seen["characters_share"])] if seen else ["", ""]
        rows.append((name, f"{row['distinct_texts']:,}", *cells))
    columns = ("split", "different texts", "in train", "by chars", "in val", "by chars", "in test", "by chars")
    return Table(columns, rows)


def _uncovered(statistics: Statistics) -> Table:
    named = statistics["vocabulary"]["uncovered"][:NAMED] if statistics["vocabulary"] else []
    rows = [(row["character"], *(f"{row[key]:,}" for key in ("count", *SPLITS))) for row in named]
    return Table(("", "occurrences", *SPLITS), rows)


def bin_names(edges: Sequence[float], whole: bool) -> list[str]:
    """Return ``1``, ``21-25``, …, ``31+`` for bins of ``whole`` numbers; ``0-0.5``, …, ``above 20.48`` for seconds."""
    pairs = itertools.pairwise(edges)
    if whole:
        return [*(f"{low}" if high == low + 1 else f"{low}-{high - 1}" for low, high in pairs), f"{edges[-1]}+"]
    return [*(f"{low:g}-{high:g}" for low, high in pairs), f"above {edges[-1]:g}"]


def _histogram(statistics: Statistics, which: str, unit: str) -> Table:
    """Return the bins down to the last one in use, with a bar for the utterances of all splits together."""
    histogram = statistics["histograms"][which]
    bins = list(
        zip(bin_names(histogram["from"], which == "length"), *(histogram[name] for name in SPLITS), strict=True)
    )
    while len(bins) > 1 and not any(bins[-1][1:]):
        bins.pop()
    most = max(1, *(sum(counts) for _, *counts in bins))
    rows = []
    for name, *counts in bins:
        bar = "#" * max(round(BAR * sum(counts) / most), any(counts))
        rows.append((name, *(f"{count:,}" if count else "." for count in counts), bar))
    return Table((unit, *SPLITS, "all"), rows)
