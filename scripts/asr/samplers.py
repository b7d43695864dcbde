"""Batches of clips of like length, in an order that is new every epoch.

FunASR's BatchSampler sorts the clips of each buffer and puts out batches from short to long, in every epoch; a small
buffer mixes lengths better and pads more. Here the batches of large buffers are shuffled: little padding, no order.
Registered with FunASR as ``ShuffledBatchSampler``; the launcher imports this module.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import torch.distributed as dist
from funasr.register import tables
from torch.utils.data import Sampler


class ShuffledBatchSampler(Sampler):
    """Lists of indices whose longest clip times their number is at most ``batch_size`` 10-ms frames.

    Every clip is in exactly one batch of an epoch. In training all ranks get the same number of batches (the first ones
    are repeated where it does not come out even); in validation nothing is repeated, so that a metric counts each clip
    once.

    Args:
        dataset: has ``get_source_len(index)`` in 10-ms frames and a length.
        batch_size: padded frames a batch; with batch_type "example", clips a batch.
        sort_size: clips that are sorted by length together.
        start_step: batches of this rank to leave out, for a run that goes on in the middle of an epoch.
    """

    def __init__(
        self,
        dataset: Any,
        batch_size: int,
        batch_type: str = "token",
        sort_size: int = 1024,
        is_training: bool = True,
        start_step: int = 0,
        sampler_seed: int = 0,
        **_: Any,
    ) -> None:
        self.lengths = [1 if batch_type == "example" else dataset.get_source_len(i) for i in range(len(dataset))]
        self.batch_size, self.sort_size = batch_size, max(sort_size, 1)
        self.is_training, self.start_step = is_training, start_step
        self.seed, self.epoch = sampler_seed, 0
        self.made_for, self.made = -1, []
        self.rank, self.world_size = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)

    def all_batches(self) -> list[list[int]]:
        """The batches of this epoch for all ranks together; the same on every rank."""
        chance = random.Random(f"{self.seed} {self.epoch}")
        order = list(range(len(self.lengths)))
        if self.is_training:
            chance.shuffle(order)
        batches: list[list[int]] = []
        for begin in range(0, len(order), self.sort_size):
            buffer = sorted(order[begin : begin + self.sort_size], key=lambda index: self.lengths[index])
            batch: list[int] = []
            for index in buffer:  # rising lengths: the newest is the longest
                if batch and self.lengths[index] * (len(batch) + 1) > self.batch_size:
                    batches.append(batch)
                    batch = []
                batch.append(index)
            batches.append(batch)
        while len(batches) < self.world_size and len(order) >= self.world_size:
            # Every rank needs a batch: FunASR takes no metric of a validation in which one had none.
            largest = max(batches, key=len)
            batches.remove(largest)
            batches += [largest[::2], largest[1::2]]
        if self.is_training:
            chance.shuffle(batches)
            batches += [batches[i % len(batches)] for i in range(-len(batches) % self.world_size)]
        return batches

    def mine(self) -> list[list[int]]:
        """This rank's batches of this epoch, from ``start_step`` on; made once an epoch, asked for at every step."""
        if self.made_for != self.epoch:
            self.made_for = self.epoch
            self.made = self.all_batches()[self.rank :: self.world_size][self.start_step :]
        return self.made

    def __iter__(self) -> Iterator[list[int]]:
        return iter(self.mine())

    def __len__(self) -> int:
        return len(self.mine())

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose order comes next."""
        self.epoch = epoch


@tables.register("batch_sampler_classes", "ShuffledBatchSampler")
def shuffled_batch_sampler(dataset: Any, **conf: Any) -> dict[str, Any]:
    """The arguments that FunASR hands to DataLoader."""
    arguments = {
        "batch_sampler": ShuffledBatchSampler(dataset, **conf),
        "num_workers": conf.get("num_workers", 4),
        "pin_memory": conf.get("pin_memory", True),
    }
    if arguments["num_workers"] > 0:
        arguments["prefetch_factor"] = conf.get("prefetch_factor", 2)
    return arguments
