"""What a family of models answers to; the defaults are those of a model that reads clips and writes characters.

Nothing here imports torch or FunASR: the YAML is checked without them. Methods that are given a model may.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asr.core.errors import RecipeError

if TYPE_CHECKING:
    from asr.models.graph import Graph
    from asr.models.loading import Recogniser
    from asr.models.nbest import Decoded


class Family:
    """One kind of model. A subclass sets what differs.

    name: as the YAML's ``family:`` has it.
    models: FunASR's classes that it covers, as config.yaml's ``model`` names them.
    rankings: values of ``avg_keep_nbest_models_type`` that it can be ranked by; the first is the default.
    decode_options: keys of ``decode_conf`` that only this family has, with their defaults.
    native_lora: the parts in which FunASR itself has adapters; PEFT's are used where there are none.
    lora_targets: what ``lora_conf.targets`` is unless given; with ``native_lora`` all that it may name.
    base_blocks: model blocks of the YAML that ``convert`` takes: stage 0 is done again where they change.
    also_trained: parts that are trained whole beside adapters, unless ``lora_conf.also_train`` says otherwise.
    encoder: the part that hears: what ``train_only: encoder`` and ``freeze_encoder_blocks`` are about.
    blocks, below: in it, the lists of its blocks, lowest first, and what features go through before them.
    """

    name = ""
    models: tuple[str, ...] = ()
    rankings: tuple[str, ...] = ("cer", "acc", "loss")
    decode_options: Mapping[str, Any] = {}
    native_lora: tuple[str, ...] = ()
    lora_targets: tuple[str, ...] = ()
    also_trained: tuple[str, ...] = ()
    encoder = "encoder"
    blocks: tuple[str, ...] = ("encoders0", "encoders", "tp_encoders")
    below: tuple[str, ...] = ("embed",)
    base_blocks: tuple[str, ...] = ()

    def is_source(self, source: Path) -> bool:
        """Return whether a base model's folder or file is in a form that ``convert`` takes."""
        return False

    def convert(self, source: Path, folder: Path, values: Mapping[str, Any]) -> Path:
        """Return ``folder``, made in stage 0 of a base model in another form; ``values`` are the YAML's."""
        raise NotImplementedError

    def check_folder(self, folder: Path, from_scratch: bool) -> None:
        """RecipeError unless the base model's folder holds what this family needs beside weights and configuration."""
        if not any((folder / name).is_file() for name in ("tokens.json", "tokens.txt", "bpe.model")):
            raise RecipeError(f"{folder}: no tokens.json (or tokens.txt, bpe.model) in it; fetch the model again")

    def more_files(self, folder: Path) -> list[str]:
        """Return names, below ``folder``, of files that make the model what it is, beside those of every model."""
        return []

    def manifest_fields(self, item: Any) -> dict[str, Any]:
        """Return fields of a training line, an ``asr.core.manifest.Utterance``'s, beside those of every manifest."""
        return {}

    def encode(self, tokenizer: Any, item: Mapping[str, Any]) -> list[int]:
        """Return the token ids that a training line's text is trained on."""
        return tokenizer.encode(item["target"])

    def patch_config(self, config: dict[str, Any], folder: Path) -> None:
        """Change FunASR's configuration of a model folder before any model, to train or to decode, is built from it."""

    def patch_training_config(self, config: dict[str, Any], values: Mapping[str, Any]) -> None:
        """Change FunASR's configuration before a model to train is built from it; ``values`` are the YAML's."""

    def bind_tokenizer(self, model: Any, tokenizer: Any, config: Mapping[str, Any]) -> None:
        """Give a built model what decoding and training need of its tokenizer or configuration."""

    def optimise_for_training(self, model: Any) -> None:
        """Replace what FunASR does badly in a model that is to be trained."""

    def finish_package(self, folder: Path, config: dict[str, Any]) -> None:
        """Complete a packaged model's folder, and its configuration before that is written to config.yaml."""

    def method(self, options: Mapping[str, Any]) -> str:
        """Return what the decoding method is called; recorded, so that a kept result is never of another one."""
        raise NotImplementedError

    def nbest_batch(self, model: Any, speech: Any, lengths: Any, options: Mapping[str, Any]) -> list[Decoded]:
        """Return each clip's token ids and candidates: (B, T, D) features and (B,) lengths on the model's device."""
        raise NotImplementedError

    def decode_batch(self, model: Any, speech: Any, lengths: Any, options: Mapping[str, Any]) -> list[list[int]]:
        """Return each clip's token ids alone."""
        return [decoded.ids for decoded in self.nbest_batch(model, speech, lengths, options)]

    def refuse_export(self, folder: Path) -> None:
        """RecipeError, before anything is loaded, for a model that no other runtime takes."""

    def graph(self, recogniser: Recogniser, folder: Path) -> Graph:
        """Return what of the model in ``folder``, loaded for decoding on the CPU, other runtimes are given."""
        raise RecipeError(f"{folder}: the recipe does not export models of family {self.name}")

    def detokenize(self, tokenizer: Any, ids: Sequence[int]) -> str:
        """Return token ids as text, put together as FunASR's own inference does."""
        from funasr.utils.postprocess_utils import sentence_postprocess

        return sentence_postprocess(tokenizer.ids2tokens(ids))[0] if ids else ""

    def piece(self, tokenizer: Any, token: int) -> str:
        """Return what a token writes: the pieces of a text, one behind the other, are that text but for its blanks."""
        if not hasattr(tokenizer, "token_list"):
            text = tokenizer.sp.IdToPiece(token).replace("\u2581", " ")
        elif (text := tokenizer.token_list[token]).isascii() and text.isalpha():
            text += " "
        return "" if text.startswith("<") and text.endswith(">") else text.removesuffix("@@")

    def counts(self, texts: Iterable[str]) -> dict[str, int]:
        """Return what else of the decoded texts is counted, in decode.json's counts and in RESULTS.md."""
        return {}

    def options(self, conf: Mapping[str, Any]) -> dict[str, Any]:
        """Return this family's decoding options from a ``decode_conf``, with defaults."""
        return {key: conf.get(key, default) for key, default in self.decode_options.items()}
