"""What RESULTS.md and report.html show of a score: tables and figures as plain data, said once for both.

A cell is a text, Words, or an Interval, which are written in their own way on a page and in Markdown.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from asr.core.publishable_paths import public
from asr.pages.html import Cell, Table, filtered
from asr.pages.svg import Pen
from asr.pages.words import Words, words
from asr.progress.record import Records
from asr.reporting import figures, language_view
from asr.reporting.confidence_figure import confidence
from asr.reporting.curve_figure import NONE_CHOSEN, Chosen, curves
from asr.reporting.facts import command, configuration, facts
from asr.scoring import tables
from asr.scoring.headline import headline
from asr.scoring.tables import percent, speaker_count

Score = Mapping[str, Any]
NO_VALUE = "n/a"
UNBROKEN_DASH = "\N{NO-BREAK SPACE}–\N{WORD JOINER}\N{NO-BREAK SPACE}"
GROUPS = ("length", "duration", "rate")  # beside the groups by text and by the speaker table
KINDS = ("tone", "initial", "final")


class Interval(str):
    """An interval in per cent: ``35.91 to 51.91`` as text, ``35.91 – 51.91`` on a page, never broken."""

    def __html__(self) -> str:
        return self.replace("-", "−").replace(" to ", UNBROKEN_DASH)


def interval(ci95: Sequence[float] | None, digits: int = 2) -> Interval:
    """Return an interval of fractions as a cell; ``n/a`` where there is none."""
    return Interval(tables.interval(ci95, digits))


def signed(rate: float | None, digits: int = 2) -> str:
    """Return a fraction as per cent with a true minus; ``n/a`` where there is none."""
    return percent(rate, digits).replace("-", "−")


def content(score: Score, provenance: Mapping[str, Any]) -> dict[str, Any]:
    """Return what both pages show, by its name in their templates. ``provenance`` may lack any field."""
    provenance = public(dict(provenance))
    sounds, notes = sound_systems(score), headline(score)
    lists = {name: [Words(**note) for note in getattr(notes, name)] for name in ("warnings", "tests", "about")}
    speakers = notes.speakers and Words(**notes.speakers)
    unknown = words("not_the_same" if score.get("pooled") else "not_recorded")
    return {
        "corpus": provenance.get("corpus") or {},
        "pooled": pooled_note(score) if score.get("pooled") else None,
        "headline": {**lists, "finding": Words(**notes.finding), "speakers": speakers},
        "systems": systems(score),
        "certainty": certainty(score),
        "listeners": listeners(score),
        "listeners_note": listeners_note(score),
        "second_texts": language_view.second_texts(score),
        "second_texts_note": language_view.second_texts_note(provenance.get("language")),
        "confidence": language_view.confidence(provenance.get("language")),
        "risk_coverage": language_view.risk_coverage(provenance.get("language")),
        "reference_lines": reference_lines(score),
        "group_table": functools.partial(group_table, score),
        "by_speaker": score["by_speaker"],
        "groups": score["groups"],
        "sounds": sound_rates(sounds) if sounds else None,
        "sounds_note": sounds and Words(score["mandarin"]["note"], score["mandarin"]["note_zh"]),
        "facts": facts(score, provenance),
        "unknown": unknown,
        "split_sizes": split_sizes(provenance, unknown),
        "command": command(provenance),
        "configuration": configuration(provenance),
    }


def plots(
    score: Score, records: Records, chosen: Chosen = NONE_CHOSEN, language: Score | None = None
) -> dict[str, Callable[[Pen], Any]]:
    """Return every figure that the run has something for, by its name, in the order of the page."""
    drawings: dict[str, Callable[[Pen], Any]] = {}
    groups = {name: (score["groups"][name] or {}, "ci95", []) for name in ("text", *GROUPS)}
    tables = (score["groups"]["speaker_table"] or {}).values()
    groups |= {f"table_{number}": (rows, "ci95", []) for number, rows in enumerate(tables, 1)}
    groups = {"speakers": (score["by_speaker"], "ci95_utterance", score["reference_lines"]), **groups}
    for name, (rows, ci95, lines) in groups.items():
        if drawn := figures.group_rows(rows, ci95, functools.partial(group_link, name)):
            drawings[name] = functools.partial(figures.rates, drawn, lines=lines)
    if tones := _confusions(score, "tone"):
        drawings["tone"] = functools.partial(figures.confusions, tones, kind="tone")
    for kind in ("initial", "final"):
        for system, table in _confusions(score, kind).items():
            drawings[f"{kind}_{system}"] = functools.partial(figures.confusions, {system: table}, kind=kind)
    if language and (language["confidence"] or {}).get("characters"):
        drawings["confidence"] = functools.partial(confidence, language["confidence"])
    if records.train or records.validation:
        drawings["training"] = functools.partial(curves, records, chosen=chosen)
    return drawings


def group_link(kind: str, name: str) -> str:
    """Return where the page shows a group's utterances; "" where it cannot."""
    if kind == "speakers":
        return filtered(speaker=f"={name}")
    if kind == "text":
        return filtered(text=name)
    return filtered(group=f"{kind}:{name}") if kind in GROUPS else ""


