"""Whisper (Radford et al. 2022) for clips of any length up to 30 s, by Transformers' layers, and its training step.

Transformers' own forward pass takes 30 s and nothing else, and masks no padding. Here a clip has the first positions of
the encoder's table; its padding in a batch is masked, in convolutions and in both attentions to what was heard. Tensors
have the names of Transformers' WhisperModel.

A text stands behind <|startoftranscript|><|zh|><|transcribe|><|notimestamps|>, which are given and not learnt.
"""

from __future__ import annotations

from typing import Any

import torch
from funasr.register import tables
from torch import Tensor, nn
from torch.nn import functional

from asr.core.errors import RecipeError
from asr.models.training_step import Step, accuracy, detached, length_mask, loss_weight


@tables.register("model_classes", "RecipeWhisper")
class Whisper(nn.Module):
    """The model.

    Args:
        folder: has Transformers' config.json.
        dropout, attention_dropout: of config.yaml's model_conf, in place of config.json's.
    """

    def __init__(self, folder: str, dropout: float = 0.0, attention_dropout: float = 0.0, **_: Any) -> None:
        super().__init__()
        from transformers import WhisperConfig, WhisperModel

        config = WhisperConfig.from_pretrained(folder, attn_implementation="sdpa")  # takes masks of truth values
        config.dropout, config.attention_dropout, config.activation_dropout = dropout, attention_dropout, dropout
        config.pad_token_id = None  # texts are padded here, and no token's embedding is left out of training
        built = WhisperModel(config)
        self.encoder, self.decoder, self.config = built.encoder, built.decoder, config
        self.length_normalized_loss = True  # the loss is a mean over tokens, and a batch in parts is weighted by them

    def bind(self, tokenizer: Any) -> None:
        """Take what stands before every text from the tokenizer."""
        self.tokenizer = tokenizer
        ids = torch.tensor(tokenizer.before, device=self.decoder.layer_norm.weight.device)
        self.register_buffer("before", ids, persistent=False)  # in no checkpoint

    def hear(self, speech: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Return (B, T', D) of (B, T, mels) features, T' = T / 2 rounded up, and a (B, 1, 1, T') mask.

        RecipeError for clips of more frames than there are positions.
        """
        encoder, frames = self.encoder, (speech.size(1) + 1) // 2
        if frames > (most := encoder.max_source_positions):
            raise RecipeError(
                f"a clip of {speech.size(1) / 100:.1f} s: Whisper hears {most / 50:g} s at most;"
                " set dataset_conf.max_source_length, with the slowest speed in mind"
            )
        real = length_mask(lengths, speech.size(1))[:, None]
        x = functional.gelu(encoder.conv1(speech.transpose(1, 2) * real)) * real
        x = functional.gelu(encoder.conv2(x)).transpose(1, 2) + encoder.embed_positions.weight[:frames]
        x = functional.dropout(x, encoder.dropout, self.training)
        mask = length_mask((lengths + 1) // 2, frames)[:, None, None]
        for layer in encoder.layers:
            x = layer(x, mask)
        return encoder.layer_norm(x), mask

    def write(self, ids: Tensor, heard: Tensor, mask: Tensor, at: int = 0, cache: Any = None) -> Tensor:
        """Return (B, L, D) of (B, L) ids, the first at position ``at``, with keys and values of those before it."""
        decoder = self.decoder
        x = decoder.embed_tokens(ids) + decoder.embed_positions.weight[at : at + ids.size(1)]
        x = functional.dropout(x, decoder.dropout, self.training)
        for layer in decoder.layers:
            x = layer(x, None, heard, mask, past_key_values=cache, use_cache=cache is not None)
        return decoder.layer_norm(x)

    def scores(self, hidden: Tensor) -> Tensor:
        """Return (…, V) scores before softmax of (…, D): the embeddings are the output layer as well."""
        return functional.linear(hidden, self.decoder.embed_tokens.weight).float()

    def forward(self, speech: Tensor, speech_lengths: Tensor, text: Tensor, text_lengths: Tensor, **_: Any) -> Step:
        """Return loss, statistics and weight of a batch; each of the (B, L) texts ends with the end mark, then -1."""
        frozen = not any(value.requires_grad for value in self.encoder.parameters())
        with torch.set_grad_enabled(torch.is_grad_enabled() and not frozen):
            heard, mask = self.hear(speech, speech_lengths.view(-1))
        given = torch.cat([self.before.expand(len(text), -1), text[:, :-1].clamp(min=0)], dim=1)
        scores = self.scores(self.write(given, heard, mask)[:, len(self.before) - 1 :])
        targets = text.long()
        loss = functional.cross_entropy(scores.flatten(0, 1), targets.flatten(), ignore_index=-1)
        statistics = detached(loss=loss, acc=accuracy(scores, targets, -1))
        return loss, statistics, loss_weight(self, text_lengths.view(-1))
