"""The mean of checkpoints, summed in float64 one file after another.

In memory are the sums (twice a model's weights), the file that is being added (mapped), and the base of adapters.
What a tensor means decides how it is averaged:

- numbers of any width: the mean; checkpoints that differ in width give the wider one;
- a LoRA adapter: never its factors; W + s B A of each checkpoint is averaged, and the result is a plain model;
- an integer that is one number, such as BatchNorm's num_batches_tracked, is a counter: the newest checkpoint's;
- an integer table (an index, a mask) must be the same in all checkpoints: another table is another model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from asr.core.digests import sha256_file
from asr.core.errors import RecipeError
from asr.models import lora_merge
from asr.models.weights import read_state
from asr.training.checkpoints.checkpoint import whole

State = dict[str, torch.Tensor]
Adapters = Mapping[str, lora_merge.Lora]
INSTEAD = "put back the one that was, or remove it and run stage 4 again"


def write_mean(
    paths: Sequence[Path],
    out: Path,
    newest: int = 0,
    lora: Adapters | None = None,
    base: Path | None = None,
    written: Sequence[str | None] | None = None,
) -> tuple[str, list[str]]:
    """Save ``{"state_dict": mean_state(…)}`` as ``out``, whole or not at all; return its sha256 and those of ``paths``.

    Args:
        written: for each path the sha256 that it was written with, None where that is not recorded.

    RecipeError for a file with another sha256, for a full disk, and as ``mean_state``.
    """
    digests = [sha256_file(path) for path in paths]
    for path, wanted, digest in zip(paths, written or digests, digests, strict=True):
        if wanted not in (None, digest):
            raise RecipeError(f"{path}: is not the file that was written there (another sha256); {INSTEAD}")
    mean = mean_state(paths, newest, lora, base)
    with whole(out) as stream:
        torch.save({"state_dict": mean}, stream)
    return sha256_file(out), digests


def mean_state(paths: Sequence[Path], newest: int = 0, lora: Adapters | None = None, base: Path | None = None) -> State:
    """Return the mean of checkpoints of one model, in the first one's order of keys.

    Args:
        newest: index in ``paths`` of the one whose counters are taken.
        lora: how the runs' adapters are merged (``asr.models.lora.merging``).
        base: the model that checkpoints of adapters were trained on, and whose tensors they do not hold.

    RecipeError naming the file: one that cannot be read, that holds NaN, other keys or shapes than the first one's, or
    adapters without settings.
    """
    below = read_state(base) if base else {}
    sums: State = {}
    kinds: dict[str, torch.dtype] = {}
    tied: dict[str, str] = {}
    for index, path in enumerate(paths):
        state = _read(path, lora, below, base)
        weights = {key: value for key, value in state.items() if not lora_merge.is_factor(key)}
        if index:
            _check_same(path, weights, paths[0], sums)
        else:
            tied = _tied(weights)
        for key, value in weights.items():
            if not value.is_floating_point():
                if index in (0, newest):
                    sums[key] = value.clone()
                continue
            if index:
                _add(sums[key], value)
            else:
                sums[key] = value.to(torch.float64, copy=True).contiguous()
            kind = value.dtype
            if (adapter := lora_merge.delta(state, key, lora or {})) is not None:
                sums[key] += adapter
                kind = torch.promote_types(kind, torch.float32)  # of a base in bf16: as trained
            kinds[key] = torch.promote_types(kind, kinds.get(key, kind))
        del state, weights, value  # unmapped before the next is read
    for key, kind in kinds.items():
        sums[key] = (sums[key] / len(paths)).to(kind)
    return {key: sums[tied[key]] if torch.equal(sums[tied[key]], value) else value for key, value in sums.items()}


def _tied(weights: State) -> dict[str, str]:
    """Return for each key the first that is the same tensor: weights that a model shares are saved once."""
    first: dict[object, str] = {}
    return {
        key: first.setdefault((value.data_ptr(), value.shape, value.stride()), key) if value.numel() else key
        for key, value in weights.items()
    }


def _read(path: Path, lora: Adapters | None, below: State, base: Path | None) -> State:
    """Return a checkpoint's tensors, over those of the base that it was trained on."""
    try:
        state = read_state(path)
    except RecipeError as error:
        raise RecipeError(f"{error}; {INSTEAD}") from None
    if not state:
        raise RecipeError(f"{path}: no tensor in it, so it is not a checkpoint")
    if not lora and any(map(lora_merge.is_factor, state)):
        raise RecipeError(
            f"{path}: holds LoRA adapters, whose factors cannot be averaged, and the run has no lora_conf that says how"
            " to merge them"
        )
    for key, value in state.items():
        if value.numel() and value.max().isnan():  # NaN where one is, without a mask of the tensor's size
            raise RecipeError(
                f"{path}: tensor {key} contains NaN, so that training diverged; lower optim_conf.lr and give"
                " --restart at stage 3"
            )
        if base and not lora_merge.is_factor(key) and (key not in below or below[key].shape != value.shape):
            raise RecipeError(f"{path}: tensor {key} is not one of {base}'s: was it trained on another base model?")
    state = {**below, **state}
    lora_merge.refuse_unpaired(state)
    return state


def _check_same(path: Path, weights: State, first: Path, sums: State) -> None:
    """RecipeError where a checkpoint's tensors are not those of the first."""
    if weights.keys() != sums.keys():
        odd = sorted(weights.keys() ^ sums.keys())[0]
        raise RecipeError(f"{path}: is of another model than {first.name} (tensor {odd}); give --restart at stage 3")
    for key, value in weights.items():
        if (here := _described(value)) != (there := _described(sums[key])):
            raise RecipeError(f"{path}: tensor {key} is {here}, in {first.name} {there}")
        if not value.is_floating_point() and value.numel() > 1 and not torch.equal(value, sums[key]):
            raise RecipeError(
                f"{path}: {key} is an integer table and not that of {first.name}; a table has no mean: are these"
                " checkpoints of one model?"
            )


def _add(total: torch.Tensor, value: torch.Tensor) -> None:
    """Add to a sum in place; torch would copy float32 to float64 first, numpy does not."""
    if value.dtype == torch.float32:
        np.add(total.numpy(), value.numpy(), out=total.numpy())
    else:
        total += value


def _described(value: torch.Tensor) -> str:
    """Return shape and kind, which two checkpoints' tensors have in common; the width of numbers may differ."""
    return f"{'float' if value.is_floating_point() else str(value.dtype).removeprefix('torch.')} {tuple(value.shape)}"
