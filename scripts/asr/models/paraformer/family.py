"""Paraformer: non-autoregressive, one pass; batches do not change its text (asr.models.paraformer.decoding)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asr.models.family import Family

if TYPE_CHECKING:
    from asr.models.graph import Graph
    from asr.models.loading import Recogniser
    from asr.models.nbest import Decoded


class Paraformer(Family):
    """Paraformer and BiCifParaformer (with timestamps, which the recipe does not use)."""

    name = "paraformer"
    models = ("Paraformer", "BiCifParaformer")
    native_lora = ("encoder", "decoder")
    lora_targets = ("q", "k", "v", "o")
    # How many characters there are, and where: what slow and halting speech changes most, in 0.8 % of the weights.
    also_trained = ("predictor",)

    def patch_training_config(self, config: dict[str, Any], values: Mapping[str, Any]) -> None:
        """Set FunASR's own adapters, in encoder and decoder."""
        if lora := values.get("lora_conf"):
            own = {f"lora_{name}": lora[name] for name in ("rank", "alpha", "dropout")}
            for side in self.native_lora:
                config[f"{side}_conf"] = {**config[f"{side}_conf"], **own, "lora_list": lora["targets"]}

    def optimise_for_training(self, model: Any) -> None:
        """Give the model the recipe's step."""
        from asr.models.paraformer.training import use_fast_step

        use_fast_step(model)

    def method(self, options: Mapping[str, Any]) -> str:
        """Return the method, with padding masked; the number changes when the texts would."""
        return "greedy-masked-1"

    def nbest_batch(self, model: Any, speech: Any, lengths: Any, options: Mapping[str, Any]) -> list[Decoded]:
        """Return the ids of one greedy pass."""
        from asr.models.paraformer.decoding import greedy

        return greedy(model, speech, lengths)

    def graph(self, recogniser: Recogniser, folder: Path) -> Graph:
        """Return the graph."""
        from asr.models.paraformer.export import graph

        return graph(recogniser.model, recogniser.frontend, recogniser.tokenizer)
