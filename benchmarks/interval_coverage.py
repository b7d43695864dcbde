"""How often the 95 % interval over speakers holds the truth, by the number of speakers: the table of docs/scores.md.

    python benchmarks/interval_coverage.py [--corpora 2000]

Simulated corpora whose truth is known. Each speaker's error rate is drawn from a beta distribution (mean 1/3), each
utterance has 1 to 12 characters with binomial errors, 60 utterances a speaker or in the proportions of CDSD's speakers
(1h part; five are its default test speakers). For the gain, a second system has a rate of its own for each speaker: the
difference is drawn from a normal distribution with mean 0, so that of each corpus where the interval of the reduction
leaves out zero the verdict is wrong.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts"))
from asr.core.text_tables import markdown_table
from asr.scoring.speaker_interval import interval, rate, reduction

RATE_SPREADS = (0.05, 0.13, 0.21)  # standard deviation of the speakers' rates
GAIN_SPREADS = (0.02, 0.05, 0.10)  # of their gains
TRUE = 1 / 3
EACH = 60  # utterances of a speaker, on average
TEST = (988, 998, 945, 2253, 880)
CDSD = (
    *(1107, 988, 926, 1035, 1191, 969, 1719, 998, 1156, 1129, 1195, 1155, 1092, 1311, 1271, 945, 979, 2253, 1071, 936),
    *(1071, 1866, 2767, 1717, 1304, 651, 1504, 1186, 956, 1201, 3514, 838, 1979, 993, 314, 969, 1808, 1210, 1024),
    *(1204, 880, 1126, 1020, 1323),
)


def corpus(speakers: int, cdsd: bool, spread: float, gain_spread: float, chance: np.random.Generator) -> np.ndarray:
    """int [speakers, 3]: characters, and the errors of two systems without a gain."""
    counts = np.full(speakers, EACH)
    if cdsd:
        sizes = TEST if speakers == len(TEST) else chance.choice(CDSD, speakers, replace=False)
        counts = np.maximum(np.asarray(sizes) * EACH // int(np.mean(CDSD)), 1)
    lengths = np.array([chance.integers(1, 12, count, endpoint=True).sum() for count in counts])
    both = TRUE * (1 - TRUE) / spread**2 - 1  # the sum of the beta distribution's parameters
    rates = chance.beta(TRUE * both, (1 - TRUE) * both, speakers)
    half = chance.normal(0, gain_spread, speakers) / 2
    errors = [chance.binomial(lengths, np.clip(rates + sign * half, 0, 1)) for sign in (1, -1)]
    return np.stack([lengths, *errors], axis=1)


def coverage(speakers: int, cdsd: bool, spread: float, gain_spread: float | None, corpora: int) -> float:
    """Share of the corpora whose interval holds the true rate, or with ``gain_spread`` the true gain, which is none."""
    statistic, truth = (rate(0), TRUE) if gain_spread is None else (reduction(0, 1), 0.0)
    inside = 0
    for seed in range(corpora):
        chance = np.random.default_rng([speakers, seed])
        low, high = interval(corpus(speakers, cdsd, spread, gain_spread or 0.0, chance), statistic)
        inside += low <= truth <= high
    return inside / corpora


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--corpora", type=int, default=2000)
    corpora = parser.parse_args().corpora
    rows = []
    for cdsd in (False, True):
        for speakers in (4, 5, 8, 20, 44):
            cells = [coverage(speakers, cdsd, spread, None, corpora) for spread in RATE_SPREADS]
            cells += [1 - coverage(speakers, cdsd, RATE_SPREADS[1], spread, corpora) for spread in GAIN_SPREADS]
            rows.append((speakers, "CDSD's" if cdsd else "equal", *(f"{100 * cell:.1f}" for cell in cells)))
            print(rows[-1], file=sys.stderr, flush=True)
    header = ["speakers", "sizes", *(f"rate held %, sd {spread}" for spread in RATE_SPREADS)]
    header += [f"gain wrongly said %, sd {spread}" for spread in GAIN_SPREADS]
    print(markdown_table(header, rows))


if __name__ == "__main__":
    main()
