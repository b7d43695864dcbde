"""A batch's size, what its loss is divided by, and the batch in parts."""

from __future__ import annotations

import itertools
from typing import Any

import torch

Batch = dict[str, Any]


def padded_frames(batch: Batch) -> int:
    """Return the number of clips times the longest of them: what a batch takes of the memory."""
    return len(batch["speech_lengths"]) * int(batch["speech_lengths"].max())


def normaliser(model: Any, batch: Batch) -> int:
    """Return what FunASR divides a batch's loss by: tokens where the model says length_normalized_loss, else clips.

    To the tokens belong those that the model adds to each clip's text itself: Paraformer's predictor_bias, and the end
    mark of an attention decoder (models/conformer). 0 for a batch of which no clip could be read.
    """
    if batch.get("blank"):
        return 0
    clips = len(batch["speech_lengths"])
    if not getattr(model, "length_normalized_loss", False):
        return clips
    added = getattr(model, "predictor_bias", 0) + getattr(model, "end_marks", 0)
    return max(int(batch["text_lengths"].sum()) + added * clips, 1)


def parts_of(batch: Batch, count: int) -> list[Batch]:
    """Return the clips of a batch in ``count`` batches, or as many as it has clips, each padded no more than needed."""
    clips = len(batch["speech_lengths"])
    count = min(count, clips)
    edges = [clips * number // count for number in range(count + 1)]
    return [_cut(batch, begin, end) for begin, end in itertools.pairwise(edges)]


def _cut(batch: Batch, begin: int, end: int) -> Batch:
    clips = len(batch["speech_lengths"])
    part = {
        name: value[begin:end] if _is_by_clip(value) and len(value) == clips else value for name, value in batch.items()
    }
    for name in list(part):
        lengths = part.get(f"{name}_lengths")
        if lengths is not None and part[name].dim() > 1:
            part[name] = part[name][:, : int(lengths.max())]
    return part


def _is_by_clip(value: Any) -> bool:
    return isinstance(value, list) or (torch.is_tensor(value) and value.dim() > 0)
