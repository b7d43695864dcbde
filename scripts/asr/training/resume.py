"""Save a run and resume it exactly: weights, optimizer, schedule, ranking, and the position in the epoch.

A resumed run ends with the weights of one that was never stopped, bit for bit, where the arithmetic itself repeats (on
the CPU it does; on a GPU only with deterministic kernels). No state of a random number generator is kept: each step
seeds them (position.py), clips draw by utterance and epoch (data.dataset), and their order is drawn by epoch.
"""

from __future__ import annotations

import logging
from typing import Any

import torch.distributed as dist

from asr.core.run_records import read_resume_points
from asr.data.dataloader import DEFAULT_SAMPLER, EpochStart
from asr.models import lora
from asr.training.checkpoints import checkpoint, resume_points
from asr.training.engine import TorchEngine
from asr.training.gradients import GradientGuard
from asr.training.position import Position
from asr.training.ranking import Ranking

logger = logging.getLogger("asr.progress")


class Resumer:
    """Writes the checkpoints and resume points of a run, and reads them back."""

    def __init__(self, engine: TorchEngine, position: Position, ranking: Ranking, gradients: GradientGuard) -> None:
        self.settings, self.exp = engine.settings, engine.settings.exp
        self.engine, self.position, self.ranking, self.gradients = engine, position, ranking, gradients
        self.sampler: Any = None  # of the epoch
        self.epochs_done = 0

    def save(self, epoch: int, within: bool) -> None:
        """Write a checkpoint and its resume point at the last update: ``within`` epoch ``epoch``, or after that many.

        First the weights under a name of their own, then the state to resume from, then the ranking; each is whole or
        not there. Called on all processes.
        """
        self.gradients.look()
        trained = self.engine.state()
        if self.settings.rank == 0:
            self._write(epoch, self.position.step_in_epoch if within else None, trained)
        if self.engine.several:
            dist.barrier()  # a process that ends here has torchrun end the others

    def _write(self, epoch: int, step_in_epoch: int | None, trained: dict[str, Any]) -> None:
        name, model = checkpoint.name_of(epoch, step_in_epoch), self.engine.plain_model
        self.ranking.include(name)
        self.epochs_done = epoch
        weights = lora.trained_state(model) if self.settings.adapters else model.state_dict()
        content = {"state_dict": weights, "epoch": epoch, "step_in_epoch": step_in_epoch}
        step, position = 0, None
        if step_in_epoch is not None:
            step = self.position.first_step + self.position.updated
            position = getattr(self.sampler, "position", lambda _: None)(step)
        state = {
            "epoch": epoch,
            "step": step,
            "step_in_epoch": step_in_epoch or 0,
            "total_steps": self.position.total_steps,
            **trained,
            "ranking": {"validated": self.ranking.validated, "ranked": self.ranking.ranked},
            "world_size": self.settings.world_size,
            "position": position,  # in the epoch's clips, of our sampler; None of FunASR's
            "batches": self.settings.batches,
        }
        resume_points.add(self.exp, name, content, state, instead_of=self.gradients.untried)
        self.gradients.untried = name
        self.write_ranking()
        resume_points.sweep(self.exp, set(self.ranking.ranked))

    def write_ranking(self, finished: bool = False) -> None:
        """Write checkpoints.json, and have model.pt.best be the best of it."""
        metric, ranked = self.ranking.metric, self.ranking.ranked
        if ranked:
            checkpoint.link(self.exp / checkpoint.best_first(ranked, metric)[0], self.exp / checkpoint.BEST)
        checkpoint.write_ranking(self.exp, metric, ranked, self.epochs_done, finished)

    def resume(self) -> EpochStart | int:
        """Resume from the newest whole checkpoint; return where its epoch goes on, 0 at an epoch's start."""
        newest = resume_points.newest_whole(self.exp, logger.info, self.settings.rank, self.engine.group)
        if newest is None:
            return 0
        point, weights, state = newest
        model, position = self.engine.plain_model, self.position
        if self.settings.adapters:
            lora.load_trained(model, weights["state_dict"])
        else:
            model.load_state_dict(weights["state_dict"])
        self.engine.load(state)
        self.ranking.validated, self.ranking.ranked = state["ranking"]["validated"], state["ranking"]["ranked"]
        self.gradients.untried = point.weights
        position.epoch = self.epochs_done = state["epoch"]
        position.step_in_epoch, position.total_steps = state["step_in_epoch"], state["total_steps"]
        start = self._start_of_epoch(state)
        if self.settings.rank == 0:
            self._tidy(point)
        step = f", step {start.step + 1}" if start else ""
        logger.info(f"resumed from {self.exp.name}/{point.weights} at epoch {position.epoch + 1}{step}")
        return start

    def _start_of_epoch(self, state: dict[str, Any]) -> EpochStart | int:
        """Our sampler goes on exactly under any settings; FunASR's only under those that the checkpoint was made by."""
        batches, world_size = self.settings.batches, self.settings.world_size
        if not state["step"]:
            return 0
        if state["position"] is not None and batches.startswith(DEFAULT_SAMPLER):
            return EpochStart(state["step"], state["position"])
        if (state["batches"], state["world_size"]) == (batches, world_size):
            return EpochStart(state["step"])
        # step_in_epoch counts on: no checkpoint from here on takes a name that is taken.
        logger.info(
            f"epoch {state['epoch'] + 1} is restarted: within an epoch, FunASR's samplers cannot be resumed exactly"
            " under another dataset_conf or number of processes"
        )
        return 0

    def _tidy(self, point: resume_points.ResumePoint) -> None:
        """Have the files be those of the checkpoint that was resumed from."""
        for name in self.ranking.drop_missing(self.exp):
            logger.info(f"{name}: file missing; removed from the ranking")
        listed = read_resume_points(self.exp)
        resume_points.keep(self.exp, listed[listed.index(point) :])  # without damaged ones
        resume_points.sweep(self.exp, set(self.ranking.ranked))
        checkpoint.link(self.exp / point.weights, self.exp / checkpoint.LATEST)
        self.write_ranking()
