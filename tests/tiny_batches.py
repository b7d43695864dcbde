"""Every family's tiny model as stage 3 trains it, in full and with adapters, with batches of random features."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from asr.models import families
from asr.training.building import checked_model, training_kwargs
from tests import tiny, tiny_conformer, tiny_nano, tiny_paraformer, tiny_sensevoice, tiny_whisper, trained

CHARACTERS = tiny.TOKENS[3:-1]
MAKERS = {
    "paraformer": tiny_paraformer.make_model,
    "conformer": tiny_conformer.make_model,
    "sensevoice": tiny_sensevoice.make_model,
    "nano": tiny_nano.make_model,
    "whisper": tiny_whisper.make_model,
}
KINDS = [*MAKERS, *(f"{family}_lora" for family in MAKERS)]


def build(folder: Path, kind: str, **blocks: Any) -> Any:
    """FunASR's AutoModel of a kind of KINDS, in training mode; ``blocks`` as in a YAML."""
    family = kind.removesuffix("_lora")
    base = folder / family
    if not base.exists():
        MAKERS[family](base, CHARACTERS)
    lora = {"lora_conf": trained.lora_conf(families.of(family))} if kind.endswith("_lora") else {}
    values = trained.complete(family=family, seed=1, **lora, **blocks)
    plan = {"exp": str(folder), "base": str(base), "values": values, "dataset_conf": values["dataset_conf"]}
    torch.manual_seed(0)
    made = checked_model(plan, training_kwargs(plan, "cpu") | {"disable_log": True})
    made.model.train()
    return made


def without_chance(model: Any) -> Any:
    """The model with dropout, SpecAugment and sampling off, no language told, and BatchNorm as in decoding."""
    model.specaug, model.sampling_ratio = None, 0.0
    model.lid_dict = dict.fromkeys(getattr(model, "lid_dict", {}), 0)
    for part in model.modules():
        if isinstance(part, torch.nn.Dropout):
            part.p = 0.0
        if hasattr(part, "dropout_rate"):
            part.dropout_rate = 0.0
        if isinstance(part, torch.nn.BatchNorm1d):
            part.weight.requires_grad_(False)  # see asr.models.conformer.decoding: a frozen one stays as it is
    return model


def batch(made: Any, kind: str, frames: list[int], seed: int = 0) -> dict[str, torch.Tensor]:
    """Clips of so many frames of noise; each has a text of one to six digits."""
    generator = torch.Generator().manual_seed(seed)
    family = families.of(kind.removesuffix("_lora"))
    width = made.kwargs["frontend"].output_size()
    texts = []
    for number in range(len(frames)):
        drawn = torch.randint(len(CHARACTERS), (1 + (seed + 2 * number) % 6,), generator=generator)
        target = "".join(CHARACTERS[index] for index in drawn)
        texts.append(torch.tensor(family.encode(made.kwargs["tokenizer"], {"target": target})))
    padded = torch.nn.utils.rnn.pad_sequence
    return {
        "speech": padded([torch.randn(count, width, generator=generator) for count in frames], batch_first=True),
        "speech_lengths": torch.tensor(frames)[:, None],
        "text": padded(texts, batch_first=True, padding_value=-1),
        "text_lengths": torch.tensor([len(text) for text in texts])[:, None],
    }
