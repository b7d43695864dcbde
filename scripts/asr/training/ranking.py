"""Which checkpoints are the best so far: FunASR's ranking, by CER too, and on disk as checkpoints.json."""

from __future__ import annotations

import logging
import math
from pathlib import Path
from typing import Any

from funasr.train_utils import trainer_ds

from asr.training.checkpoints import checkpoint

logger = logging.getLogger("asr.progress")


class RankingTrainer(trainer_ds.Trainer):
    """FunASR's Trainer with a ranking of its own. ``ranking`` is "cer", "acc" or "loss"."""

    def __init__(self, *, ranking: str = "cer", **kwargs: Any) -> None:
        self.ranking = ranking
        super().__init__(**kwargs)
        self.epochs_done = 0

    def rank_save(self, name: str) -> None:
        """Take ``name`` into the ranking if it was validated, and drop what is below the n best."""
        by_loss = self.avg_keep_nbest_models_type == "loss"
        value = (self.val_loss_step_or_epoch if by_loss else self.val_acc_step_or_epoch).get(name)
        if value is None:
            logger.info(f"{name}: saved between validations, so it is not ranked")
            return
        if not math.isfinite(value):
            logger.info(f"{name}: its {self.ranking} is no number, so it is not ranked")
            return
        self.saved_ckpts[name] = value
        best_first = self._best_first()
        self.best_step_or_epoch = best_first[0]
        for item in best_first[self.keep_nbest_models :]:
            del self.saved_ckpts[item]

    def _best_first(self) -> list[str]:
        """The ranked checkpoints; among equals the newest counts as better, as in FunASR."""
        order, sign = list(self.saved_ckpts), 1 if self.avg_keep_nbest_models_type == "loss" else -1
        return sorted(order, key=lambda item: (self.saved_ckpts[item] * sign, -order.index(item)))

    def forget_lost(self, folder: Path) -> list[str]:
        """Take checkpoints whose files are gone out of the ranking; their names."""
        lost = [name for name in self.saved_ckpts if not (folder / name).is_file()]
        for name in lost:
            del self.saved_ckpts[name]
        if self.best_step_or_epoch in lost:
            self.best_step_or_epoch = next(iter(self._best_first()), "")
        return lost

    def write_ranking(self, finished: bool = False) -> None:
        """checkpoints.json, as it is now."""
        values = dict(self.saved_ckpts)
        if self.ranking == "cer":
            values = {name: 1.0 - value for name, value in values.items()}
        checkpoint.write_ranking(self.output_dir, self.ranking, values, self.epochs_done, finished)
