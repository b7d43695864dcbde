"""What n-best lists cost: a beam of 5 against greedy decoding, full-size architectures with random weights.

    python benchmarks/beam_cost.py [--clips 16] [--ngpu 1]

Conformer by CTC (which has its candidates for nothing), by attention and jointly; Fun-ASR-Nano greedy and with a beam
beside it. Clips are of the mini corpus's test set, in one batch. Random weights never end a text: Nano's is cut after
12 tokens, as long as most of CDSD's sentences are, and attention's by its number of frames. Seconds are the middle of
three, after one that does not count.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "scripts")]
from asr.audio.reading import read_audio  # noqa: E402 - found through the line above
from asr.core.manifest import read_manifest  # noqa: E402
from asr.core.text_tables import markdown_table  # noqa: E402
from asr.models.loading import load  # noqa: E402
from asr.system.machine import cpu  # noqa: E402
from benchmarks import full_size  # noqa: E402

CASES: tuple[tuple[str, str, Mapping[str, Any]], ...] = (
    ("conformer", "CTC, greedy", {"method": "ctc"}),
    ("conformer", "attention, beam 5", {"method": "attention", "beam_size": 5}),
    ("conformer", "joint, beam 5", {"method": "joint", "beam_size": 5}),
    ("nano", "greedy", {"max_new_tokens": 12}),
    ("nano", "greedy, and a beam of 5", {"max_new_tokens": 12, "nbest_beam": 5}),
)
RUNS = 3


def seconds(recogniser: Any, speech: Any, lengths: Any) -> float:
    """Return the middle time of a batch."""
    times = []
    for _ in range(RUNS + 1):
        began = time.perf_counter()
        recogniser.decode_batch(speech, lengths)
        times.append(time.perf_counter() - began)
    return median(times[1:])


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", type=int, default=16)
    parser.add_argument("--ngpu", type=int, default=0)
    parser.add_argument("--manifest", type=Path, default=Path("data/mini_dataset/test.jsonl"))
    arguments = parser.parse_args()
    clips = [read_audio(one.source) for one in read_manifest(arguments.manifest)[: arguments.clips]]
    rows: list[list[str]] = []
    with tempfile.TemporaryDirectory() as place:
        folders: dict[str, Path] = {}
        for name, method, options in CASES:
            folder = folders.setdefault(name, Path(place, name))
            if not folder.is_dir():
                getattr(full_size, name)(folder)
            recogniser = load(folder, arguments.ngpu)
            recogniser.options = recogniser.family.options(options)
            taken = seconds(recogniser, *recogniser.features(clips))
            first = next((row for row in rows if row[0] == name), None)
            ratio = "1" if first is None else f"{taken / float(first[2]):.1f}"
            rows.append([name, method, f"{taken:.2f}", ratio])
            print(rows[-1], file=sys.stderr, flush=True)
    audio = sum(map(len, clips)) / 16000
    print(markdown_table(("family", "method", f"seconds, {len(clips)} clips of {audio:.0f} s", "times"), rows))
    print(f"\n{'a GPU' if arguments.ngpu else cpu()}")


if __name__ == "__main__":
    main()
