"""The training loop."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from asr.training.trainer import Trainer


def train_epoch(trainer: Trainer, loader: Any, validation: Any) -> None:
    """Train on what is left of an epoch, and validate and save at their intervals within it.

    Losses and norms stay tensors, which are read where a line of the log is due: the CPU runs ahead of the GPU.

    Args:
        trainer: its ``position`` stands before the first of the batches.
        loader: the epoch's batches; ``validation``: those of the validation set.
    """
    position, engine, steps = trainer.position, trainer.engine, len(loader)
    engine.model.train()
    engine.optimizer.zero_grad()
    trainer.accumulator.begin_epoch()
    trainer.make_up_for_validation(validation)
    began = time.perf_counter()
    for batch in loader:
        waited = time.perf_counter() - began
        position.advance()
        trainer.before_training_batch(batch)
        # An update every accum_grad batches, counted as checkpoints are, and after the epoch's last batch.
        updates = position.step_in_epoch % trainer.settings.accum_grad == 0 or position.number == steps
        loss, stats = trainer.accumulator.add(batch, updates)  # forward and backward pass, in parts if need be
        if updates:
            norm = engine.step()  # clip the gradient and move the weights, unless it is non-finite
            accepts = trainer.gradients.look_later if engine.looks_later else trainer.gradients.accepts
            if accepts(norm, loss, str(position)):
                engine.scheduler.step()
            engine.optimizer.zero_grad(set_to_none=True)
            position.updated = position.number
            trainer.stop_if_asked()
        trainer.log(loss, stats, steps, waited)
        trainer.validate_and_save_if_due(validation)
        began = time.perf_counter()
