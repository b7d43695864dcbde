"""Which checkpoints are the best so far, by one of asr.core.metrics."""

from __future__ import annotations

import logging
import math
from pathlib import Path

from asr.core.metrics import METRICS
from asr.training.checkpoints import checkpoint

logger = logging.getLogger("asr.progress")


class Ranking:
    """The validations of a run, and its best checkpoints.

    Args:
        metric: a name in asr.core.metrics.
        keep: checkpoints that stay ranked.
        patience: of early stopping, in validations; 0 for none.
    """

    def __init__(self, metric: str = "cer", keep: int = 10, patience: int = 0) -> None:
        self.metric, self.keep, self.patience = metric, keep, patience
        self.validated: dict[str, float] = {}  # by checkpoint name, oldest first; NaN where there was no value
        self.ranked: dict[str, float] = {}  # of these the best, with their files, oldest first

    def validate(self, name: str, value: float | None) -> None:
        """Note what the validation of ``name`` measured."""
        self.validated[name] = math.nan if value is None else value

    def include(self, name: str) -> None:
        """Rank a checkpoint that was saved, if it was validated, and drop what is below the best ``keep``."""
        value = self.validated.get(name)
        if value is None:
            logger.info(f"{name}: saved between validations, so it is not ranked")
        elif not math.isfinite(value):
            logger.info(f"{name}: its {self.metric} is not finite, so it is not ranked")
        else:
            self.ranked[name] = value
            for worse in checkpoint.best_first(self.ranked, self.metric)[self.keep :]:
                del self.ranked[worse]

    def drop_missing(self, exp: Path) -> list[str]:
        """Remove checkpoints whose files are gone, and return their names."""
        missing = [name for name in self.ranked if not (exp / name).is_file()]
        for name in missing:
            del self.ranked[name]
        return missing

    @property
    def is_exhausted(self) -> bool:
        """Return whether the last ``patience`` validations were no better than the best before."""
        sign = METRICS[self.metric].sign
        values = [sign * value if math.isfinite(value) else math.inf for value in self.validated.values()]
        return bool(self.patience and values) and len(values) - 1 - values.index(min(values)) >= self.patience
