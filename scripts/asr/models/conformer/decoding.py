"""Conformer and Transformer with CTC and attention decoder: decoding, and masks of padding that training has as well.

**Text that does not depend on the batch.** Padding reaches a clip's own frames in three places; each is closed here,
for decoding, and in training as well (a multiplication and a gather a block; so a model is trained as it is decoded):

- Conv2dSubsampling's mask keeps a frame of padding for clips shorter than the longest: frames are counted anew;
- the convolution module convolves over what its first layer makes of padding: it is set to zero before;
- legacy relative positions count from the end of the *batch*: they count from the end of each clip. A clip alone gets
  the positions that FunASR gives it. (``rel_pos_type: latest`` counts between frames and has no such fault.)

BatchNorm's statistics in training are still of all frames, padding included, as in FunASR.
"""

from __future__ import annotations

import contextlib
import itertools
import types
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import torch
from funasr.models.conformer.encoder import EncoderLayer
from funasr.models.transformer.attention import LegacyRelPositionMultiHeadedAttention
from funasr.models.transformer.utils import subsampling
from torch import Tensor, nn
from torch.nn import functional

from asr.core.errors import RecipeError
from asr.models.funasr_import import quiet
from asr.models.nbest import Decoded, of_beam, of_frames
from asr.models.training_step import length_mask


def frames(embed: Any, lengths: Tensor) -> Tensor:
    """Return the (B,) encoder frames that (B,) frames of features become: those that see no padding."""
    for layer in getattr(embed, "conv", ()):
        if isinstance(layer, nn.Conv2d):
            lengths = (lengths - layer.kernel_size[0]).div(layer.stride[0], rounding_mode="floor") + 1
    return lengths.clamp_min(0)


def _count_frames(embed: Any, inputs: tuple[Tensor, Tensor], output: tuple[Any, Tensor]) -> tuple[Any, Tensor]:
    """Put a (B, 1, T') mask of the frames that see no padding in the place of Conv2dSubsampling's."""
    x = output[0][0] if isinstance(output[0], tuple) else output[0]  # with positions where they are relative
    return output[0], length_mask(frames(embed, inputs[1].sum(-1).view(-1)), x.size(1))[:, None]


def _pass_mask_on(block: Any, inputs: tuple[Any, Tensor]) -> None:
    """Give a block's (B, 1, T) mask to those of its layers that FunASR tells nothing of padding."""
    if block.conv_module is not None:
        block.conv_module.depthwise_conv.mask = inputs[1]
    if type(block.self_attn) is LegacyRelPositionMultiHeadedAttention:
        block.self_attn.lengths = inputs[1].sum(-1).view(-1)


def _zero_padding(convolution: Any, inputs: tuple[Tensor]) -> Tensor:
    """Return (B, D, T) with zeros in the padding, before it is convolved over."""
    return inputs[0] * convolution.mask.to(inputs[0].dtype)


def _shift_by_clip(attention: Any, x: Tensor) -> Tensor:
    """Return (B, H, T, T) scores by position as scores by frame, positions counted from each clip's own end.

    FunASR shifts rows by reading the matrix with a column more: for length T, row i holds x[i, T-1-i+j] up to
    j = i, then a zero, then the beginning of row i + 1. Here T is the clip's own.
    """
    lengths, attention.lengths = attention.__dict__.get("lengths"), None
    if lengths is None or attention.zero_triu:
        return type(attention).rel_shift(attention, x)
    batch, heads, count, _ = x.shape
    row, column = torch.arange(count, device=x.device)[:, None], torch.arange(count, device=x.device)[None]
    left = column <= row
    source = torch.where(left, lengths[:, None, None] - 1 - row + column, column - row - 2).clamp(0, count - 1)
    index = torch.where(left, row, (row + 1).clamp_max(count - 1)) * count + source
    shifted = x.flatten(2).gather(2, index.view(batch, 1, -1).expand(batch, heads, -1)).view_as(x)
    return shifted.masked_fill(column == row + 1, 0.0)


