"""FunASR's Trainer made to stop and go on exactly: saves, randomness, Ctrl-C, ranking, early stopping.

A resumed run ends with the weights of one that was never stopped, bit for bit, where the arithmetic itself repeats (on
the processor it does; on a GPU only with deterministic kernels). Instead of keeping the states of random number
generators, each step seeds them by (seed, epoch, step, rank), so nothing depends on what was drawn before. The clips'
own randomness is seeded by utterance and epoch (dataset.py), their order by epoch (samplers.py).
"""

from __future__ import annotations

import hashlib
import logging
import math
import os
import random
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.distributed as dist

from asr.core.processes import person_asked, saves_on_stop, stop_asked
from asr.data.dataloader import DEFAULT_SAMPLER as EXACT
from asr.data.dataloader import resume_at
from asr.models import lora
from asr.training.checkpoints import checkpoint, resume_points
from asr.training.updates import UpdatingTrainer

logger = logging.getLogger("asr.progress")

# What a scheduler counts, as opposed to how it is set: kept on resume while the settings follow the YAML.
SCHEDULER_STATE = ("last_epoch", "_step_count", "_last_lr", "_get_lr_called_within_step", "_is_initial")


class Stopped(KeyboardInterrupt):
    """The run was asked to stop, and has saved."""


class EarlyStop(Exception):  # noqa: N818 - no error: a run that ends well
    """The ranking has not improved for early_stopping_patience validations: the run is complete."""

    def __init__(self, trainer: Any, why: str) -> None:
        super().__init__(why)
        self.trainer = trainer


# gloo's destructor, run with Python's lock held, may wait for ever for a thread that waits for that lock: what holds a
# process group is not freed before the process ends (train_worker.py).
_TO_THE_END: list[Any] = []


class Parts(NamedTuple):
    """What is saved of a run, beside the trainer's own numbers."""

    model: Any
    optim: Any
    scheduler: Any
    scaler: Any


