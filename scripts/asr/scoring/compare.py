"""Several runs that were scored on one test set, side by side: for choosing between configurations.

``local/score.py --compare RUN1 RUN2 …``; a run is exp/TAG or its score folder. Each run's untouched base is a row
of its own, once for those that decoded alike.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from asr.core.errors import RecipeError, at
from asr.core.files import write_json, write_text
from asr.core.names import NOT_ALL_KNOWN, UNKNOWN_SPEAKER
from asr.core.run_folder import rerun
from asr.core.text_tables import markdown_table, text_table
from asr.scoring import bootstrap, significance
from asr.scoring.cer import ErrorCounts, count_errors
from asr.scoring.files import COUNTS, parse_runs, read_table
from asr.scoring.score import SYSTEMS
from asr.scoring.score_json import read_score
from asr.scoring.significance import p_value
from asr.scoring.speaker_interval import interval as over_speakers
from asr.scoring.speaker_interval import rate, reduction, speaker_sums, why_not
from asr.scoring.tables import interval, percent, speakers_in

COMPARE_VERSION = 2
FILES = ("compare.json", "COMPARED.md")


@dataclass(frozen=True)
class System:
    """One decoded test set: its row of score.json, errors [utterances], and alignments."""

    name: str
    row: Mapping[str, Any]
    errors: tuple[int, ...]
    alignments: tuple[str, ...]
    is_base: bool = False


@dataclass(frozen=True)
class Runs:
    """The systems, and what all of them share: speakers and reference lengths of the test set [utterances]."""

    systems: tuple[System, ...]
    speakers: tuple[str, ...]
    lengths: tuple[int, ...]
    reference: Mapping[str, Any]
    normalizer: str


@dataclass(frozen=True)
class _ScoreFolder:
    """A score folder as it was read; ``utterances`` are those of the test set: (key, speaker, length, references)."""

    path: Path
    score: Mapping[str, Any]
    rows: Sequence[Mapping[str, str]]
    utterances: Sequence[tuple[str, str, int, set[str]]]


def read_runs(folders: Sequence[Path]) -> Runs:
    """Read score.json and per_utterance.tsv of each run. RecipeError where they cannot be compared."""
    if len(folders) < 2:
        raise RecipeError(f"--compare {folders[0]}: needs two runs or more")
    names = _names(folders)
    runs = [_read(folder if (folder / "score.json").is_file() else folder / "score") for folder in folders]
    first = runs[0]
    for run in runs[1:]:
        _refuse_others(first, run)
    systems = [
        _system(name, system, run)
        for name, run in zip(names, runs, strict=True)
        for system in SYSTEMS
        if system in run.score["systems"]
    ]
    _, speakers, lengths, _ = zip(*first.utterances, strict=True)
    return Runs(_once(systems), speakers, lengths, first.score["reference"], first.score["normalizer"])


def _read(folder: Path) -> _ScoreFolder:
    score, rows = read_score(folder), read_table(folder / "per_utterance.tsv")
    _refuse_unsound(folder, score, rows)
    utterances = [(row["key"], row["speaker"], int(row["ref_len"]), _references(row, score)) for row in rows]
    return _ScoreFolder(folder, score, rows, utterances)


def _names(folders: Sequence[Path]) -> list[str]:
    """Return what the runs are called: their folders' names, with their place before them where two are alike.

    Never the folder above, which may be anybody's: the table is published. RecipeError for a run that is given twice.
    """
    resolved = [folder.resolve() for folder in folders]
    runs = [folder.parent if folder.name == "score" else folder for folder in resolved]
    names = [run.name for run in runs]
    if double := next((run.name for run in runs if runs.count(run) > 1), None):
        raise RecipeError(f"--compare: {double} is named twice")
    return [f"{place}/{name}" if names.count(name) > 1 else name for place, name in enumerate(names, 1)]


def _refuse_unsound(folder: Path, score: Mapping[str, Any], rows: Sequence[Mapping[str, str]]) -> None:
    """RecipeError for score.json and per_utterance.tsv of different scorings, and for a decode that is not whole.

    A hypothesis that invents text costs more than its deletion: without it a system may look better than it is.
    """
    exp = folder.resolve().parent
    for name, system in score["systems"].items():
        counted = _counted(folder, name, rows)
        wrong = [f"{name}: {key} {system[key]} and {value}" for key, value in counted.items() if system[key] != value]
        if len({row["key"] for row in rows}) != score["reference"]["n_utt"]:
            wrong.append("other keys")
        if wrong:
            raise RecipeError(
                f"{folder}: score.json and per_utterance.tsv are not of one scoring ({wrong[0]}); score again:"
                f" {rerun(exp, 5)}"
            )
        if counted["n_missing"]:
            first = next(row["key"] for row in rows if row[f"{name}_status"] == "missing")
            raise RecipeError(
                f"{folder}: {counted['n_missing']:,} hypotheses of {name} are missing, first {first}: a decode that is"
                f" not whole is not compared; decode again: {rerun(exp, 5 if name == 'tuned' else 2)}"
            )


def _counted(folder: Path, name: str, rows: Sequence[Mapping[str, str]]) -> dict[str, Any]:
    """Return what per_utterance.tsv says of a system that score.json says too. RecipeError where a row is wrong."""
    total, missing, wrong = ErrorCounts(), 0, 0
    for number, row in enumerate(rows, 2):
        try:
            counts = ErrorCounts(*(int(row[f"{name}_{column}"]) for column in COUNTS))
            alignment = parse_runs(row[f"{name}_alignment"])
            agrees = counts == count_errors(alignment) and counts.ref_len == int(row["ref_len"])
        except (KeyError, ValueError):
            agrees = False
        if not agrees:
            path = at(folder / "per_utterance.tsv", number)
            raise RecipeError(f"{path}: {name}'s counts are not those of its alignment; score again")
        is_missing = row[f"{name}_status"] == "missing"
        total, missing, wrong = total + counts, missing + is_missing, wrong + (is_missing or counts.errors > 0)
    return {**total.as_dict(), "n_utt": len(rows), "n_missing": missing, "ser": wrong / len(rows) if rows else None}


def _references(row: Mapping[str, str], score: Mapping[str, Any]) -> set[str]:
    """Return the reference, in scoring form, as the alignment of each system spells it."""
    alignments = [parse_runs(row[f"{name}_alignment"]) for name in score["systems"]]
    return {"".join(chunk.reference for chunk in chunks) for chunks in alignments}


def _refuse_others(first: _ScoreFolder, run: _ScoreFolder) -> None:
    """RecipeError where a run was scored on other utterances than the first, or after another normalisation."""
    digests = [folder.score["reference"]["digest"] for folder in (first, run)]
    if digests[0] != digests[1] or first.utterances != run.utterances:
        raise RecipeError(f"{run.path}: scored on another test set than {first.path}: these cannot be compared")
    versions = [folder.score["normalizer"] for folder in (first, run)]
    if versions[0] != versions[1]:
        raise RecipeError(
            f"{run.path}: normalised by {versions[1]}, {first.path} by {versions[0]}: score both the same way"
        )


def _system(name: str, system: str, run: _ScoreFolder) -> System:
    label = name if system == "tuned" else f"{name} (untouched base)"
    errors = tuple(sum(int(row[f"{system}_{column}"]) for column in COUNTS[:3]) for row in run.rows)
    alignments = tuple(row[f"{system}_alignment"] for row in run.rows)
    return System(label, run.score["systems"][system], errors, alignments, system != "tuned")


def _once(systems: Sequence[System]) -> tuple[System, ...]:
    """Return the systems with one row for untouched bases that decoded alike."""
    kept: dict[tuple[Any, ...], System] = {}
    for system in systems:
        key = (system.is_base, system.alignments if system.is_base else system.name)
        kept.setdefault(key, system)
    only_base = sum(system.is_base for system in kept.values()) == 1
    return tuple(
        replace(system, name="untouched base") if system.is_base and only_base else system for system in kept.values()
    )


def compare(runs: Runs, seed: int = 0, count: int = bootstrap.REPLICATES) -> dict[str, Any]:
    """Return the comparison as JSON: systems from the lowest CER, each beside the best, p values adjusted (Holm)."""
    ordered = sorted(runs.systems, key=lambda system: (system.row["cer"] is None, system.row["cer"], system.name))
    table = np.array([runs.lengths, *(system.errors for system in ordered)], dtype=np.int64).T
    unknown = NOT_ALL_KNOWN if UNKNOWN_SPEAKER in runs.speakers else None
    by_speaker = speaker_sums(table, runs.speakers)
    reason, ends = unknown or why_not(by_speaker), functools.partial(over_speakers, by_speaker)
    if reason:
        ends = functools.partial(bootstrap.interval, bootstrap.resample_utterances(table, seed, count))
    rows = [_row(ordered, ends, place) for place in range(len(ordered))]
    for place, row in enumerate(rows[1:], 1):
        each = reduction(place, 0)(by_speaker)
        differences = [] if unknown else each[~np.isnan(each)].tolist()
        row["sign_flip_p"], row["sign_flip_smallest_p"] = significance.sign_flip(differences, seed)
    tests = {
        "p_adjusted": [row["mapsswe"] and row["mapsswe"]["p"] for row in rows],
        "sign_flip_p_adjusted": [row["sign_flip_p"] for row in rows],
    }
    for name, values in tests.items():
        for row, adjusted in zip(rows, significance.holm(values), strict=True):
            row[name] = adjusted
    return {
        "compare_version": COMPARE_VERSION,
        "normalizer": runs.normalizer,
        "seed": seed,
        "replicates": count,
        "reference": runs.reference,
        "resampled": "utterances" if reason else "speakers",
        "note": reason,
        "systems": rows,
    }


def _row(ordered: Sequence[System], ends: Callable[..., list[float] | None], place: int) -> dict[str, Any]:
    """Return a system's row of compare.json; ``ends`` gives the interval of a statistic."""
    system, best = ordered[place], ordered[0]
    row: dict[str, Any] = {
        "name": system.name,
        **{key: system.row[key] for key in ("cer", *COUNTS, "ser", "n_missing")},
        "ci95": ends(rate(place), 0.0),
        **dict.fromkeys(("behind_best", "behind_best_ci95", "mapsswe", "sign_flip_p", "sign_flip_smallest_p")),
    }
    if place:
        segments = (
            pair
            for alignments in zip(system.alignments, best.alignments, strict=True)
            for pair in significance.segments(*map(parse_runs, alignments))
        )
        row["behind_best"] = None if system.row["cer"] is None else system.row["cer"] - best.row["cer"]
        row["behind_best_ci95"] = ends(reduction(place, 0))
        row["mapsswe"] = significance.mapsswe(segments)
    return row


