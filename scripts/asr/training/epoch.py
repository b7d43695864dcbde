"""One epoch of training steps: FunASR's loop without its waits for the GPU, and with steps that do not fit in memory.

FunASR reads the loss and the accuracy after every step, so the processor never runs ahead of the GPU; here they stay
tensors until a line is due. A step that runs out of memory is begun again in halves: the run goes on and says so.

The gradient of an update is that of one batch of all its clips, dropout and BatchNorm aside, however they are spread
over parts of a batch, accum_grad batches and processes: each loss, a mean over tokens or over clips, is weighted by how
many of them it is a mean of. (FunASR gives every batch the same weight, whatever is in it.)
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
import torch.distributed as dist
from funasr.train_utils.device_funcs import to_device

from asr.core.errors import RecipeError
from asr.core.out_of_memory import EXCHANGING, TOO_LARGE, TooLarge, all_too_large, keep_too_large, ran_out_of_memory
from asr.training.checkpoints.checkpoint import LATEST
from asr.training.resume import ResumableTrainer

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


def _is_row(value: Any) -> bool:
    return isinstance(value, list) or (torch.is_tensor(value) and value.dim() > 0)


def _cut(batch: Batch, begin: int, end: int) -> Batch:
    clips = len(batch["speech_lengths"])
    part = {
        name: value[begin:end] if _is_row(value) and len(value) == clips else value for name, value in batch.items()
    }
    for name in list(part):
        lengths = part.get(f"{name}_lengths")
        if lengths is not None and part[name].dim() > 1:
            part[name] = part[name][:, : int(lengths.max())]
    return part


def normaliser(model: Any, batch: Batch) -> int:
    """Return what FunASR divides a batch's loss by: tokens where the model says length_normalized_loss, else clips.

    To the tokens belong those that the model adds to each clip's text itself: Paraformer's predictor_bias, and the end
    mark of an attention decoder (families/conformer.py). 0 for a batch of which no clip could be read.
    """
    if batch.get("blank"):
        return 0
    clips = len(batch["speech_lengths"])
    if not getattr(model, "length_normalized_loss", False):
        return clips
    added = getattr(model, "predictor_bias", 0) + getattr(model, "end_marks", 0)
    return max(int(batch["text_lengths"].sum()) + added * clips, 1)


def padded_frames(batch: Batch) -> int:
    """Clips times the longest of them: what a batch takes of the memory."""
    return len(batch["speech_lengths"]) * int(batch["speech_lengths"].max())


class EpochTrainer(ResumableTrainer):
    """See the module."""

    seconds_per_frame = 0.01

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.group: list[Batch] = []  # the batches since the last update: one that has to be begun again needs them all
        self.counts: list[int] = []  # what their losses are divided by
        self.memory = memory_of(self.device)
        # what did not fit, in this process or one before it: see asr.core.out_of_memory
        self.too_large = all_too_large(Path(self.output_dir)).get(self.memory)
        self.told_of_parts = False
        self.updates = True  # whether the weights move after the batch
        self.splits = 0
        self.unit = 1.0  # what the losses of the group, as sums, are divided by at once
        self.part: Batch = {}  # what is being computed
        self.sends = False  # whether gradients are being exchanged with other processes
        self.said = ""  # by the last error of memory
        # A backward pass that fails leaves nodes, and what they keep, in autograd's queue of this thread. Newer nodes
        # go before them: only the backward pass of an older graph, this one, takes them out.
        self.oldest = torch.zeros((), requires_grad=True) + 0

    def train_epoch(
        self, model: Any, optim: Any, scheduler: Any, scaler: Any, dataloader_train: Any, epoch: int, **more: Any
    ) -> None:
        """The steps of an epoch from ``start_step`` on; validation and saves where their intervals say."""
        parts = {"model": model, "optim": optim, "scheduler": scheduler, "scaler": scaler}
        self.begin_epoch(epoch, more.get("start_step") or 0, dataloader_train, parts)
        model.train()
        optim.zero_grad()
        self.group, self.updates = [], True
        self.recall_parts()
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

    def recall_parts(self) -> None:
        """At an epoch's beginning: say what did not fit before this process; after its first epoch, try that again.

        What took the memory may be gone. But where gradients are exchanged, a try that fails ends all processes.
        """
        if self.told_of_parts and not self.use_ddp:
            self.too_large = None
        if self.too_large and self.rank == 0 and not self.told_of_parts:
            logger.info(
                f"batches of {self.too_large.padded_frames * self.seconds_per_frame:.0f} s with padding and more are"
                f" begun in parts: they did not fit ({self.memory}, {self.too_large.made}; {TOO_LARGE}) in this"
                " training; the next start of stage 3 tries them as a whole"
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
            self.group, self.counts = [], []
        self.group.append(batch)
        self.counts.append(normaliser(self._plain(), batch))
        self.updates = self.completes_update(loss_dict)
        self.unit, todo = self._unit(), [batch]
        while (failed := next((each for each in todo if not self._fits(each, loss_dict)), None)) is not None:
            self._give_up(failed, loss_dict)
            todo = self.group
        if self.updates:
            self._divide()

    def _plain(self) -> Any:
        return getattr(self.parts.model, "module", self.parts.model)

    def _whole(self) -> float:
        """Return what the update's loss is divided by: with several processes, the mean of theirs.

        Counted by the processors: no GPU is waited for.
        """
        if self.agreement is None:
            return max(sum(self.counts), 1)  # 0 where no clip could be read: its gradients are 0 as well
        counted = torch.tensor(sum(self.counts))
        dist.all_reduce(counted, group=self.agreement)
        return max(counted.item(), 1) / dist.get_world_size(self.agreement)

    def _unit(self) -> float:
        """Return what a loss, as a sum, is divided by at once: all of it where a batch is the whole update, else 1."""
        return self.counts[0] if self.updates and len(self.group) == 1 and self.agreement is None else 1

    def _divide(self) -> None:
        """Divide gradients that are sums by what they are sums over."""
        if self.unit == 1:
            grads = [value.grad for value in self._plain().parameters() if value.grad is not None]
            torch._foreach_mul_(grads, 1 / self._whole())

    def _parts_for(self, batch: Batch) -> int:
        """Return in how many parts to compute a batch: as few as are each smaller than what did not fit."""
        count, clips = 1, len(batch["speech_lengths"])
        while self.too_large and padded_frames(batch) / count >= self.too_large.padded_frames and count < clips:
            count *= 2
        return min(count, clips)

    def _fits(self, batch: Batch, loss_dict: dict[str, Any]) -> bool:
        """Add the gradients of a batch; False where memory ran out, with nothing kept of the attempt but gradients."""
        try:
            self._accumulate(batch, loss_dict)
        except RuntimeError as error:  # torch.OutOfMemoryError is one
            if not ran_out_of_memory(error):
                raise
            self.said = str(error).partition("\n")[0]
            return False  # the error, whose frames hold what the step had in memory, is let go of here
        return True

    def _accumulate(self, batch: Batch, loss_dict: dict[str, Any]) -> None:
        """Forward and backward pass of a batch of the group, in parts."""
        model, plain, last = self.parts.model, self._plain(), self.updates and batch is self.group[-1]
        own, loss, accuracy = max(normaliser(plain, batch), 1), 0.0, None
        split = self._parts_for(batch)
        parts = parts_of(batch, split) if split > 1 else [batch]
        for self.part in parts:
            count = normaliser(plain, self.part)
            to_send = last and self.part is parts[-1]
            done = dict(loss_dict)  # of this attempt alone: the graph of one that fails must not outlive it
            with self._sends_gradients(model, to_send):
                self.sends = False
                self.forward_step(model, to_device(self.part, self.device, non_blocking=True), loss_dict=done)
                loss = loss + done["loss"].detach() * (count / own)
                if count != self.unit:
                    done["loss"] = done["loss"] * (count / self.unit)
                self.sends = self.use_ddp and to_send
                self.backward_step(model, self.parts.scaler, loss_dict=done)
            if "acc" in done["stats"]:
                accuracy = (0.0 if accuracy is None else accuracy) + done["stats"]["acc"].detach() * (count / own)
        loss_dict |= {"loss": loss, "stats": done["stats"] if accuracy is None else {**done["stats"], "acc": accuracy}}

    def backward_step(self, model: Any, scaler: Any, loss_dict: dict[str, Any] | None = None) -> None:
        """Add the gradients of a loss, which is weighted already: FunASR divides it by accum_grad."""
        loss = loss_dict["loss"]
        (scaler.scale(loss) if scaler else loss).backward()

    @contextlib.contextmanager
    def _sends_gradients(self, model: Any, sends: bool) -> Iterator[None]:
        with contextlib.nullcontext() if sends or not self.use_ddp else model.no_sync():
            yield

    def _give_up(self, batch: Batch, loss_dict: dict[str, Any]) -> None:
        """Throw away what a group of batches has added so far, free its memory, and say what comes now."""
        clips, count, size = len(batch["speech_lengths"]), self._parts_for(batch), padded_frames(batch)
        where = f"epoch {loss_dict['epoch'] + 1} step {loss_dict['batch_idx'] + 1 + self.first_step}"
        if len(self.part["speech_lengths"]) == 1:
            longest = int(self.part["speech_lengths"].max()) * self.seconds_per_frame
            raise RecipeError(
                f"training: {where}: one clip of {longest:.1f} s does not fit in memory ({self.said}); end other"
                " programs that use it, or set dataset_conf.max_source_length to leave out clips as long as this one"
                " (10-ms frames)"
            )
        self.too_large = TooLarge(size // count, time.strftime("%Y-%m-%d %H:%M:%S"))
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
        self.oldest.backward()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        self.splits += 1
        logger.warning(  # on whichever rank it is
            f"out of memory in {where} with {clips} clips, {padded}: begun again in {self._parts_for(batch)} parts"
            f" ({self.splits} so far in this run); a smaller batch_size is faster"
        )
