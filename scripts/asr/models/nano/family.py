"""Fun-ASR-Nano: an audio encoder, an adaptor and a small language model that writes the text (asr.models.nano.model).

What is trained: ``freeze_param`` names the parts that are not; FunASR's own switches (freeze in audio_encoder_conf,
audio_adaptor_conf and llm_conf, which the hub's model sets for encoder and language model; llm_conf.use_lora) are off.
The CTC head, which FunASR uses for timestamps alone and does not train, is left out of the model: it would be of
another encoder than the one trained.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asr.core.errors import RecipeError
from asr.core.files import write_json
from asr.models.family import Family
from asr.models.loops import looped
from asr.models.model_folder import is_inside, read_config

if TYPE_CHECKING:
    from asr.models.nbest import Decoded

SMALL = (".json", ".txt", ".model", ".jinja", ".tiktoken")  # configuration and tokenizer; weights are in model.pt
PARTS = ("audio_encoder_conf", "audio_adaptor_conf", "llm_conf")
FREEZE = "name the parts that stay as they are in freeze_param"
NO_EFFECT = {
    **{(part, "freeze"): FREEZE for part in PARTS},
    ("llm_conf", "use_lora"): "adapters are set in lora_conf",
    ("llm_conf", "lora_conf"): "adapters are set in lora_conf, by itself",
    ("llm_conf", "init_param_path"): "the language model is the base's",
    ("llm_conf", "llm_dtype"): "train_conf.use_bf16 says how training computes",
}
CTC = ("ctc_decoder", "ctc_decoder_conf", "ctc_conf", "ctc_weight", "detach_ctc_decoder", "ctc_vocab_size")


def _sub_folders(folder: Path) -> dict[str, str]:
    """Return the sub-folders that config.yaml names by block, llm_conf and tokenizer_conf; RecipeError for others."""
    config, names = read_config(folder), {}
    for block in ("llm_conf", "tokenizer_conf"):
        name = (config.get(block) or {}).get("init_param_path")
        if not isinstance(name, str) or not is_inside(name):
            raise RecipeError(
                f"{folder / 'config.yaml'}: {block}.init_param_path is {name!r}; it must name a folder in {folder}, so"
                " that the model works wherever it is moved"
            )
        names[block] = name
    return names


class Nano(Family):
    """FunASRNano, trained from ordinary batches; decoding in validation is slow, so the loss ranks by default."""

    name = "nano"
    models = ("FunASRNano",)
    rankings = ("loss", "acc", "cer")
    decode_options: Mapping[str, Any] = {"max_new_tokens": 200, "nbest_beam": 0}
    encoder = "audio_encoder"
    lora_targets = ("q_proj", "k_proj", "v_proj", "o_proj")
    # What turns sounds into what the language model reads; about 12.6 M parameters in the hub's model.
    also_trained = ("audio_adaptor",)

    def check_folder(self, folder: Path, from_scratch: bool) -> None:
        """RecipeError without the language model's configuration and tokenizer in the sub-folders of config.yaml."""
        places = _sub_folders(folder)
        if not (folder / places["llm_conf"] / "config.json").is_file():
            raise RecipeError(f"{folder / places['llm_conf']}: no config.json (the language model's); fetch it again")
        words = folder / places["tokenizer_conf"]
        if not any((words / name).is_file() for name in ("tokenizer.json", "merges.txt")):
            raise RecipeError(f"{words}: no tokenizer.json (nor vocab.json and merges.txt) in it; fetch it again")
        adaptor = read_config(folder).get("audio_adaptor_conf") or {}
        rate, most = adaptor.get("downsample_rate", 2), 8 if adaptor.get("use_low_frame_rate") else 1
        if rate > most:
            raise RecipeError(
                f"{folder / 'config.yaml'}: audio_adaptor_conf.downsample_rate {rate} leaves fewer embeddings than the"
                f" language model is to read; with use_low_frame_rate {str(most == 8).lower()} it is at most {most}"
            )

    def more_files(self, folder: Path) -> list[str]:
        """Return the small files of the language model's sub-folders."""
        paths = {path for name in _sub_folders(folder).values() for path in (folder / name).rglob("*")}
        return sorted(path.relative_to(folder).as_posix() for path in paths if path.suffix in SMALL and path.is_file())

    def encode(self, tokenizer: Any, item: Mapping[str, Any]) -> list[int]:
        """Return the ids of the text and of its end."""
        from asr.models.nano.model import END

        return [*tokenizer.encode(item["target"]), tokenizer.convert_tokens_to_ids(END)]

    def patch_config(self, config: dict[str, Any], folder: Path) -> None:
        """Set absolute sub-folders, fp32 weights, nothing frozen, no CTC head, and the base's chat as ``chat_conf``."""
        for block in ("llm_conf", "tokenizer_conf"):
            place = folder / config[block]["init_param_path"]
            if place.is_dir():  # else configuration.json names it too, and FunASR has joined it to the folder
                config[block]["init_param_path"] = str(place)
        for block in PARTS:
            config[block]["freeze"] = False
        config["llm_conf"] |= {"llm_dtype": "fp32", "use_lora": False}
        for key in CTC:
            config.pop(key, None)
        data = config.get("dataset_conf") or {}
        config["chat_conf"] = {key: data.get(key, True) for key in ("do_think", "sys_prompt")}

    def patch_training_config(self, config: dict[str, Any], values: Mapping[str, Any]) -> None:
        """RecipeError for settings that would change nothing here."""
        for (block, key), instead in NO_EFFECT.items():
            if key in (values.get(block) or {}):
                raise RecipeError(f"{block}.{key}: has no effect; {instead}")
        if values["train_conf"].get("quick_step") is False:
            raise RecipeError("train_conf.quick_step: nano has one training step, the recipe's; leave it out")
        if values.get("dataset", "RecipeAudioDataset") != "RecipeAudioDataset":
            raise RecipeError(f"dataset: {values['dataset']} does not make nano's texts; take RecipeAudioDataset")

    def bind_tokenizer(self, model: Any, tokenizer: Any, config: Mapping[str, Any]) -> None:
        """Give the model its chat and the recipe's step."""
        from asr.models.nano.model import bind_chat

        bind_chat(model, tokenizer, config.get("chat_conf") or {})

    def finish_package(self, folder: Path, config: dict[str, Any]) -> None:
        """Name the sub-folders in configuration.json, whose paths plain FunASR takes as below the folder."""
        path = folder / "configuration.json"
        record = json.loads(path.read_text(encoding="utf-8"))
        metas = record.setdefault("file_path_metas", {})
        metas["init_param"], metas["config"] = "model.pt", "config.yaml"
        for block in ("llm_conf", "tokenizer_conf"):
            metas[block] = {"init_param_path": config[block]["init_param_path"]}
        write_json(path, record)
        for key in CTC:
            config.pop(key, None)
        config["llm_conf"]["use_lora"] = False  # merged into the weights
        config["itn"] = False  # the prompt that it was trained with, for plain FunASR's inference

    def method(self, options: Mapping[str, Any]) -> str:
        """Return the method with the length at which a text is cut."""
        beam = f" nbest_beam={options['nbest_beam']}" if options["nbest_beam"] else ""
        return f"greedy-chat-2 max_new_tokens={options['max_new_tokens']}{beam}"

    def nbest_batch(self, model: Any, speech: Any, lengths: Any, options: Mapping[str, Any]) -> list[Decoded]:
        """Return the ids that the language model finds likeliest, one after another."""
        from asr.models.nano.model import greedy

        return greedy(model, speech, lengths, options["max_new_tokens"], options["nbest_beam"])

    def detokenize(self, tokenizer: Any, ids: Sequence[int]) -> str:
        """Return the decoded bytes on one line."""
        return " ".join(tokenizer.decode(ids, skip_special_tokens=True).replace("/sil", " ").split()) if ids else ""

    def refuse_export(self, folder: Path) -> None:
        """Say what it would take."""
        raise RecipeError(
            f"{folder}: Fun-ASR-Nano is not exported: a language model writes its text, token by token, so it takes"
            " three graphs (encoder with adaptor, embedding, decoder with cache) and a tokenizer, as sherpa-onnx's"
            " from_funasr_nano reads them (https://k2-fsa.github.io/sherpa/onnx/funasr-nano/); serve it by torch:"
            f" python -m asr.serve --model {shlex.quote(str(folder))}"
        )

    def counts(self, texts: Iterable[str]) -> dict[str, int]:
        """Return how many texts end in a loop, as those of a language model may that no longer listens."""
        return {"looped": sum(map(looped, texts))}
