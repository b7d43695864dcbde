"""Parts of a training step that the families share, without host-device synchronisations.

FunASR's own ask the GPU for numbers and copy constants to it in every step, often once a clip; each time the host waits
until all that was launched is done, and a small model or batch is bound by that. Here lengths stay on the GPU, masks
are as long as what they mask, and constants are made where they are needed. The results are FunASR's. How often a step
of each family synchronises, and why, is bounded in tests/unit/test_synchronisations.py.
"""

from __future__ import annotations

import functools
import math
import sys
import types
from typing import Any

import torch
from funasr.models.specaug.mask_along_axis import MaskAlongAxis, MaskAlongAxisLFR
from torch import Tensor
from torch.nn import functional

from asr.core.errors import RecipeError

Step = tuple[Tensor, dict[str, Tensor], Tensor]  # what a forward pass returns: () loss, () statistics, () its weight


def length_mask(lengths: Tensor, size: int) -> Tensor:
    """Return a (B, size) mask, True at positions below the clip's length."""
    return torch.arange(size, device=lengths.device)[None, :] < lengths[:, None]


def zero_padding(x: Tensor, lengths: Tensor) -> Tensor:
    """Return (B, T, D) with zeros behind each clip's length."""
    return x * length_mask(lengths, x.size(1)).to(x.dtype)[:, :, None]


