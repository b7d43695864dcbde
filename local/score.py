#!/usr/bin/env python3
"""Stage 5: score decoded text against a manifest, and print and write what came of it; or compare runs.

    python local/score.py --ref data/1h_dataset/test.jsonl --hyp exp/TAG/tuned/hyp.txt \\
        --baseline exp/TAG/baseline/hyp.txt --train data/1h_dataset/train.jsonl --out exp/TAG/score
    python local/score.py --compare exp/TAG1 exp/TAG2 exp/TAG3 [--out exp/compared]

Scoring writes score.json, per_utterance.tsv, per_speaker.tsv, confusions.tsv and trn files into --out; docs/scores.md
says what is in them. Comparing reads them.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from asr.core import errors
from asr.core.errors import UsageError
from asr.core.files import read_json
from asr.core.made_by import mark, refuse_others
from asr.scoring import compare
from asr.scoring.groups import check_columns
from asr.scoring.normalize import OPTIONS
from asr.scoring.score_files import Inputs, score_files
from asr.scoring.tables import screen_table
from cdsd_facts import REFERENCE_LINES


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--ref", type=Path, metavar="JSONL", help="the manifest that was decoded")
    add("--hyp", type=Path, metavar="TEXT", help="the tuned model's hypotheses: <key> <text> a line")
    add("--baseline", type=Path, metavar="TEXT", help="the untouched base model's hypotheses")
    add("--train", type=Path, metavar="JSONL", help="the training manifest, to tell seen from unseen texts")
    add("--out", type=Path, metavar="DIR", help="where score.json (or the comparison) goes")
    add("--speaker-table", type=Path, metavar="TSV", help="a table with a column 'speaker', for --group-by")
    add("--group-by", metavar="COL,COL", help="its columns that become groups, and so are published")
    add("--check-table", action="store_true", help="only check that --speaker-table has the columns of --group-by")
    add(
        "--without",
        default="",
        metavar="LIST",
        help=f"leave out of both texts: {', '.join(OPTIONS)} (default: nothing)",
    )
    add("--seed", type=int, default=0, help="of the bootstrap (default: 0)")
    add("--compare", nargs="+", type=Path, metavar="RUN", help="compare runs (exp/TAG) scored on one test set")
    return parser


def _without(text: str) -> frozenset[str]:
    names = frozenset(filter(None, map(str.strip, text.split(","))))
    unknown = sorted(names - set(OPTIONS))
    if unknown:
        raise UsageError(f"--without {unknown[0]}: must be of {', '.join(OPTIONS)}")
    return names


def _columns(arguments: argparse.Namespace) -> list[str]:
    if arguments.group_by and not arguments.speaker_table:
        raise UsageError(f"--group-by {arguments.group_by}: needs --speaker-table")
    return arguments.group_by.split(",") if arguments.group_by else []


def _is_cdsd(reference: Path) -> bool:
    """Return whether stage 1, whose statistics.json stands beside the manifest, made it of CDSD (--cdsd)."""
    path = reference.parent / "statistics.json"
    return path.is_file() and read_json(path, "run stage 1 again").get("corpus", {}).get("cdsd") is True


def _score(arguments: argparse.Namespace) -> None:
    for name in ("ref", "hyp", "out"):
        if getattr(arguments, name) is None:
            raise UsageError(f"--{name} is missing; see --help")
    if arguments.seed < 0:
        raise UsageError(f"--seed {arguments.seed}: must not be below 0")
    hypotheses = {"baseline": arguments.baseline} if arguments.baseline else {}
    hypotheses["tuned"] = arguments.hyp
    inputs = Inputs(arguments.ref, hypotheses, arguments.train, arguments.speaker_table, _columns(arguments))
    lines = REFERENCE_LINES if _is_cdsd(arguments.ref) else ()
    result, warnings = score_files(inputs, arguments.out, _without(arguments.without), arguments.seed, lines)
    for warning in warnings:
        print(warning, file=sys.stderr)
    print(screen_table(result))
    renamed = any(name.startswith("S") for name in result["by_speaker"])
    who = "who S1, S2, … are is in per_speaker.tsv; " if renamed else ""
    print(f"{who}what may be published is in README.md")
    files = "score.json, per_utterance.tsv, per_speaker.tsv, confusions.tsv, ref.trn and others"
    print(f"written to {arguments.out}: {files}")


def _compare(arguments: argparse.Namespace) -> None:
    if arguments.out:
        refuse_others(arguments.out, "compare", compare.FILES)
    comparison = compare.compare(compare.read_runs(arguments.compare), arguments.seed)
    if arguments.out:
        mark(arguments.out, "compare")
        compare.write(arguments.out, comparison)
    print(compare.tables(comparison))


def main() -> None:
    """Score the files, compare the runs, or check the table that the command line names."""
    arguments = _parser().parse_args()
    if arguments.compare:
        _compare(arguments)
    elif arguments.check_table:
        columns = _columns(arguments)
        if arguments.speaker_table:
            check_columns(arguments.speaker_table, columns)
    else:
        _score(arguments)


if __name__ == "__main__":
    errors.run(main)
