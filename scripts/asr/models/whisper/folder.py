"""The forms in which Whisper is given away, and the one folder that the recipe makes of each.

- Transformers': config.json, model.safetensors (or its parts and an index), tokenizer files;
- FunASR's: config.yaml with ``dims``, model.pt under OpenAI's names, and no tokenizer;
- OpenAI's: one file ``.pt``, ``{"dims", "model_state_dict"}``, and no tokenizer.

The folder has FunASR's config.yaml and model.pt, the tensors named as in Transformers' WhisperModel, config.json and
tokenizer.json. No torch at module level.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from asr.core.errors import RecipeError
from asr.core.files import read_json, write_json
from asr.models.model_folder import default_configuration, read_config

CONFIG, TOKENIZER, WEIGHTS = "config.json", "tokenizer.json", "model.pt"
AGAIN = "fetch the model again"
LEAST, MOST = 10.0, 30.0  # seconds: a clip has at least so many, by silence behind it; Whisper hears so many at most
# OpenAI's dimensions, and what Transformers' config.json calls them.
DIMS = {
    "n_mels": "num_mel_bins",
    "n_vocab": "vocab_size",
    "n_audio_ctx": "max_source_positions",
    "n_audio_state": "d_model",
    "n_audio_head": "encoder_attention_heads",
    "n_audio_layer": "encoder_layers",
    "n_text_ctx": "max_target_positions",
    "n_text_head": "decoder_attention_heads",
    "n_text_layer": "decoder_layers",
}
# OpenAI's names of tensors, in the order in which they are replaced by Transformers'.
NAMES = (
    ("blocks.", "layers."),
    ("cross_attn_ln.", "encoder_attn_layer_norm."),
    ("cross_attn.", "encoder_attn."),
    (".attn_ln.", ".self_attn_layer_norm."),
    (".attn.", ".self_attn."),
    (".mlp_ln.", ".final_layer_norm."),
    (".mlp.0.", ".fc1."),
    (".mlp.2.", ".fc2."),
    (".query.", ".q_proj."),
    (".key.", ".k_proj."),
    (".value.", ".v_proj."),
    (".out.", ".out_proj."),
    ("encoder.ln_post.", "encoder.layer_norm."),
    ("decoder.ln.", "decoder.layer_norm."),
    ("token_embedding.", "embed_tokens."),
    ("positional_embedding", "embed_positions.weight"),
)


def form_of(source: Path) -> str | None:
    """Return "openai", "funasr", "recipe", "transformers", or None for what is none of them."""
    if source.is_file():
        return "openai"
    if (source / "config.yaml").is_file():
        return {"WhisperWarp": "funasr", "RecipeWhisper": "recipe"}.get(str(read_config(source).get("model")))
    if (source / CONFIG).is_file() and read_json(source / CONFIG, AGAIN).get("model_type") == "whisper":
        return "transformers"
    return None


def convert(source: Path, folder: Path, model: str, least: float, values: Mapping[str, Any]) -> Path:
    """Return ``folder``, made of ``source`` beside its place and renamed. RecipeError where something is missing.

    Args:
        model, least: FunASR's name of the class, and the seconds that a clip has at least.
        values: the YAML's; its model_conf and frontend_conf are written to config.yaml, so that the untouched model
            is decoded by them too.
    """
    building = folder.with_name(f".{folder.name}.new")
    shutil.rmtree(building, ignore_errors=True)
    building.mkdir(parents=True)
    form = form_of(source)
    if form == "recipe":
        for path in source.iterdir():
            if path.is_file() and path.name != WEIGHTS:
                shutil.copyfile(path, building / path.name)
        (building / WEIGHTS).symlink_to((source / WEIGHTS).resolve())
        made = read_config(source)
    else:
        _write_transformers(source, building) if form == "transformers" else _write_openai(source, building, form)
        _write_tokenizer(source, building)
        mels = read_json(building / CONFIG, AGAIN)["num_mel_bins"]
        made = {
            "model": model,
            "model_conf": {"dropout": 0.0, "attention_dropout": 0.0},
            "frontend": "RecipeWhisperFrontend",
            "frontend_conf": {"fs": 16000, "n_mels": mels, "least": least, "dither": 0.0},
            "tokenizer": "RecipeWhisperTokenizer",
            "tokenizer_conf": {},
        }
    for block in ("model_conf", "frontend_conf"):
        _merge(made[block], values.get(block) or {}, block)
    (building / "config.yaml").write_text(yaml.safe_dump(made, sort_keys=False), encoding="utf-8")
    write_json(building / "configuration.json", default_configuration(building))
    shutil.rmtree(folder, ignore_errors=True)
    building.rename(folder)
    print(f"{source}: read as {folder}")
    return folder


def _merge(block: dict[str, Any], values: Mapping[str, Any], name: str) -> None:
    if unknown := sorted(values.keys() - block.keys()):
        raise RecipeError(f"{name}.{unknown[0]}: whisper's {name} has no such key; it has {', '.join(sorted(block))}")
    block |= values


def transformers_name(name: str) -> str:
    """Return Transformers' name of one of OpenAI's tensors."""
    for theirs, ours in NAMES:
        name = name.replace(theirs, ours)
    return name


def _write_openai(source: Path, folder: Path, form: str | None) -> None:
    """Write OpenAI's tensors under Transformers' names, and their dimensions as config.json."""
    import torch
    from transformers import WhisperConfig

    from asr.models.weights import read_state

    weights = source if form == "openai" else source / WEIGHTS
    if not weights.is_file():
        raise RecipeError(f"{weights}: the base model's weights are not there; {AGAIN}")
    state = read_state(weights)
    try:
        dims = torch.load(weights, map_location="cpu", weights_only=True, mmap=True).get("dims")
    except (RuntimeError, ValueError):  # torch's format from before 1.6
        dims = torch.load(weights, map_location="cpu", weights_only=True).get("dims")
    dims = dims or (read_config(source).get("dims") if form == "funasr" else None)
    if not isinstance(dims, Mapping) or not DIMS.keys() <= dims.keys():
        raise RecipeError(f"{source}: not a Whisper model of OpenAI's (dims: {', '.join(DIMS)}); {AGAIN}")
    sizes = {theirs: int(dims[ours]) for ours, theirs in DIMS.items()}
    wide = 4 * sizes["d_model"]
    config = WhisperConfig(**sizes, encoder_ffn_dim=wide, decoder_ffn_dim=wide)
    write_json(folder / CONFIG, config.to_diff_dict())
    torch.save({"state_dict": {transformers_name(key): value for key, value in state.items()}}, folder / WEIGHTS)


def _write_transformers(source: Path, folder: Path) -> None:
    """Write Transformers' tensors as model.pt, in fp32 and without the output layer, which the embeddings are."""
    import torch
    from safetensors.torch import load_file

    index = source / "model.safetensors.index.json"
    names = ["model.safetensors"]
    if index.is_file() and not (source / names[0]).is_file():
        names = sorted(set(read_json(index, AGAIN)["weight_map"].values()))
    state = {}
    for name in names:
        if not (source / name).is_file():
            raise RecipeError(f"{source / name}: the model's weights are not there; {AGAIN}")
        for key, value in load_file(source / name).items():
            if key != "proj_out.weight":
                state[key.removeprefix("model.")] = value.float()
    torch.save({"state_dict": state}, folder / WEIGHTS)
    shutil.copyfile(source / CONFIG, folder / CONFIG)


def _write_tokenizer(source: Path, folder: Path) -> None:
    """Write tokenizer.json, from that beside the weights or from Transformers' older files."""
    beside = source.parent if source.is_file() else source
    if (beside / TOKENIZER).is_file():
        shutil.copyfile(beside / TOKENIZER, folder / TOKENIZER)
    elif (beside / "vocab.json").is_file() and (beside / "merges.txt").is_file():
        from transformers import AutoTokenizer

        AutoTokenizer.from_pretrained(beside).backend_tokenizer.save(str(folder / TOKENIZER))
    else:
        raise RecipeError(
            f"{source}: Whisper's {TOKENIZER} is not beside it; bring that of the model of the same size:"
            f" hf download openai/whisper-base {TOKENIZER} --local-dir {beside} (-large-v3 for large-v3 and turbo)"
        )
