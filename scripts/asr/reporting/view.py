"""What RESULTS.md and report.html show of a score: tables and figures as plain data, said once for both.

A cell is a text, Words, or an Interval, which are written in their own way on a page and in Markdown.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from asr.pages.html import Cell, Table
from asr.pages.svg import Pen
from asr.pages.words import Words, words
from asr.progress.record import Records
from asr.reporting import figures
from asr.scoring.tables import percent, speaker_count

Score = Mapping[str, Any]
NO_VALUE = "n/a"
GROUPS = ("length", "duration", "rate")  # beside the groups by text and by the speaker table
KINDS = ("tone", "initial", "final")
MOST_CONFUSIONS = 8


class Interval(NamedTuple):
    """The ends of an interval in per cent: ``35.91 to 51.91`` as text, ``35.91 – 51.91`` on a page."""

    low: str
    high: str

    def __str__(self) -> str:
        return f"{self.low} to {self.high}".replace("−", "-")

    def __html__(self) -> str:
        return f"{self.low} – {self.high}"


def interval(ci95: Sequence[float] | None, digits: int = 2) -> Cell:
    """Return an interval of fractions as a cell; ``n/a`` where there is none."""
    return Interval(*(signed(end, digits) for end in ci95)) if ci95 else NO_VALUE


def signed(rate: float | None, digits: int = 2) -> str:
    """Return a fraction as per cent with a true minus; ``n/a`` where there is none."""
    return percent(rate, digits).replace("-", "−")


def plots(score: Score, records: Records) -> dict[str, Callable[[Pen], Any]]:
    """Return every figure that the run has something for, by its name, in the order of the page."""
    drawings: dict[str, Callable[[Pen], Any]] = {}
    lines = score.get("reference_lines") or []
    speakers = figures.group_rows(score["by_speaker"], "ci95_utterance")
    if speakers:
        drawings["speakers"] = lambda pen: figures.rates(speakers, pen, lines)
    for name in ("text", *GROUPS):
        rows = figures.group_rows((score.get("groups") or {}).get(name) or {}, "ci95")
        if rows:
            drawings[name] = lambda pen, rows=rows: figures.rates(rows, pen)
    tones, initials = _confusions(score, "tone"), _confusions(score, "initial")
    if tones:
        drawings["tone"] = lambda pen: figures.confusions(tones, pen)
    for system, table in initials.items():
        drawings[f"initial_{system}"] = lambda pen, one={system: table}: figures.confusions(one, pen)
    if records.train or records.validation:
        drawings["training"] = lambda pen: figures.curves(records, pen)
    return drawings


def sound_systems(score: Score) -> dict[str, Any]:
    """Return each system's analysis of sounds; none where score.json has no such analysis."""
    systems = (score.get("mandarin") or {}).get("systems") or {}
    return {name: row for name, row in systems.items() if row}


def _confusions(score: Score, kind: str) -> dict[str, Any]:
    """Return the confusions of a kind of sound, by system; without those in which nothing was counted."""
    tables = {name: row["confusions"].get(kind) for name, row in sound_systems(score).items()}
    return {name: table for name, table in tables.items() if table and any(map(any, table["matrix"]))}


def systems(score: Score) -> Table:
    """Return each system's error rates and counts."""
    columns = ("system", "cer_percent", "over_speakers", "over_utterances", "sub", "del", "ins", "ser_percent")
    columns += ("empty", "missing", "length_ratio", "raw_cer_percent", "mean_of_speakers", "mean_of_utterances")
    rows: list[list[Cell]] = []
    for name, row in score["systems"].items():
        ratio = row.get("length_ratio")
        cells: list[Cell] = [words(name), percent(row["cer"])]
        cells += [interval(row.get("ci95")), interval(row.get("ci95_utterance"))]
        cells += [f"{row[key]:,}" for key in ("sub", "del", "ins")]
        cells += [percent(row["ser"]), f"{row['n_empty']:,}", f"{row['n_missing']:,}"]
        cells.append(NO_VALUE if ratio is None else f"{ratio:.2f}")
        cells += [percent(row.get(key)) for key in ("raw_cer", "speaker_mean_cer", "utterance_mean_cer")]
        rows.append(cells)
    return Table([words(key) for key in columns], rows)


def certainty(score: Score) -> Table:
    """Return the reductions with their intervals; without rows where nothing is compared."""
    comparison = score.get("comparison")
    rows: list[list[Cell]] = []
    if comparison and comparison["absolute_reduction"] is not None:
        for kind, digits, key in (("absolute", 2, "absolute_reduction"), ("relative", 1, "relative_reduction_percent")):
            ends = [interval(comparison.get(f"{kind}_{name}"), digits) for name in ("ci95", "ci95_utterance")]
            rows.append([words(key), signed(comparison[f"{kind}_reduction"], digits), *ends])
        for text, gain in (comparison.get("text") or {}).items():
            if gain:
                cells = [signed(gain["relative_reduction"], 1), interval(gain.get("relative_ci95"), 1), ""]
                rows.append([words("relative_reduction_of", text=words(text)), *cells])
    return Table(["", words("value"), words("over_speakers"), words("over_utterances")], rows)


