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
from asr.reporting.write import read_score
from asr.scoring import bootstrap, significance
from asr.scoring.cer import Chunk, ErrorCounts, counted
from asr.scoring.files import COUNTS, parse_runs, read_table
from asr.scoring.score import SYSTEMS
from asr.scoring.speaker_interval import interval as over_speakers
from asr.scoring.speaker_interval import rate, reduction, speaker_sums, why_not
from asr.scoring.tables import interval as shown
from asr.scoring.tables import p_value, percent, speakers_in

COMPARE_VERSION = 2


@dataclass(frozen=True)
class System:
    """One decoded test set: its row of score.json, errors [utterances], and alignments."""

    name: str
    row: Mapping[str, Any]
    errors: tuple[int, ...]
    alignments: tuple[str, ...]
    is_base: bool = False

    def chunks(self, place: int) -> tuple[Chunk, ...]:
        """The alignment of one utterance."""
        return parse_runs(self.alignments[place])


@dataclass(frozen=True)
class Runs:
    """The systems, and what all of them share: keys, speakers and reference lengths of the test set."""

    systems: tuple[System, ...]
    keys: tuple[str, ...]
    speakers: tuple[str, ...]
    lengths: tuple[int, ...]
    reference: Mapping[str, Any]
    normalizer: str


def read_runs(folders: Sequence[Path]) -> Runs:
    """Read score.json and per_utterance.tsv of each run. RecipeError where they cannot be compared."""
    if len(folders) < 2:
        raise RecipeError(f"--compare {folders[0]}: needs two runs or more")
    names = _names(folders)
    double = next((name for name in names if names.count(name) > 1), None)
    if double:
        raise RecipeError(f"--compare: {double} is named twice")
    systems: list[System] = []
    first: tuple[Any, ...] | None = None
    for name, folder in zip(names, map(_score_folder, folders), strict=True):
        score = read_score(folder)
        rows = read_table(folder / "per_utterance.tsv")
        _refuse_unsound(folder, score, rows)
        shared = (
            score["reference"],
            score["normalizer"],
            [(row["key"], row["speaker"], row["ref_len"], _said(row, score)) for row in rows],
        )
        first = first or (folder, *shared)
        _refuse_others(first, folder, shared)
        systems += [_system(name, system, score, rows) for system in SYSTEMS if system in score["systems"]]
    assert first is not None
    keys, speakers, lengths, _ = zip(*first[3], strict=True)
    return Runs(_once(systems), keys, speakers, tuple(map(int, lengths)), first[1], first[2])


def _score_folder(folder: Path) -> Path:
    return folder if (folder / "score.json").is_file() else folder / "score"


def _name(folder: Path) -> str:
    resolved = folder.resolve()
    return resolved.parent.name if resolved.name == "score" else resolved.name


def _names(folders: Sequence[Path]) -> list[str]:
    """What the runs are called: their folders' names, with their place before them where two are alike.

    Never the folder above, which may be anybody's: the table is published.
    """
    names = [_name(folder) for folder in folders]
    parents = [
        (folder.resolve().parent if folder.resolve().name == "score" else folder.resolve()) for folder in folders
    ]
    return [
        f"{place}/{name}" if names.count(name) > 1 and parents.count(parent) == 1 else name
        for place, (name, parent) in enumerate(zip(names, parents, strict=True), 1)
    ]


def _refuse_unsound(folder: Path, score: Mapping[str, Any], rows: Sequence[Mapping[str, str]]) -> None:
    """RecipeError for score.json and per_utterance.tsv of different scorings, and for a decode that is not whole.

    A hypothesis that invents text costs more than its deletion: without it a system may look better than it is.
    """
    exp = folder.resolve().parent
    for name, system in score["systems"].items():
        found = _counted(folder, name, rows)
        wrong = [f"{name}: {key} {system[key]} and {value}" for key, value in found.items() if system[key] != value]
        if len({row["key"] for row in rows}) != score["reference"]["n_utt"]:
            wrong.append("other keys")
        if wrong:
            raise RecipeError(
                f"{folder}: score.json and per_utterance.tsv are not of one scoring ({wrong[0]}); score again:"
                f" {rerun(exp, 5)}"
            )
        if found["n_missing"]:
            first = next(row["key"] for row in rows if row[f"{name}_status"] == "missing")
            raise RecipeError(
                f"{folder}: {found['n_missing']:,} hypotheses of {name} are missing, first {first}: nothing is compared"
                f" with a decode that is not whole; decode again: {rerun(exp, 5 if name == 'tuned' else 2)}"
            )


