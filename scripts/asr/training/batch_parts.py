"""A batch's size, what its loss is divided by, and the batch in parts."""

from __future__ import annotations

import itertools
from typing import Any

import torch

from asr.models.training_step import loss_weight

Batch = dict[str, Any]
Stats = dict[str, torch.Tensor]


def padded_frames(batch: Batch) -> int:
    """Return the number of clips times the longest, in the model's (stacked) frames: what a batch takes of memory."""
    return len(batch["speech_lengths"]) * int(batch["speech_lengths"].max())


def normaliser(model: Any, batch: Batch) -> int:
    """Return what FunASR divides a batch's loss by (``loss_weight``); 0 for a batch of which no clip could be read."""
    return 0 if batch.get("blank") else max(int(loss_weight(model, batch["text_lengths"].view(-1))), 1)


def parts_of(batch: Batch, count: int) -> list[Batch]:
    """Return the clips of a batch in ``count`` batches, or as many as it has clips, each padded no more than needed."""
    clips = len(batch["speech_lengths"])
    count = min(count, clips)
    edges = [clips * number // count for number in range(count + 1)]
    return [_cut(batch, begin, end) for begin, end in itertools.pairwise(edges)]


def _cut(batch: Batch, begin: int, end: int) -> Batch:
    clips, part = len(batch["speech_lengths"]), dict(batch)
    for name, value in batch.items():
        if isinstance(value, (list, torch.Tensor)) and len(value) == clips:
            part[name] = value[begin:end]
    for name, value in part.items():
        if f"{name}_lengths" in part and value.dim() > 1:
            part[name] = value[:, : int(part[f"{name}_lengths"].max())]
    return part


def mean_of_parts(parts: list[tuple[torch.Tensor, Stats]], shares: list[float]) -> tuple[torch.Tensor, Stats]:
    """Return the loss and statistics of a batch from those of its parts, by their shares of its normaliser."""
    losses, stats = zip(*parts, strict=True)
    means = {name: sum(share * each[name] for share, each in zip(shares, stats, strict=True)) for name in stats[0]}
    return sum(share * loss for share, loss in zip(shares, losses, strict=True)), means
