"""SenseVoiceSmall's training step and its greedy decoding, without what FunASR 1.4.16 does to batches.

Four learnt frames go before a clip's: the first asks for a language, the second and third for event and emotion, the
last for the form of the text. What the encoder makes of them is trained on the clip's four tags, the rest by CTC on its
text. An et al., "FunAudioLLM", 2024.

FunASR's forward pass adds 4 to the batch's own lengths, in place; asks the GPU for two numbers a clip; finds languages
by token ids of the hub's tokenizer alone; and draws the language away in validation as well. Here none of that is so;
CTC's lengths are the one synchronisation that is left (asr.models.training_step).

FunASR also drops a clip from the loss where CTC cannot align its text to so few frames, and its validation loss is then
infinite. Here its part is 0 in both; ``asr.models.sensevoice.family`` has named the clip.
"""

from __future__ import annotations

import itertools
import types
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from asr.models import training_step
from asr.models.nbest import Decoded, of_frames
from asr.models.training_step import Step, length_mask

LANGUAGE, FORM = "zh", "woitn"  # of the recipe's training clips, as FunASR's dictionaries call them
UNTOLD = 0.2  # of the training clips are heard without being told their language, as FunASR does
ASKED = 4  # frames before a clip's


def encode(encoder: Any, x: Tensor, lengths: Tensor) -> Tensor:
    """Return what FunASR's SenseVoiceEncoderSmall makes of (B, T, D) features, which it would change in place."""
    mask = length_mask(lengths, x.size(1)).float()[:, None, :]
    x = training_step.add_positions(x * encoder.output_size() ** 0.5)
    for layer in (*encoder.encoders0, *encoder.encoders):
        x = layer(x, mask)[0]
    x = encoder.after_norm(x)
    for layer in encoder.tp_encoders:
        x = layer(x, mask)[0]
    return encoder.tp_norm(x)


def encoded(model: Any, speech: Tensor, lengths: Tensor, languages: Tensor, forms: Tensor | None = None) -> Tensor:
    """Return (B, 4 + T, D) what the encoder makes of features with the learnt frames before them.

    Args:
        languages: (B,) rows of the model's table of learnt frames; 0 asks for no language.
        forms: (B,) the same for the form of the text; FORM's where not given.
    """
    forms = torch.full_like(languages, model.textnorm_dict[FORM]) if forms is None else forms
    others = [torch.full_like(languages, row) for row in (1, 2)]
    asked = model.embed(torch.stack([languages, *others, forms], dim=1))
    return encode(model.encoder, torch.cat((asked, speech.to(asked.dtype)), dim=1), lengths + ASKED)


def step(model: Any, speech: Tensor, speech_lengths: Tensor, text: Tensor, text_lengths: Tensor, **_: Any) -> Step:
    """Return loss, statistics and weight of (B, T, D) features and (B, 4 + L) token ids, the tags' first."""
    text_lengths = text_lengths.view(-1)
    speech, lengths = training_step.augmented(model, speech, speech_lengths.view(-1))
    languages = torch.full((len(speech),), model.lid_dict[LANGUAGE], device=speech.device)
    if model.training:
        languages = languages.masked_fill(torch.rand(len(speech), device=speech.device) < UNTOLD, 0)
    hidden = encoded(model, speech, lengths, languages)
    tags, text = text[:, :ASKED], text[:, ASKED:]
    scores = model.ctc.ctc_lo(functional.dropout(hidden[:, ASKED:], model.ctc.dropout_rate, model.training))
    losses, _ = training_step.ctc_losses(scores, lengths, text, text_lengths - ASKED, model.blank_id)
    by_text = losses.sum() / len(text)  # a text of no tokens is one of blanks
    scores = model.ctc.ctc_lo(hidden[:, :ASKED])
    by_tags = training_step.smoothed_loss(model.criterion_att, scores, tags)
    right = training_step.accuracy(scores, tags, model.ignore_id)
    loss = by_text + by_tags
    stats = training_step.detached(loss_ctc=by_text, loss_rich=by_tags, loss=loss, acc_rich=right)
    return loss, stats, training_step.loss_weight(model, text_lengths)


def use_fast_step(model: Any) -> None:
    """Give a built SenseVoiceSmall the recipe's training step."""
    training_step.mask_without_asking(model.specaug)
    model.forward = types.MethodType(step, model)
    model.length_normalized_loss = False  # a batch's loss is the mean over its clips, whatever criterion_att says


@torch.inference_mode()
def greedy(model: Any, speech: Tensor, lengths: Tensor, language: str = LANGUAGE) -> list[Decoded]:
    """Return the token ids of each clip's text alone: no blanks, no tags.

    FunASR's encoder masks padding in attention and memory blocks, and the learnt frames are not behind it: a clip alone
    and the same clip in a batch agree to rounding.

    ``model`` is in evaluation mode; of the (B, T, D) features after LFR and CMVN ``lengths`` (B,) are real;
    ``language`` is a key of its lid_dict, of which "auto" tells it none.
    """
    languages = torch.full((len(speech),), model.lid_dict[language], device=speech.device)
    scores = model.ctc.ctc_lo(encoded(model, speech, lengths, languages)[:, ASKED:])
    rows = zip(scores.argmax(-1).tolist(), scores.log_softmax(-1), lengths.tolist(), strict=True)
    decoded = []
    for best, likely, length in rows:
        ids = [token for token, _ in itertools.groupby(best[:length]) if token != model.blank_id]
        decoded.append(of_frames(ids, likely[:length], model.blank_id))
    return decoded
