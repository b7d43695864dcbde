"""The gradient of an update: that of one batch of all its clips, whatever they are spread over.

Dropout and BatchNorm aside it is the same over parts of a batch, accum_grad batches and processes: each loss, a mean
over tokens or over clips, is weighted by how many of them it is a mean of. (FunASR gives every batch the same weight,
whatever is in it.) A batch that runs out of memory is computed again in parts, and the log says so.
"""

from __future__ import annotations

import logging
import time

import torch
import torch.distributed as dist

from asr.core.errors import RecipeError
from asr.core.out_of_memory import (
    EXCHANGING,
    TooLarge,
    all_too_large,
    attempt,
    empty_gpu_cache,
    keep_too_large,
)
from asr.core.run_folder import RunFolder
from asr.training.batch_parts import Batch, Stats, mean_of_parts, normaliser, padded_frames, parts_of
from asr.training.checkpoints.checkpoint import writing
from asr.training.engine import TorchEngine
from asr.training.position import Position, seed_generators

logger = logging.getLogger("asr.progress")


class Accumulator:
    """Adds up the gradients of the batches between two updates."""

    def __init__(self, engine: TorchEngine, position: Position) -> None:
        self.engine, self.position = engine, position
        self.settings, self.group = engine.settings, engine.group
        self.batches: list[Batch] = []  # since the last update: one that has to be taken again needs them all
        self.counts: list[int] = []  # what their losses are divided by
        self.divisor = 1.0  # what their losses, as sums, are divided by before the backward pass
        self.part: Batch = {}  # being computed
        self.exchanging = False  # whether gradients are on their way to other processes
        self.splits = 0
        self.oom_limit: TooLarge | None = None  # the smallest size that did not fit
        self.memory = ""  # whose it is: what did not fit on one card may fit on another
        # A backward pass that fails leaves nodes, and what they keep, in autograd's queue of this thread. Newer nodes
        # go before them: only the backward pass of an older graph, this one, takes them out.
        self.oldest = torch.zeros((), requires_grad=True) + 0

    def begin_epoch(self) -> None:
        """Say what did not fit in an earlier process; after this one's first epoch, try such batches whole again.

        What took the memory may be gone. But where gradients are exchanged, a try that fails ends all processes.
        """
        if not self.memory:
            self.memory = torch.cuda.get_device_name() if self.engine.device == "cuda" else "CPU"
            self.oom_limit = all_too_large(self.settings.exp).get(self.memory)
            if self.oom_limit:
                seconds = self.oom_limit.padded_frames * self.settings.seconds_per_frame
                logger.info(
                    f"batches of {seconds:.0f} s with padding and more are computed in parts: they did not fit"
                    f" ({self.memory}, {self.oom_limit.made}; {RunFolder(self.settings.exp).oom_limits.name}) in this"
                    " training; the next start of stage 3 tries them whole"
                )
        elif not self.engine.several:
            self.oom_limit = None

    def add(self, batch: Batch, updates: bool) -> tuple[torch.Tensor, Stats]:
        """Add a batch's gradients, in as many parts as its memory takes, and return its loss and statistics.

        After the last batch of an update (``updates``) they are those of one batch of all its clips. RecipeError where
        a single clip does not fit, and where gradients were being exchanged: those cannot be taken back, so all
        processes are restarted (asr.train), and know then what did not fit.
        """
        self.batches.append(batch)
        self.counts.append(self._count(batch))
        self.divisor = self._divisor(updates)
        if not self.engine.can_split:
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
            if self.divisor == 1 and not self.engine.divides_in_backward:  # the gradients are sums
                gradients = [value.grad for value in self.engine.plain_model.parameters() if value.grad is not None]
                torch._foreach_mul_(gradients, 1 / self._total())
            self.batches, self.counts = [], []
        return result

    def _forward_backward(self, batch: Batch, updates: bool) -> tuple[torch.Tensor, Stats]:
        """Forward and backward pass of one of the batches, in parts."""
        count, last, results = self._parts_for(batch), updates and batch is self.batches[-1], []
        parts = parts_of(batch, count) if count > 1 else [batch]
        for self.part in parts:
            results.append(self._pass_of_part(exchange=last and self.part is parts[-1]))
        whole = max(self._count(batch), 1)
        return results[0] if count == 1 else mean_of_parts(results, [self._count(part) / whole for part in parts])

    def _pass_of_part(self, exchange: bool) -> tuple[torch.Tensor, Stats]:
        """Forward and backward pass of ``self.part``; its graph is gone on return."""
        position, weight = self.position, self._count(self.part)
        seed_generators(self.settings.seed, position.epoch, position.step - 1, self.settings.rank)
        with self.engine.exchange(exchange):
            self.exchanging = False
            loss, stats = self.engine.forward(self.part)
            self.exchanging = self.engine.several and exchange
            self.engine.backward(loss if weight == self.divisor else loss * (weight / self.divisor))
        return loss.detach(), {name: value.detach() for name, value in stats.items()}

    def _count(self, batch: Batch) -> int:
        return normaliser(self.engine.plain_model, batch)

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

    def _parts_for(self, batch: Batch) -> int:
        """Return in how many parts to compute a batch: as few as are each smaller than what did not fit."""
        count, clips = 1, len(batch["speech_lengths"])
        while self.oom_limit and padded_frames(batch) / count >= self.oom_limit.padded_frames and count < clips:
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
        self.oom_limit = TooLarge(size // self._parts_for(batch), time.strftime("%Y-%m-%d %H:%M:%S"))
        with writing(RunFolder(self.settings.exp).oom_limits):
            keep_too_large(self.settings.exp, self.memory, self.oom_limit)
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
