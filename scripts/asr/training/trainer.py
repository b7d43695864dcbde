"""The Trainer that FunASR's ``train_ds.main`` makes and calls, in place of FunASR's own. The loop is loop.py.

``train_ds.main`` (FunASR 1.4.16) calls, in this order: ``Trainer(…)``, ``warp_model``, ``warp_optim_scheduler``,
``resume_checkpoint``; for each epoch from ``start_epoch`` to ``max_epoch`` ``train_epoch``, ``validate_epoch`` and
``save_checkpoint``; ``close``. What else it passes and sets is not used here. Of FunASR's training are used: ``main``
itself, AutoModel, the optimizers and schedules, autocast and ``to_device`` (engine.py), and the means of a validation
(validation.py).
"""

from __future__ import annotations

import logging
import re
from typing import Any

import torch
import torch.distributed as dist
from tensorboardX import SummaryWriter

from asr.audio.unreadable import Unreadable
from asr.core.metrics import METRICS
from asr.core.processes import person_asked, saves_on_stop, stop_asked
from asr.core.run_folder import RunFolder
from asr.progress.reporter import Progress, Step
from asr.training import loop
from asr.training.accumulation import Accumulator
from asr.training.batch_parts import Batch, Stats, padded_frames
from asr.training.checkpoints.checkpoint import name_of
from asr.training.engine import TorchEngine
from asr.training.gradients import GradientGuard
from asr.training.position import Position
from asr.training.ranking import Ranking
from asr.training.resume import Resumer
from asr.training.settings import Settings
from asr.training.validation import Validator

logger = logging.getLogger("asr.progress")

# gloo's destructor, run with Python's lock held, may wait for ever for a thread that waits for that lock: what holds a
# process group is not freed before the process ends (worker.leave).
_TO_THE_END: list[Any] = []


class Stopped(KeyboardInterrupt):
    """The run was asked to stop, and has saved."""


class EarlyStop(Exception):  # noqa: N818 - no error: a run that ends well
    """The ranking has not improved for early_stopping_patience validations: the run is complete, and was closed."""


def progress_of(settings: Settings) -> Progress:
    """Return what shows and keeps a run's progress; on a terminal with a bar, which has the steps' lines off it."""
    first = settings.rank == 0
    writer = SummaryWriter(str(RunFolder(settings.exp).tensorboard)) if first else None
    progress = Progress(settings.max_epoch, settings.log_interval, writer, settings.world_size, first)
    if progress.bar is not None:
        for handler in logger.handlers:
            handler.addFilter(lambda record: not re.match(r"epoch \d+/", record.getMessage()))
    return progress