def group_table(score: Score, first: Cell, groups: Mapping[str, Any], counts: bool = False) -> Table:
    """Return the rates of ``groups``, ``first`` above their names; with ``counts`` the errors by kind too."""
    by_speaker, names = groups is score["by_speaker"], list(score["systems"])
    intervals = ["ci95_utterance"] if by_speaker else ["ci95"]
    headers = {"ci95": words("interval"), "ci95_utterance": words("interval")}
    if groups is (score.get("groups") or {}).get("text"):
        intervals = ["ci95", "ci95_utterance"]
        headers = {"ci95": words("over_speakers"), "ci95_utterance": words("over_utterances")}
    errors = ("sub", "del", "ins") if counts else ()
    columns = [first, words("utterances"), words("characters"), *([] if by_speaker else [words("speakers")])]
    for name in names:
        columns += [words("system_cer", system=words(name)), *(headers[key] for key in intervals), *map(words, errors)]
    columns += [words("reduction_points")] if len(names) > 1 else []
    rows: list[list[Cell]] = []
    for group, row in groups.items():
        cells: list[Cell] = [_group_name(group, groups, score), f"{row['n_utt']:,}", f"{row['ref_len']:,}"]
        cells += [] if by_speaker else [speaker_count(row)]
        for name in names:
            count = row.get(name) or {}
            cells += [percent(count.get("cer")), *(interval(count.get(key)) for key in intervals)]
            cells += [f"{count[key]:,}" if count else NO_VALUE for key in errors]
        rates = [(row.get(name) or {}).get("cer") for name in names]
        if len(names) > 1:
            cells.append(NO_VALUE if None in rates else signed(rates[0] - rates[1]))
        rows.append(cells)
    return Table(columns, rows)


def _group_name(name: str, groups: Mapping[str, Any], score: Score) -> Cell:
    return words(name) if groups is (score.get("groups") or {}).get("text") else name


def sound_rates(by_system: Mapping[str, Any]) -> Table:
    """Return the error rates of syllables, tones, initials and finals, with what they are counted of."""
    columns = [words("measure")]
    for name in by_system:
        columns += [words("system_percent", system=words(name)), words("count_of")]
    rows: list[list[Cell]] = []
    totals = {"syllable": "ref_len", "syllable_toneless": "ref_len", "tone": "syllables"}
    for measure, total in {**totals, "initial": "pairs", "final": "pairs"}.items():
        cells: list[Cell] = [words(measure)]
        for row in by_system.values():
            rate = row.get(measure) or {}
            errors = rate.get("errors", sum(rate.get(key, 0) for key in ("sub", "del", "ins")))
            cells += [percent(rate.get("rate")), f"{errors:,} / {rate.get(total, 0):,}"]
        rows.append(cells)
    cells = [words("homophones")]
    for row in by_system.values():
        same = row.get("homophones") or {}
        cells += [percent(same.get("share")), f"{same.get('same_tone', 0):,} / {same.get('substitutions', 0):,}"]
    return Table(columns, [*rows, cells])


def frequent_confusions(row: Mapping[str, Any]) -> Table:
    """Return the most frequent confusions of a system, reference → hypothesis, by kind of sound."""
    rows: list[list[Cell]] = []
    for kind in KINDS:
        table = row["confusions"].get(kind) or {"labels": [], "matrix": []}
        labels = [label or "–" for label in table["labels"]]
        pairs = [
            (count, reference, hypothesis)
            for reference, counts in enumerate(table["matrix"])
            for hypothesis, count in enumerate(counts)
            if count and reference != hypothesis
        ]
        pairs.sort(key=lambda pair: (-pair[0], *pair[1:]))
        shown = [
            f"{labels[reference]} → {labels[hypothesis]} ({count:,})"
            for count, reference, hypothesis in pairs[:MOST_CONFUSIONS]
        ]
        rows.append([words(f"{kind}s"), ", ".join(shown) or words("none")])
    return Table(["", words("confusions")], rows)


def split_sizes(provenance: Mapping[str, Any], unknown: str = "") -> Table:
    """Return the data's sizes by split; without rows where they are not recorded."""
    splits = (provenance.get("corpus") or {}).get("splits") or {}
    forms = {"speakers": "{:,}", "utterances": "{:,}", "hours": "{:.2f}"}
    rows = [
        [name, *(unknown if row.get(key) is None else form.format(row[key]) for key, form in forms.items())]
        for name, row in splits.items()
    ]
    return Table([words(key) for key in ("split", *forms)], rows)


def reference_lines(score: Score) -> list[Words]:
    """Return score.json's reference lines in words."""
    return [
        Words(
            words("reference_line", **_line(line, "")).en,
            words("reference_line", **_line(line, "_zh")).zh,
        )
        for line in score.get("reference_lines") or []
    ]


def _line(line: Mapping[str, Any], language: str) -> dict[str, Any]:
    name, note = (line.get(f"{key}{language}") or line.get(key) or "" for key in ("name", "note"))
    return {"name": name, "note": note, "cer": percent(line["cer"]), "source": line.get("source") or ""}


def pooled_note(score: Score) -> Words:
    """Return what a score counts that is pooled over folds and seeds."""
    pooled = score["pooled"]
    count = len(pooled["seeds"])
    seeds = words("seed_count_one") if count == 1 else words("seed_count", count=count)
    return words("pooled", folds=pooled["folds"], seeds=seeds, runs=", ".join(pooled["runs"]))


def unknown(score: Score) -> Words:
    """Return what stands where a fact is not known."""
    return words("not_the_same" if score.get("pooled") else "not_recorded")
