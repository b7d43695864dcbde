"""Paraformer's training step with few kernels and few waits for the GPU: FunASR's loss, less what padding did to it.

FunASR's forward pass in training asks the GPU for a number several times a clip (each time the processor waits for all
that was launched), and a small model or batch is bound by that. ``quicken`` replaces, in a built model:

- the sampler's loop over clips, by one ranking of random numbers: each clip still gets (wrong tokens x sampling_ratio)
  of its targets, at places drawn uniformly;
- continuous integrate-and-fire, where the number of tokens is known, by one matrix product (see ``integrate``);
- the smoothed loss over a table of every class of every token, by cross entropy, which is the same but for a constant;
- masks (of padding, SpecAugment's) and the sentence's end, which are made clip by clip or on the processor.

FunASR also lets the encoder's output behind a short clip into the predictor's convolution, so that the clip's last
weights depend on what it is batched with. Here that output is zero first, as it is in decoding (paraformer.py): what is
trained is what is used, and a batch in parts has the gradient of the whole.

Parameters and their names stay; so does everything at inference. Dong and Xu, "CIF", ICASSP 2020; Gao et al.,
"Paraformer", Interspeech 2022.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from funasr.models.paraformer import decoder as paraformer_decoder
from funasr.models.paraformer import model as paraformer_model
from funasr.models.paraformer.cif_predictor import CifPredictorV2
from funasr.models.paraformer.decoder import ParaformerSANMDecoder
from funasr.models.paraformer.model import Paraformer
from funasr.models.sanm import encoder as sanm_encoder
from funasr.models.sanm.encoder import SANMEncoder
from funasr.models.specaug import mask_along_axis
from torch import nn
from torch.nn import functional

from asr.funasr_model import accuracy


def integrate(hidden: torch.Tensor, alphas: torch.Tensor, tokens: int, threshold: float = 1.0) -> torch.Tensor:
    """(B, tokens, D) embeddings: token i is the sum of what frames contribute between i and i + 1 of the running sum.

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


class Predictor(CifPredictorV2):
    """CifPredictorV2 that, given the targets, does not ask how many tokens there are."""

    def forward(
        self,
        hidden: torch.Tensor,
        target_label: torch.Tensor | None = None,
        mask: torch.Tensor | None = None,
        ignore_id: int = -1,
        mask_chunk_predictor: torch.Tensor | None = None,
        target_label_length: torch.Tensor | None = None,
    ) -> Any:
        if target_label is None or mask is None or mask_chunk_predictor is not None or target_label_length is not None:
            return super().forward(
                hidden, target_label, mask, ignore_id, mask_chunk_predictor, target_label_length=target_label_length
            )
        with torch.autocast(hidden.device.type, enabled=False):
            hidden = hidden.float() * mask.float().transpose(1, 2)
            heard = torch.relu(self.cif_conv1d(self.pad(hidden.transpose(1, 2)))).transpose(1, 2)
            alphas = torch.sigmoid(self.cif_output(heard))[..., 0]
            alphas = torch.relu(alphas * self.smooth_factor - self.noise_threshold) * mask[:, 0, :].float()
            counted = alphas.sum(-1)
            wanted = (target_label != ignore_id).sum(-1).float()
            alphas = alphas * (wanted / counted)[:, None]
            embeds = integrate(hidden, alphas, target_label.size(1), self.threshold)
        return embeds, counted, alphas, None


