"""LoRA adapters as FunASR keeps them, and the plain weights that they stand for.

A layer with an adapter computes (W + s B A) x with s = alpha / rank (Hu et al. 2021, equation 3; FunASR's
models/lora/layers.py). A and B of two checkpoints may be averaged no more than the factors of two products: the mean of
B A is not the product of the means. So the product is added to W first, and the factors are dropped.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from asr.core.errors import RecipeError

# The projections that each of FunASR's attention layers holds, one segment of its rows each (models/sanm/attention.py).
SEGMENTS = {"linear_q_k_v": "qkv", "linear_k_v": "kv", "linear_q": "q", "linear_out": "o"}
KEYS = ("lora_list", "lora_rank", "lora_alpha", "lora_dropout")
FACTORS = (".lora_A", ".lora_B")


@dataclass(frozen=True, slots=True)
class Lora:
    """How one side (encoder or decoder) was adapted: projections among q, k, v, o; FunASR's own rank and alpha."""

    targets: tuple[str, ...]
    rank: int = 8
    alpha: float = 16


def is_factor(key: str) -> bool:
    """Whether a state's key is a LoRA factor."""
    return key.endswith(FACTORS)


def settings(config: Mapping[str, Any]) -> dict[str, Lora]:
    """{"encoder": Lora, "decoder": Lora} of a model's encoder_conf and decoder_conf; empty without LoRA."""
    found = {}
    for side in ("encoder", "decoder"):
        conf = config.get(f"{side}_conf") or {}
        if conf.get("lora_list"):
            given = {name: conf[f"lora_{name}"] for name in ("rank", "alpha") if f"lora_{name}" in conf}
            found[side] = Lora(tuple(conf["lora_list"]), **given)
    return found


def without_lora(config: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration of the merged model: a plain one."""
    sides = ("encoder_conf", "decoder_conf")
    return {
        name: {key: value for key, value in block.items() if key not in KEYS} if name in sides and block else block
        for name, block in config.items()
    }


def delta(state: Mapping[str, torch.Tensor], key: str, lora: Mapping[str, Lora]) -> torch.Tensor | None:
    """What the adapter adds to ``state[key]``: (out, in) float64, or None where that weight has no adapter.

    In a layer with several projections A is (rank * enabled, in) and B (out / segments * enabled, rank): one pair an
    enabled segment, in the order of the segments. RecipeError when the shapes do not agree with the settings.
    """
    layer = key.removesuffix(".weight")
    if layer == key or f"{layer}.lora_A" not in state or f"{layer}.lora_B" not in state:
        return None
    a, b, weight = state[f"{layer}.lora_A"], state[f"{layer}.lora_B"], state[key]
    side, name = layer.split(".")[0], layer.split(".")[-1]
    if "" in lora:  # PEFT's: one pair a layer, whatever is in it
        segments, how, enabled = ("",), lora[""], [0]
    elif name not in SEGMENTS or side not in lora:
        raise RecipeError(
            f"{layer}: has a LoRA adapter, and the run's configuration names none there (lora_list in {side}_conf)"
        )
    else:
        segments, how = SEGMENTS[name], lora[side]
        enabled = [number for number, target in enumerate(segments) if target in how.targets]
    rows = weight.shape[0] // len(segments)
    expected = (how.rank * len(enabled), weight.shape[1]), (rows * len(enabled), how.rank)
    if not enabled or (tuple(a.shape), tuple(b.shape)) != expected:
        raise RecipeError(
            f"{layer}: LoRA factors are {tuple(a.shape)} and {tuple(b.shape)}; {side}_conf (lora_list"
            f" {','.join(how.targets)}, lora_rank {how.rank}) makes them {expected[0]} and {expected[1]}"
        )
    added = torch.zeros(weight.shape, dtype=torch.float64)
    pairs = zip(enabled, a.double().chunk(len(enabled)), b.double().chunk(len(enabled)), strict=True)
    for number, a_part, b_part in pairs:
        added[number * rows : (number + 1) * rows] = (how.alpha / how.rank) * (b_part @ a_part)
    return added


def merge_adapters(state: Mapping[str, torch.Tensor], lora: Mapping[str, Lora]) -> dict[str, torch.Tensor]:
    """The state of the plain model that computes the same: W + s B A in float64, rounded once, and no factors."""
    refuse_unpaired(state)
    merged = {}
    for key, value in state.items():
        if not is_factor(key):
            added = delta(state, key, lora)
            merged[key] = value if added is None else (value.double() + added).to(value.dtype)
    return merged


def refuse_unpaired(state: Mapping[str, torch.Tensor]) -> None:
    """RecipeError for a factor without its other half or without the weight that it belongs to."""
    for key in filter(is_factor, state):
        layer = key.rpartition(".")[0]
        for other in (".lora_A", ".lora_B", ".weight"):
            if layer + other not in state:
                raise RecipeError(f"{key}: a LoRA factor whose {layer}{other} is not there; is the checkpoint whole?")
