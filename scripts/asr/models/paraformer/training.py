"""Paraformer's training step with few kernels and no host-device synchronisation: FunASR's loss, less padding's part.

FunASR's forward pass in training asks the GPU for a number several times a clip, and a small model or batch is bound by
that. Beside what asr.models.training_step replaces, two loops over clips differ: the sampler's is one ranking of random
numbers, by which each clip still gets (wrong tokens x sampling_ratio) of its targets at positions drawn uniformly; that
of continuous integrate-and-fire is one matrix product (see ``integrate``).

FunASR also lets the encoder's output behind a short clip into the predictor's convolution, so that the clip's last
weights depend on what it is batched with. Here that output is zero first, as it is in decoding (paraformer.decoding):
what is trained is what is used, and a batch in parts has the gradient of the whole.

Parameters and their names stay; so does everything at inference. Dong and Xu, "CIF", ICASSP 2020; Gao et al.,
"Paraformer", Interspeech 2022.
"""

from __future__ import annotations

import types
from typing import Any

import torch
from funasr.models.paraformer.cif_predictor import CifPredictorV2
from funasr.models.paraformer.model import Paraformer
from funasr.models.sanm.encoder import SANMEncoder
from funasr.models.transformer.embedding import SinusoidalPositionEncoder
from funasr.register import tables
from torch import Tensor

from asr.models import training_step
from asr.models.training_step import Step, length_mask


def integrate(hidden: Tensor, alphas: Tensor, tokens: int | Tensor, threshold: float = 1.0) -> Tensor:
    """Return (B, tokens, D) embeddings: token i is what frames contribute between i and i + 1 of their running sum.

    A frame that crosses a threshold is shared by the two tokens, as in CIF. FunASR's cif_v1 gives the same, but loses
    the last token where rounding keeps the sum just below it, and all but one of the thresholds that a frame crosses.

    Args:
        hidden: (B, T, D).
        alphas: (B, T) weights, 0 in the padding.
        tokens: the most tokens of any clip.
    """
    total = torch.cumsum(alphas, dim=1, dtype=torch.float64)
    edges = threshold * torch.arange(tokens, device=alphas.device, dtype=torch.float64)[None, :, None]
    upper = torch.minimum(total[:, None, :], edges + threshold)
    lower = torch.maximum((total - alphas)[:, None, :], edges)
    return torch.bmm((upper - lower).clamp(min=0).to(hidden.dtype), hidden)


