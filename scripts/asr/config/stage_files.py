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
from asr.config.load import load_yaml
from asr.config.schema import BLOCKS, DecodeConf, Section, Share
from asr.core.errors import RecipeError
from asr.core.files import write_text
from asr.core.made_by import RUN, claim, refuse_older

STAGE_FILES: dict[str, tuple[str, ...]] = {
    "base": ("base", "family", "from_scratch"),
    "data": ("data_conf",),
    "train": (
        *("family", "from_scratch", "cpu_processes", "seed", "freeze_param", "enable_tf32", "cudnn_benchmark"),
        *("optim", "optim_conf", "scheduler", "scheduler_conf", "dataset", "dataset_conf", "train_conf", "lora_conf"),
        "max_unreadable",
        *BLOCKS,
    ),
    "average": ("avg_nbest_model",),
    "decode": ("decode_conf", "max_unreadable"),
    "report": ("report_conf",),
}


class DecodeSettings(Section):
    """conf/decode.yaml."""

    decode_conf: DecodeConf = DecodeConf()
    max_unreadable: Share = MAX_SHARE


def stage_values(values: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the configuration cut by the stage that reads it (STAGE_FILES)."""
    train = dict(values["train_conf"])
    values = {**values, "avg_nbest_model": train.pop("avg_nbest_model"), "train_conf": train}
    return {name: {key: values[key] for key in keys if key in values} for name, keys in STAGE_FILES.items()}


def write_stage_files(values: Mapping[str, Any], out: str | os.PathLike[str]) -> None:
    """Write ``out``/NAME.yaml of STAGE_FILES; a file whose content is unchanged is not touched."""
    claim(Path(out), RUN, ["*.yaml"])
    for name, part in stage_values(values).items():
        path = Path(out) / f"{name}.yaml"
        text = yaml.safe_dump(part, allow_unicode=True, sort_keys=True, default_flow_style=False)
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            write_text(path, text)


def read_stage_file(exp: str | os.PathLike[str], name: str) -> dict[str, Any]:
    """Return the values that stage code may read: exp/<tag>/conf/<name>.yaml."""
    path = Path(exp) / "conf" / f"{name}.yaml"
    if not path.is_file():
        raise RecipeError(f"{path}: not there; run.sh writes it, or: python -m asr.config --conf … --out {path.parent}")
    refuse_older(path.parent, RUN, Path(exp))
    values, _ = load_yaml(path)
    return values


def read_decode(exp: str | os.PathLike[str]) -> DecodeSettings:
    """Return exp/<tag>/conf/decode.yaml: what stages 2 and 5 decode by."""
    return DecodeSettings.model_validate(read_stage_file(exp, "decode"))


def rerun(exp: Path, stage: int) -> str:
    """Return the command that runs one stage of a run, with the options that run.sh was last given for it."""
    try:
        command = (exp / "command").read_text(encoding="utf-8").strip()
    except OSError:
        command = f"bash run.sh --tag {exp.resolve().name}"
    return f"{command} --stage {stage} --stop-stage {stage}"
