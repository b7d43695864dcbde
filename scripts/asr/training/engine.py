"""Forward and backward pass and the update of the weights, in one process or in several by torch's DDP.

distributed/deepspeed.py has another engine with the same methods. The model, its optimizer and its schedule are those
that ``train_ds.main`` holds, and are saved and loaded here.
"""

from __future__ import annotations

import contextlib
import math
from typing import Any

import torch
import torch.distributed as dist
from funasr.optimizers import optim_classes
from funasr.schedulers import scheduler_classes
from funasr.train_utils.device_funcs import to_device
from funasr.train_utils.trainer_ds import maybe_autocast
from torch.nn.parallel import DistributedDataParallel

from asr.training.batch_parts import Batch, Stats
from asr.training.settings import Settings

NOT_THE_MODELS = ("unreadable", "blank", "target")  # what a batch holds beside the model's arguments
# What a scheduler counts, as opposed to how it is set: on resume it is kept, and the settings follow the YAML.
SCHEDULER_STATE = ("last_epoch", "_step_count", "_last_lr", "_get_lr_called_within_step", "_is_initial")


class TorchEngine:
    """A model, its optimizer and its schedule.

    Args:
        group: gloo's process group of all processes, None for one: counts and stops are agreed on without the GPU.
    """

    can_split = True  # whether a step that runs out of memory can be taken again, in parts
    divides_in_backward = False  # whether gradients must be whole and divided in the backward pass

    def __init__(self, settings: Settings, group: Any = None) -> None:
        self.settings, self.group, self.several = settings, group, settings.several
        self.dtype = torch.bfloat16 if settings.use_bf16 else torch.float32
        self.device = "cpu" if settings.cpu else "cuda"  # the one that train_ds.main has set for this process
        self.model = self.optimizer = self.scheduler = None

    def wrap_model(self, model: torch.nn.Module) -> torch.nn.Module:
        """Return the model on the device, data-parallel where several processes train.

        DDP's own exchange of buffers (BatchNorm's) comes with every forward pass: one that runs out of memory and is
        taken again would exchange once more than the others do, and all would wait for ever. See ``share_buffers``.
        """
        model = model.to(self.device)
        if not self.several:
            return model
        unused = self.settings.find_unused_parameters
        return DistributedDataParallel(model, find_unused_parameters=unused, broadcast_buffers=False)

    def wrap_optimizer(self, model: torch.nn.Module, conf: dict[str, Any]) -> tuple[Any, Any, Any]:
        """Return the model, and the optimizer and schedule that a configuration names, of FunASR's."""
        optimizer = optim_classes[conf["optim"]](model.parameters(), **conf["optim_conf"])
        return model, optimizer, scheduler_classes[conf["scheduler"]](optimizer, **conf["scheduler_conf"])

    def attach(self, model: Any, optimizer: Any, scheduler: Any) -> None:
        """Take what is trained from here on."""
        self.model, self.optimizer, self.scheduler = model, optimizer, scheduler

    @property
    def plain_model(self) -> Any:
        """Return the model without what is wrapped around it."""
        return getattr(self.model, "module", self.model)

    def share_buffers(self) -> None:
        """Have all processes take the first one's buffers, which are what is validated and saved."""
        if self.several:
            for value in self.plain_model.buffers():
                dist.broadcast(value, src=0)

    def forward(self, batch: Batch) -> tuple[torch.Tensor, Stats]:
        """Return loss and statistics of a batch.

        A batch of which no clip can be read weighs nothing: a step for the other processes' sake.
        """
        given = {name: value for name, value in batch.items() if name not in NOT_THE_MODELS}
        with maybe_autocast(dtype=self.dtype):
            loss, stats, _ = self.model(**to_device(given, self.device, non_blocking=True))
        stats = {name: value for name, value in stats.items() if value is not None}
        if batch.get("blank"):
            return loss * 0, {name: value * 0 for name, value in stats.items()}
        return loss, stats

    def backward(self, loss: torch.Tensor) -> None:
        """Add the gradients of a loss."""
        loss.backward()

    def exchange(self, now: bool) -> contextlib.AbstractContextManager[None]:
        """Return a context whose backward pass exchanges gradients with the other processes, or does not."""
        return contextlib.nullcontext() if now or not self.several else self.model.no_sync()

    @property
    def looks_later(self) -> bool:
        """Return whether the optimizer skips a non-finite gradient by itself, so that its norm can be read later."""
        return bool(self.optimizer.defaults.get("fused"))

    def step(self) -> torch.Tensor:
        """Clip the gradient, move the weights unless it is non-finite, and return its norm."""
        limit = self.settings.grad_clip or math.inf
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), max_norm=limit)
        if self.looks_later:  # a fused optimizer decides on the GPU: no host-device synchronisation
            self.optimizer.found_inf = torch.isfinite(norm).logical_not().float()
            self.optimizer.step()
        elif torch.isfinite(norm):
            self.optimizer.step()
        return norm

    def state(self) -> dict[str, Any]:
        """Return what is saved of the optimizer and the schedule. Called on all processes."""
        return {"optimizer": self.optimizer.state_dict(), "scheduler": self.scheduler.state_dict()}

    def load(self, state: dict[str, Any]) -> None:
        """Take a ``state``, with the settings of optimizer and schedule that the YAML says now."""
        own = [{key: value for key, value in group.items() if key != "params"} for group in self.optimizer.param_groups]
        saved = state["scheduler"]
        self._load_optimizer(state["optimizer"], own)
        vars(self.scheduler).update({key: saved[key] for key in SCHEDULER_STATE if key in saved})
        for group, settings, rate in zip(self.optimizer.param_groups, own, self.scheduler.get_lr(), strict=True):
            group.update(settings, lr=rate)

    def _load_optimizer(self, saved: Any, own: list[dict[str, Any]]) -> None:
        for group, settings in zip(saved["param_groups"], own, strict=True):
            group.update(settings)  # torch puts Adam's step on the GPU where the *saved* group is fused
        self.optimizer.load_state_dict(saved)
