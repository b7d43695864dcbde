"""Fun-ASR-Nano (audio encoder, adaptor, small language model): its training step and its decoding, from features.

The language model reads embeddings: the chat's words before the audio, the adaptor's output, the words after it, and
then the text, which ends with <|im_end|>. FunASR's dataset builds that clip by clip, replaces a clip that it cannot
read by a random one and drops clips of a batch that it finds too large; here it is built from an ordinary batch
(speech, text). Against FunASR's step and inference, which give the same loss and text for a clip alone:

- the encoder's output behind a short clip is zero before the adaptor, which joins neighbouring frames where
  downsample_rate is above 1: a clip's embeddings do not depend on what it is batched with;
- scores are computed where a token is learnt and nowhere else: a row of 152,000 for every frame and every word of the
  prompt takes more memory than the model;
- weights stay in fp32 whatever llm_conf.llm_dtype says, and training computes as train_conf.use_bf16 says: in FunASR
  the language model's own autocast overrules it;
- an encoder that is frozen does not drop out, and keeps nothing for a backward pass;
- the GPU is asked for one number in a step: how many tokens are learnt, so that scores are of these alone. It is the
  first thing that a step does.
"""

from __future__ import annotations

import types
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from funasr.register import tables
from torch.nn import functional
from torch.nn.utils.rnn import pad_sequence

from asr.core.errors import RecipeError
from asr.models.paraformer.decoding import padding_mask
from asr.models.sensevoice import model as sensevoice
from asr.models.training_step import real_places

# What FunASR writes for itn=False (FunASRNano.get_prompt): without inverse text normalisation, so numbers in Han.
SYSTEM, USER = "You are a helpful assistant.", "语音转写，不进行文本规整："
END, START = "<|im_end|>", "<|im_start|>"


class Chat(NamedTuple):
    """What of the tokenizer a model needs: ids around the audio, the end of a text, what is no text; itself."""

    before: list[int]
    after: list[int]
    end: int
    special: frozenset[int]
    tokenizer: Any


def end_of_text(tokenizer: Any) -> int:
    """The id of <|im_end|>. RecipeError for a tokenizer that cuts a chat's marks into pieces."""
    for mark in (START, END):
        if len(ids := tokenizer.encode(mark)) != 1:
            raise RecipeError(
                f"the base model's tokenizer has no token {mark} (it makes {len(ids)} of it), so it is not of a"
                " Fun-ASR-Nano; fetch the model again"
            )
    return tokenizer.encode(END)[0]


def chat_of(tokenizer: Any, conf: Mapping[str, Any]) -> Chat:
    """The chat as FunASR's inference writes it (itn=False); ``conf``: do_think and sys_prompt of its dataset_conf."""
    system = f"{START}system\n{SYSTEM}{END}\n" if conf.get("sys_prompt", True) else ""
    after = f"{END}\n{START}assistant\n" + ("" if conf.get("do_think", True) else "<think>\n\n</think>\n\n")
    before = tokenizer.encode(f"{system}{START}user\n{USER}")
    special = frozenset(tokenizer.all_special_ids)
    return Chat(before, tokenizer.encode(after), end_of_text(tokenizer), special, tokenizer)


def attach(model: Any, tokenizer: Any, conf: Mapping[str, Any]) -> None:
    """Give a built FunASRNano its chat and this module's training step.

    RecipeError for a tokenizer that knows tokens for which the language model has no embedding.
    """
    chat, table = chat_of(tokenizer, conf), model.llm.get_input_embeddings().weight
    if len(tokenizer) > len(table):
        raise RecipeError(
            f"the base model's tokenizer has {len(tokenizer)} tokens and its language model {len(table)}: they are not"
            " of one model; fetch the model again"
        )
    model.chat = chat
    for name in ("before", "after"):  # they go where the model goes, and are in no checkpoint
        model.register_buffer(name, torch.tensor(getattr(chat, name), device=table.device), persistent=False)
    model.length_normalized_loss = True  # the loss is a mean over tokens, and a batch in parts is weighted by them
    model.forward = types.MethodType(step, model)


def audio_tokens(lengths: torch.Tensor, low_frame_rate: bool) -> torch.Tensor:
    """(B,) embeddings that the language model reads of clips of so many frames: an eighth, rounded up, or all."""
    return (lengths + 7) // 8 if low_frame_rate else lengths


