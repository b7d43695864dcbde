"""Stage 4: average the n best checkpoints, and make of them a model folder that plain FunASR loads anywhere.

``python -m asr.average --exp exp/<tag> [--n 10]`` writes exp/<tag>/model.pt.avgN, avg.json and model/.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path
from typing import Any

import torch

from asr import checkpoint, errors
from asr.base_model import recorded
from asr.config import read_stage_file
from asr.errors import RecipeError
from asr.files import sha256_file, write_json
from asr.funasr_model import read_state
from asr.schema import BLOCKS


def mean_state(paths: list[Path]) -> dict[str, torch.Tensor]:
    """Mean of the checkpoints' tensors, summed in float64 and returned in their own type; one file in memory at a time.

    Integer tensors (counters) cannot be averaged: they are taken from the first, which is the best, checkpoint.
    Raises RecipeError when keys or shapes differ.
    """
    first = read_state(paths[0])
    sums = {key: value.double() if value.is_floating_point() else value.clone() for key, value in first.items()}
    for path in paths[1:]:
        state = read_state(path)
        if state.keys() != sums.keys():
            odd = sorted(state.keys() ^ sums.keys())[0]
            raise RecipeError(
                f"{path}: is of another model than {paths[0].name} (tensor {odd}); give --restart at stage 3"
            )
        for key, value in state.items():
            if value.shape != sums[key].shape:
                raise RecipeError(
                    f"{path}: tensor {key} is {tuple(value.shape)}, in {paths[0].name} {tuple(sums[key].shape)}"
                )
            if value.is_floating_point():
                sums[key] += value.double()
    return {
        key: (sums[key] / len(paths)).to(value.dtype) if value.is_floating_point() else sums[key]
        for key, value in first.items()
    }


def average(exp: Path, n: int) -> dict[str, Any]:
    """Write exp/model.pt.avgN of the best ``n`` (or as many as there are) and avg.json; return avg.json's content."""
    ranking = checkpoint.read_ranking(exp)
    if not ranking["checkpoints"]:
        raise RecipeError(f"{exp}: no checkpoint has been ranked; run stage 3 first")
    if not ranking["finished"]:
        print(f"training is not finished ({ranking['epochs']} epochs done): averaging what there is")
    chosen = ranking["checkpoints"][:n]
    paths = [exp / item["file"] for item in chosen]
    for path in paths:
        if not path.is_file():
            raise RecipeError(f"{path}: ranked in {checkpoint.RANKING} and not there; run stage 3 again")
    name = f"model.pt.avg{len(paths)}"
    if len(paths) < n:
        print(f"asked for the {n} best, only {len(paths)} were ranked: writing {name}")
    checkpoint.save({"state_dict": mean_state(paths)}, exp / name)
    record = {
        "file": name,
        "sha256": sha256_file(exp / name),
        "asked_for": n,
        "ranked_by": ranking["ranked_by"],
        "checkpoints": [{**item, "sha256": sha256_file(path)} for item, path in zip(chosen, paths, strict=True)],
    }
    for old in exp.glob("model.pt.avg*"):
        if old.name != name:
            old.unlink()
    write_json(exp / "avg.json", record)
    return record


def package(exp: Path, weights: Path, folder: Path) -> None:
    """Make ``folder`` a self-contained FunASR model: the base's small files, the trained configuration, ``weights``.

    Built beside its place and renamed. No path of this machine is in it, and the filter bank's dither is off, so
    that the same audio always gives the same text.
    """
    import yaml

    base, values = (exp / "base").resolve(), json.loads((exp / "run.json").read_text(encoding="utf-8"))["settings"]
    building, old = folder.with_name(f".{folder.name}.new"), folder.with_name(f".{folder.name}.old")
    for leftover in (building, old):
        shutil.rmtree(leftover, ignore_errors=True)
    building.mkdir(parents=True)
    for path in sorted(base.iterdir()):
        if (path.is_file() and path.suffix in ("", ".json", ".txt", ".mvn", ".model")) or path.name == "seg_dict":
            shutil.copyfile(path, building / path.name)
    config = yaml.safe_load((base / "config.yaml").read_text(encoding="utf-8"))
    for block in BLOCKS:
        config.setdefault(block, {})
        config[block] = {**(config[block] or {}), **(values.get(block) or {})}
    config["frontend_conf"]["dither"] = 0.0
    (building / "config.yaml").write_text(yaml.safe_dump(config, allow_unicode=True, sort_keys=False), encoding="utf-8")
    if not (building / "configuration.json").is_file():
        write_json(building / "configuration.json", configuration(building))
    checkpoint.link(weights, building / "model.pt")
    if folder.exists():
        folder.rename(old)
    building.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def configuration(folder: Path) -> dict[str, Any]:
    """configuration.json as FunASR's hub models have it: where each file of the folder is."""
    tokens = next((n for n in ("tokens.json", "tokens.txt") if (folder / n).is_file()), "tokens.json")
    metas: dict[str, Any] = {
        "init_param": "model.pt",
        "config": "config.yaml",
        "tokenizer_conf": {"token_list": tokens},
    }
    if (folder / "seg_dict").is_file():
        metas["tokenizer_conf"]["seg_dict_file"] = "seg_dict"
    if (folder / "am.mvn").is_file():
        metas["frontend_conf"] = {"cmvn_file": "am.mvn"}
    return {
        "framework": "pytorch",
        "task": "auto-speech-recognition",
        "model": {"type": "funasr"},
        "file_path_metas": metas,
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m asr.average", description=__doc__.splitlines()[0])
    parser.add_argument("--exp", required=True, type=Path, help="exp/<tag>, trained by stage 3")
    parser.add_argument("--n", type=int, help="how many of the best (default: train_conf.avg_nbest_model)")
    arguments = parser.parse_args()
    run, base = arguments.exp / "run.json", recorded(arguments.exp)
    if not run.is_file():
        raise RecipeError(f"{run}: not there, so nothing has been trained; run stage 3 first")
    if json.loads(run.read_text(encoding="utf-8"))["tied_to"]["base model"] != base["digest"]:
        raise RecipeError(
            f"{arguments.exp}: trained with another base model than stage 0 set up; run stage 0 as it was"
        )
    n = arguments.n or read_stage_file(arguments.exp, "average").get("avg_nbest_model", 10)
    record = average(arguments.exp, n)
    package(arguments.exp, arguments.exp / record["file"], arguments.exp / "model")
    shown = ", ".join(f"{item['file'].removeprefix('model.pt.')} {item['value']:.4f}" for item in record["checkpoints"])
    print(f"averaged {len(record['checkpoints'])} by {record['ranked_by']} ({shown}) -> {record['file']}, model/")


if __name__ == "__main__":
    errors.run(main)
