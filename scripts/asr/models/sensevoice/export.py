"""SenseVoiceSmall as a graph: the recipe's encoder and CTC with the four learnt frames before a clip's.

sherpa-onnx takes the first four tokens for tags, whatever they are, so that a model that no longer writes all four
would lose its first characters; and it writes any later tag or mark as text. Here the first four rows are always the
tags that every training clip has, and what our text leaves out later on counts as CTC's blank.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from asr.models.graph import FUNASR_ONNX, NEVER, SHERPA_ONNX, Graph, one_hot
from asr.models.sensevoice.model import ASKED, encoded

BPE = "chn_jpn_yue_eng_ko_spectok.bpe.model"  # where funasr-onnx looks for it
SPOKEN = {"lang_auto": "auto", "lang_zh": "zh", "lang_en": "en", "lang_yue": "yue", "lang_ja": "ja", "lang_ko": "ko"}


class SenseVoiceGraph(nn.Module):
    """(B, T, D) features, (B,) lengths, languages and forms to (B, 4 + T, V) scores and (B,) their lengths."""

    first: Tensor
    silent: Tensor
    blank: Tensor

    def __init__(self, model: Any, tags: list[int], silent: list[int]) -> None:
        """``tags``: the four of the first frames; ``silent``: tokens that texts do not show."""
        super().__init__()
        self.model = model
        size = model.ctc.ctc_lo.out_features
        self.register_buffer("first", torch.stack([one_hot(size, tag) for tag in tags]))
        self.register_buffer("silent", torch.zeros(size, dtype=torch.bool).index_fill(0, torch.tensor(silent), True))
        self.register_buffer("blank", one_hot(size, model.blank_id) == 0)

    def forward(self, speech: Tensor, speech_lengths: Tensor, language: Tensor, textnorm: Tensor) -> Any:
        """Return log-probabilities, and the lengths that they have, int32."""
        hidden = encoded(self.model, speech, speech_lengths, language, textnorm)[:, ASKED:]
        scores = self.model.ctc.ctc_lo(hidden).log_softmax(-1)
        nothing = scores.masked_fill(~(self.silent | self.blank), NEVER).amax(-1, keepdim=True)
        scores = torch.where(self.blank, nothing, scores.masked_fill(self.silent, NEVER))
        first = self.first.expand(scores.size(0), -1, -1)
        return torch.cat([first, scores], dim=1), speech_lengths + ASKED


def metadata(model: Any) -> dict[str, str]:
    """Return what sherpa-onnx's metadata says of the model itself."""
    return {
        "model_type": "sense_voice_ctc",
        "vocab_size": str(model.ctc.ctc_lo.out_features),
        "normalize_samples": "0",
        "with_itn": str(model.textnorm_dict["withitn"]),
        "without_itn": str(model.textnorm_dict["woitn"]),
        **{key: str(model.lid_dict[name]) for key, name in SPOKEN.items()},
    }


def graph(module: SenseVoiceGraph, pieces: Any, bpe: Path, front_end: dict[str, str]) -> Graph:
    """Return the graph of ``module``.

    Args:
        pieces: the SentencePiece processor of ``bpe``, its model's file.
        front_end: ``front_end_metadata``.
    """
    size, known, clips = module.model.ctc.ctc_lo.out_features, pieces.get_piece_size(), {0: "batch_size"}
    symbols = [pieces.id_to_piece(n) if n < known else f"<unused{n}>" for n in range(size)]
    names = ("speech_lengths", "language", "textnorm")
    numbers = torch.tensor([[6, 30], [0, 3], [15, 15]], dtype=torch.int32)
    width = len(front_end["neg_mean"].split(","))
    return Graph(
        module=module,
        inputs={"speech": torch.randn(2, 30, width), **dict(zip(names, numbers, strict=True))},
        outputs=("ctc_logits", "encoder_out_lens"),
        axes={
            "speech": {**clips, 1: "feats_length"},
            **dict.fromkeys(names, clips),
            "ctc_logits": {**clips, 1: "logits_length"},
            "encoder_out_lens": clips,
        },
        metadata={**metadata(module.model), **front_end},
        symbols=tuple(symbols),
        runtimes={FUNASR_ONNX: "", SHERPA_ONNX: ""},
        files={BPE: bpe},
    )
