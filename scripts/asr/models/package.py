"""The model folder that stages 4 and later use: the base's small files, the trained configuration and the weights."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from asr.core.files import write_json
from asr.core.run_folder import RunFolder
from asr.models import families, lineage
from asr.models.base_folder import small_files
from asr.models.model_folder import default_configuration, read_config

# What else of the base's folder is taken along: a licence, a tokenizer, …
CONFIDENCE = "confidence.json"  # of stage 5; another model's says nothing of this one
SMALL_SUFFIXES = ("", ".json", ".txt", ".mvn", ".model")


def package(exp: Path, weights: Path, folder: Path, blocks: Mapping[str, Any]) -> None:
    """Make ``folder`` a self-contained FunASR model of exp/base, ``blocks`` and ``weights``.

    Built beside its place and renamed. No path of this machine is in it, and the filter bank's dither is off, so
    that the same audio always gives the same text.

    Args:
        blocks: the model blocks of the run's settings ("encoder_conf", …).
    """
    base = RunFolder(exp).base.resolve()
    building, old = folder.with_name(f".{folder.name}.new"), folder.with_name(f".{folder.name}.old")
    for leftover in (building, old):
        shutil.rmtree(leftover, ignore_errors=True)
    beside = {path.name for path in base.iterdir() if path.is_file() and path.suffix in SMALL_SUFFIXES}
    for name in {*small_files(base), *(name for name in beside if not name.startswith("."))} - {
        lineage.LINEAGE,
        CONFIDENCE,
    }:
        (building / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(base / name, building / name)
    if RunFolder(exp).lineage.is_file():
        shutil.copyfile(RunFolder(exp).lineage, building / lineage.LINEAGE)
    config = read_config(base)
    config |= {name: {**(config.get(name) or {}), **block} for name, block in blocks.items()}  # as it was trained
    config.setdefault("frontend_conf", {})["dither"] = 0.0
    if not (building / "configuration.json").is_file():
        write_json(building / "configuration.json", default_configuration(building))
    families.of_folder(base).finish_package(building, config)
    (building / "config.yaml").write_text(yaml.safe_dump(config, allow_unicode=True, sort_keys=False), encoding="utf-8")
    try:
        os.link(weights, building / "model.pt")
    except OSError:  # a file system without hard links
        shutil.copyfile(weights, building / "model.pt")
    if folder.exists():
        folder.rename(old)
    building.rename(folder)
    shutil.rmtree(old, ignore_errors=True)