class Trainer:
    """See the module.

    Args:
        engine: TorchEngine, or one with its methods.
        conf: see settings.Settings.
    """

    use_fp16 = use_fsdp = use_deepspeed = False  # as train_ds.main has it; of DeepSpeed's engine it knows nothing
    start_data_split_i = avg_nbest_model = 0

    def __init__(self, *, engine: type[TorchEngine] = TorchEngine, **conf: Any) -> None:
        settings = self.settings = Settings(**conf)
        self.rank, self.max_epoch, self.output_dir = settings.rank, settings.max_epoch, str(settings.exp)
        initialised = settings.several and dist.is_initialized()
        self.engine = engine(settings, dist.new_group(backend="gloo") if initialised else None)
        self.position, self.start_step = Position(), 0
        self.ranking = Ranking(settings.ranking, settings.keep_nbest_models, settings.patience)
        self.gradients = GradientGuard(settings)
        self.accumulator = Accumulator(self.engine, self.position)
        self.validator = Validator(self.engine, self.before_validation_batch)
        self.resumer = Resumer(self.engine, self.position, self.ranking, self.gradients)
        self.progress = progress_of(settings)
        self.unreadable: dict[str, Unreadable] = {}
        self.audio_frames = self.padded_frames = 0
        self.val_loss_avg = float("nan")

    # --- what train_ds.main calls -----------------------------------------------------------------------------------

    def warp_model(self, model: torch.nn.Module, **_: Any) -> torch.nn.Module:
        """Return the model on its device, data-parallel where several processes train."""
        return self.engine.wrap_model(model)

    def warp_optim_scheduler(self, model: torch.nn.Module, **kwargs: Any) -> tuple[Any, Any, Any]:
        """Return the model, and the optimizer and schedule that the configuration names."""
        return self.engine.wrap_optimizer(model, kwargs)

    def resume_checkpoint(self, model: Any, optim: Any, scheduler: Any, **_: Any) -> None:
        """Take what is to be trained, and resume from the newest whole checkpoint."""
        self.engine.attach(model, optim, scheduler)
        if self.settings.resume:
            self.start_step = self.resumer.resume()

    @property
    def start_epoch(self) -> int:
        """Return the epoch to begin with."""
        return self.position.epoch

    def train_epoch(self, dataloader_train: Any, epoch: int, dataloader_val: Any = None, **_: Any) -> None:
        """Train on what is left of an epoch."""
        start, self.start_step = self.start_step, 0
        self.position.begin_epoch(epoch, start.step if start else 0)
        self.resumer.sampler = dataloader_train.batch_sampler
        dataloader_train.batch_sampler.set_epoch(epoch)
        _TO_THE_END[:] = [self]
        saves_on_stop.set()
        loop.train_epoch(self, dataloader_train, dataloader_val)

    def validate_epoch(self, dataloader_val: Any, epoch: int, step_in_epoch: int | None = None, **_: Any) -> None:
        """Validate after ``epoch`` epochs, or at a step within it."""
        values, name = self.validator.run(dataloader_val, epoch), name_of(epoch, step_in_epoch)
        self.val_loss_avg = float("nan") if values["loss"] is None else values["loss"]
        self.ranking.validate(name, values[METRICS[self.ranking.metric].record])
        if self.rank == 0:
            self.progress.validated(name, {**values, "loss": self.val_loss_avg}, self.position.total_steps)

    def save_checkpoint(self, epoch: int, **_: Any) -> None:
        """Save the end of an epoch. EarlyStop where the ranking has not improved for long enough."""
        self.resumer.save(epoch, within=False)
        self.position.step_in_epoch = 0
        if self.ranking.is_exhausted:
            why = f"no better {self.ranking.metric} in {self.ranking.patience} validations"
            logger.info(f"stopped early: {why}")
            self.close()
            raise EarlyStop(why)

    def close(self) -> None:
        """Mark the run as complete in checkpoints.json."""
        if self.rank == 0:
            self.resumer.write_ranking(finished=True)
            self.progress.close()
        if self.engine.several:
            dist.barrier()
            dist.destroy_process_group()

    # --- what the loop calls ----------------------------------------------------------------------------------------

    def make_up_for_validation(self, loader: Any) -> None:
        """Validate first where the run was stopped after a step that was to be validated, before that was done."""
        step = self.position.step_in_epoch
        due = self.position.first_step and step % self.settings.validate_interval == 0
        if due and name_of(self.position.epoch, step) not in self.ranking.validated:
            self.validate_and_save_if_due(loader)

    def validate_and_save_if_due(self, loader: Any) -> None:
        """Validate and save where their intervals say."""
        step = self.position.step_in_epoch
        if step % self.settings.validate_interval == 0:
            self.validate_epoch(loader, self.position.epoch, step)
        if step % self.settings.save_checkpoint_interval == 0:
            self.resumer.save(self.position.epoch, within=True)

    def before_training_batch(self, batch: Batch) -> None:
        """Count the audio of a batch while it is in the CPU's memory, and name its unreadable clips."""
        self._name_unreadable("training", batch)
        self.audio_frames += int(batch["speech_lengths"].sum())
        self.padded_frames += padded_frames(batch)

    def before_validation_batch(self, batch: Batch, even: bool) -> None:
        """Stop here if asked to, where all processes have as many batches; name unreadable clips."""
        if self.engine.group is None or even:
            self.stop_if_asked()
        self._name_unreadable("validation", batch)

    def _name_unreadable(self, name: str, batch: Batch) -> None:
        for clips, *clip in batch.get("unreadable", ()):  # a warning is logged on whichever rank it is
            new = Unreadable(name, clips, self.settings.max_unreadable, logger.warning)
            self.unreadable.setdefault(name, new).add(*clip)

    def stop_if_asked(self) -> None:
        """Save and stop, on all processes, where one of them was asked to."""
        stop, by_person = stop_asked.is_set(), person_asked.is_set()
        if self.engine.group is not None:
            asked = torch.tensor([int(stop), int(by_person)])
            dist.all_reduce(asked, op=dist.ReduceOp.MAX, group=self.engine.group)
            stop, by_person = asked.tolist()
        if by_person:
            person_asked.set()
        if stop:
            self.resumer.save(self.position.epoch, within=True)
            raise Stopped

    def log(self, loss: torch.Tensor, stats: Stats, steps: int, waited: float) -> None:
        """Tell a step's numbers, as tensors, to what shows and keeps them."""
        if self.rank == 0:
            position, seconds = self.position, self.settings.seconds_per_frame
            self.progress.update(
                Step(
                    epoch=position.epoch,
                    step=position.step,
                    steps_in_epoch=position.first_step + steps,
                    total_steps=position.total_steps,
                    loss=loss,
                    accuracy=stats.get("acc"),
                    lr=self.engine.scheduler.get_last_lr()[0],
                    audio_seconds=self.audio_frames * seconds,
                    waited=waited,
                    padded_seconds=self.padded_frames * seconds,
                )
            )
        self.audio_frames = self.padded_frames = 0