def sound_systems(score: Score) -> dict[str, Any]:
    """Return each system's analysis of sounds."""
    return {name: row for name, row in (score["mandarin"] or {"systems": {}})["systems"].items() if row}


def _confusions(score: Score, kind: str) -> dict[str, Any]:
    """Return the confusions of a kind of sound, by system; without those in which nothing was counted."""
    tables = {name: row["confusions"][kind] for name, row in sound_systems(score).items()}
    return {name: table for name, table in tables.items() if any(map(any, table["matrix"]))}


def systems(score: Score) -> Table:
    """Return each system's error rates and counts."""
    columns = ("system", "cer_percent", "over_speakers", "over_utterances", "sub", "del", "ins", "ser_percent")
    columns += ("empty", "missing", "length_ratio", "raw_cer_percent", "mean_of_speakers", "mean_of_utterances")
    rows: list[list[Cell]] = []
    for name, row in score["systems"].items():
        cells = [words(name), percent(row["cer"]), interval(row["ci95"]), interval(row["ci95_utterance"])]
        cells += [f"{row[key]:,}" for key in ("sub", "del", "ins")]
        cells += [percent(row["ser"]), f"{row['n_empty']:,}", f"{row['n_missing']:,}"]
        cells.append(NO_VALUE if row["length_ratio"] is None else f"{row['length_ratio']:.2f}")
        cells += [percent(row[key]) for key in ("raw_cer", "speaker_mean_cer", "utterance_mean_cer")]
        rows.append(cells)
    return Table([words(key) for key in columns], rows)


def certainty(score: Score) -> Table:
    """Return the reductions with their intervals; without rows where nothing is compared."""
    comparison = score["comparison"]
    rows: list[list[Cell]] = []
    if comparison and comparison["absolute_reduction"] is not None:
        for kind, digits, key in (("absolute", 2, "absolute_reduction"), ("relative", 1, "relative_reduction_percent")):
            ends = [interval(comparison[f"{kind}_{name}"], digits) for name in ("ci95", "ci95_utterance")]
            rows.append([words(key), signed(comparison[f"{kind}_reduction"], digits), *ends])
        for text, gain in (comparison["text"] or {}).items():
            if gain:
                cells = [signed(gain["relative_reduction"], 1), interval(gain["relative_ci95"], 1), ""]
                rows.append([words("relative_reduction_of", text=words(text)), *cells])
    return Table(["", words("value"), words("over_speakers"), words("over_utterances")], rows)


def listeners(score: Score) -> Table:
    """Return what human listeners understood, and the models on the same clips; without rows where nobody listened."""
    rows: list[list[Cell]] = []
    everyone = {**score.get("listeners", {}), words("all_listeners"): score.get("listeners_together")}
    for code, row in everyone.items():
        if row:
            models = [percent(count["cer"]) for count in row["systems"].values()]
            cells = [percent(row["cer"]), interval(row["ci95"]), str(row["n_clips"]), str(row["n_empty"]), *models]
            rows.append([code, *cells])
    models = [words("system_cer", system=words(name)) for name in score["systems"]]
    columns = [words("listener"), words("listener_cer"), words("over_speakers"), words("clips_heard")]
    return Table([*columns, words("not_understood"), *models], rows)


