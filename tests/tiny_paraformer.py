"""A Paraformer of 0.05 M parameters that can learn a dozen clips by heart."""

from __future__ import annotations

from pathlib import Path

from tests import dozen, tiny
from tests.dozen import Case


def make_model(folder: Path, characters: list[str]) -> Path:
    """A folder with random weights and these characters as tokens."""
    return tiny.make_model(folder, tokens=["<blank>", "<s>", "</s>", *characters, "<unk>"])


def make_skeleton(folder: Path, characters: list[str]) -> Path:
    """The same without weights, to train from scratch in."""
    make_model(folder, characters)
    (folder / "model.pt").unlink()
    return folder


SMALL = (*dozen.SMALL, "++dataset_conf.batch_size=2000", "++scheduler_conf.warmup_steps=20")
QUICK = (*SMALL, "++train_conf.max_epoch=2")
# A clip at three speeds is three clips to learn.
CASE = Case(
    "conf/finetune_3090.yaml",
    make_model,
    (*SMALL, "++dataset_conf.speed_perturb=null", "++train_conf.max_epoch=45", "++optim_conf.lr=0.003"),
)
LORA = Case("conf/paraformer_lora_3090.yaml", make_model, QUICK, learns=False)
MANUAL = Case("conf/finetune_manual.yaml", make_model, QUICK, learns=False)
SCRATCH = Case("conf/mini_base.yaml", make_skeleton, QUICK, learns=False)
