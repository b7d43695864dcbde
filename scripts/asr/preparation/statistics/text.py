"""data_statistics.txt: the figures of statistics.json as aligned tables, for a terminal."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from asr.core.text_tables import text_table
from asr.preparation.splits.split_file import SPLITS

BAR = 40  # columns of the longest bar
NAMED = 20  # characters without a token that are listed


def percent(share: float) -> str:
    """Return a fraction as per cent with one decimal."""
    return f"{100 * share:.1f} %"


def title(corpus: Mapping[str, Any]) -> str:
    """Return the corpus's name and parts in one phrase."""
    parts = f", part {' and '.join(corpus['parts'])}" if corpus.get("parts") else ""
    return f"{corpus['name']}{parts}"


def manual_block(differences: list[str] | None) -> list[str]:
    """Return one block that compares with the manual's counts of the 1h part, or none."""
    if differences is None:
        return []
    if not differences:
        return ["The 1h part's counts are the manual's."]
    return ["\n".join(["The 1h part's counts differ from the manual's:", *_indent(differences)])]


def split_table(statistics: Mapping[str, Any]) -> str:
    """Return the manual's table: speakers and utterances by split, with hours and characters beside them."""
    rows = [(name, statistics["splits"][name]) for name in SPLITS] + [("total", statistics["total"])]
    return text_table(
        ("split", "speakers", "utterances", "hours", "characters"),
        [
            (name, row["speakers"], f"{row['utterances']:,}", f"{row['hours']:.2f}", f"{row['characters']:,}")
            for name, row in rows
        ],
    )


def render(statistics: Mapping[str, Any], differences: list[str] | None, problems: Sequence[str]) -> str:
    """data_statistics.txt: the manual's table first, then what a reader of the results should know."""
    corpus, split = statistics["corpus"], statistics["split"]
    blocks = [split_table(statistics)]
    blocks += manual_block(differences)
    blocks.append(f"corpus  {title(corpus)}\nsplit   {split['description']}\ndigest  {corpus['digest']}")
    blocks += _nearness(statistics)
    blocks += [_distributions(statistics), _overlap(statistics), _characters(statistics)]
    blocks += _uncovered(statistics["vocabulary"])
    blocks += [_histogram(statistics, "length"), _histogram(statistics, "seconds"), _speakers(statistics)]
    blocks.append("\n".join(["Problems (each one is in problems.tsv)", *_indent(problems or ["none"])]))
    return "\n\n".join(blocks) + "\n"


def _indent(lines: Sequence[str]) -> list[str]:
    return [f"  {line}" for line in lines]


def _nearness(statistics: Mapping[str, Any]) -> list[str]:
    """Return how near a speaker-dependent split brings each speaker to the ratios that were asked for."""
    ratios = statistics["split"].get("ratios")
    if statistics["split"].get("method") != "speaker-dependent" or not ratios:
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


def _distributions(statistics: Mapping[str, Any]) -> str:
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


def _overlap(statistics: Mapping[str, Any]) -> str:
    rows = []
    for name in SPLITS:
        row = statistics["splits"][name]
        cells = []
        for other in SPLITS:
            seen = row[f"in_{other}"]
            cells += ["", ""] if seen is None else [percent(seen["share"]), percent(seen["characters_share"])]
        rows.append((name, f"{row['distinct_texts']:,}", *cells))
    header = ("split", "different texts", "in train", "by chars", "in val", "by chars", "in test", "by chars")
    return (
        "Prompt overlap: utterances whose exact text (normalised) is in another split too, and their characters.\n"
        "Unseen speakers are not unseen sentences: read the CER of both groups.\n\n" + text_table(header, rows)
    )


