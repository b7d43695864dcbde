"""The update of the weights: gradients that are no number are left out and told, and too many in a row end the run."""

from __future__ import annotations

import logging
import math
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from asr.core.errors import RecipeError
from asr.training.checkpoints import resume_points
from asr.training.ranking import RankingTrainer

logger = logging.getLogger("asr.progress")

MOST_NOT_FINITE = 50  # steps in a row whose gradient is no number, before a run is given up


class UpdatingTrainer(RankingTrainer):
    """See the module. What is stopped, and how, is resume.py's."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.not_finite = 0
        self.unseen: tuple[torch.Tensor, Any, Any] | None = None  # the norm of a step that is not waited for
        self.untried: str | None = None  # the newest save, until its weights have given a finite gradient

    def update_step(self, model: Any, optim: Any, scheduler: Any, scaler: Any, loss_dict: Any = None) -> None:
        """FunASR's without a barrier at every step; a gradient that is no number is told, and many end the run."""
        done = loss_dict["batch_idx"] + 1
        if not self.completes_update(loss_dict):
            return
        if scaler:
            scaler.unscale_(optim)
        limit = self.grad_clip if self.grad_clip > 0 else math.inf
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm=limit, norm_type=self.grad_clip_type)
        if not scaler and optim.defaults.get("fused"):
            self._step_and_look_later(optim, norm, loss_dict)
            scheduler.step()
        elif self._is_finite(norm, loss_dict):
            if scaler:
                scaler.step(optim)
                scaler.update()
            else:
                optim.step()
            scheduler.step()
        optim.zero_grad(set_to_none=True)
        self.updated(loss_dict["epoch"], done)

    def completes_update(self, loss_dict: Any) -> bool:
        """Whether the weights move after this batch: every accum_grad batches of the epoch, and after its last.

        Counted as saves are, by step_in_epoch: a run that goes on under another accum_grad begins with a shorter group.

        FunASR drops the gradients of the batches that are left over at an epoch's end.
        """
        done = loss_dict["batch_idx"] + 1
        return self.step_in_epoch % self.accum_grad == 0 or done == loss_dict.get("batch_num_epoch")

    def updated(self, epoch: int, done: int) -> None:
        """Called after each update, ``done`` batches into what is left of the epoch."""

    def _step_and_look_later(self, optim: Any, norm: torch.Tensor, loss_dict: Any) -> None:
        """A fused optimizer leaves a step out by itself, on the GPU: nobody has to wait for the norm of its gradient.

        It is looked at in the next step, when it has long been there. The schedule goes on over a step left out.
        """
        self.look()
        optim.found_inf = torch.isfinite(norm).logical_not().float()
        optim.step()
        copy, arrived = norm.detach(), None
        if norm.is_cuda:
            copy = torch.empty((), pin_memory=True).copy_(copy, non_blocking=True)
            arrived = torch.cuda.Event()
            arrived.record()
        self.unseen = (copy, arrived, loss_dict)

    def look(self) -> None:
        """At the last step's norm, if that was not done; RecipeError where too many in a row were no number."""
        if self.unseen is None:
            return
        (norm, arrived, loss_dict), self.unseen = self.unseen, None
        if arrived is not None:
            arrived.synchronize()
        self._is_finite(norm, loss_dict)

    def _is_finite(self, norm: torch.Tensor, loss_dict: Any) -> bool:
        if torch.isfinite(norm):
            self.not_finite, self.untried = 0, None
            return True
        self.not_finite += 1
        where = f"epoch {loss_dict['epoch'] + 1} step {loss_dict['batch_idx'] + 1 + self.first_step}"
        if self.rank == 0:
            logger.info(
                f"{where}: the gradient is no number (loss {float(loss_dict['loss'].detach()):g}): step left out"
            )
        if self.not_finite >= MOST_NOT_FINITE:
            raise RecipeError(
                f"training: no finite gradient in {MOST_NOT_FINITE} steps up to {where}; lower optim_conf.lr, or look"
                f" for damaged clips (stage 1 with --check-audio); {self._before_it_diverged()}"
            )
        return False

    def _before_it_diverged(self) -> str:
        """Give up the save that no finite gradient has followed, and say what the run goes on from without it."""
        folder = Path(self.output_dir)
        found = resume_points.read_saves(folder)
        left = [save for save in found if save.weights != self.untried]
        if self.use_ddp:
            dist.barrier()  # all have read the list
        if self.rank == 0 and found != left and left:
            resume_points.keep(folder, left)
        if left:
            return f"the same command goes on from {left[0].weights}"
        return "then give --restart: no save has led to a finite gradient" if found else "then give the command again"
