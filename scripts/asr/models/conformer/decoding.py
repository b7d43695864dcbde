"""Conformer and Transformer with CTC and attention decoder: decoding, and masks of padding that training has as well.

**Text that does not depend on the batch.** Padding reaches a clip's own frames in three places; each is closed here,
for decoding, and in training as well (a multiplication and a gather a block; so a model is trained as it is decoded):

- Conv2dSubsampling's mask keeps a frame of padding for clips shorter than the longest: frames are counted anew;
- the convolution module convolves over what its first layer makes of padding: it is set to zero before;
- legacy relative positions count from the end of the *batch*: they count from the end of each clip. A clip alone gets
  the positions that FunASR gives it. (``rel_pos_type: latest`` counts between frames and has no such fault.)

BatchNorm's statistics in training are still of all frames, padding included, as in FunASR. The training step is
conformer_training.py's.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from funasr.models.conformer.encoder import ConvolutionModule, EncoderLayer
from funasr.models.transformer.attention import LegacyRelPositionMultiHeadedAttention
from funasr.models.transformer.utils import subsampling
from torch import nn

from asr.core.errors import RecipeError


def frames(embed: Any, lengths: torch.Tensor) -> torch.Tensor:
    """(B,) encoder frames that (B,) frames of features become: those that see no padding."""
    for layer in getattr(embed, "conv", ()):
        if isinstance(layer, nn.Conv2d):
            lengths = (lengths - layer.kernel_size[0]).div(layer.stride[0], rounding_mode="floor") + 1
    return lengths.clamp_min(0)


class _Counted(nn.Module):
    """Over one of FunASR's Conv2dSubsampling: a mask of the frames that see no padding."""

    def forward(self, x: torch.Tensor, x_mask: torch.Tensor | None) -> tuple[Any, torch.Tensor | None]:
        """((B, T', D) frames, with positions where there are relative ones; (B, 1, T') mask)."""
        found, mask = super().forward(x, x_mask)
        if x_mask is None:
            return found, mask
        count = (found[0] if isinstance(found, tuple) else found).size(1)
        lengths = frames(self, x_mask.sum(-1).view(-1))
        return found, (torch.arange(count, device=lengths.device)[None] < lengths[:, None])[:, None]


class _Layer(EncoderLayer):
    """An encoder block that tells its convolution where padding is."""

    def forward(self, x_input: Any, mask: torch.Tensor | None, cache: Any = None) -> Any:
        """As FunASR's."""
        if self.conv_module is not None:
            self.conv_module.mask = mask
        return super().forward(x_input, mask, cache)


class _Convolution(ConvolutionModule):
    """FunASR's, in which padding is zero before it is convolved over."""

    mask: torch.Tensor | None = None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, T, D) to (B, T, D)."""
        x = F.glu(self.pointwise_conv1(x.transpose(1, 2)), dim=1)
        if self.mask is not None:
            x, self.mask = x * self.mask.to(x.dtype), None
        x = self.pointwise_conv2(self.activation(self.norm(self.depthwise_conv(x))))
        return x.transpose(1, 2)


class _LegacyAttention(LegacyRelPositionMultiHeadedAttention):
    """FunASR's, in which each clip's positions count from its own end and not from the batch's."""

    lengths: torch.Tensor | None = None

    def forward(self, query: Any, key: Any, value: Any, pos_emb: Any, mask: torch.Tensor | None) -> torch.Tensor:
        """As FunASR's; ``mask`` is (B, 1, T)."""
        self.lengths = None if mask is None else mask.sum(-1).view(-1)
        return super().forward(query, key, value, pos_emb, mask)

    def rel_shift(self, x: torch.Tensor) -> torch.Tensor:
        """(B, H, T, T) scores by position, as scores by frame.

        FunASR shifts rows by reading the matrix with a column more: for length T, row i holds x[i, T-1-i+j] up to
        j = i, then a zero, then the beginning of row i + 1. Here T is the clip's own.
        """
        lengths, self.lengths = self.lengths, None
        if lengths is None or self.zero_triu:
            return super().rel_shift(x)
        batch, heads, count, _ = x.shape
        row, column = torch.arange(count, device=x.device)[:, None], torch.arange(count, device=x.device)[None]
        left = column <= row
        source = torch.where(left, lengths[:, None, None] - 1 - row + column, column - row - 2).clamp(0, count - 1)
        index = torch.where(left, row, (row + 1).clamp_max(count - 1)) * count + source
        shifted = x.flatten(2).gather(2, index.view(batch, 1, -1).expand(batch, heads, -1)).view_as(x)
        return shifted.masked_fill(column == row + 1, 0.0)


