"""Makes one simulated speaker who says much: what somebody would have recorded after a few evenings, about 40 minutes.

    python mini/make/make_speaker.py --voices node_modules/kokoro-js/voices --clean DIR --out data/one_speaker

A reserved voice that no training has heard, severely impaired, with texts of its own: none of them is said in the
mini corpus or in the typical corpus, but all of their characters are. It is a simulation, as mini/README.md says.
Run again, it goes on where it stopped.
"""

from __future__ import annotations

import argparse
import random
from dataclasses import asdict
from pathlib import Path

import make_typical
from impair import draw_impairment
from jobs import run_jobs
from layout import write_labels, write_table
from make_corpus import Job, Speaker, make
from prompts import TRAIN_POOL, typical_texts
from speakers import RESERVED, Blend, describe

SEED = 20261201
ID = "17"
VOICE: Blend = {"zm_yunyang": 1.0}
CLIPS = 1000
SHUFFLED = 620  # texts at a time: more of them leave the first ones as they are


def own_texts(count: int) -> list[str]:
    """`count` texts that are in neither corpus; their order is random, so that the first hundred are of all kinds."""
    sentences = make_typical.SENTENCES + make_typical.HELD_OUT_SENTENCES
    said = {*TRAIN_POOL, *typical_texts(sentences, make_typical.SEED)}
    fresh = [text for text in typical_texts(2 * count, SEED) if text not in said][:count]
    rng, ordered = random.Random(SEED), []
    for start in range(0, count, SHUFFLED):
        block = fresh[start : start + SHUFFLED]
        rng.shuffle(block)
        ordered += block
    return ordered


def one_speaker(count: int) -> Speaker:
    """The speaker, with `count` texts."""
    if RESERVED.isdisjoint(VOICE):
        raise ValueError(f"{describe(VOICE)} is a voice that base models have heard")
    impairment = draw_impairment("severe", 0.96, 0.98, random.Random(SEED))
    return Speaker(ID, "test", VOICE, impairment, own_texts(count))


def main() -> None:
    """Reads the options, fixes the texts, then makes the clips."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of the corpus")
    parser.add_argument("--clean", type=Path, required=True, help="folder of the clips without impairment")
    parser.add_argument("--voices", type=Path, required=True, help="folder of the Kokoro voices (<name>.bin)")
    parser.add_argument("--clips", type=int, default=CLIPS, help=f"how many (default: {CLIPS})")
    parser.add_argument("--workers", type=int, default=2, help="processes")
    options = parser.parse_args()
    speaker = one_speaker(CLIPS)  # of fewer clips too, so that the first 100 are always the same
    count = min(options.clips, CLIPS)
    write_labels(options.out, speaker.id, speaker.texts[:count])
    row = {"speaker": ID, "kind": "simulated", "voice": describe(VOICE), **asdict(speaker.impairment)}
    write_table(options.out / "speakers.tsv", [row])
    numbers = range(1, count + 1)
    jobs = [Job(speaker, number, options.clean, options.out, options.voices) for number in numbers]
    run_jobs(make, jobs, options.workers, "one speaker")


if __name__ == "__main__":
    main()
