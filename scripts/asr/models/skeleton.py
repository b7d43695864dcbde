"""A FunASR model folder without weights, to train from scratch in: configuration, tokens, scale of features."""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from asr.audio.reading import UnreadableError, read_audio
from asr.core.errors import RecipeError
from asr.core.files import atomic_open, write_json, write_text
from asr.core.made_by import mark, refuse_others
from asr.core.manifest import Utterance, read_manifest
from asr.models.funasr_import import import_funasr
from asr.models.model_folder import default_configuration

FILES = ("tokens.json", "config.yaml", "am.mvn", "configuration.json")


def tokens(utterances: Iterable[Utterance]) -> list[str]:
    """Return blank, sentence marks, every character of the targets in code point order, and unknown last."""
    characters = sorted({character for item in utterances for character in item.target if not character.isspace()})
    return ["<blank>", "<s>", "</s>", *characters, "<unk>"]


def mean_and_scale(
    utterances: Sequence[Utterance], frontend_conf: Mapping[str, Any], clips: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return (D,) negated mean and inverse deviation of a frontend's features over ``clips`` clips of ``seed``."""
    import_funasr()
    from funasr.frontends.wav_frontend import WavFrontend

    frontend, count = WavFrontend(**frontend_conf), 0
    total, squares = np.zeros(frontend.output_size()), np.zeros(frontend.output_size())
    for item in random.Random(seed).sample(utterances, min(clips, len(utterances))):
        try:
            audio = torch.from_numpy(read_audio(item.source, item.duration))[None]
        except UnreadableError as error:
            print(f"{item.source}: utterance {item.key}: {error}; left out of the mean")
            continue
        features = frontend(audio, [audio.shape[1]])[0][0].numpy().astype(np.float64)
        total, squares, count = total + features.sum(0), squares + (features**2).sum(0), count + len(features)
    mean = total / count
    return -mean, 1.0 / np.sqrt(np.maximum(squares / count - mean**2, 1e-8))


def write_cmvn(path: Path, shift: np.ndarray, scale: np.ndarray) -> None:
    """Write am.mvn, the Kaldi nnet text form that FunASR's frontend reads."""
    size = len(shift)
    with atomic_open(path) as stream:
        stream.write(f"<Nnet>\n<Splice> {size} {size}\n[ 0 ]\n")
        for name, values in (("AddShift", shift), ("Rescale", scale)):
            row = " ".join(f"{value:.6g}" for value in values)
            stream.write(f"<{name}> {size} {size}\n<LearnRateCoef> 0 [ {row} ]\n")
        stream.write("</Nnet>\n")


def write_folder(folder: Path, names: list[str], config: dict[str, Any], shift: np.ndarray, scale: np.ndarray) -> None:
    """Write the folder's four ``FILES``."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "tokens.json", names)
    write_text(folder / "config.yaml", yaml.safe_dump(config, sort_keys=False))
    write_cmvn(folder / "am.mvn", shift, scale)
    write_json(folder / "configuration.json", default_configuration(folder))


def command(config: dict[str, Any], title: str, least: int = 1) -> None:
    """Run a script that makes such a folder of ``config`` from a training manifest.

    ``title`` is what --help says that it makes. RecipeError for fewer than ``least`` characters, and for an output
    folder that holds a model.
    """
    parser = argparse.ArgumentParser(description=title)
    parser.add_argument("--manifest", required=True, type=Path, help="train.jsonl that the model will be trained on")
    parser.add_argument("--out", required=True, type=Path, help="folder to make")
    parser.add_argument("--clips", type=int, default=1500, help="clips that mean and variance are taken from")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    if (arguments.out / "model.pt").exists():
        raise RecipeError(f"{arguments.out}: holds a model; give --out a folder of its own")
    maker = Path(sys.argv[0]).stem
    refuse_others(arguments.out, maker, FILES)
    utterances = read_manifest(arguments.manifest)
    names = tokens(utterances)
    if len(names) - 4 < least:
        raise RecipeError(f"{arguments.manifest}: only {len(names) - 4} distinct characters; {least} are needed")
    measured = mean_and_scale(utterances, config["frontend_conf"], arguments.clips, arguments.seed)
    mark(arguments.out, maker)
    write_folder(arguments.out, names, config, *measured)
    print(f"{arguments.out}: {len(names)} tokens")
