"""Whisper's log-mel features (Radford et al. 2022, section 2.2) of clips at their own length.

OpenAI pads every clip with silence to 30 s. Here a clip gets the silence that costs no accuracy and no more
(docs/models.md, Whisper): without any the model does not find the end of a short clip, and repeats itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from funasr.register import tables
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import pad_sequence
from torchaudio.functional import melscale_fbanks

from asr.models.whisper.folder import LEAST, MOST

RATE, WINDOW, HOP = 16000, 400, 160


@tables.register("frontend_classes", "RecipeWhisperFrontend")
class WhisperFeatures(nn.Module):
    """Features of OpenAI's filter bank.

    Args:
        n_mels: 80, or 128 from large-v3 on.
        least: seconds that a clip has at least, the rest of them silence behind it.
        dither: standard deviation of noise, in steps of 16-bit samples.
    """

    fs = RATE

    def __init__(self, n_mels: int = 80, least: float = LEAST, dither: float = 0.0, **_: Any) -> None:
        super().__init__()
        self.n_mels, self.least, self.dither = n_mels, least, dither
        filters = melscale_fbanks(WINDOW // 2 + 1, 0.0, RATE / 2, n_mels, RATE, norm="slaney", mel_scale="slaney")
        self.register_buffer("filters", filters, persistent=False)
        self.register_buffer("window", torch.hann_window(WINDOW), persistent=False)

    def output_size(self) -> int:
        """Return the number of features of a frame."""
        return self.n_mels

    def frames(self, lengths: np.ndarray) -> np.ndarray:
        """Return [n] 10-ms frames that the model reads of clips of [n] frames."""
        return np.maximum(lengths, round(self.least * RATE) // HOP)

    def forward(self, audio: Tensor, lengths: Sequence[int] | Tensor, **_: Any) -> tuple[Tensor, Tensor]:
        """Return (B, T, n_mels) features and (B,) lengths, 10-ms frames, of (B, N) samples at 16 kHz."""
        found = [self.log_mel(clip[: int(length)]) for clip, length in zip(audio.float(), lengths, strict=True)]
        return pad_sequence(found, batch_first=True), torch.tensor([len(each) for each in found])

    def log_mel(self, clip: Tensor) -> Tensor:
        """Return (T, n_mels) of a clip with its silence."""
        wanted = max(round(min(self.least, MOST) * RATE), WINDOW)
        clip = functional.pad(clip, (0, max(0, wanted - len(clip))))
        if self.dither:
            clip = clip + self.dither / 32768 * torch.randn_like(clip)
        spectrum = torch.stft(clip, WINDOW, HOP, window=self.window, return_complex=True)[:, :-1]
        power = (spectrum.abs() ** 2).T @ self.filters
        logs = power.clamp(min=1e-10).log10()
        return (logs.clamp(min=logs.max() - 8) + 4) / 4