def adapt(adaptor: Any, x: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    """(B, N, E) what FunASR's Transformer adaptor makes of (B, T, D) encoder output, ``adaptor.k`` frames as one."""
    if type(adaptor) is not tables.adaptor_classes.get("Transformer"):
        return adaptor(x, lengths)[0]
    x = functional.pad(x, (0, 0, 0, -x.size(1) % adaptor.k)).contiguous()
    x = x.view(len(x), -1, adaptor.k * x.size(-1))
    x = adaptor.linear2(adaptor.relu(adaptor.linear1(x)))
    mask = real_places((lengths - 1) // adaptor.k + 1, x.size(1))[:, None, :]
    for block in adaptor.blocks or ():
        x = block(x, mask)[0]
    return x


def listen(model: Any, speech: torch.Tensor, lengths: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(B, N, D) embeddings of clips for the language model, and (B,) how many of them each clip has.

    Args:
        speech: (B, T, 560) features, zero-padded.
        lengths: (B,) real frames.
    """
    encoder = model.audio_encoder
    frozen = not any(value.requires_grad for value in encoder.parameters())
    if frozen:
        encoder.eval()
    with torch.set_grad_enabled(torch.is_grad_enabled() and not frozen):
        encoded = sensevoice.encode(encoder, speech, lengths)
        encoded = encoded * padding_mask(lengths, encoded.size(1)).to(encoded.dtype)[:, :, None]
    return adapt(model.audio_adaptor, encoded, lengths), audio_tokens(lengths, model.use_low_frame_rate)


def embedded(model: Any, ids: torch.Tensor) -> torch.Tensor:
    """(…, D) the language model's embeddings of ids."""
    return model.llm.get_input_embeddings()(ids)


def joined(model: Any, audio: torch.Tensor, counts: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
    """(B, T, D) what the language model reads of each clip: words, its audio, words, its text, and padding behind.

    Args:
        audio, counts: (B, N, D) embeddings of clips and their numbers.
        text: (B, L) ids, padded with -1.
    """
    before, after = (embedded(model, ids).expand(len(audio), -1, -1) for ids in (model.before, model.after))
    parts = torch.cat([before, audio.to(before.dtype), after, embedded(model, text.clamp(min=0))], dim=1)
    place = torch.arange(parts.size(1), device=audio.device)[None]
    ends = (len(model.before) + counts)[:, None]
    behind = place + audio.size(1) - counts[:, None]  # over the padding of the audio
    source = torch.where(place < ends, place, behind.clamp(max=parts.size(1) - 1))
    return parts.gather(1, source[..., None].expand_as(parts))


def step(
    model: Any,
    speech: torch.Tensor,
    speech_lengths: torch.Tensor,
    text: torch.Tensor,
    text_lengths: torch.Tensor,
    **_: Any,
) -> tuple[torch.Tensor, dict[str, torch.Tensor], int]:
    """Loss (a mean over the tokens to learn), statistics and the number of these tokens, as FunASR's trainer takes it.

    Args:
        speech, speech_lengths: (B, T, 560) features and their real frames.
        text, text_lengths: (B, L) ids of the texts, each with <|im_end|>, and their number.
    """
    clips, tokens = real_places(text_lengths.view(-1), text.size(1)).nonzero(as_tuple=True)
    audio, counts = listen(model, speech, speech_lengths.view(-1))
    inputs = joined(model, audio, counts, text)
    # No token looks ahead, so none sees the padding. A mask of four dimensions is taken as it is, and not asked about.
    ahead = inputs.new_full((inputs.size(1), inputs.size(1)), -torch.inf).triu(1)[None, None]
    hidden = model.llm.model(inputs_embeds=inputs, attention_mask=ahead, use_cache=False).last_hidden_state
    starts = len(model.before) + counts + len(model.after) - 1  # where a text's first token is foretold
    scores, targets = model.llm.lm_head(hidden[clips, starts[clips] + tokens]).float(), text[clips, tokens]
    loss = functional.cross_entropy(scores, targets)
    accuracy = (scores.detach().argmax(-1) == targets).float().mean()
    return loss, {"loss": loss.detach(), "acc": accuracy}, len(targets)


@torch.inference_mode()
def greedy(model: Any, speech: torch.Tensor, lengths: torch.Tensor, max_new_tokens: int) -> list[list[int]]:
    """Ids of each clip's text, without marks: the likeliest token each time, as FunASR's inference takes it by default.

    No sampling, no beam, no penalty on repetition. Clips of a batch end together, padded on the left.

    Args:
        model: a FunASRNano that ``attach`` was given, in evaluation mode.
        speech: (B, T, 560) features, zero-padded.
        lengths: (B,) real frames.
        max_new_tokens: where a text that does not end is cut.
    """
    chat = model.chat
    audio, counts = listen(model, speech, lengths)
    before, after = embedded(model, model.before), embedded(model, model.after)
    rows = [
        torch.cat([before, heard[:count].to(before.dtype), after])
        for heard, count in zip(audio, counts.tolist(), strict=True)
    ]
    inputs = pad_sequence(rows, batch_first=True, padding_side="left")
    mask = real_places(counts + len(before) + len(after), inputs.size(1)).long().flip(1)
    found = model.llm.generate(
        inputs_embeds=inputs,
        attention_mask=mask,
        max_new_tokens=max_new_tokens,
        do_sample=False,
        num_beams=1,
        repetition_penalty=1.0,
        eos_token_id=chat.end,
        pad_token_id=chat.end,
    )
    return [text_alone(row, chat) for row in found.tolist()]


def text_alone(ids: Sequence[int], chat: Chat) -> list[int]:
    """Ids up to the end of the text, without marks."""
    ids = list(ids)
    if chat.end in ids:
        ids = ids[: ids.index(chat.end)]
    return [token for token in ids if token not in chat.special]
