"""Tiny models of every kind that is exported, and clips whose texts differ, for tests of export."""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from asr.audio.reading import read_audio
from asr.core.manifest import read_manifest
from asr.export.build import build
from asr.export.gate import decoded
from asr.export.runtimes import PACKAGES
from asr.models.loading import load
from asr.models.skeleton import write_folder
from tests import tiny, tiny_conformer, tiny_sensevoice

MISSING = [name for name in (*PACKAGES.values(), "onnx", "pynini") if importlib.util.find_spec(name) is None]
NEEDS = pytest.mark.skipif(bool(MISSING), reason=f"needs {', '.join(MISSING)}: bash scripts/install.sh --deploy")
SECONDS = [0.05, 0.1, *(0.4 * number for number in range(1, 12))]


def make_bicif(folder: Path) -> Path:
    """A BiCifParaformer: a second predictor beside the first, for times that the recipe does not use."""
    config = tiny.config()
    twice = {"upsample_times": 3, "upsample_type": "cnn", "use_cif1_cnn": False}
    config |= {"model": "BiCifParaformer", "predictor": "CifPredictorV3"}
    config["predictor_conf"] |= twice
    write_folder(folder, tiny.TOKENS, config, *tiny.FLAT)
    return tiny.save_random(folder)


def make_conformer(folder: Path, **encoder: Any) -> Path:
    """A Conformer; ``encoder`` changes its encoder_conf."""
    return tiny_conformer.make_folder(folder, conf=tiny_conformer.config(**encoder))


MAKERS: dict[str, Callable[[Path], Path]] = {
    "paraformer": functools.partial(tiny.make_model, seed=1),  # writes end marks within its texts
    "paraformer_blank": functools.partial(tiny.make_model, seed=2),  # and this one blanks
    "bicif": make_bicif,
    "sensevoice": tiny_sensevoice.make_model,
    "conformer": make_conformer,
    "conformer_legacy": functools.partial(make_conformer, rel_pos_type="legacy"),
}


class Exported:
    """A model folder, its deploy folders, the clips, and what torch writes of them."""

    def __init__(self, root: Path, kind: str, **options: Any) -> None:
        self.model = MAKERS[kind](root / "model")
        self.out = root / "deploy"
        self.out.mkdir()
        if not (root / "data").exists():
            tiny.make_data(root / "data", SECONDS)
        self.manifest = root / "data" / "test.jsonl"
        self.clips = read_manifest(self.manifest)
        self.recogniser = load(self.model)
        self.graph = self.recogniser.family.graph(self.recogniser, self.model)
        self.why = build(self.graph, self.model, self.out, **options)
        self.texts = decoded(self.clips, lambda samples: self.recogniser.transcribe([samples])[0])

    def samples(self, number: int) -> Any:
        """A clip's samples."""
        return read_audio(self.clips[number].source)

    def ids(self, features: torch.Tensor, lengths: torch.Tensor) -> list[list[int]]:
        """What torch decodes of features."""
        family = self.recogniser.family
        return family.decode_batch(self.recogniser.model, features, lengths, self.recogniser.options)
