"""A FunASR model folder as files: its config.yaml, and what its configuration.json names."""

from __future__ import annotations

from pathlib import Path, PurePath
from typing import Any

import yaml

from asr.core.errors import RecipeError
from asr.core.files import read_json


def read_config(folder: Path) -> dict[str, Any]:
    """Return config.yaml as FunASR reads it: by OmegaConf, with its references (``${llm_conf.…}``) resolved.

    RecipeError where it is not there, is not a mapping, or refers to what it does not hold.
    """
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    path = folder / "config.yaml"
    if not path.is_file():
        other = "; it is in Transformers' form" if (folder / "config.json").is_file() else ""
        raise RecipeError(f"{folder}: no config.yaml in it, so it is not a FunASR model folder{other}")
    try:
        config = OmegaConf.to_container(OmegaConf.load(path), resolve=True)
    except (yaml.YAMLError, UnicodeDecodeError):
        raise RecipeError(f"{path}: not YAML; fetch the model again") from None
    except OmegaConfBaseException as error:
        where = f"{error.full_key}: " if error.full_key else ""
        raise RecipeError(f"{path}: {where}{str(error).splitlines()[0]}; correct it, or fetch it again") from None
    if not isinstance(config, dict):
        raise RecipeError(f"{path}: not a mapping of keys; fetch the model again")
    return config


def default_metas(folder: Path) -> dict[str, Any]:
    """Return ``file_path_metas`` by the names that FunASR looks for where there is no configuration.json."""
    names = {"token_list": ("tokens.json", "tokens.txt"), "seg_dict_file": ("seg_dict",), "bpemodel": ("bpe.model",)}
    existing = {key: next((n for n in choice if (folder / n).is_file()), None) for key, choice in names.items()}
    metas: dict[str, Any] = {"init_param": "model.pt", "config": "config.yaml"}
    metas["tokenizer_conf"] = {key: name for key, name in existing.items() if name}
    return metas | ({"frontend_conf": {"cmvn_file": "am.mvn"}} if (folder / "am.mvn").is_file() else {})


def default_configuration(folder: Path) -> dict[str, Any]:
    """Return configuration.json as FunASR's hub models have it: where each file of the folder is."""
    return {
        "framework": "pytorch",
        "task": "auto-speech-recognition",
        "model": {"type": "funasr"},
        "file_path_metas": default_metas(folder),
    }


def read_metas(folder: Path) -> dict[str, Any]:
    """Return configuration.json's ``file_path_metas``; where there is no such file, what FunASR then takes."""
    path = folder / "configuration.json"
    if not path.is_file():
        return default_metas(folder)
    metas = read_json(path, "fetch the model again").get("file_path_metas", {})
    if not isinstance(metas, dict):
        raise RecipeError(f"{path}: not the configuration.json of a FunASR model; fetch the model again")
    return metas


def named_files(metas: Any) -> list[str]:
    """Return the names in ``file_path_metas``, however deep; most are files, some folders."""
    if isinstance(metas, dict | list):
        return [name for value in (metas.values() if isinstance(metas, dict) else metas) for name in named_files(value)]
    return [metas] if isinstance(metas, str) else []


def is_inside(name: str) -> bool:
    """Return whether a name is of something below the folder, wherever that is moved."""
    return not PurePath(name).is_absolute() and ".." not in PurePath(name).parts
