"""exp/<tag>/conf/: the complete configuration, cut by the stage that reads it, so that a changed value reruns that one.

These files hold every default; stages read them and nothing else.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from asr.audio.unreadable import MAX_SHARE
from asr.config.schema import BLOCKS, DecodeConf
from asr.core.digests import sha256_file
from asr.core.errors import RecipeError
from asr.core.files import write_text
from asr.core.made_by import RUN, claim
from asr.core.run_folder import read_stage_file
from asr.models import families

STAGE_FILES: dict[str, tuple[str, ...]] = {
    "base": ("base", "family", "from_scratch"),
    "data": ("data_conf",),
    "train": (
        *("family", "from_scratch", "cpu_processes", "seed", "freeze_param", "enable_tf32", "cudnn_benchmark"),
        *("optim", "optim_conf", "scheduler", "scheduler_conf", "dataset", "dataset_conf", "train_conf", "lora_conf"),
        *("train_only", "freeze_encoder_blocks", "extra_files", "max_unreadable", *BLOCKS),
    ),
    "average": ("avg_nbest_model",),
    "decode": ("decode_conf", "text_files", "max_unreadable"),
    "report": ("report_conf",),
}


def stage_values(values: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the configuration cut by the stage that reads it (STAGE_FILES)."""
    train = dict(values["train_conf"])
    values = {**values, "avg_nbest_model": train.pop("avg_nbest_model"), "train_conf": train}
    values["text_files"] = _text_files(values["decode_conf"])
    for key in ("rooms", "noise"):
        if (folder := values["dataset_conf"].get(key, {}).get("dir")) and not Path(folder).is_dir():
            raise RecipeError(f"dataset_conf.{key}.dir: {folder}: no such folder")
    if extra := values["dataset_conf"].get("extra"):
        values["extra_files"] = [_digest(entry["manifest"], "dataset_conf.extra") for entry in extra]
    files = {**STAGE_FILES, "base": (*STAGE_FILES["base"], *families.of(values["family"]).base_blocks)}
    return {name: {key: values[key] for key in keys if key in values} for name, keys in files.items()}


def _text_files(decode: Mapping[str, Any]) -> list[str]:
    """Return the sha256 of each file that decoding reads: stage 5 is done again where one has changed."""
    named = [*(("lm", name) for name in decode["lm"] if name != "train"), ("phrases", decode["phrases"])]
    digests = [_digest(name, f"decode_conf.{key}") for key, name in named if name]
    if folder := decode["adapter"]:
        records = sorted([*Path(folder).glob("adapter.json"), *Path(folder).glob("*/adapter.json")])
        if not records:
            raise RecipeError(f"decode_conf.adapter: {folder}: no adapter.json in it or in a folder of it")
        digests += [f"{sha256_file(path)} {path.parent.name}" for path in records]  # whose it is counts too
    return digests


def _digest(name: str, key: str) -> str:
    """Return the sha256 of a file that the YAML's ``key`` names. RecipeError where there is none."""
    if not Path(name).is_file():
        raise RecipeError(f"{key}: {name}: no such file")
    return sha256_file(name)


def write_stage_files(values: Mapping[str, Any], out: str | os.PathLike[str]) -> None:
    """Write ``out``/NAME.yaml of STAGE_FILES; a file whose content is unchanged is not touched."""
    claim(Path(out), RUN, ["*.yaml"])
    for name, part in stage_values(values).items():
        path = Path(out) / f"{name}.yaml"
        text = yaml.safe_dump(part, allow_unicode=True, sort_keys=True, default_flow_style=False)
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            write_text(path, text)


def read_decode_settings(exp: Path | None = None) -> dict[str, Any]:
    """Return what stages 2 and 5 decode by, side by side: exp/<tag>/conf/decode.yaml, or without a run the defaults."""
    values = read_stage_file(exp, "decode") if exp else {}
    decode = {**DecodeConf().model_dump(), **values.get("decode_conf", {})}
    return {**decode, "max_unreadable": values.get("max_unreadable", MAX_SHARE)}