def mask_padding(model: Any) -> list[Any]:
    """Hook the masks to a model's encoder, and return the hooks' handles. A second time changes nothing."""
    embed = model.encoder.embed
    handles = [embed.register_forward_hook(_count_frames)] if hasattr(embed, "conv") else []
    for layer in model.encoder.modules():
        if type(layer) is EncoderLayer:
            handles.append(layer.register_forward_pre_hook(_pass_mask_on))
            if layer.conv_module is not None:
                handles.append(layer.conv_module.depthwise_conv.register_forward_pre_hook(_zero_padding))
        elif type(layer) is LegacyRelPositionMultiHeadedAttention:
            layer.rel_shift = types.MethodType(_shift_by_clip, layer)  # FunASR's where no mask is passed on
    return handles


@contextlib.contextmanager
def masked(model: Any) -> Iterator[None]:
    """``mask_padding`` for a while: a model that FunASR's own step trains goes on as it was."""
    handles = mask_padding(model)
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _encode(model: Any, speech: Tensor, lengths: Tensor) -> tuple[Tensor, list[int]]:
    """Return the (B, T', D) encoder output and each clip's frames of it; 0 of a clip that is too short."""
    enough = subsampling.check_short_utt(model.encoder.embed, speech.size(1))[1]  # for fewer it is an error of FunASR's
    speech = functional.pad(speech, (0, 0, 0, max(0, enough - speech.size(1))))
    with masked(model):
        encoded, counts = model.encode(speech, lengths)
    return encoded, counts.tolist()


def _without_marks(model: Any, ids: Iterable[int]) -> list[int]:
    """Return ids without blank, sos and eos."""
    return [token for token in ids if token not in (model.blank_id, model.sos, model.eos)]


@torch.inference_mode()
def ctc_greedy(model: Any, speech: Tensor, lengths: Tensor) -> list[Decoded]:
    """Return the token ids of each clip: the likeliest of each frame, repeats joined, without blank, sos and eos.

    ``model`` has CTC and is in evaluation mode; of the (B, T, D) features after CMVN ``lengths`` (B,) are real.
    """
    encoded, counts = _encode(model, speech, lengths)
    decoded = []
    rows = zip(model.ctc.argmax(encoded).tolist(), model.ctc.log_softmax(encoded), counts, strict=True)
    for best, scores, count in rows:
        ids = _without_marks(model, (token for token, _ in itertools.groupby(best[:count])))
        decoded.append(of_frames(ids, scores[:count], model.blank_id))
    return decoded


@torch.inference_mode()
def beam(model: Any, speech: Tensor, lengths: Tensor, beam_size: int, ctc_weight: float) -> list[Decoded]:
    """Return the token ids of each clip by FunASR's beam search, one clip after another.

    The encoder reads the clips in batches and is masked, so a score changes with the batch by rounding alone.
    RecipeError for a model without a decoder.

    Args:
        beam_size: hypotheses kept; at most as many as there are tokens.
        ctc_weight: CTC's share of a hypothesis's score, the rest is the decoder's; 0 is the decoder alone.
    """
    if model.decoder is None:
        raise RecipeError("decode_conf.method: the model has no attention decoder (its ctc_weight is 1); decode by ctc")
    clips = zip(*_encode(model, speech, lengths), strict=True)
    # It logs several lines a clip, and adds up numbers of CTC's that it has not set and does not use.
    with quiet(), np.errstate(invalid="ignore", over="ignore"):
        size = min(beam_size, model.vocab_size)
        model.init_beam_search(token_list=[""] * model.vocab_size, decoding_ctc_weight=ctc_weight, beam_size=size)
        # As an attribute it would be a second decoder in the model's state, and FunASR never makes another.
        search, model.beam_search = model.beam_search, None
        found = [search(x=clip[:count]) if count else [] for clip, count in clips]
    beams = [[(_without_marks(model, one.yseq.tolist()), float(one.score)) for one in each] for each in found]
    return [of_beam(each[0][0] if each else [], each) for each in beams]
