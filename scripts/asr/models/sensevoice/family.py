"""SenseVoiceSmall: an encoder with CTC; four frames before a clip's say what kind of speech it is (model.py)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asr.core.errors import RecipeError
from asr.models.family import Family
from asr.models.model_folder import read_metas

if TYPE_CHECKING:
    from asr.models.graph import Graph
    from asr.models.loading import Recogniser
    from asr.models.nbest import Decoded

# What the recipe's clips are, in the order of the model's first four frames: Mandarin, and digits written as spoken.
TAGS = {
    "text_language": "<|zh|>",
    "emo_target": "<|NEUTRAL|>",
    "event_target": "<|Speech|>",
    "with_or_wo_itn": "<|woitn|>",
}
FRAMES_STACKED = 6  # of 10 ms: FunASR's frontend gives the encoder one frame for so many
_TAG = re.compile(r"<\|[^<>|]*\|>")


def without_tags(text: str) -> str:
    """Return a text without <|…|> tags, wherever they stand, and without blanks at its ends."""
    return _TAG.sub("", text).strip()


def tag_ids(tokenizer: Any) -> list[int]:
    """Return the ids of the four tags. RecipeError for a tokenizer to which one of them is not one token."""
    # Not by its encode, which puts a piece of a blank first, unless the model was made without (add_dummy_prefix).
    ids = [tokenizer.sp.piece_to_id(tag) for tag in TAGS.values()]
    if tokenizer.sp.unk_id() in ids:
        unknown = list(TAGS.values())[ids.index(tokenizer.sp.unk_id())]
        raise RecipeError(
            f"the base model's tokenizer does not know {unknown} as one token, so it is not SenseVoice's; fetch the"
            " model again"
        )
    return ids


def silent_ids(tokenizer: Any) -> list[int]:
    """Return the ids that no text shows: of all tags, of marks, and of what SentencePiece does not know."""
    pieces = tokenizer.sp
    return [
        number
        for number in range(pieces.get_piece_size())
        if _TAG.fullmatch(pieces.id_to_piece(number)) or pieces.is_control(number) or pieces.is_unknown(number)
    ]


class SenseVoice(Family):
    """SenseVoiceSmall, which reports no accuracy: it is ranked by CER or loss."""

    name = "sensevoice"
    models = ("SenseVoiceSmall",)
    rankings = ("cer", "loss")
    decode_options: Mapping[str, Any] = {"language": "zh"}
    lora_targets = ("linear_q_k_v", "linear_out")

    def check_folder(self, folder: Path, from_scratch: bool) -> None:
        """RecipeError for a folder that has not what its tokenizer is made of, where FunASR will look for it."""
        named = (read_metas(folder).get("tokenizer_conf") or {}).get("bpemodel")
        if not named or not (folder / named).is_file():
            raise RecipeError(
                f"{folder}: no SentencePiece model (file_path_metas.tokenizer_conf.bpemodel of configuration.json names"
                " it; the hub's is chn_jpn_yue_eng_ko_spectok.bpe.model); fetch the model again"
            )

    def manifest_fields(self, item: Any) -> dict[str, Any]:
        """Return the four tags. A clip with more text than frames is named, as CTC can learn nothing from it."""
        if item.target_len > (frames := -(-item.source_len // FRAMES_STACKED)):
            print(
                f"note: {item.key}: {item.target_len} characters in {frames} frames of {10 * FRAMES_STACKED} ms, more"
                " than CTC can align: nothing but its tags is learnt from it"
            )
        return dict(TAGS)

    def encode(self, tokenizer: Any, item: Mapping[str, Any]) -> list[int]:
        """Return the ids of the four tags, then the text's.

        SentencePiece's id of what it does not know is CTC's blank, which a text cannot hold: such a token is left out.
        Stage 1 has named these characters.
        """
        return [*tag_ids(tokenizer), *(token for token in tokenizer.encode(item["target"]) if token)]

    def patch_training_config(self, config: dict[str, Any], values: Mapping[str, Any]) -> None:
        """RecipeError for FunASR's own training step, which knows the hub's tokenizer alone."""
        if not values["train_conf"].get("quick_step", True):
            raise RecipeError(
                "train_conf.quick_step: false is FunASR's own training step, which for SenseVoice changes the lengths"
                " of the clips that are then validated; take it away"
            )

    def bind_tokenizer(self, model: Any, tokenizer: Any, config: Mapping[str, Any]) -> None:
        """RecipeError for a tokenizer that is not SenseVoice's, before anything is trained or decoded."""
        tag_ids(tokenizer)

    def optimise_for_training(self, model: Any) -> None:
        """Give the model the recipe's step."""
        from asr.models.sensevoice.model import use_fast_step

        use_fast_step(model)

    def method(self, options: Mapping[str, Any]) -> str:
        """Return the method with the language that is told; the number changes when the texts would."""
        return f"ctc-greedy-{options['language']}-1"

    def nbest_batch(self, model: Any, speech: Any, lengths: Any, options: Mapping[str, Any]) -> list[Decoded]:
        """Return greedy CTC's ids."""
        from asr.models.sensevoice.model import greedy

        return greedy(model, speech, lengths, options["language"])

    def graph(self, recogniser: Recogniser, folder: Path) -> Graph:
        """Return the graph, with the SentencePiece model for funasr-onnx."""
        from asr.models.graph import front_end_metadata
        from asr.models.sensevoice.export import SenseVoiceGraph, graph

        bpe = folder / read_metas(folder)["tokenizer_conf"]["bpemodel"]
        tokenizer, config = recogniser.tokenizer, front_end_metadata(recogniser.frontend)
        parts = SenseVoiceGraph(recogniser.model, tag_ids(tokenizer), silent_ids(tokenizer))
        return graph(parts, tokenizer.sp, bpe, config)

    def detokenize(self, tokenizer: Any, ids: Sequence[int]) -> str:
        """Return the text as FunASR's SenseVoice decodes it, without tags and what stands for an unknown token."""
        unknown = getattr(tokenizer, "unk_id", None)
        ids = [token for token in ids if token != unknown]
        return without_tags(tokenizer.decode(ids)) if ids else ""
