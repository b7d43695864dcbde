"""Everything that builds or reads a FunASR model: composing its configuration, loading it whole, features, text.

Only this module, the trainer's and the launcher's know FunASR (1.4.16); the rest of the recipe would survive another.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from asr.core.errors import RecipeError
from asr.models import families
from asr.models.funasr_import import import_funasr
from asr.models.model_folder import read_config
from asr.models.quiet import quiet
from asr.models.weights import check_loaded


def choose_device(ngpu: int) -> str:
    """``cuda`` or ``cpu``; a GPU that was asked for and cannot be used is an error, never a silent fall to CPU."""
    if ngpu == 0:
        return "cpu"
    if not torch.cuda.is_available():
        raise RecipeError(
            f"a GPU was asked for (--ngpu {ngpu}), and torch {torch.__version__} cannot use one: see"
            " `python -m asr.machine`; --ngpu 0 runs on the processor"
        )
    if ngpu > torch.cuda.device_count():
        raise RecipeError(f"--ngpu {ngpu}: torch sees only {torch.cuda.device_count()} GPUs")
    return "cuda"


def compose(folder: str | os.PathLike[str], blocks: dict[str, dict[str, Any]] | None = None) -> dict[str, Any]:
    """The base model's configuration as FunASR's builders take it, with the YAML's model blocks merged in.

    Args:
        folder: a FunASR model folder.
        blocks: e.g. {"encoder_conf": {"dropout_rate": 0.2}}; a key that the base's block does not have is an error,
            because FunASR would swallow it.
    """
    import_funasr()
    from funasr.download.download_model_from_hub import download_model

    folder = Path(folder)
    known = read_config(folder)
    for block, values in (blocks or {}).items():
        for key in values:
            if key.startswith("lora_"):
                raise RecipeError(f"{block}.{key}: adapters are set in lora_conf (rank, alpha, dropout, targets)")
            if key not in (known.get(block) or {}):
                there = ", ".join(sorted(known.get(block) or {})) or "nothing"
                raise RecipeError(f"{block}.{key}: the base model's {block} has no such key; it has {there}")
    with quiet():
        composed = download_model(model=str(folder), is_training=True, **(blocks or {}))
    # A folder with configuration.json reports its weights only if they are there; without them it is from scratch.
    composed.setdefault("init_param", None)
    composed.setdefault("model_conf", {})  # without it FunASR's AutoModel would ask a hub
    composed |= {"disable_update": True, "fp16": False, "bf16": False}
    if family := families.of_model(composed.get("model")):
        family.patch_config(composed, folder)
    return composed


@dataclass
class Recogniser:
    """A loaded model with its frontend and tokenizer; text depends on the audio alone, not on its batch."""

    model: Any
    frontend: Any
    tokenizer: Any
    device: str
    family: families.Family
    options: Mapping[str, Any]

    def features(self, clips: Sequence[np.ndarray]) -> tuple[torch.Tensor, torch.Tensor]:
        """(B, T, D) features and (B,) lengths of 16-kHz mono clips, in the processor's memory."""
        from funasr.utils.load_utils import extract_fbank

        return extract_fbank([torch.from_numpy(clip) for clip in clips], frontend=self.frontend)

    def detokenize(self, ids: list[int]) -> str:
        """Token ids as text."""
        return self.family.detokenize(self.tokenizer, ids)

    def transcribe(self, clips: Sequence[np.ndarray]) -> list[str]:
        """One text a clip; an empty string where the model hears nothing."""
        return self.decode_batch(*self.features(clips))

    def decode_batch(self, speech: torch.Tensor, lengths: torch.Tensor) -> list[str]:
        """``transcribe`` of (B, T, D) features and (B,) lengths."""
        found = self.family.decode_batch(self.model, speech.to(self.device), lengths.to(self.device), self.options)
        return [self.detokenize(ids) for ids in found]


def load(
    folder: str | os.PathLike[str],
    ngpu: int = 0,
    dither: float = 0.0,
    gpu: int = 0,
    options: Mapping[str, Any] | None = None,
) -> Recogniser:
    """Load a FunASR model folder for decoding, whole or not at all.

    Args:
        folder: config.yaml, tokens, cmvn and model.pt.
        ngpu: 0 for the processor, else how many GPUs are asked for.
        dither: noise in the filter bank; FunASR's default of 1.0 makes decoding random, so 0 here.
        gpu: which of the GPUs, from 0.
        options: how to decode (``Family.options``); the family's defaults where not given.

    Decoding is in fp32, TF32 off.
    """
    device = choose_device(ngpu)
    if device == "cuda":
        torch.cuda.set_device(gpu)
        torch.backends.cudnn.allow_tf32 = False
    weights = Path(folder) / "model.pt"
    if not weights.is_file():
        raise RecipeError(f"{weights}: no such file, so there is nothing to decode with")
    with quiet():
        import_funasr()
        from funasr import AutoModel

        kwargs = compose(folder)
        kwargs["init_param"] = str(weights)
        kwargs.update(device=device, ncpu=torch.get_num_threads(), disable_pbar=True, disable_log=True)
        loaded = AutoModel(**kwargs)
    check_loaded(loaded.model, weights)
    frontend = loaded.kwargs["frontend"]
    frontend.dither = dither
    loaded.model.eval()
    family = families.of_folder(Path(folder))
    family.bind_tokenizer(loaded.model, loaded.kwargs["tokenizer"], loaded.kwargs)
    options = family.options({}) if options is None else options
    return Recogniser(loaded.model, frontend, loaded.kwargs["tokenizer"], device, family, options)
