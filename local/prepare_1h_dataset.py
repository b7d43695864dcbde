#!/usr/bin/env python3
"""Stage 1: from a corpus to manifests, statistics and a list of what is wrong with it.

    python local/prepare_1h_dataset.py --corpus DIR --part 1h --out data/1h_dataset [--split WHAT]
    python local/prepare_1h_dataset.py --corpus DIR --part 1h --check-only [--check-audio] [--strict]

DIR is laid out as CDSD is, or is a Kaldi data folder, JSONL manifests, or lhotse's manifests. Writes train, val and
test .jsonl (and Kaldi folders), data_statistics.txt and .html, statistics.json, problems.tsv, text_changes.tsv and
split.yaml into --out.
"""

from __future__ import annotations

import argparse
import gc
from dataclasses import replace
from pathlib import Path

try:
    from asr.core import errors
except ModuleNotFoundError:
    raise SystemExit("error: Python does not find the recipe: . ./path.sh first, in the recipe's folder") from None
from asr.core.errors import UsageError
from asr.preparation import stage1
from asr.preparation.prepare import MAX_UNKNOWN, Options
from asr.preparation.splits import rules as split_rules
from asr.preparation.splits.split_file import parse_ratios
from cdsd import CDSD
from cdsd_facts import PARTS

DEFAULTS = "CDSD's default splits: conf/split_cdsd_1h.yaml; conf/split_cdsd_10h.yaml for the 10h part alone."


def _parser() -> argparse.ArgumentParser:
    rules = split_rules.__doc__.partition("\n\n")[2]
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0],
        epilog=f"--split takes:\n\n{rules}\n{DEFAULTS}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--corpus", type=Path, required=True, metavar="PATH", help="CDSD's folder (with after_catting), or another's")
    add("--part", default="1h", metavar="1h|10h|1h,10h", help="which part of CDSD (default: 1h)")
    add("--out", type=Path, metavar="DIR", help="the data folder to write, e.g. data/1h_dataset")
    add("--split", default="", metavar="WHAT", help="a YAML of speakers or a rule, see below")
    add("--speaker-table", type=Path, metavar="TSV", help="what folds:3/8@COLUMN reads (default: PATH/speakers.tsv)")
    add("--cdsd", action="store_true", help="it is CDSD: without --split stop where its default cannot be made")
    add("--ratios", metavar="8,1,1", help="of a drawn split: train, val, test (default: 8,1,1)")
    add("--seed", type=int, help=f"of a drawn split (default: {split_rules.DEFAULT_SEED})")
    add("--tokens", type=Path, metavar="PATH", help="the base model's folder or token list: names characters not in it")
    add("--max-seconds", type=float, metavar="S", help="leave out longer clips (default: keep all)")
    add(
        "--max-unknown-characters",
        type=float,
        default=MAX_UNKNOWN,
        metavar="SHARE",
        dest="max_unknown",
        help=f"stop where more of a set's characters have no token (default: {MAX_UNKNOWN})",
    )
    add("--check-only", action="store_true", help="list what is wrong and write no data (with --out: problems.tsv)")
    add("--check-audio", action="store_true", help="decode every clip too, for clipping, silence and damage; minutes")
    add("--strict", action="store_true", help="fail, and write no data, when there is an error or a warning")
    add("--lhotse", action="store_true", help="write lhotse's recordings and supervisions too")
    return parser


def _options(arguments: argparse.Namespace) -> Options:
    parts = tuple(name for name in PARTS if name in arguments.part.split(","))
    if set(parts) != set(arguments.part.split(",")):
        raise UsageError(f"--part {arguments.part}: must be one of {', '.join(PARTS)} or {','.join(PARTS)}")
    if arguments.max_seconds is not None and not arguments.max_seconds > 0:
        raise UsageError(f"--max-seconds {arguments.max_seconds}: must be above 0")
    if not 0 <= arguments.max_unknown <= 1:
        raise UsageError(f"--max-unknown-characters {arguments.max_unknown:g}: must be a share, from 0 to 1")
    if arguments.out is None and not arguments.check_only:
        raise UsageError("--out DIR is missing: where should the data go? (--check-only needs none)")
    request = split_rules.parse_request(arguments.split, _ratios(arguments.ratios), arguments.seed)
    request = replace(request, is_home=arguments.cdsd, speaker_table=arguments.speaker_table)
    names = ("corpus", "out", "tokens", "max_seconds", "max_unknown", "check_audio", "check_only", "strict", "lhotse")
    return Options(parts=parts, request=request, home=CDSD, **{name: getattr(arguments, name) for name in names})


def _ratios(text: str | None) -> tuple[float, ...] | None:
    try:
        return None if text is None else parse_ratios(text.split(","))
    except ValueError:
        raise UsageError(
            f"--ratios {text}: must be three numbers above 0, for train, val and test, e.g. 8,1,1"
        ) from None


def main() -> None:
    """Prepare, or only check, the corpus that the command line names."""
    gc.set_threshold(100_000)  # utterances are in no circles, and looking for some takes a tenth of the time
    stage1.run(_options(_parser().parse_args()))


if __name__ == "__main__":
    errors.run(main)
