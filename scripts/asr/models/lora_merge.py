"""LoRA adapters as checkpoints hold them, and the plain weights that they stand for.

A layer with an adapter computes (W + s B A) x with s = alpha / rank (Hu et al. 2021, equation 3; FunASR's
models/lora/layers.py). The mean of products is not the product of means: so B A is added to W in each checkpoint before
they are averaged, and the factors are dropped.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from asr.core.errors import RecipeError

# The projections that each of FunASR's attention layers holds, one segment of its rows each (models/sanm/attention.py).
SEGMENTS = {"linear_q_k_v": "qkv", "linear_k_v": "kv", "linear_q": "q", "linear_out": "o"}


@dataclass(frozen=True, slots=True)
class Lora:
    """How one side (encoder or decoder) was adapted: projections among q, k, v, o; FunASR's own rank and alpha."""

    targets: tuple[str, ...]
    rank: int
    alpha: float


def is_factor(key: str) -> bool:
    """Return whether a state's key is a LoRA factor."""
    return key.endswith((".lora_A", ".lora_B"))


def delta(state: Mapping[str, torch.Tensor], key: str, lora: Mapping[str, Lora]) -> torch.Tensor | None:
    """Return what the adapter adds to ``state[key]``: (out, in) float64, or None where that weight has no adapter.

    In a layer with several projections A is (rank * enabled, in) and B (out / segments * enabled, rank): one pair an
    enabled segment, in the order of the segments. RecipeError when the shapes do not agree with the settings.
    """
    layer = key.removesuffix(".weight")
    if f"{layer}.lora_A" not in state:
        return None
    a, b, weight = state[f"{layer}.lora_A"], state[f"{layer}.lora_B"], state[key]
    side, name = layer.split(".")[0], layer.split(".")[-1]
    if "" in lora:  # PEFT's: one pair a layer, whatever is in it
        segments, how, enabled = ("",), lora[""], [0]
    elif name in SEGMENTS and side in lora:
        segments, how = SEGMENTS[name], lora[side]
        enabled = [number for number, target in enumerate(segments) if target in how.targets]
    else:
        raise RecipeError(f"{layer}: has a LoRA adapter, and the run's lora_conf has none for it")
    rows = weight.shape[0] // len(segments)
    expected = (how.rank * len(enabled), weight.shape[1]), (rows * len(enabled), how.rank)
    if not enabled or (tuple(a.shape), tuple(b.shape)) != expected:
        raise RecipeError(
            f"{layer}: LoRA factors are {tuple(a.shape)} and {tuple(b.shape)}; lora_conf (targets"
            f" {','.join(how.targets)}, rank {how.rank}) makes them {expected[0]} and {expected[1]}"
        )
    added = torch.zeros(weight.shape, dtype=torch.float64)
    pairs = zip(enabled, a.double().chunk(len(enabled)), b.double().chunk(len(enabled)), strict=True)
    for number, a_part, b_part in pairs:
        added[number * rows : (number + 1) * rows] = (how.alpha / how.rank) * (b_part @ a_part)
    return added


def refuse_unpaired(state: Mapping[str, torch.Tensor]) -> None:
    """RecipeError for a factor without its other half or without the weight that it belongs to."""
    for key in filter(is_factor, state):
        layer = key.rpartition(".")[0]
        for other in (".lora_A", ".lora_B", ".weight"):
            if layer + other not in state:
                raise RecipeError(f"{key}: a LoRA factor whose {layer}{other} is not there; is the checkpoint whole?")
