"""A SenseVoiceSmall of 0.1 M parameters that can learn a dozen clips by heart, laid out as the hub's."""

from __future__ import annotations

import copy
import io
import sys
from pathlib import Path
from typing import Any

import numpy as np
import sentencepiece
import torch
import yaml

from asr.families.sensevoice import TAGS
from asr.files import write_json
from asr.funasr_model import compose, quiet
from tests import tiny
from tests.dozen import Case

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "mini" / "make"))
from base_skeleton import CONFIG, write_cmvn

WIDTH = 64
BPE = "chn_jpn_yue_eng_ko_spectok.bpe.model"  # the hub's name
CHARACTERS = tiny.TOKENS[3:-1]


def config() -> dict[str, Any]:
    """The mini base's frontend and SpecAugment around SenseVoice's encoder, two blocks and one more."""
    blocks = ("frontend", "frontend_conf", "specaug", "specaug_conf")
    encoder = {"output_size": WIDTH, "linear_units": 2 * WIDTH, "num_blocks": 2, "tp_blocks": 1}
    return {
        "model": "SenseVoiceSmall",
        "model_conf": {"length_normalized_loss": True, "sos": 1, "eos": 2, "ignore_id": -1},
        "encoder": "SenseVoiceEncoderSmall",
        "encoder_conf": {**CONFIG["encoder_conf"], **encoder},
        **{name: copy.deepcopy(CONFIG[name]) for name in blocks},
        "tokenizer": "SentencepiecesTokenizer",
        "tokenizer_conf": {"bpemodel": None, "unk_symbol": "<unk>", "split_with_space": True},
    }


def write_bpe(path: Path, characters: list[str], tags: list[str]) -> None:
    """A SentencePiece model of these characters, a piece each, and of the tags, which are pieces whole."""
    held = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["".join(characters), *characters]),
        model_writer=held,
        model_type="char",
        vocab_size=3 + len(tags) + len(characters),
        character_coverage=1.0,
        user_defined_symbols=tags,
        add_dummy_prefix=False,
        hard_vocab_limit=False,
        minloglevel=2,
    )
    path.write_bytes(held.getvalue())


def write_folder(folder: Path, characters: list[str], tags: list[str]) -> None:
    """All of a model folder but its weights."""
    folder.mkdir(parents=True, exist_ok=True)
    write_bpe(folder / BPE, characters, tags)
    (folder / "config.yaml").write_text(yaml.safe_dump(config(), sort_keys=False), encoding="utf-8")
    write_cmvn(folder / "am.mvn", np.full(560, -10.0), np.full(560, 0.3))
    metas = {"init_param": "model.pt", "config": "config.yaml", "tokenizer_conf": {"bpemodel": BPE}}
    metas["frontend_conf"] = {"cmvn_file": "am.mvn"}
    written = {"framework": "pytorch", "task": "auto-speech-recognition", "model": {"type": "funasr"}}
    write_json(folder / "configuration.json", {**written, "file_path_metas": metas})


def build(folder: Path, seed: int = 0) -> Any:
    """FunASR's AutoModel of a folder, with the folder's weights where it has any."""
    with quiet():
        from funasr import AutoModel

        torch.manual_seed(seed)
        return AutoModel(**{**compose(folder), "device": "cpu", "ncpu": 1, "disable_log": True, "seed": seed})


def make_model(folder: Path, characters: list[str] = CHARACTERS) -> Path:
    """A folder with random weights and these characters as tokens."""
    write_folder(folder, characters, list(TAGS.values()))
    torch.save({"state_dict": build(folder).model.state_dict()}, folder / "model.pt")
    return folder


# Nothing is masked, and a clip has one speed: what is asked is whether it learns.
SMALL = (
    "++cpu_processes=1",
    "++dataset_conf.batch_size=1000",
    "++dataset_conf.num_workers=0",
    "++dataset_conf.speed_perturb=null",
    "++train_conf.log_interval=20",
    "++train_conf.keep_nbest_models=2",
    "++train_conf.avg_nbest_model=2",
    "++train_conf.validate_interval=100000",
    "++train_conf.save_checkpoint_interval=100000",
    "++scheduler_conf.warmup_steps=20",
    "++specaug_conf.apply_time_mask=false",
    "++specaug_conf.freq_mask_width_range=[0,1]",
)
CASE = Case("conf/sensevoice_3090.yaml", make_model, (*SMALL, "++train_conf.max_epoch=80", "++optim_conf.lr=0.003"))
LORA = Case("conf/sensevoice_lora_3090.yaml", make_model, (*SMALL, "++train_conf.max_epoch=2"), learns=False)
