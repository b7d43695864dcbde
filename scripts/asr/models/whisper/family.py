"""Whisper: an encoder, and a decoder that writes token by token; for OpenAI's multilingual models of every size.

FunASR's WhisperWarp decodes by openai-whisper and cannot be trained. Here are Transformers' layers; what a model is
given away as (FunASR's folder, Transformers' or OpenAI's file) stage 0 makes into one folder with Transformers' names.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asr.core.errors import RecipeError
from asr.models.family import Family
from asr.models.loops import looped
from asr.models.model_folder import read_config
from asr.models.whisper import folder as forms

if TYPE_CHECKING:
    from asr.models.nbest import Decoded

MODEL = "RecipeWhisper"


class Whisper(Family):
    """The recipe's class, and FunASR's, which stage 0 makes into it."""

    name = "whisper"
    models = (MODEL, "WhisperWarp")
    rankings = ("cer", "loss", "acc")
    decode_options: Mapping[str, Any] = {"beam_size": 1, "nbest_beam": 0, "max_new_tokens": 200, "prompt": ""}
    lora_targets = ("q_proj", "v_proj")
    base_blocks = ("model_conf", "frontend_conf")
    blocks, below = ("layers",), ("conv1", "conv2")

    def is_source(self, source: Path) -> bool:
        """Return whether it is one of the forms in which Whisper is given away, or a folder that stage 0 made."""
        return forms.form_of(source) is not None

    def convert(self, source: Path, folder: Path, values: Mapping[str, Any]) -> Path:
        """Return ``folder``, made of ``source``, with the YAML's model_conf and frontend_conf in it."""
        return forms.convert(source, folder, MODEL, forms.LEAST, values)

    def check_folder(self, folder: Path, from_scratch: bool) -> None:
        """RecipeError without the tokenizer and Transformers' configuration."""
        if read_config(folder).get("model") != MODEL:
            raise RecipeError(f"{folder}: is in FunASR's form; stage 0 makes a base of it (--base {folder})")
        for name in (forms.TOKENIZER, forms.CONFIG):
            if not (folder / name).is_file():
                raise RecipeError(f"{folder}: no {name} in it; fetch the model again")

    def more_files(self, folder: Path) -> list[str]:
        """Return the tokenizer and Transformers' configuration."""
        return [forms.TOKENIZER, forms.CONFIG]

    def encode(self, tokenizer: Any, item: Mapping[str, Any]) -> list[int]:
        """Return the ids of the text and of its end."""
        return [*tokenizer.encode(item["target"]), tokenizer.end]

    def patch_config(self, config: dict[str, Any], folder: Path) -> None:
        """Name the files by their places, and register the recipe's classes."""
        self.check_folder(folder, False)
        import asr.models.whisper.features
        import asr.models.whisper.model
        import asr.models.whisper.tokenizer  # noqa: F401 - they register themselves

        config["model_conf"] = {**config["model_conf"], "folder": str(folder)}
        config["tokenizer_conf"] = {"path": str(folder / forms.TOKENIZER)}

    def patch_training_config(self, config: dict[str, Any], values: Mapping[str, Any]) -> None:
        """RecipeError for what has no effect, and for clips that may become longer than Whisper hears."""
        if values["train_conf"].get("quick_step") is False:
            raise RecipeError("train_conf.quick_step: whisper has one training step, the recipe's; leave it out")
        if values.get("dataset", "RecipeAudioDataset") != "RecipeAudioDataset":
            raise RecipeError(f"dataset: {values['dataset']} does not make whisper's texts; take RecipeAudioDataset")
        data = values["dataset_conf"]
        slowest = min(data.get("speed_perturb") or [1.0]) * min(data.get("tempo") or [1.0])
        most = int(100 * forms.MOST * slowest)
        if slowest < 1 and (data.get("max_source_length") or most + 1) > most:
            raise RecipeError(
                f"dataset_conf.max_source_length: clips are slowed down to {slowest:g} and Whisper hears {forms.MOST:g}"
                f" s; set it to {most} frames or less"
            )

    def bind_tokenizer(self, model: Any, tokenizer: Any, config: Mapping[str, Any]) -> None:
        """Give the model what stands before a text."""
        model.bind(tokenizer)

    def method(self, options: Mapping[str, Any]) -> str:
        """Return the method with what its texts depend on; the number changes when the texts would."""
        how = f"beam{options['beam_size']}" if options["beam_size"] > 1 else "greedy"
        beam = f" nbest_beam={options['nbest_beam']}" if options["nbest_beam"] else ""
        prompt = f" prompt={options['prompt']!r}" if options["prompt"] else ""
        return f"whisper-{how}-1 max_new_tokens={options['max_new_tokens']}{beam}{prompt}"

    def nbest_batch(self, model: Any, speech: Any, lengths: Any, options: Mapping[str, Any]) -> list[Decoded]:
        """Return the ids of greedy decoding or of a beam."""
        from asr.models.whisper.decoding import decode

        return decode(model, speech, lengths, options)

    def detokenize(self, tokenizer: Any, ids: Sequence[int]) -> str:
        """Return the decoded bytes on one line."""
        return " ".join(tokenizer.decode(ids).split())

    def refuse_export(self, folder: Path) -> None:
        """Say why, and what to do."""
        raise RecipeError(
            f"{folder}: Whisper is not exported: sherpa-onnx and CTranslate2 pad every clip to 30 s and decode by rules"
            " of their own, so their texts are not those that were scored; serve it by torch:"
            f" python -m asr.serve --model {shlex.quote(str(folder))}"
        )

    def counts(self, texts: Iterable[str]) -> dict[str, int]:
        """Return how many texts were cut because they repeated themselves."""
        return {"looped": sum(map(looped, texts))}
