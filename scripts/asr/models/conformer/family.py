"""Conformer and Transformer: an encoder with CTC and an attention decoder (asr.models.conformer.decoding)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asr.core.errors import RecipeError
from asr.models.family import Family
from asr.models.model_folder import read_config

if TYPE_CHECKING:
    from asr.models.graph import Graph
    from asr.models.loading import Recogniser
    from asr.models.nbest import Decoded

# Block and key of config.yaml, what it is unless given, and what the recipe masks padding in and trains.
_SUPPORTED = (
    ("", "encoder", None, ("ConformerEncoder", "TransformerEncoder")),
    ("", "decoder", None, ("TransformerDecoder",)),
    ("encoder_conf", "input_layer", "conv2d", ("conv2d", "conv2d2", "conv2d6", "conv2d8", "linear")),
    ("encoder_conf", "positionwise_layer_type", "linear", ("linear",)),
    ("model_conf", "interctc_weight", 0, (0,)),
    ("model_conf", "cr_ctc_weight", 0, (0,)),
)


class Conformer(Family):
    """FunASR's classes Conformer and Transformer."""

    name = "conformer"
    models = ("Conformer", "Transformer")
    decode_options: Mapping[str, Any] = {"method": "ctc", "beam_size": 10, "ctc_weight": 0.3}
    lora_targets = ("linear_q", "linear_k", "linear_v", "linear_out")

    def check_folder(self, folder: Path, from_scratch: bool) -> None:
        """RecipeError for a model without tokens, without CTC, or of blocks that the recipe does not mask."""
        super().check_folder(folder, from_scratch)
        path, config = folder / "config.yaml", read_config(folder)
        for block, key, default, supported in _SUPPORTED:
            values = (config.get(block) or {}) if block else config
            value = default if values.get(key) is None else values[key]
            if value not in supported:
                name = f"{block}.{key}" if block else key
                raise RecipeError(f"{path}: {name} is {value}; the recipe knows {', '.join(map(str, supported))}")
        if (config.get("model_conf") or {}).get("ctc_weight", 0.5) == 0:
            raise RecipeError(
                f"{path}: model_conf.ctc_weight is 0, so the model has no CTC to be decoded by; take one that has"
            )

    def patch_training_config(self, config: dict[str, Any], values: Mapping[str, Any]) -> None:
        """RecipeError for a model without decoder or without CTC."""
        share = (config.get("model_conf") or {}).get("ctc_weight", 0.5)
        if not 0 < share < 1:
            raise RecipeError(f"model_conf.ctc_weight is {share}; it must be above 0 and below 1")

    def bind_tokenizer(self, model: Any, tokenizer: Any, config: Mapping[str, Any]) -> None:
        """The decoder's end mark is a token of each text, which FunASR counts where a loss is a mean over tokens."""
        model.end_marks = 1

    def optimise_for_training(self, model: Any) -> None:
        """Give the model the recipe's step."""
        from asr.models.conformer.training import use_fast_step

        use_fast_step(model)

    def method(self, options: Mapping[str, Any]) -> str:
        """Return the method with what its texts depend on; the number changes when the texts would."""
        if options["method"] == "ctc":
            return "ctc-greedy-masked-1"
        joint = f"-ctc{options['ctc_weight']:g}" if options["method"] == "joint" else ""
        return f"{options['method']}-beam{options['beam_size']}{joint}-masked-1"

    def nbest_batch(self, model: Any, speech: Any, lengths: Any, options: Mapping[str, Any]) -> list[Decoded]:
        """Return ids of ``ctc``: greedy, one pass, the same whatever the batch; or of beam search."""
        from asr.models.conformer.decoding import beam, ctc_greedy

        if options["method"] == "ctc":
            return ctc_greedy(model, speech, lengths)
        weight = options["ctc_weight"] if options["method"] == "joint" else 0.0
        return beam(model, speech, lengths, options["beam_size"], weight)

    def graph(self, recogniser: Recogniser, folder: Path) -> Graph:
        """Return the graph."""
        from asr.models.conformer.export import graph

        return graph(recogniser.model, recogniser.frontend, recogniser.tokenizer)
