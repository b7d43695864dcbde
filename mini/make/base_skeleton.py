"""A FunASR model folder without weights, to train the tiny base model in: configuration, tokens, CMVN.

``python mini/make/base_skeleton.py --manifest data/…/train.jsonl --out exp/mini_base_skeleton``

The blocks are Paraformer-large's (SANM encoder and decoder, CIF predictor, 80 mel bins stacked 7/6), made small:
width 144 instead of 512, 4 encoder blocks instead of 50, 3 decoder blocks instead of 16.
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

WIDTH, HEADS, KERNEL = 144, 4, 11
DROPOUT = {"dropout_rate": 0.1, "positional_dropout_rate": 0.1, "self_attention_dropout_rate": 0.1}

CONFIG: dict[str, Any] = {
    "model": "Paraformer",
    "model_conf": {
        "ctc_weight": 0.0,
        "lsm_weight": 0.1,
        "length_normalized_loss": True,
        "predictor_weight": 1.0,
        "predictor_bias": 1,
        "sampling_ratio": 0.75,
    },
    "encoder": "SANMEncoder",
    "encoder_conf": {
        "output_size": WIDTH,
        "attention_heads": HEADS,
        "linear_units": 4 * WIDTH,
        "num_blocks": 4,
        "dropout_rate": 0.1,
        "positional_dropout_rate": 0.1,
        "attention_dropout_rate": 0.1,
        "input_layer": "pe",
        "pos_enc_class": "SinusoidalPositionEncoder",
        "normalize_before": True,
        "kernel_size": KERNEL,
        "sanm_shfit": 0,
        "selfattention_layer_type": "sanm",
    },
    "decoder": "ParaformerSANMDecoder",
    "decoder_conf": {
        "attention_heads": HEADS,
        "linear_units": 4 * WIDTH,
        "num_blocks": 3,
        **DROPOUT,
        "src_attention_dropout_rate": 0.1,
        "att_layer_num": 3,
        "kernel_size": KERNEL,
        "sanm_shfit": 0,
    },
    "predictor": "CifPredictorV2",
    "predictor_conf": {"idim": WIDTH, "threshold": 1.0, "l_order": 1, "r_order": 1, "tail_threshold": 0.45},
    "frontend": "WavFrontend",
    "frontend_conf": {
        "fs": 16000,
        "window": "hamming",
        "n_mels": 80,
        "frame_length": 25,
        "frame_shift": 10,
        "lfr_m": 7,
        "lfr_n": 6,
        "dither": 0.0,
    },
    "specaug": "SpecAugLFR",
    "specaug_conf": {
        "apply_time_warp": False,
        "time_warp_window": 5,
        "time_warp_mode": "bicubic",
        "apply_freq_mask": True,
        "freq_mask_width_range": [0, 20],
        "lfr_rate": 6,
        "num_freq_mask": 1,
        "apply_time_mask": True,
        # Paraformer-large masks up to 12 stacked frames, 0.72 s: half of a clip here.
        "time_mask_width_range": [0, 4],
        "num_time_mask": 1,
    },
    "tokenizer": "CharTokenizer",
    "tokenizer_conf": {"unk_symbol": "<unk>", "split_with_space": True},
}


def tokens(utterances: list[Utterance]) -> list[str]:
    """The token list: blank, sentence marks, every character of the targets in code point order, unknown last."""
    characters = sorted({character for item in utterances for character in item.target if not character.isspace()})
    return ["<blank>", "<s>", "</s>", *characters, "<unk>"]


def mean_and_scale(utterances: list[Utterance], clips: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """(560,) negated mean and inverse deviation of the stacked filter bank over ``clips`` clips drawn by ``seed``."""
    from funasr.frontends.wav_frontend import WavFrontend

    frontend = WavFrontend(**CONFIG["frontend_conf"])
    total, squares, frames = np.zeros(560), np.zeros(560), 0
    for item in random.Random(seed).sample(utterances, min(clips, len(utterances))):
        audio = torch.from_numpy(read_audio(item.source))[None]
        features = frontend(audio, [audio.shape[1]])[0][0].numpy().astype(np.float64)
        total, squares, frames = (
            total + features.sum(0),
            squares + (features**2).sum(0),
            frames + len(features),
        )
    mean = total / frames
    return -mean, 1.0 / np.sqrt(squares / frames - mean**2)


def write_cmvn(path: Path, shift: np.ndarray, scale: np.ndarray) -> None:
    """Write am.mvn, the Kaldi nnet text form that FunASR's frontend reads."""
    size = len(shift)
    with atomic_open(path) as stream:
        stream.write(f"<Nnet>\n<Splice> {size} {size}\n[ 0 ]\n")
        for name, values in (("AddShift", shift), ("Rescale", scale)):
            row = " ".join(f"{value:.6g}" for value in values)
            stream.write(f"<{name}> {size} {size}\n<LearnRateCoef> 0 [ {row} ]\n")
        stream.write("</Nnet>\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--manifest", required=True, type=Path, help="train.jsonl of the typical speech")
    parser.add_argument("--out", required=True, type=Path, help="folder to make")
    parser.add_argument("--clips", type=int, default=1500, help="clips that the CMVN is taken from")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    utterances = read_manifest(arguments.manifest)
    found = tokens(utterances)
    if len(found) < 304:
        raise RecipeError(f"{arguments.manifest}: only {len(found) - 4} distinct characters; the base needs 300")
    write_json(arguments.out / "tokens.json", found)
    write_text(arguments.out / "config.yaml", yaml.safe_dump(CONFIG, sort_keys=False))
    write_cmvn(arguments.out / "am.mvn", *mean_and_scale(utterances, arguments.clips, arguments.seed))
    write_json(arguments.out / "configuration.json", configuration(arguments.out))
    print(f"{arguments.out}: {len(found)} tokens")


if __name__ == "__main__":
    errors.run(main)