_SUBSAMPLING = (
    subsampling.Conv2dSubsampling,
    subsampling.Conv2dSubsampling2,
    subsampling.Conv2dSubsampling6,
    subsampling.Conv2dSubsampling8,
)
_MASKED: dict[type, type] = {
    EncoderLayer: _Layer,
    ConvolutionModule: _Convolution,
    LegacyRelPositionMultiHeadedAttention: _LegacyAttention,
    **{theirs: type(f"_{theirs.__name__}", (_Counted, theirs), {}) for theirs in _SUBSAMPLING},
}


def mask_padding(model: Any) -> list[tuple[Any, type]]:
    """Put the encoder's masked layers in the place of FunASR's; the layers changed, with what they were."""
    changed = [(layer, type(layer)) for layer in model.encoder.modules() if type(layer) in _MASKED]
    for layer, theirs in changed:
        layer.__class__ = _MASKED[theirs]
    return changed


@contextlib.contextmanager
def masked(model: Any) -> Iterator[None]:
    """``mask_padding`` for a while: a model that FunASR's own step trains goes on as it was."""
    changed = mask_padding(model)
    try:
        yield
    finally:
        for layer, theirs in changed:
            layer.__class__ = theirs


def _encode(model: Any, speech: torch.Tensor, lengths: torch.Tensor) -> tuple[torch.Tensor, list[int]] | None:
    """(B, T', D) encoder output and each clip's frames of it; None where no clip has any."""
    if int(frames(model.encoder.embed, lengths).max()) < 1:  # FunASR raises TooShortUttError
        return None
    with masked(model):
        encoded, counts = model.encode(speech, lengths)
    return (encoded[0] if isinstance(encoded, tuple) else encoded), counts.tolist()


@torch.inference_mode()
def ctc_greedy(model: Any, speech: torch.Tensor, lengths: torch.Tensor) -> list[list[int]]:
    """Token ids of each clip: the likeliest of each frame, repeats joined, without blank, sos and eos.

    Args:
        model: a FunASR Conformer or Transformer with CTC, in evaluation mode.
        speech: (B, T, D) features after CMVN, zero-padded.
        lengths: (B,) real frames of each clip.
    """
    if (found := _encode(model, speech, lengths)) is None:
        return [[] for _ in lengths]
    encoded, counts = found
    special = {model.blank_id, model.sos, model.eos}
    rows = model.ctc.argmax(encoded).tolist()
    return [
        [token for token, _ in itertools.groupby(row[:count]) if token not in special]
        for row, count in zip(rows, counts, strict=True)
    ]


@torch.inference_mode()
def beam(model: Any, speech: torch.Tensor, lengths: torch.Tensor, beam_size: int, ctc_weight: float) -> list[list[int]]:
    """Token ids of each clip by FunASR's beam search, one clip after another.

    Args:
        model, speech, lengths: as for ``ctc_greedy``.
        beam_size: hypotheses kept; at most as many as there are tokens.
        ctc_weight: CTC's share of a hypothesis's score, the rest is the decoder's; 0 is the decoder alone.

    The encoder reads the clips in batches and is masked, so a score changes with the batch by rounding alone.
    RecipeError for a model without a decoder.
    """
    from asr.models.quiet import quiet

    if model.decoder is None:
        raise RecipeError("decode_conf.method: the model has no attention decoder (its ctc_weight is 1); decode by ctc")
    if (found := _encode(model, speech, lengths)) is None:
        return [[] for _ in lengths]
    # It logs several lines a clip, and adds up numbers of CTC's that it has not set and does not use.
    with quiet(), np.errstate(invalid="ignore", over="ignore"):
        model.init_beam_search(
            token_list=[""] * model.vocab_size,
            decoding_ctc_weight=ctc_weight,
            beam_size=min(beam_size, model.vocab_size),
        )
        # As an attribute it would be a second decoder in the model's state, and FunASR never makes another.
        search, model.beam_search = model.beam_search, None
        heard = [search(x=clip[:count]) if count else [] for clip, count in zip(*found, strict=True)]
    special = {model.blank_id, model.sos, model.eos}
    return [[token for token in best[0].yseq.tolist() if token not in special] if best else [] for best in heard]
