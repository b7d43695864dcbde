"""Fun-ASR-Nano (audio encoder, adaptor, small language model): its training step and its decoding, from features.

The language model reads embeddings: the chat's words before the audio, the adaptor's output, the words after it, and
then the text, which ends with <|im_end|>. FunASR's dataset builds that clip by clip, replaces a clip that it cannot
read by a random one and drops clips of a batch that it finds too large; here it is built from an ordinary batch
(speech, text). Against FunASR's step and inference, which give the same loss and text for a clip alone:

- the encoder's output behind a short clip is zero before the adaptor, which joins neighbouring frames where
  downsample_rate is above 1: a clip's embeddings do not depend on what it is batched with;
- scores are computed where a token is learnt alone: 152,000 for every frame and word take more memory than the model;
- weights stay in fp32 whatever llm_conf.llm_dtype says, and training computes as train_conf.use_bf16 says;
- an encoder that is frozen does not drop out, and keeps nothing for a backward pass;
- the GPU is asked for one number in a step, before anything else: how many tokens are learnt.
"""

from __future__ import annotations

import itertools
import types
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.utils.rnn import pad_sequence

from asr.models.nbest import Decoded, of_beam
from asr.models.sensevoice import model as sensevoice
from asr.models.training_step import Step, accuracy, detached, length_mask, loss_weight, zero_padding

# What FunASR writes for itn=False (FunASRNano.get_prompt): without inverse text normalisation, so numbers in Han.
SYSTEM, USER = "You are a helpful assistant.", "语音转写，不进行文本规整："
END, START = "<|im_end|>", "<|im_start|>"


def chat_around_audio(tokenizer: Any, conf: Mapping[str, Any]) -> tuple[list[int], list[int]]:
    """Return the ids before and after the audio of FunASR's inference (itn=False).

    Args:
        conf: do_think and sys_prompt of the base's dataset_conf.
    """
    system = f"{START}system\n{SYSTEM}{END}\n" if conf.get("sys_prompt", True) else ""
    after = f"{END}\n{START}assistant\n" + ("" if conf.get("do_think", True) else "<think>\n\n</think>\n\n")
    return tokenizer.encode(f"{system}{START}user\n{USER}"), tokenizer.encode(after)


def bind_chat(model: Any, tokenizer: Any, conf: Mapping[str, Any]) -> None:
    """Give a built FunASRNano its chat, what of ids is no text, and this module's training step."""
    device = model.llm.get_input_embeddings().weight.device
    for name, ids in zip(("before", "after"), chat_around_audio(tokenizer, conf), strict=True):
        model.register_buffer(name, torch.tensor(ids, device=device), persistent=False)  # in no checkpoint
    model.end_id, model.special_ids = tokenizer.convert_tokens_to_ids(END), frozenset(tokenizer.all_special_ids)
    model.length_normalized_loss = True  # the loss is a mean over tokens, and a batch in parts is weighted by them
    model.forward = types.MethodType(step, model)


def audio_tokens(lengths: Tensor, low_frame_rate: bool) -> Tensor:
    """Return the (B,) embeddings that the language model reads of (B,) frames: an eighth, rounded up, or all."""
    return (lengths + 7) // 8 if low_frame_rate else lengths


