"""DeepSpeed in place of torch's DDP: ZeRO-1 and ZeRO-2, which share out the optimizer's state by rank.

Weights are whole on every rank, so checkpoints are the usual ones, which stage 4 averages. The optimizer's shards are
gathered on the first rank and kept in the state file of a resume point: whole or not there, checked, and for the newest
two only, as without DeepSpeed. A run is resumed exactly, with as many processes as before.

DeepSpeed exchanges and clips the gradients (by train_conf.grad_clip) and takes the step, unless the gradient is
non-finite, which we report and count. A step that runs out of memory is not split.
"""

from __future__ import annotations

import contextlib
from typing import Any

import torch
import torch.distributed as dist

from asr.config.deepspeed import engine_config
from asr.core.errors import RecipeError
from asr.training.engine import TorchEngine
from asr.training.settings import Settings


def _on_cpu(value: Any) -> Any:
    """Return a copy of nested dicts and lists with all tensors on the CPU."""
    if torch.is_tensor(value):
        return value.detach().cpu()
    if isinstance(value, dict):
        return type(value)((key, _on_cpu(each)) for key, each in value.items())
    return [_on_cpu(each) for each in value] if isinstance(value, list) else value


class DeepSpeedEngine(TorchEngine):
    """See the module."""

    can_split = False  # out of memory, gradients have been exchanged already
    divides_in_backward = True  # gradients are exchanged, and shared out, in the backward pass
    looks_later = False

    def __init__(self, settings: Settings, group: Any = None) -> None:
        super().__init__(settings, group)
        self.dtype = torch.float32  # DeepSpeed casts, and refuses another's casting around it

    def wrap_model(self, model: torch.nn.Module) -> torch.nn.Module:
        """Return the model as it is: DeepSpeed takes it to its GPU itself."""
        return model

    def wrap_optimizer(self, model: torch.nn.Module, conf: dict[str, Any]) -> tuple[Any, Any, Any]:
        """Return DeepSpeed's engine, its optimizer, and FunASR's schedule of the YAML's optimizer."""
        import deepspeed

        _, optimizer, scheduler = super().wrap_optimizer(model, conf)
        engine, optimizer, _, _ = deepspeed.initialize(
            model=model,
            optimizer=optimizer,
            model_parameters=[value for value in model.parameters() if value.requires_grad],
            config=engine_config(self.settings.model_dump(), self.settings.use_bf16),
        )
        return engine, optimizer, scheduler

    def backward(self, loss: torch.Tensor) -> None:
        """Add the gradients of a loss, and exchange them."""
        self.model.backward(loss)

    def exchange(self, now: bool) -> contextlib.AbstractContextManager[None]:
        """Return a context without effect."""
        return contextlib.nullcontext()

    def step(self) -> torch.Tensor:
        """Let DeepSpeed clip the gradient and move the weights, unless it is non-finite; return its norm."""
        self.model.step()
        return torch.as_tensor(float(self.model.get_global_grad_norm()))

    def state(self) -> dict[str, Any]:
        """Return what is saved: the shards of all ranks, on the first one and in the CPU's memory."""
        own = _on_cpu(self.optimizer.state_dict())
        own.pop("param_slice_mappings", None)  # for DeepSpeed's own universal checkpoints
        shards: list[Any] | None = [own]
        if self.group is not None:
            shards = [None] * self.settings.world_size if self.settings.rank == 0 else None
            dist.gather_object(own, shards, dst=0, group=self.group)
        return {"optimizer": shards, "scheduler": self.scheduler.state_dict()}

    def _load_optimizer(self, saved: Any, groups: list[dict[str, Any]]) -> None:
        """Take this rank's shard. RecipeError where the shards are of another number of ranks or another stage."""
        if len(saved) != self.settings.world_size:
            raise RecipeError(
                f"training: saved by DeepSpeed on {len(saved)} processes, and there are {self.settings.world_size};"
                " resume with as many (--ngpu, machines), or give --restart"
            )
        if int(saved[0]["zero_stage"]) != int(self.optimizer.state_dict()["zero_stage"]):
            raise RecipeError(
                "training: saved under another stage of ZeRO; set train_conf.deepspeed_config as it was, or --restart"
            )
        limit = self.optimizer.clip_grad  # as everywhere, what the YAML says now
        self.optimizer.load_state_dict(saved)
        self.optimizer.clip_grad = limit
