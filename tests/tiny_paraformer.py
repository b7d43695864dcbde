"""A Paraformer of 0.2 M parameters that can learn a dozen clips by heart."""

from __future__ import annotations

from pathlib import Path

from tests import tiny
from tests.dozen import Case


def make_model(folder: Path, characters: list[str]) -> Path:
    """A folder with random weights and these characters as tokens."""
    return tiny.make_model(folder, tokens=["<blank>", "<s>", "</s>", *characters, "<unk>"])


# Nothing is drawn and nothing masked: what is asked is whether it learns.
SMALL = (
    "++dataset_conf.batch_size=2000",
    "++dataset_conf.num_workers=0",
    "++train_conf.log_interval=20",
    "++train_conf.keep_nbest_models=2",
    "++train_conf.avg_nbest_model=2",
    "++train_conf.validate_interval=100000",
    "++train_conf.save_checkpoint_interval=100000",
    "++scheduler_conf.warmup_steps=20",
)
CASE = Case(
    "conf/mini.yaml", make_model, (*SMALL, "++train_conf.max_epoch=100", "++optim_conf.lr=0.003", "++cpu_processes=1")
)
# Adapters of random weights cannot learn much: whether they go through the stages, not how well, is what is asked.
LORA = Case("conf/paraformer_lora_3090.yaml", make_model, (*SMALL, "++train_conf.max_epoch=2", "++cpu_processes=1"))
