"""One score of all folds of a setting: every speaker tested once a seed, by a model that has not heard that speaker."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from asr.core.errors import RecipeError
from asr.core.files import read_json
from asr.core.made_by import refuse_others
from asr.experiments.plan import Experiment, Run
from asr.experiments.results import scored
from asr.scoring.files import write_all
from asr.scoring.groups import read_speaker_table
from asr.scoring.headline import speakers
from asr.scoring.notes import verdict, verdict_note
from asr.scoring.score import Request, Scored, score, total
from asr.scoring.score_warnings import about_references, clips_per_speaker
from asr.scoring.tables import interval, percent


def write(out: Path, runs: Sequence[Run], experiment: Experiment) -> dict[str, Any]:
    """Score all folds and seeds of one setting as one test set, into ``out``; return score.json.

    RecipeError unless each seed's folds test the same utterances, each once, with all systems or without a base.
    """
    refuse_others(out, "score")
    by_seed: dict[str, dict[int, list[Scored]]] = {}
    seeds_of = dict.fromkeys(run.seed for run in runs)
    for run in runs:
        for name, of_run in scored(run).items():
            by_seed.setdefault(name, {seed: [] for seed in seeds_of})[run.seed] += of_run
    keys = [sorted(one.utterance.key for one in tested) for seeds in by_seed.values() for tested in seeds.values()]
    if any(tested != keys[0] or len(set(tested)) < len(tested) for tested in keys):
        raise RecipeError(
            f"{out}: the folds do not test the same utterances, each once, for every seed: nothing is pooled"
        )
    systems = {name: _together(seeds) for name, seeds in by_seed.items()}
    references = [one.utterance for one in systems["tuned"]]
    path = Path(experiment.speakers or Path(experiment.corpus or "mini/corpus", "speakers.tsv"))  # as run.sh has it
    speakers = {utterance.speaker for utterance in references}
    table = read_speaker_table(path, speakers, runs[0].columns) if path.is_file() else None
    lines = read_json(Path("exp", runs[0].tag, "score/score.json"), "run stage 5, which scores")["reference_lines"]
    # Seen or unseen in training was asked of each fold's own training set: none is given here.
    request = Request((), table, reference_lines=lines)
    once = [one.utterance for one in by_seed["tuned"][next(iter(seeds_of))]]  # each clip, of one seed
    result = score(references, systems, request, about_references(out, once))
    result["reference"]["clips_per_speaker"] = clips_per_speaker(once)
    result["pooled"] = {
        **experiment.model_dump(include={"folds", "fold_by"}),
        "seeds": list(seeds_of),
        "runs": [run.tag for run in runs],
        "cer_by_seed": {name: [total(of_seed).cer for of_seed in seeds.values()] for name, seeds in by_seed.items()},
    }
    add_seeds(result)
    write_all(out, systems, result)
    return result


def _together(by_seed: Mapping[int, Sequence[Scored]]) -> list[Scored]:
    """Return one system's utterances of all seeds, in the scorer's order, their keys made different by the seed."""
    together = [
        replace(one, utterance=one.utterance._replace(key=f"{one.utterance.key}-s{seed}")) if len(by_seed) > 1 else one
        for seed, scored in by_seed.items()
        for one in scored
    ]
    return sorted(together, key=lambda one: (one.utterance.speaker, one.utterance.key))


def add_seeds(result: dict[str, Any]) -> None:
    """Widen the intervals over speakers by how much the seeds differ, where there are two or more."""
    rates = result["pooled"]["cer_by_seed"]
    if len(rates["tuned"]) < 2:
        return
    for name, row in result["systems"].items():
        if row["ci95"]:
            row["ci95"] = widened(row["cer"], row["ci95"], rates[name])
            row["ci95_note"] += f"; widened by what {len(rates[name])} seeds differ"
    if comparison := result["comparison"]:
        pairs = list(zip(rates["baseline"], rates["tuned"], strict=True))
        changes = {"absolute": [before - after for before, after in pairs]}
        if all(rates["baseline"]):
            changes["relative"] = [(before - after) / before for before, after in pairs]
        for kind, rate in changes.items():
            reduction, ci95 = comparison[f"{kind}_reduction"], comparison[f"{kind}_ci95"]
            comparison[f"{kind}_ci95"] = widened(reduction, ci95, rate)
        comparison["verdict"] = verdict(comparison["absolute_ci95"], comparison["absolute_ci95_utterance"])
        comparison["verdict_note"] = verdict_note(comparison, result["reference"]["n_speakers"])


def widened(point: float, ci95: Sequence[float] | None, rates: Sequence[float]) -> list[float] | None:
    """Return ``ci95`` and the 95 % t interval of the seeds' mean added in squares on either side (Zou, Donner 2008)."""
    if ci95 is None:
        return None
    from scipy.special import stdtrit

    half = stdtrit(len(rates) - 1, 0.975) * statistics.stdev(rates) / math.sqrt(len(rates))
    return [point - math.hypot(point - ci95[0], half), point + math.hypot(ci95[1] - point, half)]


def line(result: Mapping[str, Any]) -> str:
    """Return the outcome in a line."""
    rates = [f"{name} {percent(row['cer'])} % ({interval(row['ci95'])})" for name, row in result["systems"].items()]
    return f"CER {', '.join(rates)}; {speakers(result['reference'])['en']}"
