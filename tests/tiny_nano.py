"""A Fun-ASR-Nano of 0.4 M parameters: the hub's parts, small, and a tokenizer that is trained on the characters."""

from __future__ import annotations

from pathlib import Path

import torch
import yaml

from asr.core.files import write_json
from asr.models.skeleton import write_cmvn
from tests import tiny, tiny_paraformer
from tests.dozen import Case

LLM, WIDTH = "tiny-llm", 64
TIKTOKEN = "multilingual.tiktoken"  # of the CTC head
MARKS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]


def config() -> dict:
    """The hub's blocks and what else its config.yaml holds: references, a CTC head, the hub's own training."""
    return {
        "model": "FunASRNano",
        "model_conf": {"length_normalized_loss": True},
        "audio_encoder": "SenseVoiceEncoderSmall",
        "audio_encoder_conf": {
            "output_size": WIDTH,
            "attention_heads": 4,
            "linear_units": 2 * WIDTH,
            "num_blocks": 2,
            "tp_blocks": 1,
            "dropout_rate": 0.0,
            "positional_dropout_rate": 0.0,
            "attention_dropout_rate": 0.0,
            "input_layer": "pe",
            "kernel_size": 11,
            "freeze": True,
            "freeze_layer_num": -1,
            "feat_permute": True,
        },
        "audio_adaptor": "Transformer",
        "audio_adaptor_conf": {
            "downsample_rate": 8,
            "use_low_frame_rate": True,
            "ffn_dim": 2 * WIDTH,
            "llm_dim": WIDTH,
            "encoder_dim": WIDTH,
            "n_layer": 1,
            "attention_heads": 4,
        },
        "llm": "tiny",
        "llm_conf": {"hub": "hf", "freeze": True, "llm_dtype": "bf16", "init_param_path": LLM, "use_lora": True},
        "detach_ctc_decoder": True,
        "ctc_decoder": "Transformer",
        "ctc_decoder_conf": {"downsample_rate": 1, "ffn_dim": 2 * WIDTH, "llm_dim": WIDTH, "encoder_dim": WIDTH},
        "ctc_weight": 1.0,
        "ctc_conf": {"dropout_rate": 0.0, "ctc_type": "builtin", "reduce": True, "ignore_nan_grad": True},
        "frontend": "WavFrontend",
        "frontend_conf": tiny.config()["frontend_conf"] | {"dither": 0.0},
        "tokenizer": "HuggingfaceTokenizer",
        "tokenizer_conf": {"init_param_path": "${llm_conf.init_param_path}"},
        "train_conf": {"use_deepspeed": True, "deepspeed_config": None, "max_epoch": 2, "resume": True},
        "optim_conf": {"lr": 5e-6, "weight_decay": 0.0},
        "dataset_conf": {
            "do_think": False,
            "sys_prompt": True,
            "audio_adaptor_downsample_rate": "${audio_adaptor_conf.downsample_rate}",
            "ctc_tokenizer": "SenseVoiceTokenizer",
            "ctc_tokenizer_conf": {"vocab_path": None, "is_multilingual": True, "num_languages": 8749},
        },
        "train_data_set_list": None,
        "init_param": None,
        "output_dir": None,
    }


def make_tokenizer(folder: Path, characters: list[str]) -> int:
    """A byte-level BPE in which most of the characters are one token; how many tokens it has."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    from asr.models.nano.model import SYSTEM, USER

    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=256 + len(MARKS) + 2 * len(characters) + 60,
        special_tokens=MARKS,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    prompt = [f"system\n{SYSTEM}", f"user\n{USER}", "assistant\n", "<think>\n\n</think>\n\n"]
    made.train_from_iterator([*characters, *characters, *prompt, *prompt], trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=made, eos_token=MARKS[2], pad_token=MARKS[0], additional_special_tokens=[MARKS[1]]
    )
    fast.save_pretrained(folder)
    return len(fast)


def make_model(folder: Path, characters: list[str], seed: int = 0) -> Path:
    """A folder with random weights and a tokenizer for these characters."""
    from transformers import Qwen3Config

    folder.mkdir(parents=True, exist_ok=True)
    size = make_tokenizer(folder / LLM, characters)
    Qwen3Config(
        vocab_size=size,
        hidden_size=WIDTH,
        intermediate_size=2 * WIDTH,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=16,
        max_position_embeddings=512,
        tie_word_embeddings=True,
        eos_token_id=MARKS.index("<|im_end|>"),
        pad_token_id=0,
        bos_token_id=None,
    ).save_pretrained(folder / LLM)
    write_json(
        folder / "configuration.json",
        {
            "framework": "pytorch",
            "task": "auto-speech-recognition",
            "model": {"type": "funasr"},
            "file_path_metas": {
                "init_param": "model.pt",
                "config": "config.yaml",
                "frontend_conf": {"cmvn_file": "am.mvn"},
                "ctc_tokenizer_conf": {"vocab_path": TIKTOKEN},
            },
        },
    )
    (folder / TIKTOKEN).write_text("IQ== 0\n")
    write_cmvn(folder / "am.mvn", *tiny.FLAT)
    (folder / "config.yaml").write_text(yaml.safe_dump(config(), sort_keys=False), encoding="utf-8")
    tiny.save_random(folder, seed)
    state = torch.load(folder / "model.pt")["state_dict"]
    state |= {"ctc_decoder.linear1.weight": torch.ones(2 * WIDTH, WIDTH), "ctc.ctc_lo.weight": torch.ones(9, WIDTH)}
    torch.save({"state_dict": {key: value.bfloat16() for key, value in state.items()}}, folder / "model.pt")
    return tiny.add_what_the_hub_has(folder)


SMALL = (*tiny_paraformer.SMALL, "++dataset_conf.speed_perturb=null")
CASE = Case(
    "conf/fun_asr_nano_3090.yaml",
    make_model,
    (
        *SMALL,
        "++freeze_param=[]",
        "++train_conf.max_epoch=25",
        "++optim_conf.lr=0.002",
        "++decode_conf.max_new_tokens=30",
    ),
)
# Adapters of random weights cannot learn much: whether they go through the stages, not how well, is what is asked.
LORA = Case(
    "conf/fun_asr_nano_lora_3090.yaml",
    make_model,
    (*SMALL, "++train_conf.max_epoch=2", "++decode_conf.max_new_tokens=30"),
    learns=False,
)
