"""Conformer and Transformer as a graph: the recipe's masked encoder with CTC, for onnxruntime and our own features.

FunASR has no export of these. Its own encoder makes masks of a length that tracing would bake in; the training step's
makes them of tensors.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from asr.models.conformer.decoding import frames, mask_padding
from asr.models.conformer.training import encode
from asr.models.graph import FUNASR_ONNX, NEVER, ONNX, SHERPA_ONNX, Graph, one_hot, silent_ids

# read in sherpa-onnx's csrc/features.h and offline-recognizer-ctc-impl.h
OTHER_FEATURES = (
    "for CTC models sherpa-onnx computes other features (povey window, frames beyond the clip's edges, no band above"
    " 7,600 Hz) than the model was trained on"
)
NO_CLASS = "funasr-onnx has no class for Conformer or Transformer"


class ConformerGraph(nn.Module):
    """(B, T, D) features and (B,) lengths to (B, T', V) log-probabilities and (B,) their lengths."""

    blank: Tensor
    mark: Tensor

    def __init__(self, model: Any, silent: list[int]) -> None:
        """``silent``: the tokens that texts do not show."""
        super().__init__()
        mask_padding(model)
        self.model = model
        self.register_buffer("blank", one_hot(model.vocab_size, model.blank_id) == 0)
        marks = torch.tensor([token for token in silent if token != model.blank_id])
        self.register_buffer("mark", torch.zeros(model.vocab_size, dtype=torch.bool).index_fill(0, marks, True))

    def forward(self, speech: Tensor, speech_lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Return what CTC makes of each frame; what our text leaves out is a blank."""
        encoded, _ = encode(self.model, speech, speech_lengths)
        scores = self.model.ctc.ctc_lo(encoded).log_softmax(-1)
        nothing = scores.masked_fill(~(self.mark | self.blank), NEVER).amax(-1, keepdim=True)
        scores = torch.where(self.blank, nothing, scores.masked_fill(self.mark, NEVER))
        return scores, frames(self.model.encoder.embed, speech_lengths)


def graph(model: Any, frontend: Any, tokenizer: Any) -> Graph:
    """Return a loaded model's graph."""
    clips = {0: "batch_size"}
    return Graph(
        module=ConformerGraph(model, silent_ids(model, tokenizer.token_list)),
        inputs={
            "speech": torch.randn(2, 60, frontend.output_size()),
            "speech_lengths": torch.tensor([30, 60], dtype=torch.int64),
        },
        outputs=("log_probs", "log_probs_lens"),
        axes={
            "speech": {**clips, 1: "feats_length"},
            "speech_lengths": clips,
            "log_probs": {**clips, 1: "frames"},
            "log_probs_lens": clips,
        },
        metadata={"vocab_size": str(model.vocab_size)},
        symbols=tuple(tokenizer.token_list),
        runtimes={ONNX: "", FUNASR_ONNX: NO_CLASS, SHERPA_ONNX: OTHER_FEATURES},
    )