def _counted(folder: Path, name: str, rows: Sequence[Mapping[str, str]]) -> dict[str, Any]:
    """What per_utterance.tsv says that score.json says of a system. RecipeError where a row contradicts itself."""
    total, missing, faulty = ErrorCounts(), 0, 0
    for number, row in enumerate(rows, 2):
        try:
            counts = ErrorCounts(*(int(row[f"{name}_{column}"]) for column in COUNTS))
            agrees = counts == counted(parse_runs(row[f"{name}_alignment"])) and counts.ref_len == int(row["ref_len"])
        except (KeyError, ValueError):
            agrees = False
        if not agrees:
            path = at(folder / "per_utterance.tsv", number)
            raise RecipeError(f"{path}: {name}'s counts are not those of its alignment; score again")
        lost = row[f"{name}_status"] == "missing"
        total, missing, faulty = total + counts, missing + lost, faulty + (lost or counts.errors > 0)
    return {**total.as_dict(), "n_utt": len(rows), "n_missing": missing, "ser": faulty / len(rows) if rows else None}


def _said(row: Mapping[str, str], score: Mapping[str, Any]) -> set[str]:
    """The reference, in scoring form, as the alignment of each system spells it."""
    systems = [parse_runs(row[f"{name}_alignment"]) for name in score["systems"]]
    return {"".join(chunk.reference for chunk in chunks) for chunks in systems}


def _refuse_others(first: tuple[Any, ...], folder: Path, shared: tuple[Any, ...]) -> None:
    if first[1]["digest"] != shared[0]["digest"] or first[3] != shared[2]:
        raise RecipeError(f"{folder}: scored on another test set than {first[0]}: these cannot be compared")
    if first[2] != shared[1]:
        raise RecipeError(f"{folder}: normalised by {shared[1]}, {first[0]} by {first[2]}: score both alike")


def _system(name: str, system: str, score: Mapping[str, Any], rows: Sequence[Mapping[str, str]]) -> System:
    label = name if system == "tuned" else f"{name} (untouched base)"
    errors = tuple(sum(int(row[f"{system}_{column}"]) for column in COUNTS[:3]) for row in rows)
    alignments = tuple(row[f"{system}_alignment"] for row in rows)
    return System(label, score["systems"][system], errors, alignments, system != "tuned")


def _once(systems: Sequence[System]) -> tuple[System, ...]:
    """The untouched bases that decoded alike as one row."""
    found: dict[tuple[Any, ...], System] = {}
    for system in systems:
        key = (system.is_base, system.alignments if system.is_base else system.name)
        found.setdefault(key, system)
    bases = [system for system in found.values() if system.is_base]
    if len(bases) == 1:
        only = replace(bases[0], name="untouched base")
        return tuple(only if system is bases[0] else system for system in found.values())
    return tuple(found.values())


def compare(runs: Runs, seed: int = 0, count: int = bootstrap.REPLICATES) -> dict[str, Any]:
    """The comparison as JSON: systems from the lowest CER, each beside the best, p values adjusted for the number."""
    ordered = sorted(runs.systems, key=lambda item: (item.row["cer"] is None, item.row["cer"], item.name))
    table = np.array([runs.lengths, *(item.errors for item in ordered)], dtype=np.int64).T
    unknown = NOT_ALL_KNOWN if UNKNOWN_SPEAKER in runs.speakers else None
    by_speaker = speaker_sums(table, runs.speakers)
    reason, ends = unknown or why_not(by_speaker), functools.partial(over_speakers, by_speaker)
    if reason:
        ends = functools.partial(bootstrap.interval, bootstrap.resample_utterances(table, seed, count))
    rows = [_row(runs, ordered, ends, place) for place in range(len(ordered))]
    for place, row in enumerate(rows[1:], 1):
        each = reduction(place, 0)(by_speaker)
        known = [] if unknown else each[~np.isnan(each)].tolist()
        row["sign_flip_p"], row["sign_flip_smallest_p"] = significance.sign_flip(known, seed)
    tests = {"p_adjusted": [row["mapsswe"] and row["mapsswe"]["p"] for row in rows]}
    tests["sign_flip_p_adjusted"] = [row["sign_flip_p"] for row in rows]
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


