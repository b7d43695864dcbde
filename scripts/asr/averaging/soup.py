"""Merge several runs of one base model into one: the mean of their averages ("model soup", Wortsman et al. 2022).

``python -m asr.average --exp exp/A exp/B exp/C --out exp/MERGED [--how uniform|greedy] [--ngpu 1]``

uniform  the mean of the runs' averages; each run weighs the same, however many checkpoints it averaged
greedy   begin with the run of the best validation CER; take the next one in where the validation CER of the mean does
         not rise (their algorithm 1). Decodes the validation set up to 2 x runs - 1 times

exp/MERGED gets model.pt.avgN (of N runs), avg.json and model/ as a run has them after stage 4, and the links, settings
and manifests by which ``asr.decode --exp exp/MERGED`` knows what must not be decoded. The validation CER chose the runs
of a greedy merge: it is no result, only the test set's is.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from asr.averaging.best import model_blocks, remove_other_averages, trained
from asr.averaging.mean import write_mean
from asr.config.stage_files import read_decode_settings
from asr.core.errors import RecipeError, UsageError
from asr.core.files import sweep, write_text
from asr.core.made_by import claim, refuse_others
from asr.core.manifest import Utterance, read_manifest, write_manifest
from asr.core.run_folder import DecodeFolder, RunFolder, command_for, rerun
from asr.core.run_records import RunRecord, read_average, write_average
from asr.decoding.run import run
from asr.models import base_folder, lineage
from asr.models.package import package
from asr.scoring.score import Request, score_hypotheses, total

TRIAL = ".trial"
# What must be the same; the training data, the optimizer and the schedule may differ, that is what runs are merged for.
SAME = ("base model", "validation data", "family", "architecture")


def check_together(exps: Sequence[Path]) -> list[RunRecord]:
    """Return run.json of each run. RecipeError naming the first run that cannot be merged with those before it."""
    if len({path.resolve() for path in exps}) < len(exps):
        raise UsageError("--exp: the same run is given twice; it would weigh double")
    runs = [trained(exp) for exp in exps]
    for exp, record in zip(exps[1:], runs[1:], strict=True):
        moved = [name for name in SAME if record["tied_to"].get(name) != runs[0]["tied_to"].get(name)]
        if moved:
            raise RecipeError(
                f"{exp}: has another {' and '.join(moved)} than {exps[0]}; only runs that share these can be merged"
            )
    return runs


def validation_cer(model: Path, manifest: Path, out: Path, ngpu: int, conf: dict[str, Any]) -> float:
    """Return the CER of a model folder on the validation set, decoded into ``out``."""
    run(model, manifest, out, ngpu, conf)
    cer = total(score_hypotheses(read_manifest(manifest), DecodeFolder(out).hypotheses, Request())).cer
    if cer is None:
        raise RecipeError(f"{manifest}: the validation set has no reference characters, so no CER to choose by")
    return cer


def greedy(alone: Sequence[float], cer_of: Callable[[list[int]], float]) -> tuple[list[int], list[dict[str, Any]]]:
    """Return indices of the runs to average, best first, and every attempt: {"runs", "cer", "kept"}.

    Args:
        alone: the CER of each run by itself.
        cer_of: the CER of the mean of these runs. Of equals the one given first is the better run.
    """
    first, *others = sorted(range(len(alone)), key=lambda index: alone[index])
    chosen, best = [first], alone[first]
    attempts: list[dict[str, Any]] = [{"runs": chosen, "cer": best, "kept": True}]
    for index in others:
        runs = [*chosen, index]
        cer = cer_of(runs)
        attempts.append({"runs": runs, "cer": cer, "kept": cer <= best})
        if cer <= best:
            chosen, best = runs, cer
    return chosen, attempts


def prepare(exps: Sequence[Path], out: Path) -> None:
    """Write what ``asr.decode --exp out`` and later stages read: base, settings, every clip that any run trained on."""
    if RunFolder(out).run_record.exists() or any(out.resolve() == exp.resolve() for exp in exps):
        raise RecipeError(f"{out}: is a run of its own; give --out a new name")
    refuse_others(out, "average")
    trained_on = _trained_on(exps)
    claim(out, "average")
    base_folder.link(RunFolder(exps[0]).base.resolve(), out)
    shutil.copyfile(RunFolder(exps[0]).base_record, RunFolder(out).base_record)
    shutil.copytree(RunFolder(exps[0]).conf, RunFolder(out).conf, dirs_exist_ok=True)
    write_text(RunFolder(out).command, f"{command_for(exps[0], out.resolve().name)}\n")
    write_manifest(RunFolder(out).manifests / "train.jsonl", trained_on.values())
    write_manifest(RunFolder(out).manifests / "val.jsonl", read_manifest(RunFolder(exps[0]).manifests / "val.jsonl"))


def _trained_on(exps: Sequence[Path]) -> dict[str, Utterance]:
    """Return every clip that any run trained on, by key. RecipeError where two runs have another clip of one key."""
    clips: dict[str, Utterance] = {}
    for exp in exps:
        for clip in read_manifest(RunFolder(exp).manifests / "train.jsonl"):
            other = clips.setdefault(clip.key, clip)
            if (other.target, other.num_samples) != (clip.target, clip.num_samples):
                raise RecipeError(
                    f"{exp}: was trained on another clip {clip.key} than {exps[0]} and the runs before it; only runs on"
                    " one corpus can be merged"
                )
    return clips


def merge_runs(exps: Sequence[Path], out: Path, how: str, ngpu: int) -> dict[str, Any]:
    """Write ``out``: model.pt.avgN, avg.json, model/; return avg.json's content. RecipeError as ``check_together``."""
    blocks = model_blocks(check_together(exps)[0]["settings"])
    names, averages = [exp.name for exp in exps], [read_average(exp) for exp in exps]
    models = [RunFolder(exp).model / "model.pt" for exp in exps]
    for model in models:
        if not model.is_file() or not model.with_name("config.yaml").is_file():
            raise RecipeError(f"{model.parent}: model.pt or config.yaml is not there; run stage 4 of this run again")
    prepare(exps, out)
    sweep(out)
    chosen, attempts, alone = list(range(len(exps))), [], [None] * len(exps)
    if how == "greedy":
        chosen, attempts, alone = _choose(names, models, out, blocks, ngpu)
    file = f"model.pt.avg{len(chosen)}"
    written = [averages[index]["sha256"] for index in chosen]
    digest, _ = write_mean([models[index] for index in chosen], out / file, written=written)
    record = {
        "file": file,
        "sha256": digest,
        "how": how,
        "ranked_by": "validation CER" if how == "greedy" else None,
        "checkpoints": [
            {"file": f"{names[index]}/{averages[index]['file']}", "value": alone[index], "sha256": sha256}
            for index, sha256 in zip(chosen, written, strict=True)
        ],
        "runs": names,
        "attempts": attempts,
    }
    lineage.write(out, [lineage.read(model.parent, name) for model, name in zip(models, names, strict=True)], names, [])
    package(out, out / file, RunFolder(out).model, blocks)
    remove_other_averages(out, file)
    write_average(out, record)
    merged = ", ".join(names[index] for index in chosen)
    print(f"merged {len(chosen)} of {len(exps)} runs ({merged}) -> {out / file}, model/")
    print(f"score it: {rerun(out, 5)}")
    return record


def _choose(
    names: Sequence[str], models: Sequence[Path], out: Path, blocks: dict[str, Any], ngpu: int
) -> tuple[list[int], list[dict[str, Any]], list[float]]:
    """Return the greedy choice by decoding: indices, attempts with the runs' names, each run's own validation CER."""
    manifest, trial = RunFolder(out).manifests / "val.jsonl", out / TRIAL
    conf = read_decode_settings(out)

    def cer_of(indices: list[int]) -> float:
        shutil.rmtree(trial, ignore_errors=True)
        write_mean([models[index] for index in indices], trial / "mean.pt")
        package(out, trial / "mean.pt", trial / "model", blocks)
        cer = validation_cer(trial / "model", manifest, trial / "validation", ngpu, conf)
        print(f"{' + '.join(names[index] for index in indices)}: validation CER {100 * cer:.2f} %", flush=True)
        return cer

    try:
        alone = [cer_of([index]) for index in range(len(names))]
        chosen, attempts = greedy(alone, cer_of)
    finally:
        shutil.rmtree(trial, ignore_errors=True)
    return chosen, [{**attempt, "runs": [names[index] for index in attempt["runs"]]} for attempt in attempts], alone
