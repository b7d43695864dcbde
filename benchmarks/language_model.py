"""How long the search with a language model takes, without loading and features: the table of docs/benchmarks.md.

    python benchmarks/language_model.py [--utterances 6064]

Makes candidates of random texts with CDSD's lengths (mean 5.5 characters) over a vocabulary of 8,404 tokens: 8 a
position, and 8 a frame of 60 ms (2.8 s a clip), of which a character takes two and the others are mostly blank, as
sure as a model that has about 20 % of its characters wrong. A trigram of 45,000 such texts. Seconds of a core's
work (CPU time), the middle of three.
"""

from __future__ import annotations

import argparse
import math
import os
import random
import resource
import sys
import time
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "scripts")]
from asr.core.nbest import CTC, POSITIONS, Candidates, NBest  # noqa: E402 - found through the line above
from asr.core.text_tables import markdown_table  # noqa: E402
from asr.language.kneser_ney import estimate  # noqa: E402
from asr.language.priors import Priors  # noqa: E402
from asr.language.search import search_all  # noqa: E402
from asr.system.machine import cpu  # noqa: E402
from tests import cdsd_tree  # noqa: E402

VOCABULARY = [chr(0x4E00 + index) for index in range(8404)]
TRAINING_TEXTS, FRAMES, CANDIDATES = 45_327, 47, 8


def step(first: str, chance: random.Random) -> Candidates:
    """Return eight candidates that begin with ``first``, or in one step of five with something else."""
    others = chance.sample(VOCABULARY, CANDIDATES - 1)
    tokens = [others[0], first, *others[1:]] if chance.random() < 0.2 else [first, *others]
    weights = [math.exp(-chance.uniform(1.0, 2.5) * rank) for rank in range(CANDIDATES)]
    return tuple(
        (token, round(math.log(weight / sum(weights)), 4)) for token, weight in zip(tokens, weights, strict=True)
    )


def blank_step(chance: random.Random) -> Candidates:
    """Return a frame that is most likely blank, but not beyond doubt."""
    rest = chance.uniform(0.001, 0.05)
    others = chance.sample(VOCABULARY, CANDIDATES - 1)
    shares = [rest * 0.5 ** (rank + 1) for rank in range(CANDIDATES - 1)]
    return (("", math.log(1 - rest)), *((token, math.log(share)) for token, share in zip(others, shares, strict=True)))


def frames(text: str, chance: random.Random) -> tuple[Candidates, ...]:
    """Return a clip's frames: each character twice, a blank frame behind it, the rest of them at the end."""
    steps = [made for char in text for made in (step(char, chance), step(char, chance), blank_step(chance))]
    return (*steps, *(blank_step(chance) for _ in range(FRAMES - len(steps))))


def make(kind: str, texts: Sequence[str]) -> list[NBest]:
    """Return the candidates of each text."""
    chance, items = random.Random(kind), []
    for number, text in enumerate(texts):
        steps = frames(text, chance) if kind == CTC else tuple(step(char, chance) for char in text)
        items.append(NBest(str(number), kind, text, steps))
    return items


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--utterances", type=int, default=6064)
    arguments = parser.parse_args()
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    began = time.process_time()
    model = estimate(cdsd_tree.texts(TRAINING_TEXTS, "language model"), 3)
    print(f"trigram of {TRAINING_TEXTS:,} texts: {len(model.log_probs):,} n-grams, {time.process_time() - began:.1f} s")
    texts = cdsd_tree.texts(arguments.utterances, "searched")
    rows = []
    for kind in (POSITIONS, CTC):
        items, seconds = make(kind, texts), []
        for _ in range(3):
            began = time.process_time()
            search_all(items, Priors(model, lm_weight=0.3, bonus=5.0))
            seconds.append(time.process_time() - began)
        steps = sum(len(item.steps) for item in items)
        middle = sorted(seconds)[1]
        rows.append((kind, f"{len(items):,}", f"{steps:,}", f"{middle:.1f}", f"{1e6 * middle / steps:.0f}"))
        print(f"{kind}: {seconds}", file=sys.stderr, flush=True)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{cpu()}, one core, Python {sys.version.split()[0]}, peak {peak:.0f} MB\n")
    print(markdown_table(("candidates", "utterances", "positions or frames", "s", "us each"), rows))


if __name__ == "__main__":
    main()
