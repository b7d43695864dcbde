"""What is published of each run of an experiment: RESULTS/<setting>-s<seed>-f<fold>.json, counts and cost, no names.

Speakers are S01, S02, … by their sorted place among all that the split names, so a speaker has one code in every fold
and setting. No text, no id of a clip, no path. What lies there counts as done, whether or not exp/ has the run.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from asr.config.load import flatten
from asr.config.stage_files import STAGE_FILES, stage_values
from asr.core.digests import sha256_text
from asr.core.errors import RecipeError
from asr.core.files import read_json, write_json
from asr.core.manifest import corpus_digest, read_manifest
from asr.core.names import known_speakers, plain_name
from asr.core.run_folder import DecodeFolder, RunFolder, read_command
from asr.experiments.plan import Run
from asr.reporting.provenance import peak_memory, times, trained_config
from asr.scoring.files import read_score
from asr.scoring.score import SYSTEMS, Request, Scored, score_hypotheses, total
from asr.scoring.second_texts import SUFFIX

SCHEMA_VERSION = 1
OFF = (None, False, 0, "", [], {})  # values of a key that came after a run, with which the run is what it was
TEXTS = ("seen", "unseen")


def scored(run: Run, second: bool = False) -> dict[str, list[Scored]]:
    """Return the systems of one run as its stage 5 has scored them; with ``second``, tuned_lm and baseline_lm too."""
    references = known_speakers(read_manifest(run.data / "test.jsonl"))
    request = Request(train=read_manifest(run.data / "train.jsonl"))
    exp = RunFolder(Path("exp", run.tag))
    folders = dict(zip(SYSTEMS, (exp.baseline, exp.tuned), strict=True))
    files = {name: folder.hypotheses for name, folder in folders.items()}
    if second:
        files |= {name + SUFFIX: folder.second for name, folder in folders.items()}
    return {
        name: score_hypotheses(references, file, request)
        for name, file in files.items()
        if name == "tuned" or file.is_file()
    }


def finished(run: Run) -> bool:
    """Return whether exp/ has this very run whole: its command's words, its configuration, and its test set's score."""
    folder = RunFolder(Path("exp", run.tag))
    if not (folder.stamps / "stage5").is_file() or not (folder.score / "score.json").is_file():
        return False
    if tuple(shlex.split(read_command(folder.path))[-len(run.words) :]) != run.words:
        return False
    config = trained_config(folder.path)
    was, asked = flatten({name: config[name] for name in STAGE_FILES}), flatten(stage_values(run.conf))
    if any(was[key] != value if key in was else value not in OFF for key, value in asked.items()):
        return False
    test = run.data / "test.jsonl"
    return test.is_file() and read_score(folder.score)["reference"]["digest"] == corpus_digest(read_manifest(test))


def publish(run: Run) -> None:
    """Write ``run.result`` of a run that exp/ has whole."""
    write_json(run.result, summary(run))


def summary(run: Run) -> dict[str, Any]:
    """Return what may be published of a run that exp/ has whole."""
    exp = RunFolder(Path("exp", run.tag))
    score = read_score(exp.score)
    config = json.dumps(trained_config(exp.path), sort_keys=True, ensure_ascii=False)
    return {
        "schema_version": SCHEMA_VERSION,
        "setting": run.setting,
        "seed": run.seed,
        "fold": run.fold,
        "digests": {
            "settings": run.digest,
            "configuration": sha256_text(config),
            "test": score["reference"]["digest"],
        },
        "normalizer": score["normalizer"],
        "cost": _cost(run, exp),
        "validation": _validation(run, exp),
        "speakers": _speakers(scored(run, second=True), _codes(run)),
    }


def _cost(run: Run, exp: RunFolder) -> dict[str, Any]:
    """Return seconds by stage, GiB, and the seconds of audio in all epochs, each clip by its own length."""
    epochs = read_json(exp.ranking, "run stage 3, which trains")["epochs"]
    stage5 = exp.stage_seconds(5)
    last = sum(map(int, stage5.read_text(encoding="utf-8").split())) if stage5.is_file() else None
    clips = read_manifest(exp.manifests / "train.jsonl")
    return {
        "device": "GPU" if run.on_gpu else "CPU",
        "stage_seconds": times(exp.path, last),
        "peak_memory_gib": peak_memory(exp.path),
        "epochs": epochs,
        "trained_audio_seconds": round(epochs * sum(clip.duration or 0 for clip in clips), 1),
    }


def _validation(run: Run, exp: RunFolder) -> dict[str, int] | None:
    """Return the tuned model's counts on the validation set, by which runs may be chosen; None where not decoded."""
    file = DecodeFolder(exp.tuned.path / "val").hypotheses
    if not file.is_file():
        return None
    counts = total(score_hypotheses(read_manifest(run.data / "val.jsonl"), file, Request()))
    return {"ref_len": counts.ref_len, "errors": counts.sub + counts.del_ + counts.ins}


