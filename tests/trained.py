"""Small trainings as stage 3 runs them: torchrun, FunASR's train_ds, our trainer; on the processor."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import yaml

from asr.config.load import resolve
from asr.config.schema import LoraConf, Recipe
from asr.config.stage_files import write_stage_files
from asr.core.files import write_json
from asr.models import lora_merge
from asr.models.base_folder import digest, link
from asr.models.family import Family
from tests import tiny
from tests.patience import PATIENCE

# A model that draws nothing: dropout, SpecAugment and the decoder's sampling are off.
NO_CHANCE = {
    "model_conf": {"sampling_ratio": 0.0},
    "encoder_conf": {"dropout_rate": 0.0, "positional_dropout_rate": 0.0, "attention_dropout_rate": 0.0},
    "decoder_conf": {
        "dropout_rate": 0.0,
        "positional_dropout_rate": 0.0,
        "self_attention_dropout_rate": 0.0,
        "src_attention_dropout_rate": 0.0,
    },
    # FunASR wants one mask or another: this one is 0 bins wide.
    "specaug_conf": {"apply_time_mask": False, "apply_freq_mask": True, "freq_mask_width_range": [0, 1]},
}


def values(model: Path, **blocks: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration for ``model``; ``train_conf={"accum_grad": 2}`` and the like are merged into its blocks."""
    found: dict[str, Any] = {
        "base": str(model),
        "family": "paraformer",
        "seed": 1,
        "dataset_conf": {"batch_type": "example", "batch_size": 4, "num_workers": 0},
        "train_conf": {"max_epoch": 3, "log_interval": 1, "keep_nbest_models": 3, "avg_nbest_model": 3},
        "optim_conf": {"lr": 0.001},
        "scheduler_conf": {"warmup_steps": 10},
    }
    for name, block in blocks.items():
        found[name] = {**found.get(name, {}), **block} if isinstance(block, Mapping) else block
    return found


def complete(**blocks: Any) -> dict[str, Any]:
    """A configuration with every default, as the stages have it."""
    needed = {"dataset_conf": {"batch_size": 4}, "train_conf": {"max_epoch": 3}, "optim_conf": {"lr": 0.001}}
    return Recipe.model_validate({"base": "none", "family": "paraformer", **needed, **blocks}).model_dump()


def lay_out(folder: Path, name: str = "exp", clips: int = 24, **blocks: Any) -> Path:
    """``folder``/``name`` as stages 0 and 1 leave it, with base and data beside it; the run's folder."""
    model, exp = folder / "base", folder / name
    if not model.exists():
        tiny.make_model(model)
        tiny.make_data(folder / "data", [0.5 + n % 7 / 5 for n in range(clips)])
    conf = folder / f"{name}.yaml"
    conf.write_text(yaml.safe_dump(values(model, **blocks)), encoding="utf-8")
    write_stage_files(resolve(conf, []), exp / "conf")
    link(model, exp)
    files = digest(model)
    write_json(exp / "base.json", {"id": str(model), "digest": files.pop("digest"), "files": files})
    return exp


def start(exp: Path, *words: str, **environment: str) -> subprocess.Popen:
    """``python -m asr.train`` on the processor, in a process group of its own; both streams as text, in one."""
    command = [sys.executable, "-m", "asr.train", "--exp", str(exp), "--data", str(exp.parent / "data"), "--ngpu", "0"]
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PET_")}
    env = {**kept, "OMP_NUM_THREADS": "1", **environment}
    return subprocess.Popen([*command, *words], env=env, start_new_session=True, **pipes)


def train(exp: Path, *words: str, **environment: str) -> str:
    """Train to the end; what was said."""
    child = start(exp, *words, **environment)
    said = child.communicate(timeout=PATIENCE)[0]
    assert child.returncode == 0, said
    return said


def weights(path: Path) -> dict[str, torch.Tensor]:
    """A checkpoint's tensors by name."""
    return torch.load(path, map_location="cpu", weights_only=True)["state_dict"]


def lora_conf(family: Family, **given: Any) -> dict[str, Any]:
    """A resolved lora_conf: the schema's and the family's defaults, and what is given."""
    own = {"targets": list(family.lora_targets), "also_train": list(family.also_trained)}
    return {**LoraConf().model_dump(), **own, **given}


def merge_adapters(state: Mapping[str, torch.Tensor], lora: Mapping[str, lora_merge.Lora]) -> dict[str, torch.Tensor]:
    """The state of the plain model that computes the same: W + s B A in float64, rounded once, and no factors."""
    lora_merge.refuse_unpaired(state)
    merged = {}
    for key, value in state.items():
        if not lora_merge.is_factor(key):
            added = lora_merge.delta(state, key, lora)
            merged[key] = value if added is None else (value.double() + added).to(value.dtype)
    return merged


def scalars(exp: Path, name: str) -> list[float]:
    """What TensorBoard has of ``name``, in order."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(exp / "tensorboard"))
    events.Reload()
    return [item.value for item in events.Scalars(name)]
