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
- an encoder that is frozen does not drop out, and keeps nothing for a backward pass.
"""

from __future__ import annotations

import types
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch.nn import functional
from torch.nn.utils.rnn import pad_sequence

from asr.errors import RecipeError
from asr.paraformer import padding_mask

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
    chat = chat_of(tokenizer, conf)
    rows = model.llm.get_input_embeddings().weight.shape[0]
    if len(tokenizer) > rows:
        raise RecipeError(
            f"the base model's tokenizer has {len(tokenizer)} tokens and its language model {rows}: they are not of one"
            " model; fetch the model again"
        )
    model.chat = chat
    model.length_normalized_loss = True  # the loss is a mean over tokens, and a batch in parts is weighted by them
    model.forward = types.MethodType(step, model)


def audio_tokens(lengths: torch.Tensor, low_frame_rate: bool) -> torch.Tensor:
    """(B,) embeddings that the language model reads of clips of so many frames: an eighth, rounded up, or all."""
    return (lengths + 7) // 8 if low_frame_rate else lengths


def listen(model: Any, speech: torch.Tensor, lengths: torch.Tensor) -> tuple[torch.Tensor, list[int]]:
    """(B, N, D) embeddings of clips for the language model, and how many of them each clip has.

    Args:
        speech: (B, T, 560) features, zero-padded.
        lengths: (B,) real frames.
    """
    encoder, counts = model.audio_encoder, audio_tokens(lengths, model.use_low_frame_rate).tolist()
    speech = speech[:, : int(lengths.max())].clone()  # SenseVoice's encoder multiplies its input in place
    frozen = not any(value.requires_grad for value in encoder.parameters())
    if frozen:
        encoder.eval()
    with torch.set_grad_enabled(torch.is_grad_enabled() and not frozen):
        encoded, encoded_lengths = model.encode(speech, lengths)
        encoded = encoded * padding_mask(encoded_lengths, encoded.size(1)).to(encoded.dtype)[:, :, None]
    return model.audio_adaptor(encoded, encoded_lengths)[0], counts


def embedded(model: Any, ids: Sequence[int] | torch.Tensor, device: Any) -> torch.Tensor:
    """(len(ids), D) the language model's embeddings."""
    return model.llm.get_input_embeddings()(torch.as_tensor(ids, device=device))


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
    chat, device = model.chat, speech.device
    audio, counts = listen(model, speech, speech_lengths.view(-1))
    before, after = embedded(model, chat.before, device), embedded(model, chat.after, device)
    sizes = text_lengths.view(-1).tolist()
    answers = [row[:size] for row, size in zip(text, sizes, strict=True)]
    rows = [
        torch.cat([before, heard[:count].to(before.dtype), after, embedded(model, answer, device)])
        for heard, count, answer in zip(audio, counts, answers, strict=True)
    ]
    starts = [len(before) + count + len(after) - 1 for count in counts]  # where a text's first token is foretold
    lengths = torch.tensor([len(row) for row in rows], device=device)
    inputs = pad_sequence(rows, batch_first=True)
    mask = padding_mask(lengths, inputs.size(1)).long()
    hidden = model.llm.model(inputs_embeds=inputs, attention_mask=mask, use_cache=False).last_hidden_state
    learnt = torch.cat([row[start : start + n] for row, start, n in zip(hidden, starts, sizes, strict=True)])
    scores, targets = model.llm.lm_head(learnt).float(), torch.cat(answers)
    loss = functional.cross_entropy(scores, targets)
    accuracy = (scores.detach().argmax(-1) == targets).float().mean()
    return loss, {"loss": loss.detach(), "acc": accuracy}, sum(sizes)


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
    chat, device = model.chat, speech.device
    audio, counts = listen(model, speech, lengths)
    before, after = embedded(model, chat.before, device), embedded(model, chat.after, device)
    rows = [
        torch.cat([before, heard[:count].to(before.dtype), after]) for heard, count in zip(audio, counts, strict=True)
    ]
    inputs = pad_sequence(rows, batch_first=True, padding_side="left")
    real = torch.tensor([len(row) for row in rows], device=device)
    mask = padding_mask(real, inputs.size(1)).long().flip(1)
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