def listeners_note(score: Score) -> Words | None:
    """Return how alike the listeners write what two of them heard; None where no two did."""
    together = score.get("listeners_together") or {}
    if not together.get("pairs_of_answers"):
        return None
    alike, edits = percent(together["written_alike"], 0), percent(together["edits_between_listeners"], 1)
    return words("listeners_agree", pairs=together["pairs_of_answers"], alike=alike, edits=edits)


def group_table(score: Score, first: Cell, groups: Mapping[str, Any], counts: bool = False) -> Table:
    """Return the rates of ``groups``, ``first`` above their names; with ``counts`` the errors by kind too."""
    by_speaker, by_text = groups is score["by_speaker"], groups is score["groups"]["text"]
    intervals = {"ci95_utterance" if by_speaker else "ci95": words("interval")}
    if by_text:
        intervals = {"ci95": words("over_speakers"), "ci95_utterance": words("over_utterances")}
    errors, systems = ("sub", "del", "ins") if counts else (), list(score["systems"])
    columns = [first, words("utterances"), words("characters"), *([] if by_speaker else [words("speakers")])]
    for name in systems:
        columns += [words("system_cer", system=words(name)), *intervals.values(), *map(words, errors)]
    columns += [words("reduction_points")] if len(systems) > 1 else []
    rows: list[list[Cell]] = []
    for group, row in groups.items():
        cells = [words(group) if by_text else group, f"{row['n_utt']:,}", f"{row['ref_len']:,}"]
        cells += [] if by_speaker else [speaker_count(row)]
        for count in (row[name] or {} for name in systems):
            cells += [percent(count.get("cer")), *(interval(count.get(key)) for key in intervals)]
            cells += [f"{count[key]:,}" if count else NO_VALUE for key in errors]
        rates = [row[name] and row[name]["cer"] for name in systems]
        if len(systems) > 1:
            cells.append(NO_VALUE if None in rates else signed(rates[0] - rates[1]))
        rows.append(cells)
    return Table(columns, rows)


def sound_rates(by_system: Mapping[str, Any]) -> Table:
    """Return the error rates of syllables, tones, initials and finals, with what they are counted of."""
    columns = [words("measure")]
    for name in by_system:
        columns += [words("system_percent", system=words(name)), words("count_of")]
    rows: list[list[Cell]] = []
    totals = {"syllable": "ref_len", "syllable_toneless": "ref_len", "tone": "syllables"}
    for measure, total in {**totals, "initial": "pairs", "final": "pairs"}.items():
        cells: list[Cell] = [words(measure)]
        for rate in (row[measure] for row in by_system.values()):
            errors = rate["errors"] if "errors" in rate else rate["sub"] + rate["del"] + rate["ins"]
            cells += [percent(rate["rate"]), f"{errors:,} / {rate[total]:,}"]
        rows.append(cells)
    cells = [words("homophones")]
    for same in (row["homophones"] for row in by_system.values()):
        cells += [percent(same["share"]), f"{same['same_tone']:,} / {same['substitutions']:,}"]
    return Table(columns, [*rows, cells])


def split_sizes(provenance: Mapping[str, Any], unknown: Cell) -> Table:
    """Return the data's sizes by split; without rows where they are not recorded."""
    forms = {"speakers": "{:,}", "utterances": "{:,}", "hours": "{:.2f}"}
    rows = [
        [name, *(unknown if row.get(key) is None else form.format(row[key]) for key, form in forms.items())]
        for name, row in (provenance.get("corpus") or {}).get("splits", {}).items()
    ]
    return Table([words(key) for key in ("split", *forms)], rows)


def reference_lines(score: Score) -> list[Words]:
    """Return score.json's reference lines in words."""
    return [
        words(
            "reference_line",
            name=Words(line["name"], line["name_zh"]),
            note=Words(line["note"], line["note_zh"]),
            cer=percent(line["cer"]),
            source=line["source"],
        )
        for line in score["reference_lines"]
    ]


def pooled_note(score: Score) -> Words:
    """Return what a score counts that is pooled over folds and seeds."""
    pooled = score["pooled"]
    count = len(pooled["seeds"])
    seeds = words("seed_count_one") if count == 1 else words("seed_count", count=count)
    return words("pooled", folds=pooled["folds"], seeds=seeds, runs=", ".join(pooled["runs"]))
