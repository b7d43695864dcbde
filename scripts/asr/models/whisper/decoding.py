"""Whisper's decoding: a beam search in batches, of which one hypothesis is greedy decoding.

Clips of a batch are decoded side by side and leave it as they end; each keeps its own hypotheses, and its padding is
masked, so a text changes with the batch by rounding alone. No language is guessed and no timestamp written: of the
marks only the end is allowed. A text that repeats itself (``asr.models.loops``) is cut where that is certain.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import DynamicCache, EncoderDecoderCache

from asr.models.loops import looped
from asr.models.nbest import Decoded, Ids, of_beam

Found = list[tuple[Ids, float]]


class Way(NamedTuple):
    """A continuation: its log-probability with all before it, the hypothesis that it continues, and the token."""

    score: float
    parent: int
    token: int


@dataclass
class Clip:
    """The hypotheses of a clip that go on, and those that ended."""

    texts: list[Ids]
    ended: Found


@torch.inference_mode()
def decode(model: Any, speech: Tensor, lengths: Tensor, options: Mapping[str, Any]) -> list[Decoded]:
    """Return each clip's ids and candidates.

    ``model`` is in evaluation mode; of the (B, T, mels) features ``lengths`` (B,) are real. A clip longer than the
    model hears is read in equal windows, and their texts are joined.

    Args:
        options: beam_size (1 is greedy), nbest_beam (a beam of its own for the candidates, 0 for none),
            max_new_tokens, prompt.
    """
    most = 2 * model.encoder.max_source_positions
    parts = [
        clip[:length].tensor_split(-(-length // most)) for clip, length in zip(speech, lengths.tolist(), strict=True)
    ]
    rows = [part for windows in parts for part in windows]
    sizes = torch.tensor([len(row) for row in rows], device=speech.device)
    heard, mask = model.hear(pad_sequence(rows, batch_first=True), sizes)
    before = prompted(model, options["prompt"])
    sought = [search(model, heard, mask, before, options["beam_size"], options["max_new_tokens"])]
    if options["nbest_beam"] not in (0, options["beam_size"]):
        sought.append(search(model, heard, mask, before, options["nbest_beam"], options["max_new_tokens"]))
    decoded, at = [], 0
    for windows in parts:
        best, candidates = (joined(beams[at : at + len(windows)]) for beams in (sought[0], sought[-1]))
        decoded.append(of_beam(best[0][0], candidates))
        at += len(windows)
    return decoded


def joined(windows: Sequence[Found]) -> Found:
    """Return the texts of a clip: the window's own, or of several windows the best of each, one behind the other."""
    if len(windows) == 1:
        return windows[0]
    return [([token for found in windows for token in found[0][0]], sum(found[0][1] for found in windows))]


def prompted(model: Any, prompt: str) -> Tensor:
    """Return the ids before a text, behind those of a prompt if there is one: its last half context."""
    if not prompt.strip():
        return model.before
    words = model.tokenizer.encode(f" {prompt.strip()}")[-(model.config.max_target_positions // 2 - 1) :]
    return torch.cat([model.before.new_tensor([model.tokenizer.previous, *words]), model.before])


def search(model: Any, heard: Tensor, mask: Tensor, before: Tensor, size: int, longest: int) -> list[Found]:
    """Return for each clip of (B, T', D) encoder output its texts and their log-probabilities, likeliest first.

    A hypothesis ends with the end mark, if that is among the ``size`` likeliest continuations, with a loop, or after
    ``longest`` tokens; a clip when ``size`` have ended, one of them likelier than all that go on.
    """
    cache = EncoderDecoderCache(DynamicCache(), DynamicCache())
    longest = min(longest, model.config.max_target_positions - len(before))
    hidden = model.write(before.expand(len(heard), -1), heard, mask, cache=cache)[:, -1]
    live = clips = [Clip([[]], []) for _ in heard]
    scores = heard.new_zeros(len(heard), 1, dtype=torch.float32)
    marks = torch.arange(model.config.vocab_size, device=heard.device) > model.tokenizer.end
    for step in range(longest):
        likely = model.scores(hidden).masked_fill(marks, -torch.inf).log_softmax(-1)
        total = scores[:, :, None] + likely.view(len(live), -1, likely.size(-1))
        width, vocabulary = total.shape[1:]
        best = total.flatten(1).topk(2 * size)
        going, rows, tokens, kept_scores = [], [], [], []
        for row, (clip, values, places) in enumerate(zip(live, best[0].tolist(), best[1].tolist(), strict=True)):
            ways = [Way(value, *divmod(place, vocabulary)) for value, place in zip(values, places, strict=True)]
            if kept := continued(model.tokenizer, clip, ways, size, step + 1 == longest):
                going.append(clip)
                clip.texts = [[*clip.texts[way.parent], way.token] for way in kept]
                rows += [row * width + way.parent for way in kept]
                tokens += [way.token for way in kept]
                kept_scores.append([way.score for way in kept])
        if not (live := going):
            break
        index = torch.tensor(rows, device=heard.device)
        cache.batch_select_indices(index)
        heard, mask = heard[index], mask[index]
        scores = torch.tensor(kept_scores, device=heard.device)
        ids = torch.tensor(tokens, device=heard.device)[:, None]
        hidden = model.write(ids, heard, mask, len(before) + step, cache)[:, -1]
    return [sorted(clip.ended, key=lambda one: -one[1])[:size] for clip in clips]


def continued(tokenizer: Any, clip: Clip, ways: Sequence[Way], size: int, is_last: bool) -> list[Way]:
    """Return the ``size`` best ways on, none where the clip is done; what ends is put to the clip's ``ended``."""
    going: list[Way] = []
    for rank, way in enumerate(ways):
        if len(going) == size or (size == 1 and clip.ended) or way.score == -math.inf:
            break
        text = [*clip.texts[way.parent], way.token]
        if way.token == tokenizer.end:
            if rank < size:
                clip.ended.append((text[:-1], way.score))
        elif is_last or looped(tokenizer.decode(text)):
            clip.ended.append((text, way.score))
        else:
            going.append(way)
    if not going or (len(clip.ended) >= size and max(score for _, score in clip.ended) >= going[0].score):
        return []
    return going + [going[0]._replace(score=-math.inf)] * (size - len(going))  # so that all clips have as many
