"""A tiny random Paraformer and a few clips of noise: the real classes, small enough for a unit test."""

from __future__ import annotations

import copy
import sys
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch

from asr.audio.unreadable import MAX_SHARE, Unreadable
from asr.core.manifest import Utterance, source_len, write_manifest
from asr.decoding.batches import Decoder, batches
from asr.decoding.run import in_order, readable
from asr.models.loading import compose, quiet
from asr.models.skeleton import write_folder

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "mini" / "make"))
from base_skeleton import CONFIG

TOKENS = ["<blank>", "<s>", "</s>", *"一二三四五六七八九十", "<unk>"]
WIDTH = 32


def config() -> dict:
    """The mini base's configuration with a width of 32 and one block a side."""
    small = copy.deepcopy(CONFIG)
    small["encoder_conf"] |= {"output_size": WIDTH, "linear_units": 2 * WIDTH, "num_blocks": 2}
    small["decoder_conf"] |= {"linear_units": 2 * WIDTH, "num_blocks": 1, "att_layer_num": 1}
    small["predictor_conf"] |= {"idim": WIDTH}
    return small


FLAT = (np.full(560, -10.0), np.full(560, 0.3))  # mean and scale, about those of speech, of stacked features


def build(folder: Path, seed: int = 0) -> Any:
    """FunASR's AutoModel of a folder, with the folder's weights where it has any, else random ones."""
    with quiet():
        from funasr import AutoModel

        torch.manual_seed(seed)
        return AutoModel(**{**compose(folder), "device": "cpu", "ncpu": 1, "disable_log": True, "seed": seed})


def save_random(folder: Path, seed: int = 0) -> Path:
    """Complete a folder by model.pt with random weights."""
    torch.save({"state_dict": build(folder, seed).model.state_dict()}, folder / "model.pt")
    return folder


def add_what_the_hub_has(folder: Path) -> Path:
    """What lies beside a model on a hub, and what the hub's client leaves there."""
    (folder / "README.md").write_text("---\nlicense: other\n---\n")
    (folder / "LICENSE").write_text("Model licence\n")
    for name in (".msc", ".mdl", ".mv"):  # ModelScope's
        (folder / name).write_bytes(b"the hub's")
    for name in ("example/asr_example.wav", "fig/struct.png"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"")
    return folder


def make_model(folder: Path, seed: int = 0, tokens: list[str] = TOKENS) -> Path:
    """A FunASR model folder with random weights that fire about once in two frames."""
    write_folder(folder, tokens, config(), *FLAT)
    return add_what_the_hub_has(save_random(folder, seed))


def make_clips(folder: Path, seconds: list[float], seed: int = 0) -> list[Utterance]:
    """Clips of noise with a slow envelope, so that frames differ; the targets are digits."""
    folder.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(seed)
    utterances = []
    for number, length in enumerate(seconds):
        count = int(length * 16000)
        envelope = 0.2 + 0.2 * np.sin(np.arange(count) / 16000 * 2 * np.pi * generator.uniform(1, 5))
        audio = (generator.standard_normal(count) * envelope * 0.3).astype("float32")
        path = folder / f"S001T000E000N{number:05d}.wav"
        soundfile.write(path, audio, 16000)
        target = "".join(generator.choice(TOKENS[3:-1], size=1 + number % 4))
        frames = source_len(count, 16000)
        utterances.append(Utterance(path.stem, str(path), target, frames, len(target), "001", length, count))
    return utterances


def make_data(folder: Path, seconds: list[float], seed: int = 0) -> Path:
    """A data folder: the same kind of clips as train, val and test."""
    for number, name in enumerate(("train", "val", "test")):
        write_manifest(folder / f"{name}.jsonl", make_clips(folder / name, seconds, seed + number))
    return folder


def decode(recogniser, utterances, batch_seconds):
    """{key: text} of every utterance that can be read, in the manifest's order, decoded in this process."""
    results, unreadable = {}, Unreadable("decoded", len(utterances), MAX_SHARE, print)
    for batch in batches(utterances, batch_seconds):
        results |= readable(Decoder(recogniser).decode(batch), unreadable)
    return {result.key: result.greedy for result in in_order(utterances, results, unreadable)}
