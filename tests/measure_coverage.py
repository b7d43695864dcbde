"""How often a 95 % interval holds the true rate, by the number of speakers: the table of docs/scores.md.

    python tests/measure_coverage.py [--corpora 1000]

Simulated corpora whose true rate is known: each speaker's error rate is drawn from a beta distribution (mean 1/3), each
utterance has 1 to 12 characters with binomial errors, and speakers have between half and one and a half times the mean
number of utterances. "speakers" resamples speakers and utterances, "utterances" utterances alone.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts"))
from asr import bootstrap
from asr.tables import markdown_table

SPREADS = {"alike (sd 0.05)": (29.0, 58.0), "unlike (sd 0.13)": (4.0, 8.0), "very unlike (sd 0.21)": (1.33, 2.67)}
TRUE = 1 / 3
EACH = 60  # utterances of a speaker


def corpus(speakers: int, beta: tuple[float, float], chance: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """int [utterances, 2] of lengths and errors, and who spoke each."""
    counts = chance.integers(EACH // 2, EACH * 3 // 2, speakers, endpoint=True)
    owner = np.repeat(np.arange(speakers), counts)
    lengths = chance.integers(1, 12, len(owner), endpoint=True)
    errors = chance.binomial(lengths, chance.beta(*beta, speakers)[owner])
    return np.stack([lengths, errors], axis=1), owner


def coverage(speakers: int, beta: tuple[float, float], corpora: int, replicates: int = 1000) -> tuple[float, float]:
    """Share of the corpora with the true rate inside: interval over speakers, over utterances."""
    inside = np.zeros(2)
    for seed in range(corpora):
        table, owner = corpus(speakers, beta, np.random.default_rng([speakers, seed]))
        draws = (
            bootstrap.resample_speakers(table, owner, seed, replicates),
            bootstrap.resample_utterances(table, seed, replicates),
        )
        for place, sums in enumerate(draws):
            low, high = bootstrap.interval(bootstrap.rates(sums[:, 1], sums[:, 0]))
            inside[place] += low <= TRUE <= high
    return tuple(inside / corpora)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--corpora", type=int, default=1000)
    corpora = parser.parse_args().corpora
    rows = []
    for speakers in (4, 5, 8, 10, 20, 44):
        cells = [f"{100 * rate:.1f}" for beta in SPREADS.values() for rate in coverage(speakers, beta, corpora)]
        rows.append((speakers, *cells))
        print(rows[-1], file=sys.stderr, flush=True)
    header = ["speakers", *(f"{name}: {kind}" for name in SPREADS for kind in ("speakers %", "utterances %"))]
    print(markdown_table(header, rows))


if __name__ == "__main__":
    main()
