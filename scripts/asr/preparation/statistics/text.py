"""data_statistics.txt: the figures of statistics.json as aligned tables, for a terminal."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from asr.core.text_tables import text_table
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
    return ["\n".join(["The 1h part's counts differ from the manual's:", *_indent(differences)])]


def split_table(statistics: Statistics) -> str:
    """Return the manual's table: speakers and utterances by split, with hours and characters beside them."""
    table = tables.splits(statistics)
    return text_table(table.columns[:5], [row[:5] for row in table.rows])


def render(statistics: Statistics, differences: list[str] | None, problems: Sequence[str]) -> str:
    """Return data_statistics.txt: the manual's table first, then what a reader of the results should know."""
    corpus, split = statistics["corpus"], statistics["split"]
    blocks = [split_table(statistics)]
    blocks += manual_block(differences)
    part = f", part {' and '.join(corpus['parts'])}" if corpus["parts"] else ""
    blocks.append(f"corpus  {corpus['name']}{part}\nsplit   {split['description']}\ndigest  {corpus['digest']}")
    blocks += _nearness(statistics)
    blocks += [_distributions(statistics), _overlap(statistics), _characters(statistics)]
    blocks += _uncovered(statistics["vocabulary"])
    blocks += [_histogram(statistics, "length"), _histogram(statistics, "seconds"), _speakers(statistics)]
    blocks.append("\n".join(["Problems (each one is in problems.tsv)", *_indent(problems or ["none"])]))
    return "\n\n".join(blocks) + "\n"


def _indent(lines: Sequence[str]) -> list[str]:
    return [f"  {line}" for line in lines]


def _nearness(statistics: Statistics) -> list[str]:
    """Return how near a speaker-dependent split brings each speaker to the ratios that were asked for."""
    ratios = statistics["split"]["ratios"]
    if statistics["split"]["method"] != "speaker-dependent" or not ratios:
        return []
    rows = []
    for speaker, row in statistics["by_speaker"].items():
        have = [row["by_split"].get(name, {}).get("utterances", 0) for name in SPLITS]
        wanted = [row["utterances"] * ratio / sum(ratios) for ratio in ratios]
        off = max(abs(count - share) for count, share in zip(have, wanted, strict=True))
        rows.append((speaker, *have, *(f"{share:.1f}" for share in wanted), f"{off:.1f}"))
    asked, furthest = ":".join(f"{ratio:g}" for ratio in ratios), max(float(row[-1]) for row in rows)
    header = ("speaker", *SPLITS, *(f"{name} {asked}" for name in SPLITS), "off by")
    return [
        f"Speaker-dependent split: each speaker's clips, and what {asked} would be. No text is in two sets, whoever\n"
        f"says it, which comes first; the speaker furthest from {asked} is off by {furthest:g} clips in a set.\n\n"
        + text_table(header, rows)
    ]


def _distributions(statistics: Statistics) -> str:
    rows, shares = [], []
    for name in SPLITS:
        row = statistics["splits"][name]
        seconds = [f"{value:.2f}" for value in row["seconds"].values()]
        length = [f"{value:.1f}" if key == "mean" else f"{value}" for key, value in row["length"].items()]
        rows.append((name, *seconds, *length))
        few = (percent(row["one_character"]), percent(row["at_most_two_characters"]))
        shares.append((name, *few, percent(row["under_one_second"]), row["above_default_limit"]))
    measures = ("min", "median", "mean", "p95", "max")
    header = ("split", "s " + measures[0], *measures[1:], "chars " + measures[0], *measures[1:])
    second = ("split", "one character", "at most two", "under 1 s", "above 20.48 s")
    return (
        "Durations in seconds, and lengths in characters\n\n"
        f"{text_table(header, rows)}\n\n{text_table(second, shares)}\n"
        "(20.48 s: FunASR drops longer clips by default; here training's limit is set to the longest)"
    )


def _overlap(statistics: Statistics) -> str:
    rows = []
    for name in SPLITS:
        row, cells = statistics["splits"][name], []
        for seen in (row[f"in_{other}"] for other in SPLITS):
            cells += [percent(seen["share"]), percent(seen["characters_share"])] if seen else ["", ""]
        rows.append((name, f"{row['distinct_texts']:,}", *cells))
    header = ("split", "different texts", "in train", "by chars", "in val", "by chars", "in test", "by chars")
    return (
        "Prompt overlap: utterances whose exact text (normalised) is in another split too, and their characters.\n"
        "Unseen speakers are not unseen sentences: read the CER of both groups.\n\n" + text_table(header, rows)
    )


def _characters(statistics: Statistics) -> str:
    text = "Characters: how many, how many the split has only once, and how many train has not"
    vocabulary = statistics["vocabulary"]
    if vocabulary and vocabulary["characters"] is not None:
        text += f".\nThe base model has tokens for {vocabulary['characters']:,} characters; it writes no other"
    return f"{text}\n\n{text_table(*tables.characters(statistics))}"


def _uncovered(vocabulary: Mapping[str, Any] | None) -> list[str]:
    if not vocabulary or not vocabulary["uncovered"]:
        return []
    count, named = vocabulary["uncovered_characters"], vocabulary["uncovered"][:NAMED]
    rows = [(row["character"], *(f"{row[key]:,}" for key in ("count", *SPLITS))) for row in named]
    which = f"the {len(named)} most frequent of {count:,}" if count > len(named) else "all"
    table = text_table(("", "occurrences", *SPLITS), rows)
    return [f"Characters without a token, which become <unk>: {which}\n\n{table}"]


def bin_names(edges: Sequence[float], whole: bool) -> list[str]:
    """Return ``1``, ``21-25``, …, ``31+`` for bins of ``whole`` numbers; ``0-0.5``, …, ``above 20.48`` for seconds."""
    pairs = itertools.pairwise(edges)
    if whole:
        return [*(f"{low}" if high == low + 1 else f"{low}-{high - 1}" for low, high in pairs), f"{edges[-1]}+"]
    return [*(f"{low:g}-{high:g}" for low, high in pairs), f"above {edges[-1]:g}"]


def _histogram(statistics: Statistics, which: str) -> str:
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
    unit, text = ("characters", "length") if which == "length" else ("seconds", "duration")
    return f"Utterances by {text}\n\n" + text_table((unit, *SPLITS, "all"), rows, left=(0, 4))


def _speakers(statistics: Statistics) -> str:
    text = "Speakers; characters/s: of all their audio, pauses included, then percentiles over their utterances"
    return f"{text}\n\n{text_table(*tables.speakers(statistics), left=(0, 1))}"
