"""Adapters in training: a small trained product beside chosen weights, which stay as they are (Hu et al. 2021).

Where FunASR has layers for it (Paraformer) these are used, else PEFT's are put around the named linear layers. Either
way a checkpoint holds what was trained and nothing else, under FunASR's names: LAYER.lora_A, LAYER.lora_B, whole
tensors of the parts in ``lora_conf.also_train``, and buffers. What they add is in models.lora_merge.

``conf`` is a resolved ``lora_conf``, with the family's defaults in it.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping
from typing import Any

import torch

from asr.core.errors import RecipeError
from asr.models.family import Family
from asr.models.lora_merge import Lora

# PEFT's names of what FunASR's layers call weight, lora_A and lora_B.
_NAMES = ((".base_layer.", "."), (".lora_A.default.weight", ".lora_A"), (".lora_B.default.weight", ".lora_B"))


def merging(family: Family, conf: Mapping[str, Any]) -> dict[str, Lora]:
    """Return how checkpoints of such a run are merged: what ``asr.averaging.mean.write_mean`` takes."""
    return dict.fromkeys(family.native_lora or ("",), Lora(tuple(conf["targets"]), conf["rank"], conf["alpha"]))


def parameters_of(model: torch.nn.Module, part: str, key: str) -> list[torch.nn.Parameter]:
    """Return the parameters of a part of the model. RecipeError, beginning with the YAML's ``key``, if it has none."""
    named = dict(model.named_parameters())
    values = [value for name, value in named.items() if f"{name}.".startswith(f"{part}.")]
    if not values:
        parts = ", ".join(sorted({name.split(".")[0] for name in named}))
        raise RecipeError(f"{key}: the model has no part '{part}'; it has {parts}")
    return values


def adapt(model: Any, family: Family, conf: Mapping[str, Any]) -> int:
    """Give a model that holds its base's weights adapters where it has none, freeze the rest; return how many train.

    RecipeError for a target or a part that the model does not have.
    """
    if not family.native_lora:
        _inject(model, conf)
    for layer in model.modules():
        if hasattr(layer, "merge_weights"):  # FunASR's would add to the frozen weights in every validation, and take
            layer.merge_weights = False  # it off again: each time with another rounding
        if hasattr(layer, "lora_ind"):
            _place_without_copies(layer)
    for name, value in model.named_parameters():
        value.requires_grad_(".lora_" in name)
    for part in conf["also_train"]:
        for value in parameters_of(model, part, "lora_conf.also_train"):
            value.requires_grad_(True)
    return sum(value.numel() for value in model.parameters() if value.requires_grad)


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
    """Put PEFT's layers around every linear layer whose name ends with one of the targets; * stands for any part."""
    from peft import LoraConfig, inject_adapter_in_model

    linear = [name for name, layer in model.named_modules() if type(layer) is torch.nn.Linear]
    chosen = []
    for target in conf["targets"]:
        names = [name for name in linear if fnmatch.fnmatchcase(f".{name}", f"*.{target}")]
        if not names:
            there = ", ".join(sorted({name.split(".")[-1] for name in linear}))
            raise RecipeError(f"lora_conf.targets: the model has no linear layer '{target}'; it has {there}")
        chosen += names
    sizes = {"r": conf["rank"], "lora_alpha": conf["alpha"], "lora_dropout": conf["dropout"]}
    inject_adapter_in_model(LoraConfig(**sizes, target_modules=chosen), model)


def plain_name(name: str) -> str:
    """Return a tensor's name as FunASR's layers have it, PEFT's or not."""
    for theirs, ours in _NAMES:
        name = name.replace(theirs, ours)
    return name


def trained_state(model: Any) -> dict[str, torch.Tensor]:
    """Return what differs from an adapted model's base: trained parameters, and buffers, which training may change."""
    frozen = {name for name, value in model.named_parameters() if not value.requires_grad}
    return {plain_name(name): value for name, value in model.state_dict().items() if name not in frozen}


def load_trained(model: Any, state: Mapping[str, torch.Tensor]) -> None:
    """Put a ``trained_state`` back. RecipeError where it is not of this model with these adapters."""
    expected = trained_state(model)
    for name in sorted(expected.keys() | state.keys()):
        if name not in state or name not in expected or state[name].shape != expected[name].shape:
            raise RecipeError(f"the checkpoint's adapters are not this run's (tensor {name}); give --tag or --restart")
    with torch.no_grad():
        for name, value in state.items():
            expected[name].copy_(value)
