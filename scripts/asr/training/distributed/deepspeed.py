"""Our trainer with DeepSpeed's engine under it: ZeRO-1 and ZeRO-2, which share out the optimizer's state by rank.

Weights are whole on every rank, so checkpoints are the usual ones, which stage 4 averages. The optimizer's shards are
gathered on the first rank and kept in the state file of a save: whole or not there, checked, and for the newest two
saves only, as without DeepSpeed. A run goes on exactly, with as many processes as before.

What DeepSpeed does in place of ours: the exchange of gradients, clipping (by train_conf.grad_clip) and the step; a
gradient that is no number is left out by it, and told and counted by us. A step that runs out of memory is not split.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
import torch.distributed as dist

from asr.config.deepspeed import engine_config
from asr.core.errors import RecipeError
from asr.training.epoch import Batch
from asr.training.trainer import RecipeTrainer


class ShardedOptimizer:
    """DeepSpeed's optimizer as the trainer saves one: ``state_dict`` is a list, a shard for each rank.

    ``gather`` first, on all ranks together: ``state_dict`` is asked for on the first alone. ``group`` is a group of
    gloo's, None for one process.
    """

    def __init__(self, optimizer: Any, group: Any) -> None:
        self.optimizer, self.group = optimizer, group
        self.shards: list[dict[str, Any]] | None = None

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """The learning rate and other settings, each group with this rank's shard of the parameters."""
        return self.optimizer.param_groups

    def zero_grad(self, **_: Any) -> None:
        """Let go of gradients."""
        self.optimizer.zero_grad()

    def gather(self) -> None:
        """Bring every rank's shard to the first rank, in the processor's memory."""
        own = _on_processor(self.optimizer.state_dict())
        own.pop("param_slice_mappings", None)  # for DeepSpeed's own universal checkpoints
        if self.group is None:
            self.shards = [own]
            return
        first = dist.get_rank() == 0
        self.shards = [None] * dist.get_world_size() if first else None
        dist.gather_object(own, self.shards, dst=0, group=self.group)

    def state_dict(self) -> list[dict[str, Any]]:
        """What was gathered; let go of, as it is as large as the whole optimizer."""
        shards, self.shards = self.shards, None
        return shards

    def load_state_dict(self, shards: list[dict[str, Any]]) -> None:
        """Take this rank's shard. RecipeError where the shards are of another number of ranks or another stage."""
        ranks = 1 if self.group is None else dist.get_world_size()
        if len(shards) != ranks:
            raise RecipeError(
                f"training: saved by DeepSpeed on {len(shards)} processes, and there are {ranks}; go on with as many"
                " (--ngpu, machines), or give --restart"
            )
        stages = {int(shards[0]["zero_stage"]), int(self.optimizer.state_dict()["zero_stage"])}
        if len(stages) > 1:
            raise RecipeError(
                "training: saved under another stage of ZeRO; set train_conf.deepspeed_config as it was, or --restart"
            )
        limit = self.optimizer.clip_grad  # as everywhere, what the YAML says now
        self.optimizer.load_state_dict(shards)
        self.optimizer.clip_grad = limit


def _on_processor(value: Any) -> Any:
    """A copy of nested dicts and lists whose tensors are not on a GPU."""
    if torch.is_tensor(value):
        return value.detach().cpu()
    if isinstance(value, dict):
        return type(value)((key, _on_processor(item)) for key, item in value.items())
    return [_on_processor(item) for item in value] if isinstance(value, list) else value


class DeepSpeedTrainer(RecipeTrainer):
    """See the module. Takes FunASR's ``use_deepspeed`` and ``deepspeed_config``."""

    def __init__(
        self, *, use_deepspeed: bool = True, deepspeed_config: str = "", world_size: int = 1, **kwargs: Any
    ) -> None:
        # FunASR's own DeepSpeed paths save folders that are not atomic and cast to what the JSON does not say; between
        # the processes all is as with DDP.
        kwargs["use_ddp"] = world_size > 1
        super().__init__(use_deepspeed=False, world_size=world_size, **kwargs)
        self.conf = {"deepspeed_config": deepspeed_config, "grad_clip": self.grad_clip}
        self.conf["bf16"] = self.dtype == torch.bfloat16
        self.dtype = torch.float32  # the engine casts, and refuses another's casting around it
        if world_size == 1:
            self.agreement = None

    def warp_model(self, model: torch.nn.Module, **_: Any) -> torch.nn.Module:
        """The engine takes the model to its GPU itself."""
        return model

    def warp_optim_scheduler(self, model: torch.nn.Module, **kwargs: Any) -> tuple[Any, ShardedOptimizer, Any]:
        """The engine, its optimizer and FunASR's schedule of the YAML's optimizer, whose steps we count."""
        import deepspeed

        plain, optim, scheduler = super().warp_optim_scheduler(model, **kwargs)
        bf16 = self.conf.pop("bf16")
        engine, optimizer, _, _ = deepspeed.initialize(
            model=plain,
            optimizer=optim,
            model_parameters=[value for value in plain.parameters() if value.requires_grad],
            config=engine_config(self.conf, bf16),
        )
        return engine, ShardedOptimizer(optimizer, self.agreement), scheduler

    def backward_step(self, model: Any, scaler: Any, loss_dict: dict[str, Any] | None = None) -> None:
        """The engine's: it exchanges gradients meanwhile."""
        model.backward(loss_dict["loss"])

    def update_step(self, model: Any, optim: Any, scheduler: Any, scaler: Any, loss_dict: Any = None) -> None:
        """The engine's step, which leaves out a gradient that is no number; then ours."""
        model.step()
        if self._is_finite(torch.as_tensor(float(model.get_global_grad_norm())), loss_dict):
            scheduler.step()
        self.updated(loss_dict["epoch"], loss_dict["batch_idx"] + 1)

    def save_checkpoint(self, epoch: Any, step: Any = None, model: Any = None, **kwargs: Any) -> None:
        """The usual save, with every rank's shard in it."""
        kwargs["optim"].gather()
        super().save_checkpoint(epoch, step=step, model=model, **kwargs)

    def _unit(self) -> float:
        return self._whole()  # gradients are exchanged, and shared out, in the backward pass

    def _divide(self) -> None:
        pass

    def _fits(self, batch: Batch, loss_dict: dict[str, Any]) -> bool:
        self._accumulate(batch, loss_dict)  # out of memory, gradients have been exchanged already
        return True

    @contextlib.contextmanager
    def _sends_gradients(self, model: Any, sends: bool) -> Iterator[None]:
        yield
