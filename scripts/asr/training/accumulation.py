"""The gradient of an update: that of one batch of all its clips, whatever they are spread over.

Dropout and BatchNorm aside it is the same over parts of a batch, accum_grad batches and processes: each loss, a mean
over tokens or over clips, is weighted by how many of them it is a mean of. (FunASR gives every batch the same weight,
whatever is in it.) A batch that runs out of memory is computed again in parts, and the log says so.
"""

from __future__ import annotations

import logging
import time
from typing import Any

import torch
import torch.distributed as dist

from asr.core.errors import RecipeError
from asr.core.out_of_memory import (
    EXCHANGING,
    TOO_LARGE,
    TooLarge,
    all_too_large,
    attempt,
    empty_gpu_cache,
    keep_too_large,
)
from asr.training.batch_parts import Batch, normaliser, padded_frames, parts_of
from asr.training.engine import Stats, TorchEngine
from asr.training.position import Position, seed_generators
from asr.training.settings import Settings

logger = logging.getLogger("asr.progress")


def memory_of(device: Any) -> str:
    """Return whose memory it is: what did not fit on one card may fit on another."""
    if not str(device).startswith("cuda") and not isinstance(device, int):
        return "CPU"
    card = torch.cuda.get_device_properties(device)
    return f"{card.name}, {card.total_memory / 2**30:.1f} GiB"


