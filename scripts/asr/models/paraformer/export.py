"""Paraformer as a graph: the recipe's greedy decoding, with any number of clips of any length.

FunASR's own export integrates and fires by a scripted function, whose number of tokens and of firings are two sums that
rounding may set apart; runtimes then return no text at all. Here both are one running sum in double precision. It also
lets padding into the predictor's convolution (asr.models.paraformer.decoding), and leaves blanks and marks where they
are: sherpa-onnx writes a blank or an unknown token as text and stops at the first end mark. Here positions that write
nothing go to the end of the clip and are end marks, which all of them read as the end.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from asr.core.errors import RecipeError
from asr.models.graph import FUNASR_ONNX, SHERPA_ONNX, Graph, front_end_metadata, one_hot, silent_ids
from asr.models.paraformer.training import decode, encode, integrate
from asr.models.training_step import length_mask, zero_padding


class ParaformerGraph(nn.Module):
    """(B, T, D) features and (B,) lengths to (B, L, V) log-probabilities and (B,) numbers of tokens."""

    end: Tensor

    def __init__(self, model: Any, silent: list[int]) -> None:
        """``silent``: the tokens that texts do not show."""
        super().__init__()
        self.model, self.silent = model, silent
        self.register_buffer("end", one_hot(model.vocab_size, model.eos))

    def forward(self, speech: Tensor, speech_lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Return rows of tokens that write something, then of end marks, and how many the former are, int32."""
        encoded, _ = encode(self.model, speech, speech_lengths)
        encoded = zero_padding(encoded, speech_lengths)
        embeds, counts = self._fire(encoded, length_mask(speech_lengths, encoded.size(1)).float())
        scores = decode(self.model.decoder, encoded, speech_lengths, embeds, counts).log_softmax(-1)
        best = scores.argmax(-1)
        writes = length_mask(counts, scores.size(1))
        for token in self.silent:
            writes = writes & (best != token)
        places = torch.arange(scores.size(1), device=scores.device)
        # Smallest first: those that write, in their order.
        order = torch.topk(places + scores.size(1) * (~writes).long(), scores.size(1), 1, largest=False)[1]
        scores = scores.gather(1, order[..., None].expand_as(scores))
        left = writes.sum(1).int()
        return torch.where(length_mask(left, scores.size(1))[..., None], scores, self.end), left

    def _fire(self, encoded: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Return (B, L, D) embeddings of tokens, L at least 1, and (B,) their numbers: CifPredictorV2's."""
        predictor = self.model.predictor
        frames = torch.relu(predictor.cif_conv1d(predictor.pad(encoded.transpose(1, 2)))).transpose(1, 2)
        alphas = torch.sigmoid(predictor.cif_output(frames))[..., 0]
        alphas = torch.relu(alphas * predictor.smooth_factor - predictor.noise_threshold) * mask
        nothing = torch.zeros_like(mask[:, :1])
        last = torch.cat([torch.ones_like(nothing), mask], 1) - torch.cat([mask, nothing], 1)
        alphas = torch.cat([alphas, nothing], 1) + last * predictor.tail_threshold
        hidden = torch.cat([encoded, torch.zeros_like(encoded[:, :1])], 1)
        counts = torch.floor(alphas.double().sum(1) / predictor.threshold).int()
        return integrate(hidden, alphas, counts.max().clamp(min=1), predictor.threshold), counts


def graph(model: Any, frontend: Any, tokenizer: Any) -> Graph:
    """Return a loaded model's graph. RecipeError for parts that the graph does not have."""
    kinds = {"encoder": "SANMEncoder", "decoder": "ParaformerSANMDecoder"}
    for part, kind in kinds.items():
        if type(getattr(model, part)).__name__ != kind:
            raise RecipeError(
                f"the model's {part} is a {type(getattr(model, part)).__name__}; only Paraformers with a {kind} can be"
                " exported"
            )
    axes = {"speech": {0: "batch_size", 1: "feats_length"}, "speech_lengths": {0: "batch_size"}}
    return Graph(
        module=ParaformerGraph(model, silent_ids(model, tokenizer.token_list)),
        inputs={
            "speech": torch.randn(2, 30, frontend.output_size()),
            "speech_lengths": torch.tensor([6, 30], dtype=torch.int32),
        },
        outputs=("logits", "token_num"),
        axes={**axes, "logits": {0: "batch_size", 1: "logits_length"}, "token_num": {0: "batch_size"}},
        metadata={
            "model_type": "paraformer",
            "vocab_size": str(model.vocab_size),
            **front_end_metadata(frontend),
        },
        symbols=tuple(tokenizer.token_list),
        runtimes={FUNASR_ONNX: "", SHERPA_ONNX: ""},
    )
