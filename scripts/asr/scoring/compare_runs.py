"""Several runs that were scored on one test set, side by side: for choosing between configurations.

``local/score.py --compare RUN1 RUN2 …``; a run is exp/TAG or its score folder. Each run's untouched base is a row
of its own, once for those that decoded alike.
"""

from __future__ import annotations

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
from asr.scoring import bootstrap, significance, speaker_interval
from asr.scoring.cer import Alignment, ErrorCounts, count_errors
from asr.scoring.files import COUNTS, parse_runs, read_score, read_table
from asr.scoring.headline import speakers
from asr.scoring.significance import p_value
from asr.scoring.speaker_interval import Statistic, rate, reduction, speaker_sums
from asr.scoring.tables import interval, percent

COMPARE_VERSION = 2
FILES = ("compare.json", "COMPARED.md")


@dataclass(frozen=True)
class System:
    """One decoded test set: its row of score.json, and how each utterance is aligned with its reference."""

    name: str
    is_base: bool
    row: Mapping[str, Any]
    alignments: tuple[Alignment, ...]


@dataclass(frozen=True)
class Runs:
    """The systems of one run or several, and the test set that they share."""

    folder: Path  # of the first
    systems: tuple[System, ...]
    utterances: Sequence[tuple[str, str, int, set[str]]]  # key, speaker, length, the reference as systems spell it
    score: Mapping[str, Any]  # of the first


def read_runs(folders: Sequence[Path]) -> Runs:
    """Read score.json and per_utterance.tsv of each run. RecipeError where they cannot be compared."""
    if len(folders) < 2:
        raise RecipeError(f"--compare {folders[0]}: needs two runs or more")
    runs = [_read(folder, name) for folder, name in zip(folders, _names(folders), strict=True)]
    for run in runs[1:]:
        _refuse_others(runs[0], run)
    return replace(runs[0], systems=_once([system for run in runs for system in run.systems]))


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


def _read(folder: Path, name: str) -> Runs:
    """Return one run. RecipeError where its files are not of one scoring, and for a decode that is not whole."""
    folder = folder if (folder / "score.json").is_file() else folder / "score"
    score, rows = read_score(folder), read_table(folder / "per_utterance.tsv")
    systems = []
    for kind, row in score["systems"].items():
        alignments = _alignments(folder, kind, rows)
        _refuse_unsound(folder, kind, score, rows, alignments)
        label = name if kind == "tuned" else f"{name} (untouched base)"
        systems.append(System(label, kind != "tuned", row, alignments))
    utterances = []
    for row, *alignments in zip(rows, *(system.alignments for system in systems), strict=True):
        spelt = {"".join(chunk.reference for chunk in alignment.chunks) for alignment in alignments}
        utterances.append((row["key"], row["speaker"], int(row["ref_len"]), spelt))
    return Runs(folder, tuple(systems), utterances, score)


def _alignments(folder: Path, kind: str, rows: Sequence[Mapping[str, str]]) -> tuple[Alignment, ...]:
    """Return each row's alignment of a system. RecipeError where the row's counts are others."""
    alignments = []
    for number, row in enumerate(rows, 2):
        try:
            chunks = parse_runs(row[f"{kind}_alignment"])
            counts = ErrorCounts(*(int(row[f"{kind}_{column}"]) for column in COUNTS))
            agree = counts == count_errors(chunks) and counts.ref_len == int(row["ref_len"])
        except (KeyError, ValueError):
            agree = False
        if not agree:
            path = at(folder / "per_utterance.tsv", number)
            raise RecipeError(f"{path}: {kind}'s counts are not those of its alignment; score again")
        alignments.append(Alignment(counts, chunks))
    return tuple(alignments)


