"""The mean of checkpoints, summed in float64 one file after another.

In memory are the sums (twice a model's weights), the file that is being added (mapped), and the base of adapters.
What a tensor means decides how it is averaged:

- numbers (float, complex, of any width): the mean; checkpoints that differ in width give the wider one;
- a LoRA adapter: never its factors; W + s B A of each checkpoint is averaged, and the result is a plain model;
- an integer that is one number, such as BatchNorm's num_batches_tracked, is a counter: the newest checkpoint's;
- an integer table (an index, a mask) must be the same in all checkpoints: another table is another model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
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
HASHING_THREADS = 2
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
    pool = ThreadPoolExecutor(HASHING_THREADS)
    try:
        hashing = [pool.submit(sha256_file, path) for path in paths]
        mean = mean_state(paths, newest, lora, base)
        digests = [future.result() for future in hashing]
    finally:
        pool.shutdown(cancel_futures=True)
    for path, wanted, digest in zip(paths, written or [None] * len(paths), digests, strict=True):
        if wanted not in (None, digest):
            raise RecipeError(f"{path}: is not the file that was written there (another sha256); {INSTEAD}")
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
    mean = Mean(paths[0])
    for index, path in enumerate(paths):
        mean.add(path, _read(path, lora, below, base), lora or {}, index == newest)
    for key in mean.sums:
        if mean.finish(key).isnan().any():
            raise _contains_nan(key, paths)
    return mean.tied()


class Mean:
    """The sums of tensors that are added checkpoint by checkpoint, which become their means."""

    def __init__(self, first: Path) -> None:
        self.first, self.count = first, 0
        self.sums: State = {}
        self.kinds: dict[str, torch.dtype] = {}
        self.storages: dict[str, list[object]] = {}  # which of a checkpoint's keys are one tensor

    def add(self, path: Path, state: State, lora: Adapters, newest: bool) -> None:
        """Add a checkpoint's tensors. RecipeError where they are not those of the first."""
        weights = {key: value for key, value in state.items() if not lora_merge.is_factor(key)}
        if self.count and weights.keys() != self.sums.keys():
            odd = sorted(weights.keys() ^ self.sums.keys())[0]
            raise RecipeError(
                f"{path}: is of another model than {self.first.name} (tensor {odd}); give --restart at stage 3"
            )
        for key, value in weights.items():
            if self.count and (here := _described(value)) != (there := _described(self.sums[key])):
                raise RecipeError(f"{path}: tensor {key} is {here}, in {self.first.name} {there}")
            if value.is_floating_point() or value.is_complex():
                self._add_numbers(key, value, lora_merge.delta(state, key, lora))
            else:
                self._add_integers(path, key, value, newest)
        self.count += 1

    def _add_numbers(self, key: str, value: torch.Tensor, adapter: torch.Tensor | None) -> None:
        kind, storage = value.dtype, (value.data_ptr(), value.shape, value.stride(), value.dtype)
        if adapter is not None:
            kind = torch.promote_types(kind, torch.float32)  # of a base in bf16: as trained
        if self.count:
            _add(self.sums[key], value)
        else:
            self.sums[key] = value.to(torch.complex128 if kind.is_complex else torch.float64, copy=True).contiguous()
        if adapter is not None:
            self.sums[key] += adapter
        self.kinds[key] = torch.promote_types(kind, self.kinds.get(key, kind))
        alone = adapter is not None or not value.numel()
        self.storages.setdefault(key, []).append(key if alone else storage)

    def _add_integers(self, path: Path, key: str, value: torch.Tensor, newest: bool) -> None:
        if value.numel() > 1 and self.count and not torch.equal(value, self.sums[key]):
            raise RecipeError(
                f"{path}: {key} is an integer table and not that of {self.first.name}; a table has no mean: are these"
                " checkpoints of one model?"
            )
        if not self.count or newest:
            self.sums[key] = value.clone()

    def finish(self, key: str) -> torch.Tensor:
        """Return the mean of ``key`` in the checkpoints' own type, which takes the sum's place."""
        if key in self.kinds:
            self.sums[key] = (self.sums[key] / self.count).to(self.kinds[key])
        return self.sums[key]

    def tied(self) -> State:
        """Return the state, in which keys that are one tensor in every checkpoint are one."""
        owners: dict[object, torch.Tensor] = {}
        return {key: owners.setdefault(tuple(self.storages.get(key, [key])), value) for key, value in self.sums.items()}


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
    for key, value in state.items() if base else ():
        if not lora_merge.is_factor(key) and (key not in below or below[key].shape != value.shape):
            raise RecipeError(f"{path}: tensor {key} is not one of {base}'s: was it trained on another base model?")
    state = {**below, **state}
    lora_merge.refuse_unpaired(state)
    return state


def _described(value: torch.Tensor) -> str:
    """Return shape and kind, which two checkpoints' tensors have in common; the width of numbers may differ."""
    kind = str(value.dtype).removeprefix("torch.")
    kind = "float" if value.is_floating_point() else "complex" if value.is_complex() else kind
    return f"{kind} {tuple(value.shape)}"


def _add(total: torch.Tensor, value: torch.Tensor) -> None:
    """Add to a sum in place; numpy adds float32 to float64 several times as fast as torch, which copies it first."""
    if value.dtype == torch.float32:
        np.add(total.numpy(), value.numpy(), out=total.numpy())
    else:
        total += value


def _contains_nan(key: str, paths: Sequence[Path]) -> RecipeError:
    """Return the error for a mean that is NaN, naming the first file that holds one."""
    bad = next((path for path in paths if any(bool(v.isnan().any()) for v in read_state(path).values())), paths[0])
    return RecipeError(
        f"{bad}: tensor {key} contains NaN, so that training diverged; lower optim_conf.lr and give"
        " --restart at stage 3"
    )