def adapt(adaptor: Any, x: Tensor, lengths: Tensor) -> Tensor:
    """Return (B, N, E) of (B, T, D) encoder output by FunASR's Transformer adaptor, ``adaptor.k`` frames as one."""
    x = functional.pad(x, (0, 0, 0, -x.size(1) % adaptor.k)).contiguous()
    x = x.view(len(x), -1, adaptor.k * x.size(-1))
    x = adaptor.linear2(adaptor.relu(adaptor.linear1(x)))
    mask = length_mask((lengths - 1) // adaptor.k + 1, x.size(1))[:, None, :]
    for block in adaptor.blocks or ():
        x = block(x, mask)[0]
    return x


def listen(model: Any, speech: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
    """Return (B, N, D) embeddings for the language model of (B, T, 560) features, and the (B,) real ones among them."""
    encoder = model.audio_encoder
    frozen = not any(value.requires_grad for value in encoder.parameters())
    if frozen:
        encoder.eval()
    with torch.set_grad_enabled(torch.is_grad_enabled() and not frozen):
        encoded = zero_padding(sensevoice.encode(encoder, speech, lengths), lengths)
    return adapt(model.audio_adaptor, encoded, lengths), audio_tokens(lengths, model.use_low_frame_rate)


def joined(model: Any, audio: Tensor, counts: Tensor, text: Tensor) -> Tensor:
    """Return (B, T, D) what the language model reads of each clip: words, its audio, words, its text, padding.

    Args:
        audio, counts: (B, N, D) embeddings of clips and their numbers.
        text: (B, L) ids, padded with -1.
    """
    embed = model.llm.get_input_embeddings()
    before, after = (embed(ids).expand(len(audio), -1, -1) for ids in (model.before, model.after))
    parts = torch.cat([before, audio.to(before.dtype), after, embed(text.clamp(min=0))], dim=1)
    place = torch.arange(parts.size(1), device=audio.device)[None]
    ends = (len(model.before) + counts)[:, None]
    behind = place + audio.size(1) - counts[:, None]  # over the padding of the audio
    source = torch.where(place < ends, place, behind.clamp(max=parts.size(1) - 1))
    return parts.gather(1, source[..., None].expand_as(parts))


def step(model: Any, speech: Tensor, speech_lengths: Tensor, text: Tensor, text_lengths: Tensor, **_: Any) -> Step:
    """Return loss, statistics and weight of a batch; each of the (B, L) texts ends with <|im_end|>."""
    text_lengths = text_lengths.view(-1)
    clips, tokens = length_mask(text_lengths, text.size(1)).nonzero(as_tuple=True)
    audio, counts = listen(model, speech, speech_lengths.view(-1))
    inputs = joined(model, audio, counts, text)
    # No token looks ahead, so none sees the padding. A mask of four dimensions is taken as it is, and not asked about.
    ahead = inputs.new_full((inputs.size(1), inputs.size(1)), -torch.inf).triu(1)[None, None]
    hidden = model.llm.model(inputs_embeds=inputs, attention_mask=ahead, use_cache=False).last_hidden_state
    starts = len(model.before) + counts + len(model.after) - 1  # where a text's first token is foretold
    scores, targets = model.llm.lm_head(hidden[clips, starts[clips] + tokens]).float(), text[clips, tokens]
    loss = functional.cross_entropy(scores, targets)
    return loss, detached(loss=loss, acc=accuracy(scores, targets, -1)), loss_weight(model, text_lengths)


@torch.inference_mode()
def greedy(model: Any, speech: Tensor, lengths: Tensor, max_new_tokens: int, beam: int = 0) -> list[Decoded]:
    """Return the ids of each clip's text, without marks: the likeliest token each time, as FunASR's inference does.

    No sampling, no penalty on repetition. Clips of a batch end together, padded on the left.

    ``model`` is in evaluation mode; of the (B, T, 560) features ``lengths`` (B,) are real; a text that does not end is
    cut after ``max_new_tokens``. A ``beam`` is searched beside the greedy text, and does not change it.
    """
    audio, counts = listen(model, speech, lengths)
    before, after = map(model.llm.get_input_embeddings(), (model.before, model.after))
    clips = zip(audio.to(before.dtype), counts.tolist(), strict=True)
    rows = [torch.cat([before, clip[:count], after]) for clip, count in clips]
    inputs = pad_sequence(rows, batch_first=True, padding_side="left")
    mask = length_mask(counts + len(before) + len(after), inputs.size(1)).long().flip(1)
    common = {
        "inputs_embeds": inputs,
        "attention_mask": mask,
        "max_new_tokens": max_new_tokens,
        "do_sample": False,
        "repetition_penalty": 1.0,
        "eos_token_id": model.end_id,
        "pad_token_id": model.end_id,
    }
    texts = [text_alone(model, row) for row in model.llm.generate(**common, num_beams=1).tolist()]
    if not beam:
        return [of_beam(ids, [(ids, 0.0)]) for ids in texts]
    found = model.llm.generate(
        **common,
        num_beams=beam,
        num_return_sequences=beam,
        length_penalty=0.0,  # a hypothesis's score is its log-probability
        return_dict_in_generate=True,
        output_scores=True,
    )
    rows = zip(found.sequences.tolist(), found.sequences_scores.tolist(), strict=True)
    candidates = [(text_alone(model, row), score) for row, score in rows]
    return [of_beam(ids, candidates[n * beam : (n + 1) * beam]) for n, ids in enumerate(texts)]


def text_alone(model: Any, ids: Sequence[int]) -> list[int]:
    """Return the ids up to the end of the text, without marks."""
    until = itertools.takewhile(lambda token: token != model.end_id, ids)
    return [token for token in until if token not in model.special_ids]