def _codes(run: Run) -> dict[str, str]:
    """Return {speaker: code} of all speakers that the split names, in whatever set."""
    split = yaml.safe_load((run.data / "split.yaml").read_text(encoding="utf-8"))
    if split.get("method") != "speakers":
        raise RecipeError(f"{run.data}/split.yaml: not divided by speakers, as folds are; prepare it again")
    names = sorted({plain_name(str(name)) for part in ("train", "val", "test") for name in split[part]})
    return {name: f"S{place:02d}" for place, name in enumerate(names, 1)}


def _speakers(systems: Mapping[str, Sequence[Scored]], codes: Mapping[str, str]) -> dict[str, Any]:
    """Return {code: {seen, unseen: {n_utt, ref_len, errors: {system: count}}}}."""
    rows: dict[str, Any] = {}
    for name, results in systems.items():
        for one in results:
            code = codes.get(one.utterance.speaker, "S00")  # unknown speakers, who have no place
            texts = rows.setdefault(code, {})
            row = texts.setdefault(one.text, {"n_utt": 0, "ref_len": 0, "errors": dict.fromkeys(systems, 0)})
            row["errors"][name] += one.counts.sub + one.counts.del_ + one.counts.ins
            if name == "tuned":
                row["n_utt"] += 1
                row["ref_len"] += one.counts.ref_len
    return {code: {text: rows[code][text] for text in TEXTS if text in rows[code]} for code in sorted(rows)}


def read_all(runs: Sequence[Run]) -> dict[Run, dict[str, Any]]:
    """Return what is published of these runs. RecipeError for one of another setting, version, test set, normaliser."""
    found, tests, normalizer = {}, {}, None
    for run in (run for run in runs if run.result.exists()):
        result = read_json(run.result, "remove it, and run the experiment again")
        version, digests = result.get("schema_version"), result.get("digests") or {}
        test = run.data / "test.jsonl"
        first, digest = tests.setdefault(run.fold, (run.result, digests.get("test")))
        if test.is_file() and digest == digests.get("test"):
            first, digest = test, corpus_digest(read_manifest(test))
        wrong = None
        if version != SCHEMA_VERSION:
            wrong = f"schema_version {version}, not {SCHEMA_VERSION}"
        elif digests.get("settings") != run.digest:
            wrong = f"of other settings than {run.setting} with seed {run.seed}, fold {run.fold} has now"
        elif digests.get("test") != digest:
            wrong = f"of another test set than {first}"
        elif result.get("normalizer") != (normalizer := normalizer or result.get("normalizer")):
            wrong = f"scored with normaliser {result.get('normalizer')}, those before it with {normalizer}"
        if wrong:
            raise RecipeError(f"{run.result}: {wrong}; give the experiment or setting a new name, or remove this file")
        found[run] = result
    return found
