"""A Conformer's folder without weights, to train from scratch in: configuration, tokens, mean and variance.

``python local/conformer_base.py --manifest data/…/train.jsonl --out exp/conformer_base`` makes of a training set
config.yaml (12 encoder blocks of width 256, 6 decoder blocks), tokens.json (its characters), am.mvn and
configuration.json. Train in it with ``from_scratch: true``; conf/conformer_scratch_3090.yaml does.
"""

from __future__ import annotations

from typing import Any

from asr.core import errors
from asr.models import skeleton

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


def main() -> None:
    skeleton.command(CONFIG, __doc__.splitlines()[0])


if __name__ == "__main__":
    errors.run(main)