HEADER = (
    *("", "CER %", "95 % interval", "sub", "del", "ins", "SER %"),
    *("points above best", "95 % interval", "sign-flip p", "adjusted", "MAPSSWE p", "adjusted"),
)


def _cells(comparison: Mapping[str, Any]) -> list[tuple[object, ...]]:
    rows = []
    for row in comparison["systems"]:
        counts = [f"{row[key]:,}" for key in ("sub", "del", "ins")]
        cells = [row["name"], percent(row["cer"]), interval(row["ci95"]), *counts, percent(row["ser"])]
        if row["behind_best"] is None:
            rows.append((*cells, *["-"] * 6))
            continue
        tests = (row["sign_flip_p"], row["sign_flip_p_adjusted"], row["mapsswe"] and row["mapsswe"]["p"])
        cells += [percent(row["behind_best"]), interval(row["behind_best_ci95"])]
        rows.append((*cells, *map(p_value, (*tests, row["p_adjusted"]))))
    return rows


def _about(comparison: Mapping[str, Any]) -> str:
    reference = comparison["reference"]
    size = f"{speakers_in(reference)}, {reference['n_utt']:,} utterances, normaliser {comparison['normalizer']}"
    over = "are over speakers (jackknife, Student's t)"
    if comparison["note"]:
        over = f"are over utterances (bootstrap, {comparison['replicates']:,} replicates, seed {comparison['seed']}; no"
        over += f" interval over speakers: {comparison['note']})"
    least = [row["sign_flip_smallest_p"] for row in comparison["systems"] if row["sign_flip_smallest_p"]]
    flips = f" (it cannot be below {p_value(min(least))})" if least else ""
    return (
        f"{size}. Intervals {over}; differences are paired. The sign-flip test takes speakers as the unit{flips};"
        " MAPSSWE takes segments as independent, which those of one speaker are not. Each p"
        " is adjusted for its number of tests (Holm). The best of many runs on the test set has a CER that is too good:"
        " choose on validation, or say how many were tried."
    )


def tables(comparison: Mapping[str, Any]) -> str:
    """Return the comparison for the screen."""
    return f"{text_table(HEADER, _cells(comparison))}\n\n{_about(comparison)}"


def write(folder: Path, comparison: Mapping[str, Any]) -> None:
    """Write compare.json, and COMPARED.md with the same table."""
    write_json(folder / "compare.json", comparison)
    table = markdown_table(HEADER, _cells(comparison))
    write_text(folder / "COMPARED.md", f"# Runs compared\n\n{table}\n\n{_about(comparison)}\n")
