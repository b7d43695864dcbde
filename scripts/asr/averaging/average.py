"""Stage 4: average the n best checkpoints, and make of them a model folder that plain FunASR loads anywhere.

``python -m asr.average --exp exp/<tag> [--n 10]`` writes exp/<tag>/model.pt.avgN, avg.json and model/.

``python -m asr.average --exp exp/A exp/B exp/C --out exp/MERGED [--how uniform|greedy]`` merges the averages of several
runs of one base model (asr.averaging.soup). How tensors are averaged, in constant memory, is in asr.averaging.mean.
"""

from __future__ import annotations

import argparse
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from asr.averaging.mean import write_mean
from asr.config.schema import BLOCKS
from asr.core.errors import RecipeError, UsageError
from asr.core.files import sweep, write_json
from asr.core.run_folder import RunFolder, read_stage_file
from asr.core.run_records import RunRecord, read_base, read_digests, read_run, write_average
from asr.models import families, lineage, lora_merge
from asr.models.base_folder import small_files
from asr.models.model_folder import default_metas, read_config
from asr.training.checkpoints import checkpoint

SMALL = ("", ".json", ".txt", ".mvn", ".model")
_STEP = re.compile(r"\.ep(\d+)(?:\.(\d+))?$")


def newest(paths: list[Path]) -> int:
    """Index of the checkpoint trained longest: by epoch and step in its name, by its time where it has none."""
    found = [_STEP.search(path.name) for path in paths]
    if all(found):
        ages = [(int(item[1]), int(item[2] or 0)) for item in found if item]
    else:
        ages = [(path.stat().st_mtime_ns, 0) for path in paths]
    return ages.index(max(ages))


def best(exp: Path, ranked: list[dict[str, Any]], n: int) -> list[dict[str, Any]]:
    """The first ``n`` of the ranking whose files are there; those that are not are named. RecipeError where none is."""
    there = [item for item in ranked if (exp / item["file"]).is_file()]
    if not there:
        raise RecipeError(f"{exp}: all {len(ranked)} ranked checkpoints are gone; put them back, or give --restart")
    chosen = there[:n]
    better = ranked if len(chosen) < n else ranked[: ranked.index(chosen[-1])]
    for item in better:
        if item not in chosen:
            print(f"{item['file']} is gone: averaged without it")
    return chosen


def average(
    exp: Path, n: int, lora: Mapping[str, lora_merge.Lora] | None = None, base: Path | None = None
) -> dict[str, Any]:
    """Write exp/model.pt.avgN of the best ``n`` (or as many as there are) and avg.json; return avg.json's content.

    ``lora``: the run's adapters (``asr.models.lora.merging``); the average is then of the merged weights. ``base``: the
    weights that they were trained on.
    """
    ranking = checkpoint.read_ranking(exp)
    if not ranking["checkpoints"]:
        raise RecipeError(f"{exp}: no checkpoint has been ranked; run stage 3 first")
    if not ranking["finished"]:
        print(f"training is not finished ({ranking['epochs']} epochs done): averaging what there is")
    chosen = best(exp, ranking["checkpoints"], n)
    paths = [exp / item["file"] for item in chosen]
    name = f"model.pt.avg{len(paths)}"
    if len(paths) < n:
        print(f"asked for the {n} best, there are only {len(paths)} ranked: writing {name}")
    written = read_digests(exp)
    known = [written.get(path.name) for path in paths]
    digest, found = write_mean(paths, exp / name, newest(paths), [lora or {}] * len(paths), base, known)
    record = {
        "file": name,
        "sha256": digest,
        "asked_for": n,
        "ranked_by": ranking["ranked_by"],
        "checkpoints": [{**item, "sha256": sha256} for item, sha256 in zip(chosen, found, strict=True)],
    }
    for old in exp.glob("model.pt.avg*"):
        if old.name != name:
            old.unlink()
    write_average(exp, record)
    return record


def merged_config(base: Path, blocks: Mapping[str, Any]) -> dict[str, Any]:
    """The base's config.yaml with the YAML's model blocks in it, as it was trained."""
    config = read_config(base)
    for block in BLOCKS:
        if block in config or blocks.get(block):
            config[block] = {**(config.get(block) or {}), **(blocks.get(block) or {})}
    return config


def trained(exp: Path) -> RunRecord:
    """run.json of a run, checked against the base model that stage 0 set up. RecipeError where it was not trained."""
    base, record = read_base(exp), read_run(exp)
    if record["tied_to"]["base model"] != base["digest"]:
        raise RecipeError(f"{exp}: trained with another base model than stage 0 set up; run stage 0 as it was")
    return record


