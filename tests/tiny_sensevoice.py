"""A SenseVoiceSmall of 0.1 M parameters that can learn a dozen clips by heart, laid out as the hub's."""

from __future__ import annotations

import copy
import io
from pathlib import Path
from typing import Any

import sentencepiece
import yaml

from asr.core.files import write_json
from asr.models.sensevoice.family import TAGS
from asr.models.skeleton import write_cmvn
from tests import dozen, tiny
from tests.dozen import Case

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
        "encoder_conf": {**tiny.CONFIG["encoder_conf"], **encoder},
        **{name: copy.deepcopy(tiny.CONFIG[name]) for name in blocks},
        "tokenizer": "SentencepiecesTokenizer",
        "tokenizer_conf": {"bpemodel": None, "unk_symbol": "<unk>", "split_with_space": True},
        "dataset_conf": {"sos": "${model_conf.sos}", "eos": "${model_conf.eos}"},
    }


def write_bpe(path: Path, characters: list[str], tags: list[str]) -> None:
    """A SentencePiece model of these characters, a piece each, and of the tags, which are pieces whole.

    As SentencePiece makes them unless told otherwise: a text and a tag alike begin with a blank, a piece of its own.
    """
    held = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["".join(characters), *characters]),
        model_writer=held,
        model_type="char",
        vocab_size=4 + len(tags) + len(characters),
        character_coverage=1.0,
        user_defined_symbols=tags,
        hard_vocab_limit=False,
        minloglevel=2,
    )
    path.write_bytes(held.getvalue())


def write_folder(folder: Path, characters: list[str], tags: list[str]) -> None:
    """All of a model folder but its weights."""
    folder.mkdir(parents=True, exist_ok=True)
    write_bpe(folder / BPE, characters, tags)
    (folder / "config.yaml").write_text(yaml.safe_dump(config(), sort_keys=False), encoding="utf-8")
    write_cmvn(folder / "am.mvn", *tiny.FLAT)
    metas = {"init_param": "model.pt", "config": "config.yaml", "tokenizer_conf": {"bpemodel": BPE}}
    metas["frontend_conf"] = {"cmvn_file": "am.mvn"}
    written = {"framework": "pytorch", "task": "auto-speech-recognition", "model": {"type": "funasr"}}
    write_json(folder / "configuration.json", {**written, "file_path_metas": metas})


def make_model(folder: Path, characters: list[str] = CHARACTERS) -> Path:
    """A folder with random weights and these characters as tokens."""
    write_folder(folder, characters, list(TAGS.values()))
    return tiny.add_what_the_hub_has(tiny.save_random(folder))


# Nothing is masked, and a clip has one speed: what is asked is whether it learns.
SMALL = (*dozen.PLAIN, "++dataset_conf.batch_size=1000", "++scheduler_conf.warmup_steps=20")
CASE = Case("conf/sensevoice_3090.yaml", make_model, (*SMALL, "++train_conf.max_epoch=20", "++optim_conf.lr=0.003"))
LORA = Case("conf/sensevoice_lora_3090.yaml", make_model, (*SMALL, "++train_conf.max_epoch=2"), learns=False)