class ResumableTrainer(UpdatingTrainer):
    """See the module.

    Args:
        ranking: "cer", "acc" or "loss".
        patience: of early stopping; 0 for none.
        adapters: whether the model is adapted, so that what is saved is what was trained (asr.models.lora).
        batches: what an epoch's batches are made by, in words that are others where the batches are.
    """

    def __init__(
        self,
        *,
        ranking: str = "cer",
        seed: int = 0,
        patience: int = 0,
        adapters: bool = False,
        batches: str = "",
        **kwargs: Any,
    ) -> None:
        self.seed, self.patience, self.adapters, self.batches = seed, patience, adapters, batches
        super().__init__(ranking=ranking, **kwargs)
        self.parts: Parts | None = None
        self.sampler: Any = None  # of the epoch; ours knows the place within it that any batch size can go on from
        self.place = (0, 0)  # epoch, and batches of it that are done since first_step
        self.first_step = 0
        self.validations: list[float] = []  # values that rank, oldest first: lower is better
        self.validating = False
        self.even = False  # whether all processes have as many batches of the validation: they can agree in it
        # Stops are agreed on by the processors, so that no GPU has to be waited for.
        self.agreement = dist.new_group(backend="gloo") if dist.is_initialized() else None

    def begin_epoch(self, epoch: int, first_step: int, loader: Any, parts: dict[str, Any]) -> None:
        """Remember the step that the epoch starts at: FunASR forgets it in a second resume and replays data."""
        self.first_step = first_step
        self.place = (epoch, 0)
        self.parts = Parts(**parts)
        self.sampler = getattr(loader, "batch_sampler", None)
        _TO_THE_END[:] = [self.parts]
        saves_on_stop.set()

    def seed_step(self, epoch: int | str, step: int) -> None:
        """Seed every generator that a model draws from (dropout, SpecAugment, sampled decoding)."""
        words = f"{self.seed} {epoch} {step} {self.rank}"
        number = int.from_bytes(hashlib.sha256(words.encode()).digest()[:8], "big") >> 1
        random.seed(number)
        np.random.seed(number & 0xFFFFFFFF)
        torch.manual_seed(number)

    def updated(self, epoch: int, done: int) -> None:
        """Remember the place; save and stop here where a stop was asked for."""
        self.place = (epoch, done)
        if self._stop_is_agreed():
            self._save_and_stop()

    def _stop_is_agreed(self) -> bool:
        if self.agreement is None:
            return stop_asked.is_set()
        asked = torch.tensor([int(stop_asked.is_set()), int(person_asked.is_set())])
        dist.all_reduce(asked, op=dist.ReduceOp.MAX, group=self.agreement)
        stops, by_person = asked.tolist()
        if by_person:
            person_asked.set()
        return bool(stops)

    def stop_in_validation(self) -> None:
        """Called for each batch of a validation: save and stop here, where all processes have as many batches."""
        if (self.agreement is None or self.even) and self._stop_is_agreed():
            self._save_and_stop()

    def _save_and_stop(self) -> None:
        epoch, done = self.place
        self.save_checkpoint(epoch, step=done, step_in_epoch=self.step_in_epoch, **self.parts._asdict())
        raise Stopped

    def save_checkpoint(self, epoch: Any, step: Any = None, model: Any = None, **kwargs: Any) -> None:
        """Weights under their own name, then the state to go on from, then the ranking; each whole or not there.

        At the end of an epoch EarlyStop is raised where the ranking has not improved for ``patience`` validations.
        """
        self.look()
        if self.use_ddp:
            dist.barrier()
        if self.rank == 0:
            self._save(epoch, step, model, **kwargs)
        if self.use_ddp:
            dist.barrier()
        if step is None and self.patience and len(self.validations) > self.patience:
            comparable = [value if math.isfinite(value) else math.inf for value in self.validations]
            best = min(range(len(comparable)), key=comparable.__getitem__)
            if len(self.validations) - 1 - best >= self.patience:
                raise EarlyStop(self, f"no better {self.ranking} in {self.patience} validations")

    def _save(
        self,
        epoch: Any,
        step: Any,
        model: Any,
        optim: Any = None,
        scheduler: Any = None,
        scaler: Any = None,
        step_in_epoch: Any = None,
        **more: Any,
    ) -> None:
        in_epoch = None if step is None else step_in_epoch
        name = f"{checkpoint.LATEST}.ep{epoch}" if step is None else f"{checkpoint.LATEST}.ep{epoch}.{in_epoch}"
        folder = Path(self.output_dir)
        self.rank_save(name)
        self.epochs_done = epoch
        state = {
            "epoch": epoch,
            "step": None if step is None else step + self.first_step,
            "step_in_epoch": in_epoch,
            "optimizer": optim.state_dict(),
            "scheduler": scheduler.state_dict(),
            **({"scaler_state": scaler.state_dict()} if scaler else {}),
            "saved_ckpts": dict(self.saved_ckpts),
            "val_acc_step_or_epoch": self.val_acc_step_or_epoch,
            "val_loss_step_or_epoch": self.val_loss_step_or_epoch,
            "best_step_or_epoch": self.best_step_or_epoch,
            "validations": list(self.validations),
            "data_split_i": more.get("data_split_i", 0),
            "batch_total": self.batch_total,
            "world_size": self.world_size,
            "position": self._position(step),
            "batches": self.batches,
        }
        model = getattr(model, "module", model)
        weights = lora.trained_state(model) if self.adapters else model.state_dict()
        content = {"state_dict": weights, "epoch": epoch, "step_in_epoch": in_epoch}
        resume_points.add_save(folder, name, content, state, instead_of=self.untried)
        self.untried = name
        if self.best_step_or_epoch == name:
            checkpoint.link(folder / name, folder / checkpoint.BEST)
        self.write_ranking()
        resume_points.sweep(folder, set(self.saved_ckpts))

    def _position(self, step: int | None) -> Any:
        """Where in the epoch's clips the run is, for our sampler; None at an epoch's end and for FunASR's samplers."""
        position = getattr(self.sampler, "position", None)
        return position(step + self.first_step) if step is not None and position else None

    def resume_checkpoint(
        self, model: Any = None, optim: Any = None, scheduler: Any = None, scaler: Any = None
    ) -> None:
        """Go on from the newest whole save, with the optimizer's settings and the schedule that the YAML says now."""
        folder = Path(self.output_dir)
        tell = logger.info if self.rank == 0 else (lambda _: None)
        found = self._newest(folder, tell) if self.resume else None
        lost: list[str] = []
        if found:
            save, weights, state = found
            model = getattr(model, "module", model)
            if self.adapters:
                lora.load_trained(model, weights["state_dict"])
            else:
                model.load_state_dict(weights["state_dict"])
            self._restore(state, optim, scheduler, scaler)
            self.untried = save.weights
            lost = self.forget_lost(folder)
        if self.use_ddp:
            dist.barrier()
        if found and self.rank == 0:
            for name in lost:
                tell(f"{name} is gone: it is ranked no more")
            listed = resume_points.read_saves(folder)
            resume_points.keep(folder, listed[listed.index(save) :])  # damaged ones are left out
            resume_points.sweep(folder, set(self.saved_ckpts))
            checkpoint.link(folder / save.weights, folder / checkpoint.LATEST)
            if self.best_step_or_epoch:
                checkpoint.link(folder / self.best_step_or_epoch, folder / checkpoint.BEST)
            self.write_ranking()
            where = f"epoch {self.start_epoch + 1}" + (f", step {self.start_step + 1}" if self.start_step else "")
            tell(f"going on from {os.path.basename(self.output_dir)}/{save.weights} at {where}")

    def _newest(self, folder: Path, tell: Any) -> Any:
        if self.agreement is None:
            return resume_points.newest_whole(folder, tell)
        return resume_points.agreed(folder, tell, self.rank, self.agreement)

    def _restore(self, state: dict[str, Any], optim: Any, scheduler: Any, scaler: Any) -> None:
        groups = [{key: value for key, value in group.items() if key != "params"} for group in optim.param_groups]
        settings = {k: v for k, v in vars(scheduler).items() if k not in (*SCHEDULER_STATE, "optimizer")}
        if isinstance(state["optimizer"], dict):  # DeepSpeed's is a list, a shard for each rank
            for saved, configured in zip(state["optimizer"]["param_groups"], groups, strict=True):
                saved.update(configured)  # torch puts Adam's step on the GPU where the *saved* group is fused
        optim.load_state_dict(state["optimizer"])
        scheduler.load_state_dict(state["scheduler"])
        if scaler is not None and "scaler_state" in state:
            scaler.load_state_dict(state["scaler_state"])
        vars(scheduler).update(settings)
        for group, configured in zip(optim.param_groups, groups, strict=True):
            group.update(configured)
        for group, rate in zip(optim.param_groups, scheduler.get_lr(), strict=True):
            group["lr"] = rate
        for name in ("saved_ckpts", "val_acc_step_or_epoch", "val_loss_step_or_epoch", "best_step_or_epoch"):
            setattr(self, name, state[name])
        self.validations, self.batch_total = state["validations"], state["batch_total"]
        self.start_epoch = self.epochs_done = state["epoch"]
        self.start_data_split_i = state["data_split_i"]
        self.start_step, self.step_in_epoch = state["step"] or 0, state["step_in_epoch"] or 0
        then = state.get("batches", self.batches)  # of a checkpoint that does not say: they are taken to be the same
        ours_then, ours_now = state["position"] is not None, self.batches.startswith(EXACT)
        exact = ours_then and ours_now
        resume_at(state["position"] if exact else None)
        others = ours_then != ours_now or then != self.batches or state["world_size"] != self.world_size
        if self.start_step and not exact and others:
            self.start_step = 0  # and not step_in_epoch: what is saved from here on takes no name that is taken
            if self.rank == 0:
                logger.info(
                    f"epoch {self.start_epoch + 1} is begun anew: within an epoch, FunASR's samplers do not go on"
                    " exactly under other dataset_conf or another number of processes"
                )
