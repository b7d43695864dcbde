"""Building FunASR models (1.4.16) and decoding with them: configuration, loading, features, text."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from asr.core.errors import RecipeError
from asr.core.nbest import Candidates, NBest
from asr.models import families
from asr.models.funasr_import import import_funasr, quiet
from asr.models.model_folder import read_config
from asr.models.nbest import Decoded, Step
from asr.models.weights import check_loaded


def choose_device(ngpu: int) -> str:
    """Return ``cuda`` or ``cpu``. RecipeError for a GPU that was asked for and cannot be used."""
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
    """Return the base model's configuration as FunASR's builders take it, with the YAML's model blocks merged in.

    Args:
        folder: a FunASR model folder.
        blocks: e.g. {"encoder_conf": {"dropout_rate": 0.2}}; a key that the base's block does not have is an error,
            because FunASR would swallow it.
    """
    import_funasr()
    from funasr.download.download_model_from_hub import download_model

    folder, blocks = Path(folder), blocks or {}
    base = read_config(folder)
    for block, values in blocks.items():
        for key in values:
            if key.startswith("lora_"):
                raise RecipeError(f"{block}.{key}: adapters are set in lora_conf (rank, alpha, dropout, targets)")
            if key not in (base.get(block) or {}):
                there = ", ".join(sorted(base.get(block) or {})) or "nothing"
                raise RecipeError(f"{block}.{key}: the base model's {block} has no such key; it has {there}")
    with quiet():
        composed = download_model(model=str(folder), is_training=True, **blocks)
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

    def features(self, clips: Sequence[np.ndarray]) -> tuple[Tensor, Tensor]:
        """Return (B, T, D) features and (B,) lengths of 16-kHz mono clips, on the CPU."""
        from funasr.utils.load_utils import extract_fbank

        return extract_fbank([torch.from_numpy(clip) for clip in clips], frontend=self.frontend)

    def detokenize(self, ids: list[int]) -> str:
        """Return token ids as text."""
        return self.family.detokenize(self.tokenizer, ids)

    def transcribe(self, clips: Sequence[np.ndarray]) -> list[str]:
        """Return a text for each clip; an empty string where the model finds none."""
        return [result.greedy for result in self.nbest(clips)]

    def nbest(self, clips: Sequence[np.ndarray]) -> list[NBest]:
        """Return a text for each clip, and its candidates."""
        return self.decode_batch(*self.features(clips))

    def decode_batch(self, speech: Tensor, lengths: Tensor, keys: Sequence[str] = ()) -> list[NBest]:
        """Return the texts of (B, T, D) features and (B,) lengths, and their candidates, under ``keys`` if given."""
        speech, lengths = speech.to(self.device), lengths.to(self.device)
        decoded = self.family.nbest_batch(self.model, speech, lengths, self.options)
        return [self._nbest(key, each) for key, each in zip(keys or [""] * len(decoded), decoded, strict=True)]

    def _nbest(self, key: str, decoded: Decoded) -> NBest:
        steps = tuple(self._candidates(step, decoded.blank) for step in decoded.steps)
        texts = tuple((self.detokenize(ids), score) for ids, score in decoded.beam)
        return NBest(key, decoded.kind, self.detokenize(decoded.ids), steps, texts)

    def _candidates(self, step: Step, blank: int | None) -> Candidates:
        """Return (text, log-probability), each text once: of several tokens that write nothing the likeliest."""
        texts: dict[str, float] = {}
        for token, score in step:
            texts.setdefault("" if token == blank else self.family.piece(self.tokenizer, token), score)
        return tuple(texts.items())


def load(
    folder: str | os.PathLike[str],
    ngpu: int = 0,
    dither: float = 0.0,
    gpu: int = 0,
    options: Mapping[str, Any] | None = None,
) -> Recogniser:
    """Load a FunASR model folder for decoding, whole or not at all, in fp32, TF32 off.

    Args:
        folder: config.yaml, tokens, cmvn and model.pt.
        ngpu: 0 for the CPU, else how many GPUs are asked for.
        dither: noise in the filter bank; FunASR's default of 1.0 makes decoding random, so 0 here.
        gpu: which of the GPUs, from 0.
        options: how to decode (``Family.options``); the family's defaults where not given.
    """
    device, weights = choose_device(ngpu), Path(folder) / "model.pt"
    if device == "cuda":
        torch.cuda.set_device(gpu)
        torch.backends.cudnn.allow_tf32 = False
    if not weights.is_file():
        raise RecipeError(f"{weights}: no such file, so there is nothing to decode with")
    with quiet():
        kwargs = compose(folder) | {"init_param": str(weights), "device": device, "ncpu": torch.get_num_threads()}
        from funasr import AutoModel

        loaded = AutoModel(**kwargs, disable_pbar=True, disable_log=True)
    check_loaded(loaded.model, weights)
    loaded.model.eval()
    frontend, tokenizer = loaded.kwargs["frontend"], loaded.kwargs["tokenizer"]
    frontend.dither = dither
    family = families.of_folder(Path(folder))
    family.bind_tokenizer(loaded.model, tokenizer, loaded.kwargs)
    options = family.options({}) if options is None else options
    return Recogniser(loaded.model, frontend, tokenizer, device, family, options)
