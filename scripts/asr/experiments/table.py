"""``--compare``: a table and a plot of what is published of an experiment's runs, from these files alone.

A row's CER pools all speakers, each tested once a seed, over the seeds whose folds are all there. Its 95 % interval is
the jackknife's over speakers (asr.scoring.speaker_interval), with the t interval of the seeds' mean added in squares
where there are two or more (asr.experiments.pooled.widened). A difference to the first setting is paired: the same
speakers, and the seeds that both have. Its p value is of Student's t, the squared standard error being the sum of the
jackknife's and of the seeds' mean's, the degrees of freedom Welch and Satterthwaite's (Satterthwaite 1946).
"""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from asr.core.text_tables import markdown_table
from asr.experiments.plan import Experiment, Run
from asr.experiments.pooled import widened
from asr.scoring.significance import p_value
from asr.scoring.speaker_interval import freedom, interval, rate, reduction, relative_reduction
from asr.scoring.tables import interval as ends
from asr.scoring.tables import percent

SIMULATED = "simulated impaired speech: proves the path, not the clinic"
BASE = "base model"
ALL, UNSEEN = ("seen", "unseen"), ("unseen",)
MARK = "†"
HEADER = (
    *("setting", "seeds", "CER %", "relative change %", "p"),
    *("CER %, unseen texts", "relative change %, unseen texts", "p, unseen texts"),
    *("audio trained on, h", "time, min", "memory, GiB", "on"),
)

Counts = dict[str, tuple[int, int]]  # by speaker: reference characters and errors


class Change(NamedTuple):
    """A CER against another: the relative change, its 95 % interval, and p of there being none."""

    relative: float
    ci95: list[float] | None
    p: float | None


class Row(NamedTuple):
    """A setting, or what a language model makes of it, or the base model: counts by texts and seed, and cost."""

    name: str
    counts: dict[tuple[str, ...], dict[int, Counts]]  # only of seeds whose folds are all there
    cost: list[Mapping[str, Any]]


def rows(experiment: Experiment, results: Mapping[Run, Mapping[str, Any]]) -> list[Row]:
    """Return the base model's row, and those of each setting; a setting without a whole seed has no counts."""
    found = []
    for setting in experiment.settings:
        by_seed = defaultdict(list)
        for run, result in results.items():
            if run.setting == setting:
                by_seed[run.seed].append(result)
        whole = {seed: by_seed[seed] for seed in sorted(by_seed) if len(by_seed[seed]) == experiment.folds}
        cost = [result["cost"] for of_seed in whole.values() for result in of_seed]
        every = [result for of_seed in whole.values() for result in of_seed]
        if every and not any(row.name == BASE for row in found) and _all_have(every, "baseline"):
            seed = next(iter(whole))  # it is the same for every seed
            found.insert(
                0, Row(BASE, {texts: {seed: _counts(whole[seed], "baseline", texts)} for texts in (ALL, UNSEEN)}, [])
            )
        name = setting + MARK * (setting in experiment.marked)
        for system, of in (("tuned", name), ("tuned_lm", f"{name}, second texts")):
            if system == "tuned" or (every and _all_have(every, system)):
                counts = {
                    texts: {seed: _counts(of_seed, system, texts) for seed, of_seed in whole.items()}
                    for texts in (ALL, UNSEEN)
                }
                found.append(Row(of, counts, cost))
    return found


def _all_have(results: Sequence[Mapping[str, Any]], system: str) -> bool:
    rows = (row for result in results for texts in result["speakers"].values() for row in texts.values())
    return all(system in row["errors"] for row in rows)


def _counts(results: Sequence[Mapping[str, Any]], system: str, texts: Sequence[str]) -> Counts:
    """Return each speaker's characters and errors in the folds of one seed, of these texts."""
    found: Counts = {}
    for result in results:
        for speaker, of in result["speakers"].items():
            length, errors = found.get(speaker, (0, 0))  # who is not known by name may be in several folds
            rows = [row for text, row in of.items() if text in texts]
            length += sum(row["ref_len"] for row in rows)
            found[speaker] = length, errors + sum(row["errors"][system] for row in rows)
    return found


def cer(by_seed: Mapping[int, Counts]) -> tuple[float | None, list[float] | None]:
    """Return the CER of all seeds together and its 95 % interval; None where there is no character."""
    sums = sum(np.array([of[speaker] for speaker in sorted(of)]) for of in by_seed.values())
    total = np.sum(sums, axis=0) if by_seed else np.zeros(2)
    if not total[0]:
        return None, None
    point, ci95 = float(rate(0)(total)), interval(sums, rate(0), 0)
    rates = [_rate(of) for of in by_seed.values()]
    return point, widened(point, ci95, rates) if len(rates) > 1 else ci95


