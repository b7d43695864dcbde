"""Pack a trained tiny base model for git: the model folder of its run, weights in half precision.

``python mini/make/pack_base.py --model exp/mini_base/model --out mini/base``, once the old one has been removed
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

import torch

from asr.core import errors
from asr.core.errors import RecipeError
from asr.models.weights import read_state
from asr.training.checkpoints import checkpoint

LIMIT = 8_000_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True, type=Path, help="exp/<tag>/model of the from-scratch run")
    parser.add_argument("--out", required=True, type=Path, help="folder to write")
    arguments = parser.parse_args()
    if arguments.out.exists() and any(arguments.out.iterdir()):
        raise RecipeError(
            f"{arguments.out}: is not empty, and nothing in it is replaced; remove it, or give another --out"
        )
    state = read_state(arguments.model / "model.pt")
    for key, value in state.items():
        if value.is_floating_point() and not torch.isfinite(value.half()).all():
            raise RecipeError(f"{arguments.model}: tensor {key} does not fit half precision")
    arguments.out.mkdir(parents=True, exist_ok=True)
    for path in arguments.model.iterdir():
        if path.name != "model.pt":
            shutil.copyfile(path, arguments.out / path.name)
    half = {key: value.half() if value.is_floating_point() else value for key, value in state.items()}
    checkpoint.save({"state_dict": half}, arguments.out / "model.pt")
    size = sum(path.stat().st_size for path in arguments.out.iterdir())
    if size > LIMIT:
        raise RecipeError(f"{arguments.out}: {size} bytes; at most {LIMIT} may go into git")
    count = sum(value.numel() for value in state.values())
    print(f"{arguments.out}: {count / 1e6:.2f} M parameters in half precision, {size / 1e6:.1f} MB")


if __name__ == "__main__":
    errors.run(main)
