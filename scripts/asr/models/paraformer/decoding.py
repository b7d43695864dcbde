"""Greedy decoding of Paraformer in one pass, with output that does not depend on what else is in the batch.

FunASR 1.4.16 does not zero padded encoder frames before the CIF predictor's convolution, so the last frame of a short
clip sees its padding and the recognised text changes with the batch. Here the encoder's output is multiplied by its
padding mask first; a clip alone and the same clip in a batch then agree to rounding. Used by decoding and validation.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from asr.core.nbest import POSITIONS
from asr.models.nbest import Decoded, of_positions
from asr.models.training_step import zero_padding

NOTHING = Decoded([], POSITIONS)


@torch.inference_mode()
def greedy(model: Any, speech: Tensor, lengths: Tensor) -> list[Decoded]:
    """Return the token ids of each clip, without blank, sos and eos; none where nothing fires.

    ``model`` is in evaluation mode; of the (B, T, D) features after LFR and CMVN ``lengths`` (B,) are real.
    """
    encoded, encoded_lengths = model.encode(speech, lengths)
    return _decode(model, zero_padding(encoded, encoded_lengths), encoded_lengths)


def _decode(model: Any, encoded: Tensor, lengths: Tensor) -> list[Decoded]:
    encoded = encoded[:, : int(lengths.max())]  # FunASR's masks are as long as the longest clip, and no longer
    try:
        embeds, token_counts = model.calc_predictor(encoded, lengths)[:2]
    except IndexError:
        # FunASR's cif_v1 indexes past its end when the last clip of a batch fires nothing.
        half = encoded.size(0) // 2
        if half == 0:
            return [NOTHING]
        return _decode(model, encoded[:half], lengths[:half]) + _decode(model, encoded[half:], lengths[half:])
    counts = token_counts.round().long()
    if int(counts.max()) < 1 or embeds.size(1) < 1:
        return [NOTHING for _ in range(encoded.size(0))]
    scores, _ = model.cal_decoder_with_predictor(encoded, lengths, embeds, counts)
    special = {model.blank_id, model.sos, model.eos}
    decoded = []
    for row, best, count in zip(scores, scores.argmax(dim=-1).tolist(), counts.tolist(), strict=True):
        ids = [token for token in best[:count] if token not in special]
        decoded.append(of_positions(ids, row[:count]))
    return decoded