def _rate(of: Counts) -> float:
    return sum(errors for _, errors in of.values()) / sum(length for length, _ in of.values())


def change(before: Mapping[int, Counts], after: Mapping[int, Counts]) -> Change | None:
    """Return how ``after`` differs from ``before``, negative where it is lower; None where nothing can be compared."""
    seeds = [seed for seed in before if seed in after]
    if not seeds or any(set(before[seed]) != set(after[seed]) for seed in seeds):
        return None
    tables = [
        np.array([(*before[seed][speaker], after[seed][speaker][1]) for speaker in sorted(before[seed])])
        for seed in seeds
    ]
    sums, by_seed = sum(tables), np.array([table.sum(axis=0) for table in tables])
    total = np.sum(sums, axis=0)
    if not total[1]:
        return None
    of, ci95 = relative_reduction(0, 1), interval(sums, relative_reduction(0, 1))
    point = float(of(total))
    if len(seeds) > 1 and (by_seed[:, 1] > 0).all():
        ci95 = widened(point, ci95, of(by_seed).tolist())
    return Change(-point, ci95 and [-ci95[1], -ci95[0]], _p(np.asarray(sums), reduction(0, 1)(by_seed).tolist()))


def _p(sums: np.ndarray, by_seed: Sequence[float]) -> float | None:
    """Return the two-sided p of the absolute reduction over speakers, and over seeds where there are two or more."""
    ci95, of = interval(sums, reduction(0, 1)), reduction(0, 1)
    if ci95 is None:
        return None
    from scipy.special import stdtr, stdtrit

    spread = freedom(sums)
    parts = [(((ci95[1] - ci95[0]) / 2 / float(stdtrit(spread, 0.975))) ** 2, spread)]
    if len(by_seed) > 1:
        parts.append((statistics.variance(by_seed) / len(by_seed), len(by_seed) - 1))
    variance = sum(part for part, _ in parts)
    degrees = variance**2 / sum(part**2 / df for part, df in parts)
    return float(2 * stdtr(degrees, -abs(float(of(sums.sum(axis=0)))) / math.sqrt(variance)))


def missing(runs: Sequence[Run], results: Mapping[Run, Any]) -> str:
    """Return the line that names the cells that are not there."""
    names = [run.result.stem for run in runs if run not in results]
    return f"Missing: {', '.join(names)}." if names else "No cell is missing."


def table(experiment: Experiment, found: Sequence[Row]) -> str:
    """Return the table in Markdown."""
    first = next(row for row in found if row.name != BASE)
    return markdown_table(HEADER, [_cells(row, first) for row in found], left=(0, len(HEADER) - 1))


def _cells(row: Row, first: Row) -> list[str]:
    cells = [row.name, " ".join(map(str, row.counts[ALL])) if row.name != BASE else ""]
    for texts in (ALL, UNSEEN):
        point, ci95 = cer(row.counts[texts])
        cells.append("–" if point is None else f"{percent(point)} ({ends(ci95)})")
        difference = None if row is first else _against(first, row, texts)
        cells += ["–", "–"] if difference is None else [_relative(difference), p_value(difference.p)]
    return [*cells, *_cost(row.cost)]


def _against(first: Row, row: Row, texts: tuple[str, ...]) -> Change | None:
    """Return the change; the base model's counts are those of any seed."""
    of = row.counts[texts]
    if row.name == BASE:
        of = dict.fromkeys(first.counts[texts], next(iter(of.values())))
    return change(first.counts[texts], of)


def _relative(difference: Change) -> str:
    sign = "+" if difference.relative > 0 else ""
    return f"{sign}{percent(difference.relative, 1)} ({ends(difference.ci95, 1)})"


def _cost(costs: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a run's means: hours of audio, minutes of all stages, GiB (the most of any), and where it ran."""
    if not costs:
        return ["–"] * 4
    audio = statistics.mean(cost["trained_audio_seconds"] for cost in costs) / 3600
    minutes = statistics.mean(sum(cost["stage_seconds"].values()) for cost in costs) / 60
    memory = [cost["peak_memory_gib"] for cost in costs if cost["peak_memory_gib"]]
    devices = " ".join(sorted({cost["device"] for cost in costs}))
    return [f"{audio:.1f}", f"{minutes:.1f}", f"{max(memory):.1f}" if memory else "–", devices]
