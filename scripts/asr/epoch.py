"""One epoch of training steps: FunASR's loop without its waits for the GPU, and with steps that do not fit in memory.

FunASR reads the loss and the accuracy after every step, so the processor never runs ahead of the GPU; here they stay
tensors until a line is due. A step that runs out of memory is begun again in halves, whose losses are weighted as the
whole batch's would be: the same gradient, dropout aside. The run goes on and says so.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from funasr.train_utils.device_funcs import to_device

from asr.checkpoint import LATEST
from asr.errors import RecipeError
from asr.memory import EXCHANGING, TOO_LARGE, all_too_large, keep_too_large, ran_out_of_memory
from asr.resume import ResumableTrainer

logger = logging.getLogger("asr.progress")
Batch = dict[str, torch.Tensor]


def memory_of(device: str) -> str:
    """Whose memory it is: what did not fit on one card may fit on another."""
    if not str(device).startswith("cuda") and not isinstance(device, int):
        return "processor"
    card = torch.cuda.get_device_properties(device)
    return f"{card.name}, {card.total_memory / 2**30:.1f} GiB"


def parts_of(batch: Batch, count: int) -> list[Batch]:
    """The clips of a batch in ``count`` batches, or as many as it has clips, each padded no more than it must be."""
    clips = len(batch["speech_lengths"])
    count = min(count, clips)
    edges = [clips * number // count for number in range(count + 1)]
    return [_cut(batch, begin, end) for begin, end in itertools.pairwise(edges)]


def _cut(batch: Batch, begin: int, end: int) -> Batch:
    clips = len(batch["speech_lengths"])
    part = {
        name: value[begin:end] if torch.is_tensor(value) and value.dim() and len(value) == clips else value
        for name, value in batch.items()
    }
    for name in list(part):
        lengths = part.get(f"{name}_lengths")
        if lengths is not None and part[name].dim() > 1:
            part[name] = part[name][:, : int(lengths.max())]
    return part


def normaliser(model: Any, batch: Batch) -> int:
    """What FunASR divides a batch's loss by: tokens where the model says length_normalized_loss, else clips.

    0 for a batch of which no clip could be read.
    """
    if batch.get("blank"):
        return 0
    clips = len(batch["speech_lengths"])
    if not getattr(model, "length_normalized_loss", False):
        return clips
    return int(batch["text_lengths"].sum()) + getattr(model, "predictor_bias", 0) * clips


def padded_frames(batch: Batch) -> int:
    """Clips times the longest of them: what a batch takes of the memory."""
    return len(batch["speech_lengths"]) * int(batch["speech_lengths"].max())


class EpochTrainer(ResumableTrainer):
    """See the module."""

    seconds_per_frame = 0.01

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.group: list[Batch] = []  # the batches since the last update: one that has to be begun again needs them all
        self.memory = memory_of(self.device)
        # padded frames of the smallest batch, or part of one, that did not fit, in this process or one before it
        self.too_large = all_too_large(Path(self.output_dir)).get(self.memory)
        self.told_of_parts = False
        self.updates = True  # whether the weights move after the batch
        self.splits = 0
        self.sends = False  # whether gradients are being exchanged with other processes

    def train_epoch(
        self, model: Any, optim: Any, scheduler: Any, scaler: Any, dataloader_train: Any, epoch: int, **more: Any
    ) -> None:
        """The steps of an epoch from ``start_step`` on; validation and saves where their intervals say."""
        parts = {"model": model, "optim": optim, "scheduler": scheduler, "scaler": scaler}
        self.begin_epoch(epoch, more.get("start_step") or 0, dataloader_train, parts)
        model.train()
        optim.zero_grad()
        self.group, self.updates = [], True
        self.tell_of_parts()
        dataloader_train.batch_sampler.set_epoch(epoch)
        if self.first_step and self.validation_is_due(epoch):
            self._at_intervals(0, epoch, more.get("dataloader_val"))
        steps, asked = len(dataloader_train), time.perf_counter()
        for number, batch in enumerate(dataloader_train):
            waited = time.perf_counter() - asked
            self.batch_total += 1
            self.step_in_epoch += 1
            here = {"epoch": epoch, "batch_idx": number, "step_in_epoch": self.step_in_epoch}
            loss_dict = {**here, "batch_num_epoch": steps, "batch_total": self.batch_total, "waited": waited}
            self.heard(batch)
            self.train_batch(batch, loss_dict)
            self.update_step(model, optim, scheduler, scaler, loss_dict=loss_dict)
            loss_dict["lr"] = scheduler.get_last_lr()[0]
            self.log(loss_dict, tag="train")
            self._at_intervals(number + 1, epoch, more.get("dataloader_val"))
            asked = time.perf_counter()

    def tell_of_parts(self) -> None:
        """Once: that batches are begun in parts because of what did not fit before this process."""
        if self.too_large is not None and self.rank == 0 and not self.told_of_parts:
            logger.info(
                f"batches of {self.too_large * self.seconds_per_frame:.0f} s with padding and more are begun in parts:"
                f" they did not fit before ({TOO_LARGE}; remove it to have them tried as a whole)"
            )
        self.told_of_parts = True

    def validation_is_due(self, epoch: int) -> bool:
        """Whether the run stopped at a step after which it was to be validated, before that was done."""
        name = f"{LATEST}.ep{epoch}.{self.step_in_epoch}"
        done = {**self.val_acc_step_or_epoch, **self.val_loss_step_or_epoch}
        return self.step_in_epoch % self.validate_interval == 0 and name not in done

    def heard(self, batch: Batch) -> None:
        """A batch that is about to be trained on, still in the processor's memory."""

    def _at_intervals(self, done: int, epoch: int, dataloader_val: Any) -> None:
        place = {"step": done, "step_in_epoch": self.step_in_epoch}
        if self.step_in_epoch % self.validate_interval == 0:
            self.validate_epoch(model=self.parts.model, dataloader_val=dataloader_val, epoch=epoch, **place)
        if self.step_in_epoch % self.save_checkpoint_interval == 0:
            self.save_checkpoint(epoch, **place, **self.parts._asdict())

    # --- a batch, and what to do where it does not fit --------------------------------------------------------------

    def train_batch(self, batch: Batch, loss_dict: dict[str, Any]) -> None:
        """Add a batch's gradients; where memory runs out, in as many parts as it takes.

        RecipeError where a single clip does not fit. Also where other processes were being sent gradients: those cannot
        be taken back, so the processes begin anew, and know then what did not fit (asr.train).
        """
        if self.updates:
            self.group = []
        self.group.append(batch)
        self.updates = self.completes_update(loss_dict)
        count, clips = 1, len(batch["speech_lengths"])
        while self.too_large is not None and padded_frames(batch) / count >= self.too_large and count < clips:
            count *= 2
        if self._fits(batch, count, loss_dict):
            return
        while True:
            self._give_up(batch, count, loss_dict)
            count *= 2
            if all(self._fits(each, count, loss_dict) for each in self.group):
                return

    def _fits(self, batch: Batch, count: int, loss_dict: dict[str, Any]) -> bool:
        try:
            self._accumulate(batch, count, loss_dict)
        except (torch.OutOfMemoryError, RuntimeError) as error:
            if not ran_out_of_memory(error):
                raise
            return False  # the error, which holds what the step had in memory, is let go of here
        return True

    def _accumulate(self, batch: Batch, count: int, loss_dict: dict[str, Any]) -> None:
        """Forward and backward pass of a batch in ``count`` parts."""
        model = self.parts.model
        plain = getattr(model, "module", model)
        last = self.updates and batch is self.group[-1]
        parts = parts_of(batch, count) if count > 1 else [batch]
        whole, loss, accuracy = normaliser(plain, batch) if len(parts) > 1 else 1, 0.0, None
        for number, part in enumerate(parts):
            share = normaliser(plain, part) / whole if len(parts) > 1 else 1.0
            to_send = last and number == len(parts) - 1
            with self._sends_gradients(model, to_send):
                self.sends = False
                self.forward_step(model, to_device(part, self.device, non_blocking=True), loss_dict=loss_dict)
                if share != 1.0:
                    loss_dict["loss"] = loss_dict["loss"] * share
                self.sends = self.use_ddp and to_send
                self.backward_step(model, self.parts.scaler, loss_dict=loss_dict)
            loss = loss + loss_dict["loss"].detach()
            if "acc" in loss_dict["stats"]:
                accuracy = (0.0 if accuracy is None else accuracy) + share * loss_dict["stats"]["acc"].detach()
        loss_dict["loss"] = loss
        if accuracy is not None:
            loss_dict["stats"]["acc"] = accuracy

    @contextlib.contextmanager
    def _sends_gradients(self, model: Any, sends: bool) -> Iterator[None]:
        with contextlib.nullcontext() if sends or not self.use_ddp else model.no_sync():
            yield

    def _give_up(self, batch: Batch, count: int, loss_dict: dict[str, Any]) -> None:
        """Throw away what a group of batches has added so far, free its memory, and say what comes now."""
        clips, longest = len(batch["speech_lengths"]), int(batch["speech_lengths"].max())
        where = f"epoch {loss_dict['epoch'] + 1} step {loss_dict['batch_idx'] + 1 + self.first_step}"
        if count >= clips:
            raise RecipeError(
                f"training: {where}: one clip of {longest * self.seconds_per_frame:.1f} s does not fit in memory; set"
                " dataset_conf.max_source_length to leave out clips as long as this one (10-ms frames)"
            )
        size = padded_frames(batch)
        self.too_large = min(size // count, self.too_large or size)
        try:
            keep_too_large(Path(self.output_dir), self.memory, self.too_large)
        except OSError:  # a full disk: where the run goes on here, nobody has to know
            if self.sends:
                raise
        padded = f"{size * self.seconds_per_frame:.0f} s with padding"
        if self.sends:
            raise RecipeError(
                f"training: {where}: {EXCHANGING}, with {clips} clips, {padded}: from"
                " the newest checkpoint on, batches as large are begun in parts; a smaller dataset_conf.batch_size is"
                " faster (see `python -m asr.plan`)"
            )
        self.parts.optim.zero_grad(set_to_none=True)
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        self.splits += 1
        logger.warning(  # on whichever rank it is
            f"out of memory in {where} with {clips} clips, {padded}: begun again in {count * 2} parts ({self.splits} so"
            " far in this run); a smaller batch_size is faster"
        )
