"""A Conformer of 0.2 M parameters that can learn a dozen clips by heart."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np

from asr.models.skeleton import write_folder
from conformer_base import CONFIG
from tests import dozen, tiny
from tests.dozen import Case
from tests.tiny import TOKENS

WIDTH = 48


def config(**encoder: Any) -> dict[str, Any]:
    """conf/conformer_scratch_3090.yaml's model with a width of 48, two encoder blocks and one decoder block."""
    small = copy.deepcopy(CONFIG)
    small["encoder_conf"] |= {"output_size": WIDTH, "linear_units": 2 * WIDTH, "num_blocks": 2, **encoder}
    small["decoder_conf"] |= {"linear_units": 2 * WIDTH, "num_blocks": 1}
    return small


def make_folder(folder: Path, tokens: list[str] = TOKENS, seed: int = 0, conf: dict[str, Any] | None = None) -> Path:
    """A FunASR model folder with random weights."""
    write_folder(folder, tokens, conf or config(), np.full(80, -10.0), np.full(80, 0.3))
    return tiny.save_random(folder, seed)


def make_model(folder: Path, characters: list[str]) -> Path:
    """A folder with random weights and these characters as tokens."""
    return make_folder(folder, ["<blank>", "<s>", "</s>", *characters, "<unk>"])


def make_skeleton(folder: Path, characters: list[str]) -> Path:
    """The same without weights, to train from scratch in."""
    make_model(folder, characters)
    (folder / "model.pt").unlink()
    return folder


# Nothing is drawn and nothing masked: what is asked is whether it learns.
SMALL = (*dozen.PLAIN, "++dataset_conf.batch_size=500")
QUICK = (*SMALL, "++train_conf.max_epoch=2")
# CTC writes nothing at first, and takes more epochs than Paraformer to leave that stage.
CASE = Case(
    "conf/conformer_3090.yaml",
    make_model,
    (*SMALL, "++scheduler_conf.warmup_steps=50", "++train_conf.max_epoch=20", "++optim_conf.lr=0.003"),
)
LORA = Case("conf/conformer_lora_3090.yaml", make_model, QUICK, learns=False)
SCRATCH = Case("conf/conformer_scratch_3090.yaml", make_skeleton, QUICK, learns=False)
