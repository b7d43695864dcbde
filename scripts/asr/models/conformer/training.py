"""Conformer's and Transformer's training step: a ctc_weight that means what it says, without the host's waits.

FunASR's CTC loss is per utterance whatever ``length_normalized_loss`` says, and its attention loss per token where that
is true, so that w = 0.3 makes CTC most of the loss. Here, over a batch,

    loss = (w sum(ctc) + (1 - w) sum(att)) / n,

n the number of tokens, end marks included, where ``length_normalized_loss`` is true, else the number of clips.

Padding is masked as in decoding (decoding.py), and a frozen BatchNorm stays as it is. One host-device synchronisation
is left of FunASR's 20 and more: CTC's lengths (models.training_step).
"""

from __future__ import annotations

import logging
import types
from typing import Any

import torch
import torch.nn.functional as F
from funasr.models.ctc.ctc import CTC
from funasr.models.transformer.utils import subsampling
from funasr.register import tables
from torch import nn

from asr.models.conformer.decoding import mask_padding
from asr.models.training_step import (
    SmoothedLoss,
    accuracy,
    add_sos_eos,
    as_stats,
    augmented,
    ctc_losses,
    mask_without_asking,
    real_places,
)


def encode(model: Any, speech: torch.Tensor, lengths: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the encoder's (B, T', D) output and its (B,) lengths."""
    encoder = model.encoder
    if encoder.interctc_layer_idx or subsampling.check_short_utt(encoder.embed, speech.size(1))[0]:
        encoded, lengths = model.encode(speech, lengths)  # FunASR's outputs of several layers, and its error
        return (encoded[0] if isinstance(encoded, tuple) else encoded), lengths
    x, lengths = augmented(model, speech, lengths)
    mask = real_places(lengths, x.size(1))[:, None, :]
    if isinstance(encoder.embed, nn.Sequential):
        x = encoder.embed(x)
    else:
        x, mask = encoder.embed(x, mask)
    x, mask = encoder.encoders(x, mask)
    x = x[0] if isinstance(x, tuple) else x  # without its positions
    return (encoder.after_norm(x) if encoder.normalize_before else x), mask.squeeze(1).sum(1)


def decode(
    decoder: Any, encoded: torch.Tensor, lengths: torch.Tensor, given: torch.Tensor, counts: torch.Tensor
) -> torch.Tensor:
    """Return (B, L, V) scores of what follows each of (B, L) tokens: FunASR's, with masks as long as what they mask."""
    if type(decoder) is not tables.decoder_classes.get("TransformerDecoder"):
        return decoder(encoded, lengths, given, counts)[0]
    size = given.size(1)
    before = torch.ones(size, size, dtype=torch.bool, device=given.device).tril()
    mask, memory = real_places(counts, size)[:, None, :] & before, real_places(lengths, encoded.size(1))[:, None, :]
    x = decoder.decoders(decoder.embed(given), mask, encoded, memory)[0]
    return decoder.output_layer(decoder.after_norm(x) if decoder.normalize_before else x)


def ctc_loss(
    ctc: Any, hidden: torch.Tensor, lengths: torch.Tensor, text: torch.Tensor, counts: torch.Tensor
) -> torch.Tensor:
    """Return CTC's () loss, of (B, T, D) frames against (B, L) ids, in the attention loss's units: see the module.

    A text that has more ids than its clip has frames is impossible: it adds nothing, and a warning is logged.
    """
    scores = ctc.ctc_lo(F.dropout(hidden, ctc.dropout_rate, ctc.training)) if ctc.ctc_lo else hidden
    losses, impossible = ctc_losses(scores, lengths, text, counts, 0)
    if impossible:
        logging.warning(f"CTC: {impossible} of {len(text)} clips of a batch have more characters than encoder frames")
    return losses.sum() / (counts.sum() + len(text) if ctc.per_token else len(text))


def step(
    model: Any,
    speech: torch.Tensor,
    speech_lengths: torch.Tensor,
    text: torch.Tensor,
    text_lengths: torch.Tensor,
    **_: Any,
) -> tuple[torch.Tensor, dict[str, torch.Tensor], torch.Tensor]:
    """Return the (1,) loss, what is told of it and its (1,) weight, as FunASR's forward pass does."""
    counts = text_lengths.view(-1)
    encoded, lengths = encode(model, speech, speech_lengths.view(-1))
    by_ctc = model.ctc(encoded, lengths, text, counts)
    given, wanted = add_sos_eos(text, model.sos, model.eos, model.ignore_id)
    scores = decode(model.decoder, encoded, lengths, given, counts + 1)
    by_tokens = model.criterion_att(scores, wanted)
    loss = model.ctc_weight * by_ctc + (1 - model.ctc_weight) * by_tokens
    stats = as_stats(
        loss_ctc=by_ctc,
        loss_att=by_tokens,
        loss=loss,
        acc=accuracy(scores, wanted, model.ignore_id, getattr(model, "unknown_id", None)),
    )
    weight = (counts + 1).sum() if model.length_normalized_loss else counts.new_full((), len(counts))
    return loss[None], stats, weight[None]


def frozen_batch_norm(layer: nn.BatchNorm1d, x: torch.Tensor) -> torch.Tensor:
    """Return (B, D, T) normalised; by what is known where the layer is frozen.

    Its statistics, which are no parameters, would follow the training set.
    """
    if layer.training and not layer.weight.requires_grad:
        return F.batch_norm(x, layer.running_mean, layer.running_var, layer.weight, layer.bias, False, 0.0, layer.eps)
    return nn.BatchNorm1d.forward(layer, x)


def use_fast_step(model: Any) -> None:
    """Give a built model this step, masks and frozen BatchNorm. Losses of several layers are left to FunASR's step."""
    mask_padding(model)
    mask_without_asking(model.specaug)
    for layer in model.encoder.modules():
        if type(layer) is nn.BatchNorm1d:
            layer.forward = types.MethodType(frozen_batch_norm, layer)
    if type(model.ctc) is CTC and model.ctc.ctc_type == "builtin":
        model.ctc.per_token = bool(model.length_normalized_loss)
        model.ctc.forward = types.MethodType(ctc_loss, model.ctc)
    model.criterion_att = SmoothedLoss(model.criterion_att)
    if not model.interctc_weight and not model.cr_ctc_weight:
        model.forward = types.MethodType(step, model)
