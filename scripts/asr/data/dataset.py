"""Training clips as FunASR's trainer takes them, varied by (seed, epoch, key), and never lost without a word.

Registered with FunASR as the dataset ``RecipeAudioDataset``, with the index ``RecipeIndex``; the launcher imports this
module. Against FunASR's AudioDataset, whose batches it makes:

- every random number of a clip comes from the seed, the epoch and the clip's key: see ``asr.data.augmentation``;
- ``asr.data.augmentation`` varies the training clips as dataset_conf says (FunASR's speed_perturb is dead);
- a clip that cannot be read is left out of its batch and named (audio.unreadable); a batch of such clips alone holds
  one of them as silence, marked ``blank``, which the trainer gives no weight: every process has as many steps;
- no utterance is dropped by a limit on its length: ``asr.train`` names what cannot fit before training.
"""

from __future__ import annotations

import itertools
import json
import os
from typing import Any

import numpy as np
import torch
from funasr.datasets.audio_datasets.datasets import AudioDataset
from funasr.register import tables
from funasr.utils.load_utils import extract_fbank

from asr.audio.reading import UnreadableError, read_audio
from asr.data.augmentation import SAMPLES_PER_FRAME, augmentation, frames, key_hash
from asr.data.batches import Factors
from asr.models import families


class EpochIndex(int):
    """An index into a dataset that knows its epoch: workers that live through epochs have no other way to learn it."""

    epoch: int

    def __new__(cls, index: int, epoch: int) -> EpochIndex:
        made = super().__new__(cls, index)
        made.epoch = epoch
        return made

    def __reduce__(self) -> tuple[type, tuple[int, int]]:
        return EpochIndex, (int(self), self.epoch)


@tables.register("index_ds_classes", "RecipeIndex")
class RecipeIndex:
    """A manifest's lines, parsed when asked for.

    The text stays one block of bytes: a million Python objects would be copied page by page into every worker, as soon
    as it counts its references to them.
    """

    def __init__(self, path: str | os.PathLike[str], **_: Any) -> None:
        with open(path, "rb") as stream:
            self.text = stream.read()
        ends = np.flatnonzero(np.frombuffer(self.text, np.uint8) == ord("\n")) + 1
        if not len(ends) or ends[-1] != len(self.text):
            ends = np.append(ends, len(self.text))
        self.starts = np.concatenate(([0], ends)).astype(np.int64)
        places = self.starts.tolist()
        self.hashes, self.source_lens, count = (np.empty(len(self), kind) for kind in (np.uint64, np.int64, np.int64))
        for number, (begin, end) in enumerate(itertools.pairwise(places)):
            item = json.loads(self.text[begin:end].decode())  # json.loads would look for the encoding of each line
            self.hashes[number] = key_hash(item["key"])
            self.source_lens[number], count[number] = item["source_len"], item["num_samples"]
        # num_samples is at the file's own rate. Where that is not the model's, the most that source_len stands for.
        at_most = (self.source_lens + 1) * SAMPLES_PER_FRAME - 1
        self.samples = np.where(frames(count) == self.source_lens, count, at_most)

    def __len__(self) -> int:
        return len(self.starts) - 1

    def __getitem__(self, index: int) -> dict[str, Any]:
        return json.loads(self.text[self.starts[index] : self.starts[index + 1]])

    def get_source_len(self, item: dict[str, Any]) -> int:
        """10-ms frames of an item, as FunASR asks for them."""
        return item["source_len"]

    def get_target_len(self, item: dict[str, Any]) -> int:
        """Tokens of an item's text, as FunASR asks for them."""
        return item["target_len"]


