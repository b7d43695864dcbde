"""A Whisper of 0.2 M parameters in the folder that stage 0 makes, and a tokenizer trained on the characters."""

from __future__ import annotations

from pathlib import Path

from asr.models import families
from tests import dozen, tiny
from tests.dozen import Case

WIDTH = 64
MARKS = (
    *("<|endoftext|>", "<|startoftranscript|>", "<|en|>", "<|zh|>", "<|translate|>", "<|transcribe|>", "<|startoflm|>"),
    *("<|startofprev|>", "<|nospeech|>", "<|notimestamps|>", "<|0.00|>", "<|0.02|>"),
)


def make_tokenizer(path: Path, characters: list[str]) -> int:
    """A byte-level BPE, each character a token, the marks last as in Whisper's; how many tokens it has."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=256 + 2 * len(characters) + 20, initial_alphabet=alphabet, show_progress=False
    )
    made.train_from_iterator([*characters, *characters], trainer)
    made.add_special_tokens(list(MARKS))
    made.save(str(path))
    return made.get_vocab_size()


def make_transformers(folder: Path, characters: list[str], seed: int = 0) -> Path:
    """A folder as Hugging Face has it: config.json, model.safetensors, tokenizer.json; random weights."""
    import torch
    from transformers import WhisperConfig, WhisperForConditionalGeneration

    folder.mkdir(parents=True, exist_ok=True)
    size = make_tokenizer(folder / "tokenizer.json", characters)
    config = WhisperConfig(
        vocab_size=size,
        num_mel_bins=80,
        d_model=WIDTH,
        encoder_layers=2,
        decoder_layers=2,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        encoder_ffn_dim=4 * WIDTH,
        decoder_ffn_dim=4 * WIDTH,
        max_target_positions=64,
        pad_token_id=size - len(MARKS),
        bos_token_id=size - len(MARKS),
        eos_token_id=size - len(MARKS),
        decoder_start_token_id=size - len(MARKS) + 1,
    )
    torch.manual_seed(seed)
    WhisperForConditionalGeneration(config).save_pretrained(folder)
    return folder


def make_model(folder: Path, characters: list[str], seed: int = 0) -> Path:
    """The same as the recipe's folder; a clip has 1 s at least, so that tests are quick."""
    source = make_transformers(folder.with_name(f"{folder.name}_transformers"), characters, seed)
    families.of("whisper").convert(source, folder, {"frontend_conf": {"least": 1.0}})
    return tiny.add_what_the_hub_has(folder)


SMALL = (
    *dozen.SMALL,
    "++dataset_conf.batch_size=2000",
    "++scheduler_conf.warmup_steps=20",
    "++dataset_conf.speed_perturb=null",
    "++frontend_conf.least=1",
    "++train_conf.accum_grad=1",
    "++decode_conf.max_new_tokens=30",
)
CASE = Case("conf/whisper_3090.yaml", make_model, (*SMALL, "++train_conf.max_epoch=50", "++optim_conf.lr=0.003"))
LORA = Case("conf/whisper_lora_3090.yaml", make_model, (*SMALL, "++train_conf.max_epoch=2"), learns=False)
BASE_CPU = Case("conf/whisper_base_cpu.yaml", make_model, (*SMALL, "++train_conf.max_epoch=2"), learns=False)
