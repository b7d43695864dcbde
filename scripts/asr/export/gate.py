"""The gate: decoding the clips by torch and by each runtime, and what parity.json has of it."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from asr.core.manifest import Utterance
from asr.export import parity
from asr.export.build import timed
from asr.export.runtimes import OPENERS
from asr.models.graph import SHERPA_ONNX

SHOWN = 10  # differences of 8-bit texts that are printed; parity.json has the keys of all


def decoded(clips: Sequence[Utterance], transcribe: Callable[[np.ndarray], str]) -> dict[str, str]:
    """Return {key: text} of the clips that can be read; the others are named."""
    from asr.audio.reading import UnreadableError, read_audio

    texts = {}
    for clip in clips:
        try:
            samples = read_audio(clip.source, clip.duration)
        except UnreadableError as error:
            print(f"note: {clip.source}: {error}; not compared")
        else:
            texts[clip.key] = transcribe(samples)
    return texts


def prove(
    name: str, why_not: str, folder: Path, clips: Sequence[Utterance], reference: Mapping[str, str]
) -> dict[str, Any]:
    """Return what parity.json has of one runtime, and print it; fp32's differences are all named."""
    if why_not:
        print(f"{name}: not offered: {why_not}")
        return {"status": parity.NOT_OFFERED, "reason": why_not}
    rows: dict[str, Any] = {}
    told = {"phrases": False} if name == SHERPA_ONNX else {}
    for precision in ("fp32", "int8"):
        with timed(f"{name} {precision}, {len(clips)} clips"):
            runtime = OPENERS[name](folder, precision == "int8", **told)
            texts = decoded(clips, runtime.transcribe)
        rows[precision] = parity.result(clips, reference, texts)
        print(parity.in_words(name, precision, rows[precision]))
        keys = rows[precision].get("differences", [])
        parity.show(keys, f"{name} {precision}", reference, texts, len(keys) if precision == "fp32" else SHOWN)
    rows["int8"]["fp32_cer"] = rows["fp32"]["cer"]
    return rows


def versions() -> dict[str, str]:
    """Return the versions of what computed the texts."""
    names = ("torch", "funasr", "onnx", "onnxruntime", "funasr-onnx", "sherpa-onnx")
    return {name: importlib.metadata.version(name) for name in names}
