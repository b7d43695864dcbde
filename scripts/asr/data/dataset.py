"""Training clips as FunASR's trainer takes them, varied by (seed, epoch, key), and never lost without a word.

Registered with FunASR as the dataset ``RecipeAudioDataset``, with the index ``RecipeIndex``. Against FunASR's
AudioDataset, whose batches it makes:

- every random number of a clip comes from the seed, the epoch and the clip's key: see ``asr.data.augmentation``;
- ``asr.data.augmentation`` varies the training clips as dataset_conf says (FunASR's speed_perturb is dead);
- a clip that cannot be read is left out of its batch and named (audio.unreadable); a batch of such clips alone holds
  one of them as silence, marked ``blank``, which the trainer gives no weight: every process has as many steps;
- no utterance is dropped by a limit on its length: ``asr.train`` names what cannot fit before training.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from funasr.datasets.audio_datasets.datasets import AudioDataset
from funasr.register import tables
from funasr.utils.load_utils import extract_fbank

from asr.audio.reading import UnreadableError, read_audio
from asr.core.errors import RecipeError
from asr.data.augmentation import SAMPLES_PER_FRAME, augmentation, frames, warped
from asr.data.chance import hashes_of
from asr.data.recordings import check_folders
from asr.models import families


@tables.register("index_ds_classes", "RecipeIndex")
class RecipeIndex:
    """A manifest's lines, as bytes that are parsed when asked for: few objects to copy into each worker.

    hashes, source_lens, samples: [n] of keys, 10-ms frames, and samples at 16 kHz.
    """

    def __init__(self, path: str | os.PathLike[str], **_: Any) -> None:
        self.lines = Path(path).read_bytes().splitlines()
        rows = [json.loads(line) for line in self.lines]
        self.hashes = hashes_of(row["key"] for row in rows)
        self.source_lens = np.array([row["source_len"] for row in rows], np.int64)
        count = np.array([row["num_samples"] for row in rows], np.int64)
        # num_samples is at the file's own rate. Where that is not the model's, the most that source_len stands for.
        at_most = (self.source_lens + 1) * SAMPLES_PER_FRAME - 1
        self.samples = np.where(frames(count) == self.source_lens, count, at_most)

    def __len__(self) -> int:
        return len(self.lines)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return json.loads(self.lines[index])

    def get_target_len(self, item: dict[str, Any]) -> int:
        """Return the tokens of a line's text."""
        return item["target_len"]


@tables.register("dataset_classes", "RecipeAudioDataset")
class RecipeAudioDataset(AudioDataset):
    """FunASR's AudioDataset over a manifest, with the differences that the module's text names.

    Args:
        path: the manifest, JSONL.
        index_ds: not used; the index is RecipeIndex.
        is_training: False in validation: nothing is varied then, and dither is the same in every epoch.
        conf: frontend and tokenizer, and of dataset_conf the keys of ``asr.data.augmentation.TRANSFORMS``.
    """

    def __init__(
        self,
        path: str,
        index_ds: str | None = None,
        is_training: bool = True,
        family: str = "paraformer",
        sampler_seed: int = 0,
        **conf: Any,
    ) -> None:
        super().__init__(path, index_ds="RecipeIndex", is_training=is_training, **conf)
        self.is_training, self.family = is_training, families.of(family)
        self.epoch = 0  # the dataloader sets it
        self._lengths_of, self._lengths = -1, []
        self.augmentation = augmentation(conf if is_training else {}, sampler_seed)
        check_folders(conf if is_training else {})  # the workers then know what is in them
        if is_training and conf.get("vtlp") and type(self.frontend).__name__ != "WavFrontend":
            kind = type(self.frontend).__name__
            raise RecipeError(f"dataset_conf.vtlp: the base has a {kind}; only a WavFrontend can be warped")

    def get_source_len(self, index: int) -> int:
        """Return the 10-ms frames of a clip in this epoch: at another speed it has another length."""
        if self._lengths_of != self.epoch:  # FunASR's samplers ask for each clip again and again
            self._lengths_of, self._lengths = self.epoch, self.source_lens(self.epoch).tolist()
        return self._lengths[index]

    def source_lens(self, epoch: int, factors: Iterable[Any] | None = None, seed: int = 0) -> np.ndarray:
        """Return [n] 10-ms frames of all clips in an epoch; ``factors`` drawn by ``seed`` in place of the YAML's.

        With the silence that the frontend adds, if it adds any.
        """
        chosen = self.augmentation if factors is None else augmentation(dict(factors), seed)
        lengths = frames(chosen.lengths(self.index_ds.samples, self.index_ds.hashes, epoch))
        return self.frontend.frames(lengths) if hasattr(self.frontend, "frames") else lengths

    def audio(self, row: dict[str, Any], epoch: int) -> np.ndarray:
        """Return [samples] float32 of a clip at 16 kHz as it is in this epoch. UnreadableError if it cannot be read."""
        return self.augmentation.apply(read_audio(row["source"], row["duration"]), row["key"], epoch)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Return speech [T, D] float32, speech_lengths [1], text [L] int64, text_lengths [1], for FunASR's collator.

        In validation also ``target``, the text as a string. Of a clip that cannot be read: silence, and ``unreadable``:
        the clips of this set, its key, file, and why.
        """
        row = self.index_ds[index]
        epoch = self.epoch if self.is_training else 0
        clip: dict[str, Any] = {}
        try:
            samples = torch.from_numpy(self.audio(row, epoch))
        except UnreadableError as error:
            samples = torch.zeros(row["source_len"] * SAMPLES_PER_FRAME)
            clip["unreadable"] = (len(self), row["key"], row["source"], str(error))
        warp = warped(self.augmentation.warp(row["key"], epoch))
        with (
            warp,
            torch.random.fork_rng(devices=[]),
        ):  # the frontend's dither comes from torch's generator of this process
            torch.default_generator.manual_seed(self.augmentation.noise_seed(row["key"], epoch))
            speech, clip["speech_lengths"] = extract_fbank(
                samples, data_type=self.data_type, frontend=self.frontend, is_final=True
            )
        clip["speech"] = speech[0]
        clip["text"] = torch.tensor(self.family.encode(self.tokenizer, row), dtype=torch.int64)
        clip["text_lengths"] = torch.tensor([len(clip["text"])], dtype=torch.int32)
        if not self.is_training:
            # Which ids do not tell: a character without a token is <unk>, as is any other.
            clip["target"] = row["target"]
        return clip

    def collator(self, samples: list[dict[str, Any]]) -> dict[str, Any]:
        """Return a batch of the clips that can be read.

        Where there are others, ``unreadable`` lists them, and ``blank`` says whether the batch holds none but such.
        """
        whole = [sample for sample in samples if "unreadable" not in sample]
        lost = [sample.pop("unreadable") for sample in samples if "unreadable" in sample]
        batch = super().collator(whole or samples[:1])
        return {**batch, "unreadable": lost, "blank": not whole} if lost else batch