def _characters(statistics: Mapping[str, Any]) -> str:
    vocabulary, rows = statistics["vocabulary"], []
    for name in SPLITS:
        row = statistics["splits"][name]
        new = ("", "")
        if name != "train":
            new = (f"{row['characters_not_in_train']:,}", f"{row['occurrences_not_in_train']:,}")
        cells = [name, f"{row['distinct_characters']:,}", f"{row['singletons']:,}", *new]
        if vocabulary:
            found = vocabulary["splits"][name]
            cells.append(f"{found['distinct_characters'] - found['covered_characters']:,}")
            cells.append(f"{found['occurrences'] - found['covered_occurrences']:,}")
        rows.append(cells)
    header = ["split", "different characters", "that occur once", "not in train", "occurrences"]
    text = "Characters: how many, how many the split has only once, and how many train has not"
    if vocabulary:
        header += ["without a token", "occurrences"]
        if vocabulary["characters"] is not None:
            text += f".\nThe base model has tokens for {vocabulary['characters']:,} characters; it writes no other"
    return f"{text}\n\n{text_table(header, rows)}"


def _uncovered(vocabulary: Mapping[str, Any] | None) -> list[str]:
    if not vocabulary or not vocabulary["uncovered"]:
        return []
    count, named = vocabulary["uncovered_characters"], vocabulary["uncovered"][:NAMED]
    rows = [(row["character"], *(f"{row[key]:,}" for key in ("count", *SPLITS))) for row in named]
    which = f"the {len(named)} most frequent of {count:,}" if count > len(named) else "all"
    return [
        f"Characters without a token, which become <unk>: {which}\n\n" + text_table(("", "occurrences", *SPLITS), rows)
    ]


def bin_names(edges: Sequence[float], whole: bool) -> list[str]:
    """``1``, …, ``21-25``, ``31+`` for bins of whole numbers; ``0.0-0.5``, …, ``above 20.48`` for seconds."""
    if whole:
        inner = [f"{low}" if high == low + 1 else f"{low}-{high - 1}" for low, high in itertools.pairwise(edges)]
        return [*inner, f"{edges[-1]}+"]
    inner = [f"{low:g}-{high:g}" for low, high in itertools.pairwise(edges)]
    return [*inner, f"above {edges[-1]:g}"]


def _histogram(statistics: Mapping[str, Any], which: str) -> str:
    """Bins down to the last one in use, with a bar for the utterances of all splits together."""
    found = statistics["histograms"][which]
    names = bin_names(found["from"], which == "length")
    sums = [sum(counts) for counts in zip(*(found[name] for name in SPLITS), strict=True)]
    last = max((place for place, count in enumerate(sums) if count), default=0)
    rows = []
    for place, name in enumerate(names[: last + 1]):
        counts = [f"{found[split][place]:,}" if found[split][place] else "." for split in SPLITS]
        bar = "#" * max(round(BAR * sums[place] / max(1, *sums)), sums[place] > 0)
        rows.append((name, *counts, bar))
    unit, text = ("characters", "length") if which == "length" else ("seconds", "duration")
    return f"Utterances by {text}\n\n" + text_table((unit, *SPLITS, "all"), rows, left=(0, 4))


def _speakers(statistics: Mapping[str, Any]) -> str:
    rows = []
    for speaker, row in by_split(statistics["by_speaker"]):
        seen = percent(row["in_train"]["share"]) if row["in_train"] else ""
        medians = (f"{row['median_seconds']:.2f}", row["median_length"])
        counts = (f"{row['utterances']:,}", f"{row['hours'] * 60:.1f}", f"{row['characters']:,}")
        rates = [f"{row['rate'][key]:.1f}" for key in ("overall", "p5", "median", "p95")]
        rows.append((row["split"], speaker, *counts, *medians, *rates, seen))
    medians = ("median s", "median chars")
    header = ("split", "speaker", "utterances", "minutes", "characters", *medians, "chars/s", "p5", "median", "p95")
    return (
        "Speakers; chars/s: characters per second of all their audio, pauses included, then the 5th percentile, the\n"
        "median and the 95th percentile over their utterances\n\n"
        + text_table((*header, "in train"), rows, left=(0, 1))
    )


def by_split(speakers: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, Mapping[str, Any]]]:
    """Speakers and their rows: those of train, val, test, then those of several splits; each by name."""
    last = len(SPLITS)

    def order(item: tuple[str, Mapping[str, Any]]) -> tuple[int, str]:
        split = item[1]["split"]
        return SPLITS.index(split) if split in SPLITS else last, item[0]

    return sorted(speakers.items(), key=order)
