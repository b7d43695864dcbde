"""Folders of the full-size architectures with random weights, for time and memory. Nothing is fetched.

Sizes are those of the hub's models as far as they are known: Paraformer-large and SenseVoiceSmall by their published
configurations, Conformer as local/conformer_base.py makes it with AISHELL-1's 4,234 tokens, Fun-ASR-Nano with
SenseVoice's encoder, two adaptor layers and Qwen3-0.6B's configuration. The tokenizers are stand-ins of the right size.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import numpy as np
import yaml

from asr.models.skeleton import write_folder
from tests import tiny

ENCODER = {"output_size": 512, "attention_heads": 4, "linear_units": 2048, "num_blocks": 50, "tp_blocks": 20}


def characters(count: int) -> list[str]:
    """So many different Han characters, the commonest block first."""
    blocks = (range(0x4E00, 0x9FA6), range(0x3400, 0x4DB6))
    return [chr(code) for block in blocks for code in block][:count]


def paraformer(folder: Path) -> Path:
    """Paraformer-large: 50 encoder and 16 decoder blocks of width 512, 8,404 tokens."""
    from benchmarks.benchmark_decode import full_size

    full_size(folder)
    return folder


def sensevoice(folder: Path) -> Path:
    """SenseVoiceSmall: 70 encoder blocks of width 512, 25,055 pieces."""
    from asr.models.sensevoice.family import TAGS
    from tests import tiny_sensevoice

    tags = list(TAGS.values())
    tiny_sensevoice.write_folder(folder, characters(25_055 - 3 - len(tags)), tags)
    config = tiny_sensevoice.config()
    config["encoder_conf"] |= ENCODER
    (folder / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    return tiny.save_random(folder)


def conformer(folder: Path) -> Path:
    """Conformer: 12 encoder and 6 decoder blocks of width 256, 4,234 tokens."""
    from conformer_base import CONFIG

    tokens = ["<blank>", "<s>", "</s>", *characters(4_230), "<unk>"]
    write_folder(folder, tokens, CONFIG, np.full(80, -10.0), np.full(80, 0.3))
    return tiny.save_random(folder)


def nano(folder: Path) -> Path:
    """Fun-ASR-Nano: SenseVoice's encoder, an adaptor of two layers, Qwen3 with 28 layers of width 1024."""
    from transformers import Qwen3Config

    from tests import tiny_nano

    tiny_nano.make_model(folder, characters(400))
    Qwen3Config(
        vocab_size=151_936,
        hidden_size=1024,
        intermediate_size=3072,
        num_hidden_layers=28,
        num_attention_heads=16,
        num_key_value_heads=8,
        head_dim=128,
        max_position_embeddings=40_960,
        tie_word_embeddings=True,
        eos_token_id=tiny_nano.MARKS.index("<|im_end|>"),
        pad_token_id=0,
    ).save_pretrained(folder / tiny_nano.LLM)
    config = copy.deepcopy(tiny_nano.config())
    config["audio_encoder_conf"] |= ENCODER
    config["audio_adaptor_conf"] |= {"ffn_dim": 2048, "llm_dim": 1024, "encoder_dim": 512, "n_layer": 2}
    config["audio_adaptor_conf"] |= {"attention_heads": 8, "downsample_rate": 1}
    (folder / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    (folder / "model.pt").unlink()
    return tiny.save_random(folder)


BUILDERS: dict[str, Callable[[Path], Path]] = {
    "paraformer": paraformer,
    "sensevoice": sensevoice,
    "conformer": conformer,
    "nano": nano,
}
