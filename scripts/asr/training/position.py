"""Where in its training a run is, and the seeds that are drawn from it."""

from __future__ import annotations

import random
from dataclasses import dataclass

import numpy as np
import torch

from asr.core.digests import sha256_text


@dataclass
class Position:
    """Where a run is. Epochs count from 0, steps from 1; a step is a batch of each process.

    Attributes:
        first_step: steps of the epoch that were taken before this process began.
        number: steps of the epoch in this process.
        updated: of these, those up to the last update of the weights: what a checkpoint holds.
        step_in_epoch: names checkpoints and counts intervals. It counts on where an epoch is restarted, so that no
            checkpoint is overwritten.
        total_steps: of the whole run.
    """

    epoch: int = 0
    first_step: int = 0
    number: int = 0
    updated: int = 0
    step_in_epoch: int = 0
    total_steps: int = 0

    def begin_epoch(self, epoch: int, first_step: int) -> None:
        """Stand before an epoch's first step, or after ``first_step`` of them."""
        self.epoch, self.first_step = epoch, first_step
        self.number = self.updated = 0

    def advance(self) -> None:
        """Take a step."""
        self.number += 1
        self.step_in_epoch += 1
        self.total_steps += 1

    @property
    def step(self) -> int:
        """Return the step in the epoch, whichever process took those before."""
        return self.first_step + self.number

    def __str__(self) -> str:
        return f"epoch {self.epoch + 1} step {self.step}"


def seed_generators(seed: int, epoch: int | str, step: int, rank: int) -> None:
    """Seed every generator that a model draws from (dropout, SpecAugment, sampled decoding) for one step.

    So nothing depends on what was drawn before, and a resumed run draws what one that was never stopped draws.
    """
    number = int(sha256_text(f"{seed} {epoch} {step} {rank}")[:16], 16) >> 1  # 63 bits
    random.seed(number)
    np.random.seed(number & 0xFFFFFFFF)
    torch.manual_seed(number)