def encode(model: Any, speech: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
    """Return the encoder's (B, T, D) output and its (B,) lengths."""
    encoder = model.encoder
    x, lengths = training_step.augmented(model, speech, lengths)
    x, mask = training_step.add_positions(x * encoder.output_size() ** 0.5), length_mask(lengths, x.size(1))[:, None, :]
    x = encoder.encoders(encoder.encoders0(x, mask)[0], mask)[0]
    return (encoder.after_norm(x) if encoder.normalize_before else x), lengths


def predict(predictor: Any, hidden: Tensor, mask: Tensor, real: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return CifPredictorV2's (B, L, D) embeddings, (B,) numbers of tokens and (B, T) weights of frames.

    Args:
        hidden: (B, T, D) encoder output.
        mask: (B, T) True where it is real.
        real: (B, L) True where there is a token, to whose number the weights are scaled.
    """
    with torch.autocast(hidden.device.type, enabled=False):
        hidden = hidden.float() * mask.float()[:, :, None]
        frames = torch.relu(predictor.cif_conv1d(predictor.pad(hidden.transpose(1, 2)))).transpose(1, 2)
        alphas = torch.sigmoid(predictor.cif_output(frames))[..., 0]
        alphas = torch.relu(alphas * predictor.smooth_factor - predictor.noise_threshold) * mask.float()
        counted = alphas.sum(-1)
        alphas = alphas * (real.sum(-1).float() / counted)[:, None]
        return integrate(hidden, alphas, real.size(1), predictor.threshold), counted, alphas


def decode(decoder: Any, encoded: Tensor, lengths: Tensor, embeds: Tensor, counts: Tensor) -> Tensor:
    """Return (B, L, V) scores of (B, L, D) embeddings: FunASR's, with masks as long as what they mask."""
    real, memory = length_mask(counts, embeds.size(1)).float(), length_mask(lengths, encoded.size(1)).float()
    state = embeds, real[:, :, None], encoded, memory[:, None, :]
    for blocks in (decoder.decoders, decoder.decoders2, decoder.decoders3):
        if blocks is not None:
            state = blocks(*state)[:4]
    return decoder.output_layer(decoder.after_norm(state[0]))


def sample(
    model: Any, encoded: Tensor, lengths: Tensor, text: Tensor, counts: Tensor, embeds: Tensor
) -> tuple[Tensor, Tensor]:
    """Return (B, L, D) acoustic embeddings, some replaced by their targets', and (B, L, V) scores of the first pass.

    The more tokens the first pass gets wrong, the more targets are shown: Gao et al. 2022, section 3.3.
    """
    real = text != model.ignore_id
    targets = text.masked_fill(~real, 0)
    shown = model.decoder.output_layer.weight[targets] if model.share_embedding else model.decoder.embed(targets)
    with torch.no_grad():
        first = decode(model.decoder, encoded, lengths, embeds, counts)
        wrong = (first.argmax(-1) != text) & real
        number = (wrong.sum(1, keepdim=True).float() * model.sampling_ratio).long()
        # A token's rank among random numbers is below n for n tokens, each as likely as any other.
        ranks = torch.rand(text.shape, device=text.device).masked_fill(~real, 2.0).argsort(1).argsort(1)
        chosen = (ranks < number)[..., None]
    mixed = torch.where(chosen, shown.to(embeds.dtype), embeds)
    return mixed * real[..., None], first * real[..., None]


def step(model: Any, speech: Tensor, speech_lengths: Tensor, text: Tensor, text_lengths: Tensor, **_: Any) -> Step:
    """Return loss, statistics and weight of a batch, as FunASR's forward pass does."""
    counts = text_lengths.view(-1)
    weight = training_step.loss_weight(model, counts)
    encoded, lengths = encode(model, speech, speech_lengths.view(-1))
    by_ctc = model._calc_ctc_loss(encoded, lengths, text, counts)[0] if model.ctc_weight else None  # FunASR's
    if model.predictor_bias == 1:
        text, counts = training_step.add_sos_eos(text, model.sos, model.eos, model.ignore_id)[1], counts + 1
    mask = length_mask(lengths, encoded.size(1))
    embeds, counted, _ = predict(model.predictor, encoded, mask, text != model.ignore_id)
    first = None
    if model.sampling_ratio > 0:
        embeds, first = sample(model, encoded, lengths, text, counts, embeds)
    scores = decode(model.decoder, encoded, lengths, embeds, counts)
    by_tokens = training_step.smoothed_loss(model.criterion_att, scores, text)
    by_count = model.criterion_pre(counts.type_as(counted), counted)
    loss = by_tokens if by_ctc is None else model.ctc_weight * by_ctc + (1 - model.ctc_weight) * by_tokens
    loss = loss + by_count * model.predictor_weight
    first = scores if first is None else first
    right = training_step.accuracy(first, text, model.ignore_id, getattr(model, "unknown_id", None))
    return loss, training_step.detached(loss_att=by_tokens, loss_pre=by_count, loss=loss, acc=right), weight


def use_fast_step(model: Any) -> bool:
    """Give a Paraformer of the parts that the hub's have this step; False, and nothing done, for any other model."""
    if type(model) is not Paraformer or not isinstance(model.encoder, SANMEncoder) or model.encoder.interctc_layer_idx:
        return False
    # FunASR registers two decoders of this name: the table knows which of them builds models.
    parts = {
        SinusoidalPositionEncoder: model.encoder.embed,
        CifPredictorV2: model.predictor,
        tables.decoder_classes.get("ParaformerSANMDecoder"): model.decoder,
    }
    if any(type(part) is not kind for kind, part in parts.items()):
        return False
    training_step.mask_without_asking(model.specaug)
    model.forward = types.MethodType(step, model)
    return True
