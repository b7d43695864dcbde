"""One score of all folds of a setting: every speaker tested once a seed, by a model that has not heard that speaker."""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asr.core.errors import RecipeError
from asr.core.files import read_json
from asr.core.made_by import refuse_others
from asr.core.manifest import Utterance, read_manifest
from asr.core.names import known_speakers
from asr.scoring.files import write_all
from asr.scoring.groups import SpeakerTable, read_speaker_table
from asr.scoring.headline import speakers
from asr.scoring.notes import verdict, verdict_note
from asr.scoring.score import SYSTEMS, Request, Scored, score, score_hypotheses, total
from asr.scoring.score_warnings import about_references, clips_per_speaker
from asr.scoring.tables import interval, percent

if TYPE_CHECKING:
    from asr.experiments.driver import Run

MINI = "mini/corpus"


def write(out: Path, runs: Sequence[Run], values: Mapping[str, Any]) -> dict[str, Any]:
    """Score all folds and seeds of one setting as one test set, into ``out``; score.json.

    RecipeError unless each seed's folds test the same utterances, each once, with all systems or without a base.
    """
    refuse_others(out, "score")
    by_seed: dict[int, dict[str, list[Scored]]] = {seed: defaultdict(list) for seed in values["seeds"]}
    for run in runs:
        for name, scored in _scored(run).items():
            by_seed[run.seed][name] += scored
    names = [name for name in SYSTEMS if any(each[name] for each in by_seed.values())]
    keys = [sorted(item.utterance.key for item in each[name]) for each in by_seed.values() for name in names]
    if any(found != keys[0] or len(set(found)) < len(found) for found in keys):
        raise RecipeError(
            f"{out}: the folds do not test the same utterances, each once, for every seed: nothing is pooled"
        )
    systems = {name: _together({seed: each[name] for seed, each in by_seed.items()}) for name in names}
    references = [item.utterance for item in systems["tuned"]]
    lines = read_json(Path("exp", runs[0].tag, "score/score.json"), "run stage 5, which scores")["reference_lines"]
    # Seen or unseen in training was asked of each fold's own training set: none is given here.
    request = Request((), _table(values, references, runs[0].columns), reference_lines=lines)
    once = [one.utterance for one in next(iter(by_seed.values()))["tuned"]]  # each clip, of one seed
    result = score(references, systems, request, about_references(out, once))
    result["reference"]["clips_per_speaker"] = clips_per_speaker(once)
    result["pooled"] = {
        "folds": values["folds"],
        "fold_by": values.get("fold_by"),
        "seeds": values["seeds"],
        "runs": [run.tag for run in runs],
        "cer_by_seed": {name: [total(each[name]).cer for each in by_seed.values()] for name in systems},
    }
    add_seeds(result)
    write_all(out, systems, result)
    return result


def _scored(run: Run) -> dict[str, list[Scored]]:
    """The systems of one run, as its stage 5 has scored them."""
    exp, references = Path("exp", run.tag), known_speakers(read_manifest(run.data / "test.jsonl"))
    request = Request(train=read_manifest(run.data / "train.jsonl"))
    files = {name: exp / name / "hyp.txt" for name in SYSTEMS}
    return {
        name: score_hypotheses(references, file, request)
        for name, file in files.items()
        if name == "tuned" or file.is_file()
    }


def _together(by_seed: Mapping[int, Sequence[Scored]]) -> list[Scored]:
    """One system's utterances of all seeds, in the scorer's order, with the seed in the key where there are several."""
    found = []
    for seed, scored in by_seed.items():
        for item in scored:
            key = f"{item.utterance.key}-s{seed}" if len(by_seed) > 1 else item.utterance.key
            found.append(replace(item, utterance=item.utterance._replace(key=key)))
    return sorted(found, key=lambda item: (item.utterance.speaker, item.utterance.key))


def _table(values: Mapping[str, Any], references: Sequence[Utterance], columns: Sequence[str]) -> SpeakerTable | None:
    """The speaker table that the runs are scored by (run.sh)."""
    path = Path(values.get("speakers") or Path(values.get("corpus", MINI), "speakers.tsv"))
    return read_speaker_table(path, {item.speaker for item in references}, columns) if path.is_file() else None


def add_seeds(result: dict[str, Any]) -> None:
    """Widen the intervals over speakers by how much the seeds differ, where there are two or more."""
    rates = result["pooled"]["cer_by_seed"]
    for name, row in result["systems"].items():
        if row["ci95"] and len(rates[name]) > 1:
            row["ci95"] = widened(row["cer"], row["ci95"], rates[name])
            row["ci95_note"] += f"; widened by what {len(rates[name])} seeds differ"
    found = result["comparison"]
    if found and len(rates["tuned"]) > 1:
        pairs = list(zip(rates["baseline"], rates["tuned"], strict=True))
        found["absolute_ci95"] = widened(found["absolute_reduction"], found["absolute_ci95"], [a - b for a, b in pairs])
        if all(before for before, _ in pairs):
            relative = [(before - after) / before for before, after in pairs]
            found["relative_ci95"] = widened(found["relative_reduction"], found["relative_ci95"], relative)
        found["verdict"] = verdict(found["absolute_ci95"], found["absolute_ci95_utterance"])
        found["verdict_note"] = verdict_note(found, result["reference"]["n_speakers"])


def widened(point: float, ci95: Sequence[float] | None, rates: Sequence[float]) -> list[float] | None:
    """``ci95`` with the 95 % t interval of the seeds' mean added in squares, on either side (Zou and Donner 2008)."""
    if ci95 is None:
        return None
    from scipy.special import stdtrit

    half = stdtrit(len(rates) - 1, 0.975) * statistics.stdev(rates) / math.sqrt(len(rates))
    return [point - math.hypot(point - ci95[0], half), point + math.hypot(ci95[1] - point, half)]


def line(result: Mapping[str, Any]) -> str:
    """The outcome in a line."""
    said = [f"{name} {percent(row['cer'])} % ({interval(row['ci95'])})" for name, row in result["systems"].items()]
    return f"CER {', '.join(said)}; {speakers(result['reference'])['en']}"