def augmented(model: Any, speech: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
    """Return features and lengths after the model's SpecAugment, in training, and its normalisation."""
    with torch.autocast(speech.device.type, enabled=False):
        if model.specaug is not None and model.training:
            speech, lengths = model.specaug(speech, lengths)
        if model.normalize is not None:
            speech, lengths = model.normalize(speech, lengths)
    return speech, lengths


def add_positions(x: Tensor) -> Tensor:
    """Return (B, T, D) plus sines and cosines of the places from 1 on: FunASR's SinusoidalPositionEncoder."""
    half = x.size(-1) / 2
    increment = torch.full((1,), 10000.0, dtype=x.dtype, device=x.device).log() / (half - 1)
    scales = torch.exp(torch.arange(half, device=x.device).type(x.dtype) * -increment)
    angles = torch.arange(1, x.size(1) + 1, device=x.device).type(x.dtype)[:, None] * scales
    return x + torch.cat([angles.sin(), angles.cos()], dim=-1)


def mask_spectra(layer: Any, spec: Tensor, lengths: Any = None) -> tuple[Tensor, Any]:
    """Return (B, T, D) spectra with a SpecAugment layer's masks, zero, of a width from the range's first number up.

    As in FunASR a mask begins where the widest of the batch would still fit, and is at the same position in each of
    the frames that are stacked as one (``lfr_rate``).
    """
    parts = getattr(layer, "lfr_rate", 1)
    size, shape = spec.size(layer.dim) // parts, (spec.size(0), layer.num_mask, 1)
    widths = torch.randint(*layer.mask_width_range, shape, device=spec.device)
    if share := getattr(layer, "time_share", None):
        widths = torch.minimum(widths, (lengths * share).long()[:, None, None])
    begins = (torch.rand(shape, device=spec.device) * (size - widths.max()).clamp(min=1)).long()
    begins = begins + size * torch.arange(parts, device=spec.device)
    behind = torch.arange(spec.size(layer.dim), device=spec.device) - begins[..., None]
    masked = ((behind >= 0) & (behind < widths[..., None])).flatten(1, 2).any(1)
    return spec.masked_fill(masked[:, :, None] if layer.dim == 1 else masked[:, None, :], 0.0), lengths


def mask_without_asking(specaug: Any) -> None:
    """Have a built model's SpecAugment, if it has one, draw its masks by ``mask_spectra``."""
    for layer in () if specaug is None else specaug.modules():
        if type(layer) in (MaskAlongAxis, MaskAlongAxisLFR) and layer.replace_with_zero:
            layer.forward = types.MethodType(mask_spectra, layer)


def limit_time_masks(model: Any, share: float) -> None:
    """Have no time mask of a built model's SpecAugment be wider than a share of its clip's frames.

    As Park et al. (SpecAugment, Interspeech 2019) do, with 0.2 and 1. RecipeError where ``mask_spectra`` draws none.
    """
    layers = [] if getattr(model, "specaug", None) is None else model.specaug.modules()
    masks = [layer for layer in layers if getattr(layer, "dim", None) == 1 and "forward" in vars(layer)]
    if not masks:
        raise RecipeError("dataset_conf.specaug_time_share: the base has no time masks of SpecAugment; leave it out")
    for layer in masks:
        layer.time_share = share


def accuracy(scores: Tensor, targets: Tensor, ignore_label: int, unknown: Any = None) -> Tensor:
    """Return the share of (B, L, V) or (B * L, V) scores that are highest at their (B, L) target; (), not waited for.

    ``unknown``: the id of characters without a token, whose scores are wrong wherever they are highest.
    """
    real = targets != ignore_label
    right = (scores.argmax(-1).view_as(targets) == targets) & real
    return (right if unknown is None else right & (targets != unknown)).sum() / real.sum()


def count_unknown(model: Any, tokenizer: Any) -> None:
    """Have ``accuracy`` know a built model's id of characters without a token, in FunASR's own forward pass as well."""
    model.unknown_id = getattr(tokenizer, "unk_id", None)
    for kind in type(model).__mro__:
        if hasattr(module := sys.modules[kind.__module__], "th_accuracy"):
            module.th_accuracy = functools.partial(accuracy, unknown=model.unknown_id)


def add_sos_eos(targets: Tensor, sos: int, eos: int, ignore_id: int) -> tuple[Tensor, Tensor]:
    """Return (B, L + 1) targets behind ``sos``, padded with ``eos``; and before ``eos``, padded with ``ignore_id``."""
    column = targets.new_full((targets.size(0), 1), sos)
    padding = targets == ignore_id
    before = torch.cat([column, targets.masked_fill(padding, eos)], dim=1)
    after = torch.cat([targets, torch.full_like(column, ignore_id)], dim=1)
    return before, after.scatter(1, (~padding).sum(1, keepdim=True), eos)


def smoothed_loss(criterion: Any, scores: Tensor, target: Tensor) -> Tensor:
    """Return the () loss that FunASR's LabelSmoothingLoss gives (B, L, V) scores before softmax and (B, L) targets.

    That is a cross entropy with 1 - s on the target and s / (V - 1) on every other class, less its entropy; the mean
    over tokens where ``normalize_length``, else their sum by the number of clips.
    """
    size, flat = criterion.size, target.reshape(-1).long()
    other = criterion.smoothing / (size - 1)
    shares = [(1, 1 - criterion.smoothing), (size - 1, other)]
    entropy = -sum(classes * share * math.log(share) for classes, share in shares if share > 0)
    loss = functional.cross_entropy(
        scores.reshape(-1, size).float(),
        flat,
        ignore_index=criterion.padding_idx,
        label_smoothing=other * size,  # which is spread over all V classes, the target among them
        reduction="sum",
    )
    tokens = (flat != criterion.padding_idx).sum()
    return (loss - tokens * entropy) / (tokens if criterion.normalize_length else target.size(0))


def ctc_losses(scores: Tensor, lengths: Tensor, text: Tensor, text_lengths: Tensor, blank: int) -> tuple[Tensor, int]:
    """Return (B,) losses of (B, T, V) scores, and how many of them are impossible: more to align than frames.

    Those are 0, as is their gradient. torch takes lengths from the host: one synchronisation for all of them. On a GPU
    its own kernels copy them back, three copies in each of the two passes.
    """
    target = text.clamp(min=0)
    # Between two of the same a blank needs a frame of its own.
    repeats = ((target[:, 1:] == target[:, :-1]) & length_mask(text_lengths - 1, target[:, 1:].size(1))).sum(1)
    lengths, text_lengths, needed = torch.stack([lengths, text_lengths, text_lengths + repeats]).long().cpu()
    likely = scores.float().log_softmax(-1).transpose(0, 1)
    losses = functional.ctc_loss(likely, target, lengths, text_lengths, blank, reduction="none", zero_infinity=True)
    return losses, int((needed > lengths).sum())


def loss_weight(model: Any, text_lengths: Tensor) -> Tensor:
    """Return what a batch's loss counts beside others: its tokens where the model divides by them, else its clips.

    To the tokens belong those that the model adds to each text itself: Paraformer's ``predictor_bias``, and the end
    mark of an attention decoder (``end_marks``).
    """
    if not getattr(model, "length_normalized_loss", False):
        return text_lengths.new_full((), len(text_lengths))
    return (text_lengths + getattr(model, "predictor_bias", 0) + getattr(model, "end_marks", 0)).sum()


def detached(**values: Tensor) -> dict[str, Tensor]:
    """Return a step's statistics without what autograd keeps of them."""
    return {name: value.detach() for name, value in values.items()}