def _refuse_unsound(
    folder: Path,
    kind: str,
    score: Mapping[str, Any],
    rows: Sequence[Mapping[str, str]],
    alignments: Sequence[Alignment],
) -> None:
    """RecipeError for score.json and per_utterance.tsv of different scorings, and for a decode that is not whole.

    A hypothesis that invents text costs more than its deletion: without it a system may look better than it is.
    """
    exp, system = folder.resolve().parent, score["systems"][kind]
    statuses = [row[f"{kind}_status"] for row in rows]
    missing = [row["key"] for row, status in zip(rows, statuses, strict=True) if status == "missing"]
    wrong = sum(status == "missing" or one.counts.errors > 0 for status, one in zip(statuses, alignments, strict=True))
    counted = ErrorCounts.total(one.counts for one in alignments).as_dict()
    counted |= {"n_utt": len(rows), "n_missing": len(missing), "ser": wrong / len(rows) if rows else None}
    others = [f"{kind}: {key} {system[key]} and {value}" for key, value in counted.items() if system[key] != value]
    if len({row["key"] for row in rows}) != score["reference"]["n_utt"]:
        others.append("other keys")
    if others:
        raise RecipeError(
            f"{folder}: score.json and per_utterance.tsv are not of one scoring ({others[0]}); score again:"
            f" {rerun(exp, 5)}"
        )
    if missing:
        raise RecipeError(
            f"{folder}: {len(missing):,} hypotheses of {kind} are missing, first {missing[0]}: a decode that is not"
            f" whole is not compared; decode again: {rerun(exp, 5 if kind == 'tuned' else 2)}"
        )


def _refuse_others(first: Runs, run: Runs) -> None:
    """RecipeError where a run was scored on other utterances than the first, or after another normalisation."""
    digest, normalizer = run.score["reference"]["digest"], run.score["normalizer"]
    if digest != first.score["reference"]["digest"] or run.utterances != first.utterances:
        raise RecipeError(f"{run.folder}: scored on another test set than {first.folder}: these cannot be compared")
    if normalizer != first.score["normalizer"]:
        by = f"normalised by {normalizer}, {first.folder} by {first.score['normalizer']}"
        raise RecipeError(f"{run.folder}: {by}: score both the same way")


def _once(systems: Sequence[System]) -> tuple[System, ...]:
    """Return the systems with one row for untouched bases that decoded alike."""
    bases = {system.alignments: system for system in reversed(systems) if system.is_base}
    kept = [system for system in systems if not system.is_base or bases[system.alignments] is system]
    if len(bases) == 1:
        kept = [replace(system, name="untouched base") if system.is_base else system for system in kept]
    return tuple(kept)


def compare(runs: Runs, seed: int = 0, count: int = bootstrap.REPLICATES) -> dict[str, Any]:
    """Return the comparison as JSON: systems from the lowest CER, each beside the best, p values adjusted (Holm)."""
    ordered = sorted(runs.systems, key=lambda system: (system.row["cer"] is None, system.row["cer"], system.name))
    owners = [speaker for _, speaker, _, _ in runs.utterances]
    columns = [[length for _, _, length, _ in runs.utterances]]
    columns += [[one.counts.errors for one in system.alignments] for system in ordered]
    table = np.array(columns, dtype=np.int64).T
    by_speaker = speaker_sums(table, owners)
    why_not = NOT_ALL_KNOWN if UNKNOWN_SPEAKER in owners else speaker_interval.why_not(by_speaker)

    def ends(statistic: Statistic, places: Sequence[int], lowest: float = -np.inf) -> list[float] | None:
        """Return the interval of a statistic of these systems, which is the same whatever they are compared with."""
        own = [0, *(1 + place for place in places)]
        if why_not:
            return bootstrap.interval(bootstrap.resample_utterances(table[:, own], seed, count), statistic, lowest)
        return speaker_interval.interval(by_speaker[:, own], statistic, lowest)

    rows = []
    for place, system in enumerate(ordered):
        row = {"name": system.name, **{key: system.row[key] for key in ("cer", *COUNTS, "ser", "n_missing")}}
        row["ci95"] = ends(rate(0), [place], 0.0)
        row |= dict.fromkeys(("behind_best", "behind_best_ci95", "mapsswe", "sign_flip_p", "sign_flip_smallest_p"))
        if place:
            row |= _behind(system, ordered[0])
            row["behind_best_ci95"] = ends(reduction(0, 1), [place, 0])
            each = reduction(place, 0)(by_speaker)
            differences = [] if UNKNOWN_SPEAKER in owners else each[~np.isnan(each)].tolist()
            row["sign_flip_p"], row["sign_flip_smallest_p"] = significance.sign_flip(differences, seed)
        rows.append(row)
    _adjust(rows)
    return {
        "compare_version": COMPARE_VERSION,
        "normalizer": runs.score["normalizer"],
        "seed": seed,
        "replicates": count,
        "reference": runs.score["reference"],
        "resampled": "utterances" if why_not else "speakers",
        "note": why_not,
        "systems": rows,
    }