def package(exp: Path, weights: Path, folder: Path, blocks: Mapping[str, Any] | None = None) -> None:
    """Make ``folder`` a self-contained FunASR model: the base's small files, the trained configuration, ``weights``.

    Built beside its place and renamed. No path of this machine is in it, and the filter bank's dither is off, so
    that the same audio always gives the same text. An average holds no adapters, so its configuration names none.

    ``blocks``: the model blocks of the run's settings, in place of those in exp/run.json.
    """
    if blocks is None:
        blocks = read_run(exp)["settings"]
    base = RunFolder(exp).base.resolve()
    building, old = folder.with_name(f".{folder.name}.new"), folder.with_name(f".{folder.name}.old")
    for leftover in (building, old):
        shutil.rmtree(leftover, ignore_errors=True)
    building.mkdir(parents=True)
    beside = [path.name for path in base.iterdir() if path.is_file() and path.suffix in SMALL]  # a licence, ...
    for name in {*small_files(base), *(name for name in beside if not name.startswith("."))}:
        (building / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(base / name, building / name)
    (building / lineage.LINEAGE).unlink(missing_ok=True)  # the base's
    if (exp / lineage.LINEAGE).is_file():
        shutil.copyfile(exp / lineage.LINEAGE, building / lineage.LINEAGE)
    config = lora_merge.without_lora(merged_config(base, blocks))
    config.setdefault("frontend_conf", {})["dither"] = 0.0
    if not (building / "configuration.json").is_file():
        write_json(building / "configuration.json", configuration(building))
    families.of_folder(base).publish(building, config)
    (building / "config.yaml").write_text(yaml.safe_dump(config, allow_unicode=True, sort_keys=False), encoding="utf-8")
    checkpoint.link(weights, building / "model.pt")
    if folder.exists():
        folder.rename(old)
    building.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def configuration(folder: Path) -> dict[str, Any]:
    """configuration.json as FunASR's hub models have it: where each file of the folder is."""
    return {
        "framework": "pytorch",
        "task": "auto-speech-recognition",
        "model": {"type": "funasr"},
        "file_path_metas": default_metas(folder),
    }


def average_run(exp: Path, n: int | None) -> None:
    """Stage 4 of one run: average, package, say so."""
    sweep(exp)
    settings = trained(exp)["settings"]
    n = n or read_stage_file(exp, "average")["avg_nbest_model"]
    lora, base = lora_merge.settings(merged_config(RunFolder(exp).base, settings)), None
    if "lora_conf" in settings:
        from asr.models.lora import merging

        lora = merging(families.of(settings["family"]), settings["lora_conf"])
        base = (RunFolder(exp).base / "model.pt").resolve()
    record = average(exp, n, lora, base)
    lineage.write_of_run(exp)
    package(exp, exp / record["file"], RunFolder(exp).model)
    shown = ", ".join(f"{item['file'].removeprefix('model.pt.')} {item['value']:.4f}" for item in record["checkpoints"])
    print(f"averaged {len(record['checkpoints'])} by {record['ranked_by']} ({shown}) -> {record['file']}, model/")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m asr.average", description=__doc__.splitlines()[0])
    parser.add_argument("--exp", required=True, type=Path, nargs="+", help="exp/<tag>, trained by stage 3; or several")
    parser.add_argument("--n", type=int, help="how many of the best (default: train_conf.avg_nbest_model)")
    parser.add_argument("--out", type=Path, help="several runs: exp/<new tag>, gets their mean, avg.json and model/")
    parser.add_argument("--how", choices=("uniform", "greedy"), help="several runs: all, or those that lower the CER")
    parser.add_argument("--ngpu", type=int, default=1, help="greedy decodes the validation set; 0 is the processor")
    arguments = parser.parse_args()
    if arguments.n is not None and arguments.n < 1:
        raise UsageError(f"--n takes a whole number from 1, not {arguments.n}")
    if len(arguments.exp) == 1:
        if arguments.out or arguments.how:
            raise UsageError("--out and --how merge several runs: give --exp more than one")
        average_run(arguments.exp[0], arguments.n)
        return
    if arguments.out is None or arguments.n is not None:
        raise UsageError("several runs are merged from their averages: give --out exp/NAME, and no --n")
    from asr.averaging.soup import merge_runs

    merge_runs(arguments.exp, arguments.out, arguments.how or "uniform", arguments.ngpu)
