#!/usr/bin/env python3
"""Stage 5: score decoded text against a manifest, and print and write what came of it.

    python local/score.py --ref data/1h_dataset/test.jsonl --hyp exp/TAG/tuned/hyp.txt \\
        --baseline exp/TAG/baseline/hyp.txt --train data/1h_dataset/train.jsonl --out exp/TAG/score

Writes score.json, per_utterance.tsv and per_speaker.tsv into --out.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from asr import errors
from asr.files import write_json
from asr.manifest import read_manifest
from asr.score_tables import screen_table, write_per_speaker, write_per_utterance
from asr.scoring import score, score_hypotheses

# Published for CDSD, on clips that are not these: something to read a CER beside, never a test that was passed.
REFERENCE_LINES = (
    {
        "name": "human listeners",
        "cer": 0.2045,
        "note": "other clips, other listeners",
        "source": "CDSD paper, arXiv 2310.15930",
    },
    {
        "name": "best system of the CDSD paper",
        "cer": 0.164,
        "note": "Part A, split not known; ESPnet Conformer, staged pre-training",
        "source": "CDSD paper, arXiv 2310.15930",
    },
)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--ref", type=Path, required=True, metavar="JSONL", help="the manifest that was decoded")
    add("--hyp", type=Path, required=True, metavar="TEXT", help="the tuned model's hypotheses: <key> <text> a line")
    add("--baseline", type=Path, metavar="TEXT", help="the untouched base model's hypotheses")
    add("--train", type=Path, metavar="JSONL", help="what was trained on, to tell seen from unseen texts")
    add("--out", type=Path, required=True, metavar="DIR", help="where score.json goes")
    add("--seed", type=int, default=0, help="of the bootstrap (default: 0)")
    return parser


def _warn_of_missing(result: dict[str, Any], files: dict[str, Path]) -> None:
    for name, path in files.items():
        missing = result["systems"][name]["missing"]
        if missing:
            some = ", ".join(missing[:5]) + (f" and {len(missing) - 5:,} more" if len(missing) > 5 else "")
            print(f"warning: {path}: no hypothesis for {some}: counted as deletions", file=sys.stderr)


def main() -> None:
    """Score the files that the command line names."""
    arguments = _parser().parse_args()
    files = {"baseline": arguments.baseline} if arguments.baseline else {}
    files["tuned"] = arguments.hyp
    references = read_manifest(arguments.ref)
    train = read_manifest(arguments.train) if arguments.train else None
    systems = {name: score_hypotheses(references, path) for name, path in files.items()}
    result = score(references, systems, train, arguments.seed, REFERENCE_LINES)
    write_per_utterance(arguments.out / "per_utterance.tsv", systems)
    write_per_speaker(arguments.out / "per_speaker.tsv", result)
    write_json(arguments.out / "score.json", result)
    _warn_of_missing(result, files)
    print(screen_table(result))
    print(f"written to {arguments.out}: score.json, per_utterance.tsv, per_speaker.tsv")


if __name__ == "__main__":
    errors.run(main)
