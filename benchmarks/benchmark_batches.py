"""What each batch sampler makes of a corpus: the table of docs/benchmarks.md.

    python benchmarks/benchmark_batches.py [--clips 45327,1000000] [--batch-sizes 6000,24000,48000] [--mean 2.65]

FunASR's BatchSampler and EspnetStyleBatchSampler beside ours, without audio: clips with CDSD's lengths (log-normal, by
default 2.65 s on average) and the three speeds of conf/finetune_3090.yaml. Padding is the share of frames that are no
clip's; overfull and empty count batches above batch_size and without a clip; lost are clips in no batch; rising is the
share of batches that are longer than the one before (0.5 is no order, 1.0 short to long); seconds are those of making
one epoch's batches.
"""

from __future__ import annotations

import argparse
import itertools
import logging
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "scripts")]
from funasr.register import tables  # noqa: E402 - found through the line above

import asr.data.sampler  # noqa: E402, F401 - registers ours
from asr.core.text_tables import markdown_table  # noqa: E402
from asr.data.augmentation import Augmentation, frames, samples_at  # noqa: E402
from asr.system.machine import cpu  # noqa: E402

SPREAD = 0.55  # standard deviation of the logarithm of a clip's length
NAMES = {  # each as its documentation has it; sort_size 1024 is the manual's
    "BatchSampler": {"batch_type": "token", "sort_size": 1024},
    "EspnetStyleBatchSampler": {"batch_type": "length"},
    "ShuffledBatchSampler": {"batch_type": "token"},
}


class Corpus:
    """A dataset that is only its lengths, at the speeds of an epoch."""

    def __init__(self, clips: int, mean: float) -> None:
        chance = np.random.default_rng(clips)
        seconds = chance.lognormal(np.log(mean) - SPREAD**2 / 2, SPREAD, clips).clip(0.4, 20)
        self.samples = (16000 * seconds).astype(np.int64)
        self.hashes = chance.integers(0, 1 << 63, clips).astype(np.uint64)
        self.augmentation = Augmentation((0.9, 1.0, 1.1))
        self.heard = self.source_lens(0).tolist()

    def __len__(self) -> int:
        return len(self.samples)

    def get_source_len(self, index: int) -> int:
        return self.heard[index]

    def source_lens(self, epoch: int, speeds: tuple[float, ...] | None = None, seed: int = 0) -> np.ndarray:
        chosen = self.augmentation if speeds is None else Augmentation(tuple(speeds))
        return frames(samples_at(self.samples, chosen.speed(self.hashes, epoch)))


def measured(name: str, corpus: Corpus, batch_size: int) -> tuple[str, ...]:
    """One line of the table."""
    conf: dict[str, Any] = {"batch_size": batch_size, "max_token_length": 10**9, **NAMES[name]}
    began = time.perf_counter()
    sampler = tables.batch_sampler_classes.get(name)(corpus, **conf)["batch_sampler"]
    sampler.set_epoch(0)
    batches = list(sampler)
    seconds = time.perf_counter() - began
    lengths = np.array(corpus.heard)
    longest = [int(lengths[batch].max()) if batch else 0 for batch in batches]
    sizes = [length * len(batch) for length, batch in zip(longest, batches, strict=True)]
    clips = sum(map(len, batches))
    rising = np.mean([a < b for a, b in itertools.pairwise(longest)])
    real = sum(int(lengths[batch].sum()) for batch in batches)
    return (
        *(f"{len(corpus):,}", f"{batch_size:,}", name, f"{len(batches):,}", f"{100 * (1 - real / sum(sizes)):.1f} %"),
        *(str(sum(size > batch_size for size in sizes)), str(sum(not batch for batch in batches))),
        *(str(len(corpus) - clips), f"{rising:.2f}", f"{seconds:.2f}"),
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", default="45327,1000000")
    parser.add_argument("--batch-sizes", default="6000,24000,48000")
    parser.add_argument("--mean", type=float, default=2.65, help="seconds a clip lasts on average")
    arguments = parser.parse_args()
    logging.disable(logging.CRITICAL)
    rows = []
    for clips in map(int, arguments.clips.split(",")):
        corpus = Corpus(clips, arguments.mean)
        for batch_size in map(int, arguments.batch_sizes.split(",")):
            rows += [measured(name, corpus, batch_size) for name in NAMES]
    head = ("clips", "batch_size", "sampler", "batches", "padding", "overfull", "empty", "lost", "rising", "s an epoch")
    print(f"{cpu()}, one core, Python {sys.version.split()[0]}, clips of {arguments.mean} s on average\n")
    print(markdown_table(head, rows))


if __name__ == "__main__":
    main()