def _adjust(rows: Sequence[dict[str, Any]]) -> None:
    """Add the p values of each test, adjusted for their number (Holm 1979)."""
    adjusted = significance.holm([row["mapsswe"] and row["mapsswe"]["p"] for row in rows])
    sign_flips = significance.holm([row["sign_flip_p"] for row in rows])
    for row, p, sign_flip_p in zip(rows, adjusted, sign_flips, strict=True):
        row |= {"p_adjusted": p, "sign_flip_p_adjusted": sign_flip_p}


def _behind(system: System, best: System) -> dict[str, Any]:
    """Return by how much a system is behind the best, and MAPSSWE of the two."""
    segments = (
        segment
        for one, other in zip(system.alignments, best.alignments, strict=True)
        for segment in significance.segments(one.chunks, other.chunks)
    )
    behind = None if system.row["cer"] is None else system.row["cer"] - best.row["cer"]
    return {"behind_best": behind, "mapsswe": significance.mapsswe(segments)}


HEADER = (
    *("", "CER %", "95 % interval", "sub", "del", "ins", "SER %"),
    *("points above best", "95 % interval", "sign-flip p", "adjusted", "MAPSSWE p", "adjusted"),
)


def _cells(row: Mapping[str, Any]) -> list[object]:
    counts = [f"{row[key]:,}" for key in ("sub", "del", "ins")]
    cells = [row["name"], percent(row["cer"]), interval(row["ci95"]), *counts, percent(row["ser"])]
    if row["behind_best"] is None:
        return [*cells, *["-"] * 6]
    tests = (row["sign_flip_p"], row["sign_flip_p_adjusted"], row["mapsswe"] and row["mapsswe"]["p"], row["p_adjusted"])
    return [*cells, percent(row["behind_best"]), interval(row["behind_best_ci95"]), *map(p_value, tests)]


def _about(comparison: Mapping[str, Any]) -> str:
    reference = comparison["reference"]
    over = "are over speakers (jackknife, Student's t)"
    if comparison["note"]:
        over = f"are over utterances (bootstrap, {comparison['replicates']:,} replicates, seed {comparison['seed']}; no"
        over += f" interval over speakers: {comparison['note']})"
    least = [row["sign_flip_smallest_p"] for row in comparison["systems"] if row["sign_flip_smallest_p"]]
    flips = f" (it cannot be below {p_value(min(least))})" if least else ""
    return (
        f"{speakers(reference)['en']}, {reference['n_utt']:,} utterances, normaliser {comparison['normalizer']}."
        f" Intervals {over}; differences are paired. The sign-flip test takes speakers as the unit{flips};"
        " MAPSSWE takes segments as independent, which those of one speaker are not. Each p is adjusted for its number"
        " of tests (Holm). The best of many runs on the test set has a CER that is too good: choose on validation, or"
        " say how many were tried."
    )


def tables(comparison: Mapping[str, Any], table: Callable[..., str] = text_table) -> str:
    """Return the comparison for the screen, or with another kind of table."""
    return f"{table(HEADER, [_cells(row) for row in comparison['systems']])}\n\n{_about(comparison)}"


def write(folder: Path, comparison: Mapping[str, Any]) -> None:
    """Write compare.json, and COMPARED.md with the same table."""
    write_json(folder / "compare.json", comparison)
    write_text(folder / "COMPARED.md", f"# Runs compared\n\n{tables(comparison, markdown_table)}\n")
