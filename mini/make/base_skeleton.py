"""A FunASR model folder without weights, to train the tiny base model in: configuration, tokens, CMVN.

``python mini/make/base_skeleton.py --manifest data/…/train.jsonl --out exp/mini_base_skeleton``

The blocks are Paraformer-large's (SANM encoder and decoder, CIF predictor, 80 mel bins stacked 7/6), made small:
width 144 instead of 512, 4 encoder blocks instead of 50, 3 decoder blocks instead of 16.
"""

from __future__ import annotations

from typing import Any

from asr.core import errors
from asr.models import skeleton

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


def main() -> None:
    skeleton.command(CONFIG, __doc__.splitlines()[0], least=300)


if __name__ == "__main__":
    errors.run(main)
