"""Average the n best checkpoints of a run into exp/<tag>/model.pt.avgN, and package them as exp/<tag>/model/."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from asr.averaging.mean import write_mean
from asr.config.schema import BLOCKS
from asr.core.errors import RecipeError
from asr.core.files import sweep
from asr.core.run_folder import RunFolder, read_stage_file
from asr.core.run_records import (
    RankedCheckpoint,
    RunRecord,
    read_base,
    read_digests,
    read_ranking,
    read_run,
    write_average,
)
from asr.models import adapter_folder, families, lineage, lora_merge
from asr.models.package import package


def average_run(exp: Path, n: int | None) -> None:
    """Average and package one run, and print what went in.

    Args:
        n: how many of the best; None for the configuration's ``avg_nbest_model``.
    """
    sweep(exp)
    settings = trained(exp)["settings"]
    n = n or read_stage_file(exp, "average")["avg_nbest_model"]
    lora, base = None, None
    if "lora_conf" in settings:
        from asr.models.lora import merging

        lora = merging(families.of(settings["family"]), settings["lora_conf"])
        base = (RunFolder(exp).base / "model.pt").resolve()
    record = average(exp, n, lora, base)
    lineage.write_of_run(exp)
    package(exp, exp / record["file"], RunFolder(exp).model, model_blocks(settings))
    checkpoints = record["checkpoints"]
    if (RunFolder(exp).adapter / adapter_folder.RECORD).is_file():  # of an earlier training
        shutil.rmtree(RunFolder(exp).adapter)
    if lora:
        names = [entry["file"] for entry in checkpoints]
        adapter_folder.write(exp, names, newest_of(names), lora, lineage.name_of(read_base(exp)["id"]))
    shown = ", ".join(f"{entry['file'].removeprefix('model.pt.')} {entry['value']:.4f}" for entry in checkpoints)
    print(f"averaged {len(checkpoints)} by {record['ranked_by']} ({shown}) -> {record['file']}, model/")


def trained(exp: Path) -> RunRecord:
    """Return run.json of a run. RecipeError if it was not trained, or on another base than stage 0 set up."""
    base, record = read_base(exp), read_run(exp)
    if record["tied_to"]["base model"] != base["digest"]:
        raise RecipeError(f"{exp}: trained with another base model than stage 0 set up; run stage 0 as it was")
    return record


def model_blocks(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the blocks of a run's settings that went into its model's configuration."""
    return {block: settings[block] for block in BLOCKS if settings.get(block)}


def average(
    exp: Path, n: int, lora: Mapping[str, lora_merge.Lora] | None = None, base: Path | None = None
) -> dict[str, Any]:
    """Write exp/model.pt.avgN of the best ``n`` (or as many as there are) and avg.json; return avg.json's content.

    Args:
        lora: the run's adapters (``asr.models.lora.merging``); the average is then of the merged weights.
        base: the weights that the adapters were trained on.
    """
    ranking = read_ranking(exp)
    if not ranking["checkpoints"]:
        raise RecipeError(f"{exp}: no checkpoint has been ranked; run stage 3 first")
    if not ranking["finished"]:
        print(f"training is not finished ({ranking['epochs']} epochs done): averaging what there is")
    chosen = best(exp, ranking["checkpoints"], n)
    names = [entry["file"] for entry in chosen]
    out = exp / f"model.pt.avg{len(chosen)}"
    if len(chosen) < n:
        print(f"asked for the {n} best, there are only {len(chosen)} ranked: writing {out.name}")
    paths, written = [exp / name for name in names], read_digests(exp)
    digest, read = write_mean(paths, out, newest_of(names), lora, base, [written.get(name) for name in names])
    record = {
        "file": out.name,
        "sha256": digest,
        "asked_for": n,
        "ranked_by": ranking["ranked_by"],
        "checkpoints": [{**entry, "sha256": sha256} for entry, sha256 in zip(chosen, read, strict=True)],
    }
    remove_other_averages(exp, out.name)
    write_average(exp, record)
    return record


def best(exp: Path, ranked: list[RankedCheckpoint], n: int) -> list[RankedCheckpoint]:
    """Return the first ``n`` of the ranking whose files exist, and print those that are missing before them.

    RecipeError where none exists.
    """
    existing = [entry for entry in ranked if (exp / entry["file"]).is_file()]
    if not existing:
        raise RecipeError(f"{exp}: all {len(ranked)} ranked checkpoints are missing; put them back, or give --restart")
    chosen = existing[:n]
    for entry in ranked if len(chosen) < n else ranked[: ranked.index(chosen[-1])]:
        if entry not in chosen:
            print(f"{entry['file']}: file missing; averaged without it")
    return chosen


def newest_of(names: Sequence[str]) -> int:
    """Return the index of the checkpoint that was saved last."""
    return max(range(len(names)), key=lambda index: trained_until(names[index]))


def trained_until(name: str) -> tuple[int, int]:
    """Return the epoch and the step in it after which a checkpoint was saved, by its name (model.pt.ep3.200)."""
    epoch, _, step = name.rpartition(".ep")[2].partition(".")
    return int(epoch), int(step or 0)


def remove_other_averages(exp: Path, name: str) -> None:
    """Remove every model.pt.avgN of the folder but ``name``."""
    for path in exp.glob("model.pt.avg*"):
        if path.name != name:
            path.unlink()
