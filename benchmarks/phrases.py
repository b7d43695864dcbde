"""What preferring phrases finds, and how often it writes one that nobody said: the table of docs/decoding.md.

    python benchmarks/phrases.py exp/TAG [--draws 20]

In each draw half of the phrases are pieces of 2 to 4 characters of test references, as a user's names are of what is
said, and half are pieces of training transcripts that no test reference has: these can only be written wrongly.
"""

from __future__ import annotations

import argparse
import random
import re
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "scripts")]
from asr.core.manifest import read_manifest  # noqa: E402 - found through the line above
from asr.core.nbest import read_nbest  # noqa: E402
from asr.core.text_tables import markdown_table  # noqa: E402
from asr.language.phrases import Phrases, count_phrases  # noqa: E402
from asr.language.priors import Priors  # noqa: E402
from asr.language.search import search_all  # noqa: E402
from asr.language.tuning import count_errors  # noqa: E402
from asr.scoring.normalize import scoring_form  # noqa: E402

WEIGHTS = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0)
HALF = 10  # phrases of either kind in a draw


def pieces(texts: Sequence[str], chance: random.Random, count: int, without: str = "") -> list[str]:
    """Draw different pieces of texts in scoring form; none that stands in ``without``."""
    drawn: dict[str, None] = {}
    while len(drawn) < count:
        text, size = chance.choice(texts), chance.randint(2, 4)
        begin = chance.randint(0, max(len(text) - size, 0))
        piece = text[begin : begin + size]
        if len(piece) == size and piece not in without:
            drawn[piece] = None
    return list(drawn)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, metavar="exp/TAG")
    parser.add_argument("--draws", type=int, default=20)
    arguments = parser.parse_args()
    given = re.search(r"--data (\S+)", (arguments.run / "command").read_text(encoding="utf-8"))
    data = Path(given[1] if given else "data/mini_dataset")
    references = {one.key: one.target for one in read_manifest(data / "test.jsonl")}
    said = list(map(scoring_form, references.values()))
    train = [scoring_form(one.target) for one in read_manifest(data / "train.jsonl")]
    items = read_nbest(arguments.run / "tuned/nbest.jsonl")
    rows = []
    for weight in WEIGHTS:
        chance, sums, errors, length = random.Random(0), Counter(), 0, 0
        for _ in range(arguments.draws):
            drawn = pieces(said, chance, HALF), pieces(train, chance, HALF, "\n".join(said))
            phrases = Phrases(dict.fromkeys((*drawn[0], *drawn[1]), weight or 1.0))
            texts = search_all(items, Priors(phrases=phrases if weight else None))
            counts = count_phrases(phrases, [(references[item.key], texts[item.key]) for item in items])
            for phrase, count in counts.items():
                kind = "said" if phrase in drawn[0] else "unsaid"
                sums.update({"said": count.said, "recognised": count.recognised, f"inserted {kind}": count.inserted})
            total = count_errors(items, references, texts)
            errors, length = errors + total.errors, length + total.ref_len
        per_draw = [sums[name] / arguments.draws for name in ("inserted said", "inserted unsaid")]
        found = f"{100 * sums['recognised'] / sums['said']:.1f}"
        inserted = [f"{count:.2f}" for count in per_draw]
        rows.append([f"{weight:g}" if weight else "greedy", found, *inserted, f"{100 * errors / length:.2f}"])
    columns = ("nats a character", "recognised, %", "inserted: said elsewhere", "inserted: never said", "CER %")
    print(markdown_table(columns, rows))
    draws = f"{arguments.draws} draws of {2 * HALF} phrases"
    print(f"\n{draws}; insertions are a draw's, in {len(items)} utterances of {sum(map(len, said)):,} characters.")


if __name__ == "__main__":
    main()