class Accumulator:
    """Adds up the gradients of the batches between two updates.

    Args:
        group: gloo's process group of all processes, None for one: counts are exchanged without a GPU.
    """

    def __init__(self, settings: Settings, engine: TorchEngine, position: Position, group: Any = None) -> None:
        self.settings, self.engine, self.position, self.group = settings, engine, position, group
        self.batches: list[Batch] = []  # since the last update: one that has to be taken again needs them all
        self.counts: list[int] = []  # what their losses are divided by
        self.divisor = 1.0  # what their losses, as sums, are divided by before the backward pass
        self.part: Batch = {}  # being computed
        self.exchanging = False  # whether gradients are on their way to other processes
        self.splits = 0
        self.too_large: TooLarge | None = None
        self.epochs = 0
        # A backward pass that fails leaves nodes, and what they keep, in autograd's queue of this thread. Newer nodes
        # go before them: only the backward pass of an older graph, this one, takes them out.
        self.oldest = torch.zeros((), requires_grad=True) + 0

    def begin_epoch(self) -> None:
        """Say what did not fit in an earlier process; after this one's first epoch, try such batches whole again.

        What took the memory may be gone. But where gradients are exchanged, a try that fails ends all processes.
        """
        self.epochs += 1
        if self.epochs == 1:
            memory = memory_of(self.engine.device)
            self.too_large = all_too_large(self.settings.exp).get(memory)
            if self.too_large and self.settings.rank == 0:
                seconds = self.too_large.padded_frames * self.settings.seconds_per_frame
                logger.info(
                    f"batches of {seconds:.0f} s with padding and more are computed in parts: they did not fit"
                    f" ({memory}, {self.too_large.made}; {TOO_LARGE}) in this training; the next start of stage 3 tries"
                    " them whole"
                )
        elif not self.engine.several:
            self.too_large = None

    def add(self, batch: Batch, updates: bool) -> tuple[torch.Tensor, Stats]:
        """Add a batch's gradients, in as many parts as its memory takes, and return its loss and statistics.

        After the last batch of an update (``updates``) they are those of one batch of all its clips. RecipeError where
        a single clip does not fit, and where gradients were being exchanged: those cannot be taken back, so all
        processes are restarted (asr.train), and know then what did not fit.
        """
        self.batches.append(batch)
        self.counts.append(normaliser(self.engine.plain_model, batch))
        self.divisor = self._divisor(updates)
        if not self.engine.splits:
            result = self._forward_backward(batch, updates)
        else:
            waiting = [batch]
            while waiting:
                result, out_of_memory = attempt(self._forward_backward, waiting[0], updates)
                if out_of_memory:
                    self._start_over(waiting[0], out_of_memory)
                    waiting = list(self.batches)
                else:
                    del waiting[0]
        if updates:
            self._divide()
            self.batches, self.counts = [], []
        return result

    def _forward_backward(self, batch: Batch, updates: bool) -> tuple[torch.Tensor, Stats]:
        """Forward and backward pass of one of the batches, in parts."""
        own, loss, accuracy = max(normaliser(self.engine.plain_model, batch), 1), 0.0, None
        count = self._parts_for(batch)
        parts = parts_of(batch, count) if count > 1 else [batch]
        for self.part in parts:
            exchange = updates and batch is self.batches[-1] and self.part is parts[-1]
            share = normaliser(self.engine.plain_model, self.part) / own
            part_loss, stats = self._pass_of_part(exchange)
            loss = loss + part_loss * share
            if "acc" in stats:
                accuracy = (0.0 if accuracy is None else accuracy) + stats["acc"].detach() * share
        return loss, stats if accuracy is None else {**stats, "acc": accuracy}

    def _pass_of_part(self, exchange: bool) -> tuple[torch.Tensor, Stats]:
        """Forward and backward pass of ``self.part``; its graph is gone on return."""
        position, weight = self.position, normaliser(self.engine.plain_model, self.part)
        seed_generators(self.settings.seed, position.epoch, position.step - 1, self.settings.rank)
        with self.engine.exchange(exchange):
            self.exchanging = False
            loss, stats = self.engine.forward(self.part)
            self.exchanging = self.engine.several and exchange
            self.engine.backward(loss if weight == self.divisor else loss * (weight / self.divisor))
        return loss.detach(), stats

    # --- what losses are divided by ---------------------------------------------------------------------------------

    def _total(self) -> float:
        """Return what the update's loss is divided by; with several processes, the mean of theirs."""
        if self.group is None:
            return max(sum(self.counts), 1)  # 0 where no clip could be read: its gradients are 0 as well
        counted = torch.tensor(sum(self.counts))
        dist.all_reduce(counted, group=self.group)
        return max(counted.item(), 1) / dist.get_world_size(self.group)

    def _divisor(self, updates: bool) -> float:
        """Return what is divided by in the backward pass: all of it where a batch is the whole update, else 1."""
        if self.engine.divides_in_backward:
            return self._total()
        return self.counts[0] if updates and len(self.batches) == 1 and self.group is None else 1

    def _divide(self) -> None:
        """Divide gradients that are sums by what they are sums over."""
        if self.divisor == 1 and not self.engine.divides_in_backward:
            gradients = [value.grad for value in self.engine.plain_model.parameters() if value.grad is not None]
            torch._foreach_mul_(gradients, 1 / self._total())

    # --- out of memory ----------------------------------------------------------------------------------------------

    def _parts_for(self, batch: Batch) -> int:
        """Return in how many parts to compute a batch: as few as are each smaller than what did not fit."""
        count, clips = 1, len(batch["speech_lengths"])
        while self.too_large and padded_frames(batch) / count >= self.too_large.padded_frames and count < clips:
            count *= 2
        return min(count, clips)

    def _start_over(self, batch: Batch, reason: str) -> None:
        """Throw away what has been added since the last update, free its memory, and say what comes now."""
        if len(self.part["speech_lengths"]) == 1:
            longest = int(self.part["speech_lengths"].max()) * self.settings.seconds_per_frame
            raise RecipeError(
                f"training: {self.position}: one clip of {longest:.1f} s does not fit in memory ({reason}); end other"
                " programs that use it, or set dataset_conf.max_source_length to leave out clips as long as this one"
                " (10-ms frames)"
            )
        clips, size = len(batch["speech_lengths"]), padded_frames(batch)
        padded = f"{clips} clips, {size * self.settings.seconds_per_frame:.0f} s with padding"
        self._remember(size // self._parts_for(batch))
        if self.exchanging:
            raise RecipeError(
                f"training: {self.position}: {EXCHANGING}, with {padded}: from the newest checkpoint on, batches as"
                " large are computed in parts; a smaller dataset_conf.batch_size is faster (see `python -m asr.plan`)"
            )
        self.engine.optimizer.zero_grad(set_to_none=True)
        self.oldest.backward()
        empty_gpu_cache()
        self.splits += 1
        logger.warning(  # on whichever rank it is
            f"out of memory in {self.position} with {padded}: computed again in {self._parts_for(batch)} parts"
            f" ({self.splits} so far in this run); a smaller batch_size is faster"
        )

    def _remember(self, frames: int) -> None:
        self.too_large = TooLarge(frames, time.strftime("%Y-%m-%d %H:%M:%S"))
        try:
            keep_too_large(self.settings.exp, memory_of(self.engine.device), self.too_large)
        except OSError:  # a full disk: nobody has to know, unless all processes are restarted
            if self.exchanging:
                raise
