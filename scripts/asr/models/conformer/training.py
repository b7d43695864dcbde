"""Conformer's and Transformer's training step: a ctc_weight that means what it says, without the host's waits.

FunASR's CTC loss is per utterance whatever ``length_normalized_loss`` says, and its attention loss per token where that
is true, so that w = 0.3 makes CTC most of the loss. Here, over a batch,

    loss = (w sum(ctc) + (1 - w) sum(att)) / n,

n the number of tokens, end marks included, where ``length_normalized_loss`` is true, else the number of clips.

Padding is masked as in decoding (conformer.decoding), and a frozen BatchNorm stays as it is. One host-device
synchronisation is left of FunASR's 20 and more: CTC's lengths (models.training_step).
"""

from __future__ import annotations

import logging
import types
from typing import Any

import torch
from funasr.models.transformer.utils import subsampling
from torch import Tensor, nn
from torch.nn import functional

from asr.models import training_step
from asr.models.conformer.decoding import mask_padding
from asr.models.training_step import Step, length_mask


def encode(model: Any, speech: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
    """Return the encoder's (B, T', D) output and its (B,) lengths."""
    encoder = model.encoder
    if subsampling.check_short_utt(encoder.embed, speech.size(1))[0]:
        return model.encode(speech, lengths)  # FunASR's error
    x, lengths = training_step.augmented(model, speech, lengths)
    mask = length_mask(lengths, x.size(1))[:, None, :]
    if isinstance(encoder.embed, nn.Sequential):
        x = encoder.embed(x)
    else:
        x, mask = encoder.embed(x, mask)
    x, mask = encoder.encoders(x, mask)
    x = x[0] if isinstance(x, tuple) else x  # without its positions
    return (encoder.after_norm(x) if encoder.normalize_before else x), mask.squeeze(1).sum(1)


def decode(decoder: Any, encoded: Tensor, lengths: Tensor, given: Tensor, counts: Tensor) -> Tensor:
    """Return TransformerDecoder's (B, L, V) scores of what follows each of (B, L) tokens, masked without the host."""
    size = given.size(1)
    before = torch.ones(size, size, dtype=torch.bool, device=given.device).tril()
    mask, memory = length_mask(counts, size)[:, None, :] & before, length_mask(lengths, encoded.size(1))[:, None, :]
    x = decoder.decoders(decoder.embed(given), mask, encoded, memory)[0]
    return decoder.output_layer(decoder.after_norm(x) if decoder.normalize_before else x)


def ctc_loss(ctc: Any, hidden: Tensor, lengths: Tensor, text: Tensor, counts: Tensor) -> Tensor:
    """Return the sum () of CTC's losses, of (B, T, D) frames against (B, L) ids.

    A text that has more ids than its clip has frames is impossible: it adds nothing, and a warning is logged.
    """
    scores = ctc.ctc_lo(functional.dropout(hidden, ctc.dropout_rate, ctc.training))
    losses, impossible = training_step.ctc_losses(scores, lengths, text, counts, 0)
    if impossible:
        logging.warning(f"CTC: {impossible} of {len(text)} clips of a batch have more characters than encoder frames")
    return losses.sum()


def step(model: Any, speech: Tensor, speech_lengths: Tensor, text: Tensor, text_lengths: Tensor, **_: Any) -> Step:
    """Return loss, statistics and weight of a batch, as FunASR's forward pass does."""
    counts = text_lengths.view(-1)
    encoded, lengths = encode(model, speech, speech_lengths.view(-1))
    weight = training_step.loss_weight(model, counts)
    by_ctc = ctc_loss(model.ctc, encoded, lengths, text, counts) / weight
    given, wanted = training_step.add_sos_eos(text, model.sos, model.eos, model.ignore_id)
    scores = decode(model.decoder, encoded, lengths, given, counts + 1)
    by_tokens = training_step.smoothed_loss(model.criterion_att, scores, wanted)
    loss = model.ctc_weight * by_ctc + (1 - model.ctc_weight) * by_tokens
    right = training_step.accuracy(scores, wanted, model.ignore_id, getattr(model, "unknown_id", None))
    return loss, training_step.detached(loss_ctc=by_ctc, loss_att=by_tokens, loss=loss, acc=right), weight


def keep_frozen(layer: nn.BatchNorm1d, _: Any) -> None:
    """Have a frozen BatchNorm normalise by what is known: its statistics, no parameters, would follow the new clips."""
    if not layer.weight.requires_grad:
        layer.eval()


def use_fast_step(model: Any) -> None:
    """Give a built model this step, masks and frozen BatchNorm."""
    mask_padding(model)
    training_step.mask_without_asking(model.specaug)
    for layer in model.encoder.modules():
        if type(layer) is nn.BatchNorm1d:
            layer.register_forward_pre_hook(keep_frozen)
    model.forward = types.MethodType(step, model)
