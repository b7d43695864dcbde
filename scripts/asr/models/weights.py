"""A model's weights as files: reading them whole, and making sure that they are what a model was given."""

from __future__ import annotations

import os

import torch

from asr.core.errors import RecipeError
from asr.models.lora_merge import is_factor


def read_state(path: str | os.PathLike[str]) -> dict[str, torch.Tensor]:
    """Return the tensors of a checkpoint, memory-mapped where its format allows. RecipeError for a damaged file."""
    try:
        try:
            state = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        except (RuntimeError, TypeError, ValueError):  # torch's format from before 1.6
            state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise RecipeError(f"{path}: no such checkpoint") from None
    except Exception as error:  # torch raises half a dozen types for a damaged file
        raise RecipeError(f"{path}: cannot be read as a checkpoint ({str(error).splitlines()[0][:120]})") from None
    for key in ("state_dict", "model_state_dict", "model"):
        if isinstance(state, dict) and isinstance(state.get(key), dict):
            state = state[key]
    return {key.removeprefix("module."): value for key, value in state.items() if torch.is_tensor(value)}


def check_loaded(model: torch.nn.Module, weights: str | os.PathLike[str]) -> int:
    """Raise RecipeError unless every tensor of ``model`` came from ``weights``; return how many there are.

    FunASR prints a line for a missing key, logs a wrong shape, and trains on from random values.
    """
    state, tensors, wrong = read_state(weights), model.state_dict(), []
    for key, value in tensors.items():
        if is_factor(key):  # begins at nothing added; no base has it
            continue
        if key not in state:
            wrong.append(f"{key} is missing")
        elif state[key].shape != value.shape:
            wrong.append(f"{key} is {tuple(state[key].shape)}, the model's is {tuple(value.shape)}")
        elif not torch.equal(state[key].to(value.dtype), value.cpu()):
            wrong.append(f"{key} was not loaded")
    if wrong:
        raise RecipeError(
            f"{weights}: does not fit the model: {len(wrong)} of {len(tensors)} tensors, first: {wrong[0]}; is it"
            " this model's file, and whole?"
        )
    return len(tensors)
