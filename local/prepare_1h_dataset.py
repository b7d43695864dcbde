#!/usr/bin/env python3
"""Stage 1: from a corpus laid out as CDSD is to manifests, statistics and a list of what is wrong with it.

    python local/prepare_1h_dataset.py --corpus DIR --part 1h --out data/1h_dataset [--split FILE]

Writes train.jsonl, val.jsonl, test.jsonl, data_statistics.txt, statistics.json, problems.tsv and split.yaml into --out.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from asr import errors
from asr.errors import UsageError
from cdsd import PARTS
from preparation import Options, prepare, summary, write
from split import DEFAULT_SEED
from utterances import Limits, read_vocabulary


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--corpus", type=Path, required=True, metavar="DIR", help="the folder that holds after_catting")
    add("--part", default="1h", metavar="1h|10h|1h,10h", help="which part of it (default: 1h)")
    add("--out", type=Path, required=True, metavar="DIR", help="the data folder to write, e.g. data/1h_dataset")
    add(
        "--split",
        type=Path,
        metavar="FILE",
        help="YAML: train, val, test -> speakers (default: see conf/split_cdsd_1h.yaml)",
    )
    add("--ratios", metavar="8,1,1", help="draw speakers for train, val and test by ratio, whatever split there is")
    add("--seed", type=int, default=DEFAULT_SEED, help=f"of a drawn split (default: {DEFAULT_SEED})")
    add("--tokens", type=Path, metavar="FILE", help="the model's tokens.txt or tokens.json: list characters not in it")
    add("--max-seconds", type=float, metavar="S", help="leave out longer clips (default: keep all)")
    return parser


def _options(arguments: argparse.Namespace) -> Options:
    parts = tuple(name for name in PARTS if name in arguments.part.split(","))
    if set(parts) != set(arguments.part.split(",")):
        raise UsageError(f"--part {arguments.part}: must be one of {', '.join(PARTS)} or {','.join(PARTS)}")
    if arguments.split and arguments.ratios:
        raise UsageError("--split and --ratios: give one of them")
    if arguments.max_seconds is not None and not arguments.max_seconds > 0:
        raise UsageError(f"--max-seconds {arguments.max_seconds}: must be above 0")
    ratios = _ratios(arguments.ratios) if arguments.ratios else None
    vocabulary = read_vocabulary(arguments.tokens) if arguments.tokens else None
    limits = Limits(arguments.max_seconds, vocabulary)
    return Options(arguments.corpus, parts, arguments.out, arguments.split, ratios, arguments.seed, limits)


def _ratios(text: str) -> tuple[float, ...]:
    try:
        ratios = tuple(float(item) for item in text.split(","))
    except ValueError:
        ratios = ()
    if len(ratios) != 3 or not all(0 < ratio < float("inf") for ratio in ratios):
        raise UsageError(f"--ratios {text}: must be three numbers above 0, for train, val and test, e.g. 8,1,1")
    return ratios


def main() -> None:
    """Prepare the corpus that the command line names."""
    arguments = _parser().parse_args()
    prepared = prepare(_options(arguments))
    write(prepared, arguments.out)
    print(summary(prepared, arguments.out))


if __name__ == "__main__":
    errors.run(main)
