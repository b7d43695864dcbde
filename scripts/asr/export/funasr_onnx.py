"""The funasr-onnx folder, and the one that onnxruntime alone runs: graphs, configuration, tokens, normalisation."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from asr.core.files import write_json, write_text
from asr.models.graph import Graph
from asr.models.model_folder import read_metas
from asr.models.skeleton import write_cmvn

FP32, INT8, CONFIG, CMVN, TOKENS = "model.onnx", "model_quant.onnx", "config.yaml", "am.mvn", "tokens.json"
# What its front end takes no other value of.
FEATURES = {"snip_edges": True, "upsacle_samples": True}  # as FunASR spells it


def why_not(front_end: Mapping[str, Any]) -> str:
    """Return why funasr-onnx cannot run a model; an empty text where it can."""
    for key, value in FEATURES.items():
        if (has := front_end.get(key, value)) != value:
            return f"frontend_conf.{key} is {has}, and funasr-onnx computes features with {value}"
    return ""


def cmvn_of(model: Path) -> Path | None:
    """Return the model's file of mean and deviation; None where it has none."""
    name = (read_metas(model).get("frontend_conf") or {}).get("cmvn_file")
    return model / name if name and (model / name).is_file() else None


def write_beside(folder: Path, graph: Graph, config: Mapping[str, Any], cmvn: Path | None) -> None:
    """Write what stands beside the graphs.

    In config.yaml dither is 0 (funasr-onnx adds noise otherwise), and predictor_bias too: it would cut off the last
    token of a text, which it takes for an end mark whatever it is; the graph counts no end mark.
    """
    front_end = {key: value for key, value in (config.get("frontend_conf") or {}).items() if key != "cmvn_file"}
    written = {
        **{key: value for key, value in config.items() if key in ("model", "frontend", "tokenizer", "lang")},
        "model_conf": {"predictor_bias": 0},
        "frontend_conf": {**front_end, "dither": 0.0},
    }
    write_text(folder / CONFIG, yaml.safe_dump(written, allow_unicode=True, sort_keys=False))
    write_json(folder / TOKENS, list(graph.symbols))
    if cmvn:
        shutil.copyfile(cmvn, folder / CMVN)
    else:  # the runtimes read one: this changes nothing
        size = graph.inputs["speech"].shape[-1]
        write_cmvn(folder / CMVN, np.zeros(size), np.ones(size))
    for name, path in graph.files.items():
        shutil.copyfile(path, folder / name)
