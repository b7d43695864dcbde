"""A Conformer's folder without weights, to train from scratch in: configuration, tokens, mean and variance.

``python local/conformer_base.py --manifest data/…/train.jsonl --out exp/conformer_base`` makes of a training set
config.yaml (12 encoder blocks of width 256, 6 decoder blocks), tokens.json (its characters), am.mvn and
configuration.json. Train in it with ``from_scratch: true``; conf/conformer_scratch_3090.yaml does.
"""

from __future__ import annotations

import argparse
import random
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from asr import errors
from asr.average import configuration
from asr.errors import RecipeError
from asr.files import atomic_open, write_json, write_text
from asr.funasr_model import read_audio
from asr.manifest import Utterance, read_manifest

WIDTH, HEADS, UNITS = 256, 4, 2048

CONFIG: dict[str, Any] = {
    "model": "Conformer",
    # Losses per token: with a gradient cut at a norm of 5, those per clip would nearly always be cut.
    "model_conf": {"ctc_weight": 0.3, "lsm_weight": 0.1, "length_normalized_loss": True},
    "encoder": "ConformerEncoder",
    "encoder_conf": {
        "output_size": WIDTH,
        "attention_heads": HEADS,
        "linear_units": UNITS,
        "num_blocks": 12,
        "dropout_rate": 0.1,
        "positional_dropout_rate": 0.1,
        "attention_dropout_rate": 0.0,
        "input_layer": "conv2d",  # a frame of 40 ms
        "normalize_before": True,
        "macaron_style": True,
        "rel_pos_type": "latest",
        "pos_enc_layer_type": "rel_pos",
        "selfattention_layer_type": "rel_selfattn",
        "activation_type": "swish",
        "use_cnn_module": True,
        "cnn_module_kernel": 15,
    },
    "decoder": "TransformerDecoder",
    "decoder_conf": {
        "attention_heads": HEADS,
        "linear_units": UNITS,
        "num_blocks": 6,
        "dropout_rate": 0.1,
        "positional_dropout_rate": 0.1,
        "self_attention_dropout_rate": 0.0,
        "src_attention_dropout_rate": 0.0,
    },
    "ctc_conf": {"dropout_rate": 0.0},
    "frontend": "WavFrontend",
    "frontend_conf": {
        "fs": 16000,
        "window": "hamming",
        "n_mels": 80,
        "frame_length": 25,
        "frame_shift": 10,
        "lfr_m": 1,
        "lfr_n": 1,
        "dither": 0.0,
    },
    "specaug": "SpecAug",
    "specaug_conf": {
        "apply_time_warp": False,
        "apply_freq_mask": True,
        "freq_mask_width_range": [0, 20],
        "num_freq_mask": 2,
        "apply_time_mask": True,
        "time_mask_width_range": [0, 20],  # up to 0.2 s, twice: clips are short
        "num_time_mask": 2,
    },
    "tokenizer": "CharTokenizer",
    "tokenizer_conf": {"unk_symbol": "<unk>", "split_with_space": True},
}


def tokens(utterances: list[Utterance]) -> list[str]:
    """The token list: blank, sentence marks, every character of the targets in code point order, unknown last."""
    characters = sorted({character for item in utterances for character in item.target if not character.isspace()})
    return ["<blank>", "<s>", "</s>", *characters, "<unk>"]


def mean_and_scale(utterances: list[Utterance], clips: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """(80,) negated mean and inverse deviation of the log-mel filter bank over ``clips`` clips drawn by ``seed``."""
    from funasr.frontends.wav_frontend import WavFrontend

    frontend, total, squares, count = WavFrontend(**CONFIG["frontend_conf"]), np.zeros(80), np.zeros(80), 0
    for item in random.Random(seed).sample(utterances, min(clips, len(utterances))):
        audio = torch.from_numpy(read_audio(item.source))[None]
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
    """The folder's four files."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "tokens.json", names)
    write_text(folder / "config.yaml", yaml.safe_dump(config, sort_keys=False))
    write_cmvn(folder / "am.mvn", shift, scale)
    write_json(folder / "configuration.json", configuration(folder))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--manifest", required=True, type=Path, help="train.jsonl that the model will be trained on")
    parser.add_argument("--out", required=True, type=Path, help="folder to make")
    parser.add_argument("--clips", type=int, default=1500, help="clips that mean and variance are taken from")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    if (arguments.out / "model.pt").exists():
        raise RecipeError(f"{arguments.out}: holds a model; give --out a folder of its own")
    utterances = read_manifest(arguments.manifest)
    names = tokens(utterances)
    write_folder(arguments.out, names, CONFIG, *mean_and_scale(utterances, arguments.clips, arguments.seed))
    print(f"{arguments.out}: {len(names)} tokens")


if __name__ == "__main__":
    errors.run(main)