def _row(runs: Runs, ordered: Sequence[System], ends: Callable[..., list[float] | None], place: int) -> dict[str, Any]:
    system, best = ordered[place], ordered[0]
    row: dict[str, Any] = {
        "name": system.name,
        **{key: system.row[key] for key in ("cer", *COUNTS, "ser", "n_missing")},
    }
    row |= {"ci95": ends(rate(place), 0.0), "behind_best": None, "behind_best_ci95": None}
    row |= {"mapsswe": None, "sign_flip_p": None, "sign_flip_smallest_p": None}
    if place:
        segments = (
            pair
            for number in range(len(runs.keys))
            for pair in significance.segments(system.chunks(number), best.chunks(number))
        )
        row["behind_best"] = None if system.row["cer"] is None else system.row["cer"] - best.row["cer"]
        row["behind_best_ci95"] = ends(reduction(place, 0))
        row["mapsswe"] = significance.mapsswe(segments)
    return row


HEADER = (
    "",
    "CER %",
    "95 % interval",
    "sub",
    "del",
    "ins",
    "SER %",
    "behind the best",
    "95 % interval",
    "sign-flip p",
)
HEADER = (*HEADER, "adjusted", "MAPSSWE p", "adjusted")


def _cells(found: Mapping[str, Any]) -> list[tuple[object, ...]]:
    rows = []
    for row in found["systems"]:
        counts = [f"{row[key]:,}" for key in ("sub", "del", "ins")]
        cells = [row["name"], percent(row["cer"]), shown(row["ci95"]), *counts, percent(row["ser"])]
        if row["behind_best"] is None:
            rows.append((*cells, *["-"] * 6))
            continue
        tests = (row["sign_flip_p"], row["sign_flip_p_adjusted"], row["mapsswe"] and row["mapsswe"]["p"])
        cells += [percent(row["behind_best"]), shown(row["behind_best_ci95"])]
        rows.append((*cells, *map(p_value, (*tests, row["p_adjusted"]))))
    return rows


def _about(found: Mapping[str, Any]) -> str:
    reference = found["reference"]
    size = f"{speakers_in(reference)}, {reference['n_utt']:,} utterances, normaliser {found['normalizer']}"
    over = "are over speakers (jackknife, Student's t)"
    if found["note"]:
        over = f"are over utterances (bootstrap, {found['replicates']:,} replicates, seed {found['seed']}; no"
        over += f" interval over speakers: {found['note']})"
    least = [row["sign_flip_smallest_p"] for row in found["systems"] if row["sign_flip_smallest_p"]]
    flips = f" (it cannot be below {p_value(min(least))})" if least else ""
    return (
        f"{size}. Intervals {over}; differences are paired. The sign-flip test takes speakers as the unit{flips};"
        " MAPSSWE takes segments as independent, which those of one speaker are not. Each p"
        " is adjusted for its number of tests (Holm). The best of many runs on the test set has a CER that is too good:"
        " choose on validation, or say how many were tried."
    )


def tables(found: Mapping[str, Any]) -> str:
    """The comparison for the screen."""
    return f"{text_table(HEADER, _cells(found))}\n\n{_about(found)}"


def write(folder: Path, found: Mapping[str, Any]) -> None:
    """compare.json, and COMPARED.md with the same table."""
    write_json(folder / "compare.json", found)
    write_text(
        folder / "COMPARED.md", f"# Runs compared\n\n{markdown_table(HEADER, _cells(found))}\n\n{_about(found)}\n"
    )
