"""SenseVoiceSmall's training step and its greedy decoding, without what FunASR 1.4.16 does to batches.

Four learnt frames go before a clip's: the first asks for a language, the second and third for event and emotion, the
last for the form of the text. What the encoder makes of them is trained on the clip's four tags, the rest by CTC on its
text. An et al., "FunAudioLLM", 2024.

FunASR's forward pass adds 4 to the batch's own lengths, in place; asks the GPU for two numbers a clip; finds languages
by token ids of the hub's tokenizer alone; and draws the language away in validation as well. Here none of that is so.

FunASR also drops a clip from the loss where CTC cannot align its text to so few frames, and its validation loss is then
infinite. Here its part is 0 in both; ``asr.families.sensevoice`` has named the clip.
"""

from __future__ import annotations

from typing import Any

import torch
from funasr.models.sense_voice.model import SenseVoiceSmall
from torch.nn import functional

LANGUAGE, FORM = "zh", "woitn"  # of the recipe's training clips, as FunASR's dictionaries call them
UNTOLD = 0.2  # of the training clips are heard without being told their language, as FunASR does
ASKED = 4  # frames before a clip's


def asked(model: Any, languages: torch.Tensor) -> torch.Tensor:
    """(B, 4, D) learnt frames for (B,) languages, rows of the model's table: 0 asks for none."""
    rows = torch.tensor([0, 1, 2, model.textnorm_dict[FORM]], device=languages.device).repeat(len(languages), 1)
    rows[:, 0] = languages
    return model.embed(rows)


def encoded(model: Any, speech: torch.Tensor, lengths: torch.Tensor, languages: torch.Tensor) -> torch.Tensor:
    """(B, 4 + T, D) what the encoder makes of features with the learnt frames before them."""
    frames = asked(model, languages)
    return model.encoder(torch.cat((frames, speech.to(frames.dtype)), dim=1), lengths + ASKED)[0]


class Trained(SenseVoiceSmall):
    """SenseVoiceSmall with the recipe's training step. Parameters and their names stay, and so does inference."""

    def forward(
        self,
        speech: torch.Tensor,
        speech_lengths: torch.Tensor,
        text: torch.Tensor,
        text_lengths: torch.Tensor,
        **_: Any,
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor], int]:
        """(loss, its parts, clips) of (B, T, D) features and of (B, 4 + L) token ids, the tags' first."""
        lengths, text_lengths = speech_lengths.view(-1), text_lengths.view(-1)
        if self.specaug is not None and self.training:
            speech, lengths = self.specaug(speech, lengths)
        if self.normalize is not None:
            speech, lengths = self.normalize(speech, lengths)
        languages = torch.full((len(speech),), self.lid_dict[LANGUAGE], device=speech.device)
        if self.training:
            languages[torch.rand(len(speech), device=speech.device) < UNTOLD] = 0
        hidden = encoded(self, speech, lengths, languages)
        by_text = self._by_text(hidden[:, ASKED:], lengths, text[:, ASKED:], text_lengths - ASKED)
        by_tags, correct = self._by_tags(hidden[:, :ASKED], text[:, :ASKED])
        loss = by_text + by_tags
        stats = {"loss_ctc": by_text.detach(), "loss_rich": by_tags.detach(), "loss": loss.detach()}
        return loss, {**stats, "acc_rich": correct}, len(speech)

    def _by_text(
        self, hidden: torch.Tensor, lengths: torch.Tensor, text: torch.Tensor, text_lengths: torch.Tensor
    ) -> torch.Tensor:
        """CTC's loss a clip. A text of no tokens is one of blanks."""
        scores = self.ctc.ctc_lo(functional.dropout(hidden, self.ctc.dropout_rate, self.training))
        likely = scores.float().log_softmax(-1).transpose(0, 1)
        target = text.clamp(min=0)
        loss = functional.ctc_loss(
            likely, target, lengths, text_lengths, self.blank_id, reduction="sum", zero_infinity=True
        )
        return loss / len(text)

    def _by_tags(self, hidden: torch.Tensor, tags: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Cross entropy of the four tags, a tag's or a clip's as the model has it; and how many are right."""
        scores = self.ctc.ctc_lo(hidden)
        classes = scores.size(-1)
        # FunASR spreads its smoothing over all classes but the right one.
        smoothing = self.criterion_att.smoothing * classes / (classes - 1)
        loss = functional.cross_entropy(
            scores.float().flatten(0, 1), tags.flatten(), reduction="sum", label_smoothing=smoothing
        )
        correct = (scores.argmax(-1) == tags).float().mean().detach()
        return loss / (tags.numel() if self.criterion_att.normalize_length else len(tags)), correct


def prepare(model: Any) -> None:
    """Give a built SenseVoiceSmall the recipe's training step."""
    model.__class__ = Trained
    model.length_normalized_loss = False  # a batch's loss is the mean over its clips, whatever criterion_att says


@torch.inference_mode()
def greedy(model: Any, speech: torch.Tensor, lengths: torch.Tensor, language: str = LANGUAGE) -> list[list[int]]:
    """Token ids for each clip of a batch, of its text alone: no blanks, no tags.

    FunASR's encoder masks padding in attention and memory blocks, and the learnt frames are not behind it: a clip alone
    and the same clip in a batch agree to rounding.

    Args:
        model: a FunASR SenseVoiceSmall, in evaluation mode.
        speech: (B, T, D) features after LFR and CMVN, zero-padded.
        lengths: (B,) real frames of each clip.
        language: a key of the model's lid_dict; "auto" tells it none.
    """
    languages = torch.full((len(speech),), model.lid_dict[language], device=speech.device)
    best = model.ctc.ctc_lo(encoded(model, speech, lengths, languages)[:, ASKED:]).argmax(-1).tolist()
    found = []
    for row, length in zip(best, lengths.tolist(), strict=True):
        heard = [token for place, token in enumerate(row[:length]) if place == 0 or token != row[place - 1]]
        found.append([token for token in heard if token != model.blank_id])
    return found