class Model(Paraformer):
    """Paraformer whose sampler chooses for all clips at once."""

    def forward(
        self,
        speech: torch.Tensor,
        speech_lengths: torch.Tensor,
        text: torch.Tensor,
        text_lengths: torch.Tensor,
        **more: Any,
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor | None], torch.Tensor]:
        """(1,) loss, what is told of it, (1,) weight; without CTC, whose loss FunASR's own forward adds."""
        if self.ctc_weight != 0.0:
            return super().forward(speech, speech_lengths, text, text_lengths, **more)
        heard, told = speech_lengths.view(len(speech)), text_lengths.view(len(text))
        encoded, encoded_lengths = self.encode(speech, heard)
        by_tokens, accuracy_of, _, _, by_count, _ = self._calc_att_loss(encoded, encoded_lengths, text, told)
        loss = by_tokens + by_count * self.predictor_weight
        weight = (told + self.predictor_bias).sum() if self.length_normalized_loss else torch.tensor(len(speech))
        stats = {"loss_att": by_tokens, "loss_pre": by_count, "loss": loss, "acc": accuracy_of}
        return loss[None], {name: value.detach()[None] for name, value in stats.items()}, weight.to(loss.device)[None]

    def sampler(
        self,
        encoder_out: torch.Tensor,
        encoder_out_lens: torch.Tensor,
        ys_pad: torch.Tensor,
        ys_pad_lens: torch.Tensor,
        pre_acoustic_embeds: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """(B, L, D) acoustic embeddings, some of them replaced by their targets', and (B, L, V) of the first pass.

        The more tokens the first pass gets wrong, the more targets are shown: Gao et al. 2022, section 3.3.
        """
        real = ys_pad != self.ignore_id
        targets = ys_pad.masked_fill(~real, 0)
        shown = self.decoder.output_layer.weight[targets] if self.share_embedding else self.decoder.embed(targets)
        with torch.no_grad():
            first = self.decoder(encoder_out, encoder_out_lens, pre_acoustic_embeds, ys_pad_lens)[0]
            wrong = (first.argmax(-1) != ys_pad) & real
            number = (wrong.sum(1, keepdim=True).float() * self.sampling_ratio).long()
            # A token's rank among random numbers is below n for n tokens, each as likely as any other.
            order = torch.rand(ys_pad.shape, device=ys_pad.device).masked_fill(~real, 2.0).argsort(1)
            ranks = torch.empty_like(order).scatter_(
                1, order, torch.arange(order.size(1), device=order.device).expand_as(order)
            )
            chosen = (ranks < number)[..., None]
        mixed = torch.where(chosen, shown.to(pre_acoustic_embeds.dtype), pre_acoustic_embeds)
        return mixed * real[..., None], first * real[..., None]


class SmoothedLoss(nn.Module):
    """LabelSmoothingLoss by cross entropy: 1 - s on the target and s / (V - 1) on every other class, less its entropy.

    Args:
        size: V, classes.
        padding: id that does not count.
        smoothing: s.
        per_token: the mean over tokens; else the sum over tokens by the number of clips.
    """

    def __init__(self, size: int, padding: int, smoothing: float, per_token: bool) -> None:
        super().__init__()
        self.size, self.padding, self.per_token = size, padding, per_token
        each = smoothing / (size - 1)
        # cross_entropy spreads its label_smoothing over all V classes, the target among them.
        self.spread = each * size
        parts = [(1 - smoothing, 1), (each, size - 1)]
        self.entropy = -sum(number * part * math.log(part) for part, number in parts if part > 0)

    def forward(self, scores: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Scalar loss of (B, L, V) scores before softmax and (B, L) targets."""
        flat = target.reshape(-1)
        tokens = (flat != self.padding).sum()
        loss = functional.cross_entropy(
            scores.reshape(-1, self.size).float(),
            flat.long(),
            ignore_index=self.padding,
            label_smoothing=self.spread,
            reduction="sum",
        )
        return (loss - tokens * self.entropy) / (tokens if self.per_token else target.size(0))


class Longest:
    """The padded sizes that tensors of lengths go with: the longest clip, without asking the GPU for it."""

    def __init__(self) -> None:
        self.sizes: dict[int, int] = {}

    @contextlib.contextmanager
    def known(self, *pairs: tuple[torch.Tensor, torch.Tensor]) -> Iterator[None]:
        """Within the block (B,) lengths are known to go with (B, T, …) tensors."""
        before = self.sizes
        self.sizes = {**before, **{id(lengths): padded.size(1) for lengths, padded in pairs}}
        try:
            yield
        finally:
            self.sizes = before

    def of(self, lengths: torch.Tensor, given: Any = None) -> int:
        """``given``, else what is known, else what the GPU says."""
        if given is not None:
            return int(given)
        return self.sizes[id(lengths)] if id(lengths) in self.sizes else int(lengths.max())


longest = Longest()


class Encoder(SANMEncoder):
    """SANMEncoder whose padding mask is as long as its input."""

    def forward(self, xs_pad: torch.Tensor, ilens: torch.Tensor, *more: Any, **named: Any) -> Any:
        with longest.known((ilens, xs_pad)):
            return super().forward(xs_pad, ilens, *more, **named)


class Decoder(ParaformerSANMDecoder):
    """ParaformerSANMDecoder whose masks are as long as its inputs."""

    def forward(
        self,
        hs_pad: torch.Tensor,
        hlens: torch.Tensor,
        ys_in_pad: torch.Tensor,
        ys_in_lens: torch.Tensor,
        *more: Any,
        **named: Any,
    ) -> Any:
        with longest.known((hlens, hs_pad), (ys_in_lens, ys_in_pad)):
            return super().forward(hs_pad, hlens, ys_in_pad, ys_in_lens, *more, **named)


def pad_mask(lengths: Any, xs: Any = None, length_dim: int = -1, maxlen: Any = None) -> torch.Tensor:
    """(B, T) True where there is padding, made where the lengths are; FunASR's by way of a list."""
    if xs is not None or isinstance(lengths, list):
        return _their_pad_mask(lengths, xs, length_dim, maxlen)
    return torch.arange(longest.of(lengths, maxlen), device=lengths.device)[None, :] >= lengths[:, None]


def sequence_mask(
    lengths: torch.Tensor, maxlen: Any = None, dtype: torch.dtype = torch.float32, device: Any = None
) -> torch.Tensor:
    """(B, T) 1 where there is no padding."""
    where = torch.arange(longest.of(lengths, maxlen), device=lengths.device)[None, :] < lengths[:, None]
    return where.to(device=device if device is not None else lengths.device, dtype=dtype)


def mask_along_axis_lfr(
    spec: torch.Tensor,
    spec_lengths: torch.Tensor,
    mask_width_range: Sequence[int] = (0, 30),
    dim: int = 1,
    num_mask: int = 2,
    replace_with_zero: bool = True,
    lfr_rate: int = 1,
) -> tuple[torch.Tensor, torch.Tensor]:
    """SpecAugment's masks over stacked frames, each at the same place in every one of the ``lfr_rate`` parts.

    (B, T, D) spectra with masks of a width from the range's first number up to below its second. As in FunASR, a mask
    begins where the widest of the batch would still fit.
    """
    if spec.dim() != 3 or not replace_with_zero:
        return _their_masks(spec, spec_lengths, mask_width_range, dim, num_mask, replace_with_zero, lfr_rate)
    size = spec.size(dim) // lfr_rate
    shape = (spec.size(0), num_mask, 1)
    widths = torch.randint(*mask_width_range, shape, device=spec.device)
    begins = (torch.rand(shape, device=spec.device) * (size - widths.max()).clamp(min=1)).long()
    begins = begins + size * torch.arange(lfr_rate, device=spec.device)
    places = torch.arange(spec.size(dim), device=spec.device)
    behind = places - begins[..., None]
    masked = ((behind >= 0) & (behind < widths[..., None])).flatten(1, 2).any(1)
    return spec.masked_fill(masked[:, :, None] if dim == 1 else masked[:, None, :], 0.0), spec_lengths


def add_sos_eos(targets: torch.Tensor, sos: int, eos: int, ignore_id: int) -> tuple[torch.Tensor, torch.Tensor]:
    """(B, L + 1) targets behind ``sos``, padded with ``eos``; and before ``eos``, padded with ``ignore_id``."""
    column = targets.new_full((targets.size(0), 1), sos)
    padding = targets == ignore_id
    before = torch.cat([column, targets.masked_fill(padding, eos)], dim=1)
    after = torch.cat([targets, torch.full_like(column, ignore_id)], dim=1)
    return before, after.scatter(1, (~padding).sum(1, keepdim=True), eos)


_their_pad_mask, _their_masks = sanm_encoder.make_pad_mask, mask_along_axis.mask_along_axis_lfr


def quicken(model: Any) -> bool:
    """Replace the parts named above in a Paraformer that has them; False, and nothing done, for any other model."""
    if type(model) is not Paraformer or type(model.predictor) is not CifPredictorV2 or not model.decoder:
        return False
    loss = model.criterion_att
    model.criterion_att = SmoothedLoss(loss.size, loss.padding_idx, loss.smoothing, loss.normalize_length)
    model.__class__, model.predictor.__class__ = Model, Predictor
    for part, theirs, ours in (("encoder", SANMEncoder, Encoder), ("decoder", ParaformerSANMDecoder, Decoder)):
        if type(getattr(model, part)) is theirs:
            getattr(model, part).__class__ = ours
    paraformer_decoder.myutils.sequence_mask = sequence_mask
    mask_along_axis.mask_along_axis_lfr = mask_along_axis_lfr
    paraformer_model.th_accuracy = accuracy
    paraformer_model.add_sos_eos = add_sos_eos
    paraformer_model.make_pad_mask = sanm_encoder.make_pad_mask = pad_mask
    return True
