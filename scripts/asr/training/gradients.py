"""Non-finite gradients: the update is skipped and reported, and too many in a row end the run."""

from __future__ import annotations

import logging
from typing import Any

import torch

from asr.core.errors import RecipeError
from asr.core.run_records import read_resume_points
from asr.training.checkpoints import resume_points
from asr.training.settings import Settings

logger = logging.getLogger("asr.progress")

MOST_SKIPPED = 50  # steps in a row, before a run is given up


class GradientGuard:
    """Looks at the norm of each update's gradient.

    A training that diverges gives up the checkpoint that no finite gradient has followed.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.skipped = 0  # in a row
        self.untried: str | None = None  # the newest checkpoint, until its weights have given a finite gradient
        self._unread: tuple[torch.Tensor, Any, torch.Tensor, str] | None = None  # a norm on its way from the GPU

    def accepts(self, norm: torch.Tensor, loss: torch.Tensor, where: str) -> bool:
        """Return whether a gradient is finite. RecipeError after too many in a row that are not."""
        if torch.isfinite(norm):
            self.skipped, self.untried = 0, None
            return True
        self.skipped += 1
        logger.info(f"{where}: non-finite gradient (loss {float(loss.detach()):g}): step skipped")
        if self.skipped >= MOST_SKIPPED:
            raise RecipeError(
                f"training: no finite gradient in {MOST_SKIPPED} steps up to {where}; lower optim_conf.lr, or look"
                f" for damaged clips (stage 1 with --check-audio); {self._give_up_untried()}"
            )
        return False

    def look_later(self, norm: torch.Tensor, loss: torch.Tensor, where: str) -> bool:
        """Look at the norm in the next step, when it has long been copied to the CPU; return True until then.

        For optimizers that skip the step by themselves, on the GPU. The schedule moves on over a step skipped.
        """
        self.look()
        norm, arrived = norm.detach(), None
        if norm.is_cuda:
            norm = torch.empty((), pin_memory=True).copy_(norm, non_blocking=True)
            arrived = torch.cuda.Event()
            arrived.record()
        self._unread = norm, arrived, loss, where
        return True

    def look(self) -> None:
        """Look at the last step's norm, if that is still to be done."""
        if self._unread is not None:
            (norm, arrived, loss, where), self._unread = self._unread, None
            if arrived is not None:
                arrived.synchronize()
            self.accepts(norm, loss, where)

    def _give_up_untried(self) -> str:
        """Drop the checkpoint that no finite gradient has followed; say what the run is resumed from without it."""
        points = read_resume_points(self.settings.exp)
        left = [point for point in points if point.weights != self.untried]
        if self.settings.rank == 0 and points != left and left:
            resume_points.keep(self.settings.exp, left)
        if left:
            return f"the same command resumes from {left[0].weights}"
        return (
            "then give --restart: no checkpoint has led to a finite gradient" if points else "then repeat the command"
        )
