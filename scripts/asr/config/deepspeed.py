"""The JSON of train_conf.deepspeed_config, checked and completed from the YAML: each setting has one place.

The JSON is about memory and communication (zero_optimization). What to optimise with, the learning rate, clipping,
accumulation and precision stay in the YAML, and are handed to DeepSpeed from there.
"""

from __future__ import annotations

import importlib.util
from typing import Any

from asr.core.errors import RecipeError
from asr.core.files import read_json

FILES = "conf/deepspeed_zero1.json or conf/deepspeed_zero2.json"
# Blocks of DeepSpeed's that would fight with the recipe, and what to do instead.
INSTEAD = {
    "optimizer": "the YAML's optim and optim_conf are used",
    "scheduler": "the YAML's scheduler and scheduler_conf are used",
    "fp16": "there is no fp16 here; set train_conf.use_bf16",
    "bf16": "its weights in bfloat16 fail in the encoder's first LayerNorm; set train_conf.use_bf16 for autocast",
    "torch_autocast": "set train_conf.use_bf16",
    "train_batch_size": "dataset_conf.batch_size counts frames",
    "train_micro_batch_size_per_gpu": "dataset_conf.batch_size counts frames",
    "gradient_accumulation_steps": "raise dataset_conf.batch_size, or the number of GPUs",
    "gradient_clipping": "set train_conf.grad_clip",
}


def check(train_conf: dict[str, Any]) -> None:
    """Raise ValueError for settings that DeepSpeed cannot be used with, RecipeError for a fault in its JSON."""
    if not train_conf["deepspeed_config"]:
        raise ValueError(f"train_conf.use_deepspeed needs train_conf.deepspeed_config: {FILES}")
    if (steps := train_conf["accum_grad"]) != 1:
        raise ValueError(
            f"train_conf.accum_grad {steps} does not go with use_deepspeed; set it 1 and raise"
            " dataset_conf.batch_size, or the number of GPUs"
        )
    engine_config(train_conf)


def installed() -> None:
    """Raise RecipeError where DeepSpeed is not installed."""
    if importlib.util.find_spec("deepspeed") is None:
        raise RecipeError(
            "train_conf.use_deepspeed: DeepSpeed is not installed; bash scripts/install.sh --deepspeed, or set it false"
        )


def engine_config(train_conf: dict[str, Any], bf16: bool = False) -> dict[str, Any]:
    """Return ``deepspeed.initialize``'s configuration. RecipeError for a fault in the JSON, or one with the YAML."""
    path = train_conf["deepspeed_config"]
    conf = read_json(path, f"train_conf.deepspeed_config names it; give {FILES}")
    for key, instead in INSTEAD.items():
        if key in conf:
            raise RecipeError(f"{path}: '{key}' is set by the recipe: {instead}; take it out")
    stage = conf.get("zero_optimization", {}).get("stage")
    if stage not in (1, 2):
        raise RecipeError(f"{path}: zero_optimization.stage is {stage}; it takes 1 or 2, which leave whole weights")
    ours = {
        "train_micro_batch_size_per_gpu": 1,  # DeepSpeed counts with it; the loader is ours
        "gradient_accumulation_steps": 1,
        "gradient_clipping": float(train_conf["grad_clip"]),
        "zero_allow_untested_optimizer": True,
        "steps_per_print": None,
    }
    if bf16:
        ours["torch_autocast"] = {"enabled": True, "dtype": "bfloat16"}
    return {**conf, **ours}