@tables.register("dataset_classes", "RecipeAudioDataset")
class RecipeAudioDataset(AudioDataset):
    """FunASR's AudioDataset over a manifest, with the differences that the module's text names.

    Args:
        path: the manifest, JSONL.
        index_ds: not used; the index is RecipeIndex.
        is_training: False in validation: nothing is varied then, and dither is the same in every epoch.
        conf: dataset_conf; its sampler_seed and the keys of ``asr.data.augmentation.TRANSFORMS``.
    """

    def __init__(self, path: str, index_ds: str | None = None, is_training: bool = True, **conf: Any) -> None:
        super().__init__(path, index_ds="RecipeIndex", is_training=is_training, **conf)
        self.is_training = is_training
        self.family = families.of(conf.get("family", "paraformer"))
        self.epoch = 0  # of an index that does not carry its own; the dataloader sets it
        self._lengths_of, self._lengths = -1, []
        self.augmentation = augmentation(conf if is_training else {}, conf.get("sampler_seed", 0))

    def get_source_len(self, index: int) -> int:
        """Return the 10-ms frames of a clip in this epoch: at another speed it has another length."""
        if self._lengths_of != self.epoch:  # FunASR's samplers ask for each clip again and again
            self._lengths_of, self._lengths = self.epoch, self.source_lens(self.epoch).tolist()
        return self._lengths[index]

    def source_lens(self, epoch: int, factors: Factors | None = None, seed: int = 0) -> np.ndarray:
        """Return [n] 10-ms frames of all clips in an epoch; ``factors`` drawn by ``seed`` in place of the YAML's."""
        chosen = self.augmentation if factors is None else augmentation(dict(factors), seed)
        return frames(chosen.lengths(self.index_ds.samples, self.index_ds.hashes, epoch))

    def audio(self, item: dict[str, Any], epoch: int) -> np.ndarray:
        """Return [samples] float32 of a clip at 16 kHz as it is in this epoch. UnreadableError if it cannot be read."""
        return self.augmentation.apply(read_audio(item["source"], item["duration"]), key_hash(item["key"]), epoch)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """speech [T, D] float32, speech_lengths [1], text [L] int64, text_lengths [1]: what FunASR's collator joins.

        In validation also ``target``, the text as a string. Of a clip that cannot be read: silence, and ``unreadable``:
        the clips of this set, its key, file, and why.
        """
        item, unreadable = self.index_ds[int(index)], {}
        epoch = getattr(index, "epoch", self.epoch) if self.is_training else 0
        try:
            data = torch.from_numpy(self.audio(item, epoch))
        except UnreadableError as error:
            data = torch.zeros(item["source_len"] * SAMPLES_PER_FRAME)
            unreadable = {"unreadable": (len(self), item["key"], item["source"], str(error))}
        # The frontend's dither, and whatever a preprocessor draws, comes from torch's generator of this process.
        before = torch.get_rng_state()
        torch.default_generator.manual_seed(self.augmentation.noise_seed(key_hash(item["key"]), epoch))
        try:
            if self.preprocessor_speech:
                data = self.preprocessor_speech(data, fs=self.fs)
            speech, lengths = extract_fbank(data, data_type=self.data_type, frontend=self.frontend, is_final=True)
        finally:
            torch.set_rng_state(before)
        target = item["target"]
        if self.preprocessor_text:
            item = {**item, "target": self.preprocessor_text(item["target"])}
        encoded = self.family.encode(self.tokenizer, item) if self.tokenizer else None
        text = item["target"] if encoded is None else torch.tensor(encoded, dtype=torch.int64)
        return {
            "speech": speech[0],
            "speech_lengths": lengths,
            "text": text,
            "text_lengths": torch.tensor([len(text)], dtype=torch.int32),
            # What was said, which ids do not tell: a character without a token is <unk>, as is any other.
            **({} if self.is_training else {"target": target}),
            **unreadable,
        }

    def collator(self, samples: list[dict[str, Any]]) -> dict[str, Any]:
        """A batch of the clips that can be read; with ``unreadable``, a list, and ``blank`` where there are others."""
        whole = [sample for sample in samples if "unreadable" not in sample]
        lost = [sample.pop("unreadable") for sample in samples if "unreadable" in sample]
        batch = super().collator(whole or samples[:1])
        return {**batch, "unreadable": lost, "blank": not whole} if lost else batch
