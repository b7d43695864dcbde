"""Adapters in training: a small trained product beside chosen weights, which stay as they are (Hu et al. 2021).

Where FunASR has layers for it (Paraformer) these are used, else PEFT's are put around the named linear layers. Either
way a checkpoint holds what was trained and nothing else, under FunASR's names: LAYER.lora_A, LAYER.lora_B, whole
tensors of the parts in ``lora_conf.also_train``, and buffers. Merging is in
models.lora_merge, averaging in averaging.mean.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from asr.core.errors import RecipeError
from asr.models.family import Family
from asr.models.lora_merge import Lora

DEFAULTS = {"rank": 8, "alpha": 16, "dropout": 0.05}
# PEFT's names of what FunASR's layers call weight, lora_A and lora_B.
_NAMES = ((".base_layer.", "."), (".lora_A.default.weight", ".lora_A"), (".lora_B.default.weight", ".lora_B"))


def complete(family: Family, conf: Mapping[str, Any]) -> dict[str, Any]:
    """``lora_conf`` with the family's defaults in it."""
    own = {"targets": list(family.lora_targets), "also_train": list(family.also_trained)}
    return {**DEFAULTS, **own, **conf}


def merging(family: Family, conf: Mapping[str, Any]) -> dict[str, Lora]:
    """How checkpoints of such a run are merged: what ``asr.averaging.mean.Mean`` takes."""
    full = complete(family, conf)
    how = Lora(tuple(full["targets"]), full["rank"], full["alpha"])
    return dict.fromkeys(family.native_lora, how) or {"": how}


def adapt(model: Any, family: Family, conf: Mapping[str, Any]) -> int:
    """Give a model that holds its base's weights adapters where it has none, freeze the rest; how many are trained.

    RecipeError for a target or a part that the model does not have.
    """
    full = complete(family, conf)
    if not family.native_lora:
        _inject(model, full)
    for layer in model.modules():
        if hasattr(layer, "merge_weights"):  # FunASR's would add to the frozen weights in every validation, and take
            layer.merge_weights = False  # it off again: each time with another rounding
        if hasattr(layer, "lora_ind"):
            _place_without_copies(layer)
    names = [name for name, _ in model.named_parameters()]
    parts = {name.split(".")[0] for name in names}
    for part in full["also_train"]:
        if not any(name == part or name.startswith(f"{part}.") for name in names):
            raise RecipeError(
                f"lora_conf.also_train: the model has no part '{part}'; it has {', '.join(sorted(parts))}"
            )
    trained = 0
    for name, value in model.named_parameters():
        value.requires_grad_(
            ".lora_" in name or any(name == part or name.startswith(f"{part}.") for part in full["also_train"])
        )
        trained += value.numel() if value.requires_grad else 0
    return trained


def _place_without_copies(layer: Any) -> None:
    """Put what adapters add where it belongs without an index from the host: FunASR's is copied in every step.

    Its truth values would be asked for on a GPU, so they become places; where all segments are adapted there are none.
    """
    chosen = layer.__dict__.pop("lora_ind")
    if all(layer.enable_lora):
        layer.zero_pad = lambda added: added
    else:
        layer.register_buffer("lora_ind", chosen.nonzero()[:, 0].to(layer.weight.device), persistent=False)


def _inject(model: Any, conf: Mapping[str, Any]) -> None:
    """PEFT's layers around every linear layer whose name ends with one of the targets."""
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError:
        raise RecipeError(
            "lora_conf: this family's adapters are PEFT's, which is not installed; run: bash scripts/install.sh"
        ) from None
    linear = [name for name, layer in model.named_modules() if type(layer) is torch.nn.Linear]
    for target in conf["targets"]:
        if not any(name == target or name.endswith(f".{target}") for name in linear):
            there = ", ".join(sorted({name.rpartition(".")[2] for name in linear}))
            raise RecipeError(f"lora_conf.targets: the model has no linear layer '{target}'; it has {there}")
    inject_adapter_in_model(
        LoraConfig(
            r=conf["rank"],
            lora_alpha=conf["alpha"],
            lora_dropout=conf["dropout"],
            target_modules=[
                name for name in linear if any(name == t or name.endswith(f".{t}") for t in conf["targets"])
            ],
        ),
        model,
    )


def plain_name(name: str) -> str:
    """A tensor's name in FunASR's way of speaking, PEFT's layers or not."""
    for theirs, ours in _NAMES:
        name = name.replace(theirs, ours)
    return name


def trained_state(model: Any) -> dict[str, torch.Tensor]:
    """What of an adapted model differs from its base: trained parameters, and buffers, which training may change."""
    frozen = {name for name, value in model.named_parameters() if not value.requires_grad}
    return {plain_name(name): value for name, value in model.state_dict().items() if name not in frozen}


def load_trained(model: Any, state: Mapping[str, torch.Tensor]) -> None:
    """Put a ``trained_state`` back. RecipeError where it is not of this model with these adapters."""
    there = {plain_name(name): value for name, value in model.state_dict().items()}
    expected = trained_state(model)
    odd = sorted(expected.keys() ^ state.keys())
    odd += [name for name in expected if name in state and expected[name].shape != state[name].shape]
    if odd:
        raise RecipeError(f"the checkpoint's adapters are not this run's (tensor {odd[0]}); give --tag or --restart")
    with torch.no_grad():
        for name, value in state.items():
            there[name].copy_(value)
