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
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from asr.core import errors
from asr.core.digests import sha256_file
from asr.core.errors import RecipeError, UsageError
from asr.core.files import read_json
from asr.core.made_by import mark, refuse_others
from asr.core.manifest import Utterance, read_manifest
from asr.core.names import UNKNOWN_SPEAKER, known_speakers
from asr.scoring.files import write_all
from asr.scoring.groups import read_speaker_table
from asr.scoring.normalize import OPTIONS
from asr.scoring.score import Request, Scored, score, score_hypotheses
from asr.scoring.tables import screen_table

FILES = ("score.json", "per_utterance.tsv", "per_speaker.tsv", "confusions.tsv", "*.trn")
COMPARED = ("compare.json", "COMPARED.md")
# Published for CDSD, on clips that are not these: something to read its CER beside, never a test that was passed.
CDSD_LINES = (
    {
        "name": "human listeners",
        "name_zh": "人类听写",
        "cer": 0.2045,
        "note": "other clips, other listeners",
        "note_zh": "其他录音，其他听者",
        "source": "CDSD paper, arXiv 2310.15930",
    },
    {
        "name": "best system of the CDSD paper",
        "name_zh": "CDSD 论文的最好系统",
        "cer": 0.164,
        "note": "other clips: Part A, split not known; ESPnet Conformer, staged pre-training",
        "note_zh": "其他录音：A 部分，划分不详；ESPnet Conformer，分阶段预训练",
        "source": "CDSD paper, arXiv 2310.15930",
    },
    {
        "name": "Paraformer, fine-tuned",
        "name_zh": "微调的 Paraformer",
        "cer": 0.3762,
        "note": "unseen speakers: other clips, the older release of 24 speakers",
        "note_zh": "未见过的说话人：其他录音，24 位说话人的旧版",
        "source": "DysASR",
    },
)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--ref", type=Path, metavar="JSONL", help="the manifest that was decoded")
    add("--hyp", type=Path, metavar="TEXT", help="the tuned model's hypotheses: <key> <text> a line")
    add("--baseline", type=Path, metavar="TEXT", help="the untouched base model's hypotheses")
    add("--train", type=Path, metavar="JSONL", help="what was trained on, to tell seen from unseen texts")
    add("--out", type=Path, metavar="DIR", help="where score.json (or the comparison) goes")
    add("--speaker-table", type=Path, metavar="TSV", help="a table with a column 'speaker', for --group-by")
    add("--group-by", metavar="COL,COL", help="its columns that become groups, and so are published")
    add(
        "--without",
        default="",
        metavar="LIST",
        help=f"leave out of both texts: {', '.join(OPTIONS)} (default: nothing)",
    )
    add("--seed", type=int, default=0, help="of the bootstrap (default: 0)")
    add(
        "--compare", nargs="+", type=Path, metavar="RUN", help="compare runs (exp/TAG) that were scored on one test set"
    )
    return parser


def _without(text: str) -> frozenset[str]:
    names = frozenset(filter(None, map(str.strip, text.split(","))))
    unknown = sorted(names - set(OPTIONS))
    if unknown:
        raise UsageError(f"--without {unknown[0]}: must be of {', '.join(OPTIONS)}")
    return names


def _warn_of_missing(systems: dict[str, list[Scored]], files: dict[str, Path]) -> None:
    for name, path in files.items():
        missing = [item.utterance.key for item in systems[name] if item.hypothesis is None]
        if missing:
            some = ", ".join(missing[:5]) + (f" and {len(missing) - 5:,} more" if len(missing) > 5 else "")
            print(f"warning: {path}: no hypothesis for {some}: counted as deletions", file=sys.stderr)


def _warn_of_another_manifest(reference: Path, files: dict[str, Path]) -> None:
    for path in files.values():
        record = path.with_name("decode.json")
        if path.name != "hyp.txt" or not record.is_file():
            continue
        if read_json(record, "decode again").get("inputs", {}).get("manifest") != sha256_file(reference):
            print(f"warning: {path}: decoded of another manifest than {reference} is now", file=sys.stderr)


def _file(item: Utterance) -> object:
    """What only the same file has, under whatever name or link."""
    try:
        about = os.stat(item.source)
    except OSError:
        return os.path.realpath(item.source)
    return about.st_dev, about.st_ino


def _warn_of_repeated(references: Sequence[Utterance], path: Path) -> None:
    """Warn of clips that are there under several keys: each counts, for the CER and as a segment of its own."""
    first: dict[object, str] = {}
    again = [item.key for item in references if first.setdefault(_file(item), item.key) != item.key]
    if again:
        print(f"warning: {path}: {len(again):,} clips are there more than once, first {again[0]}", file=sys.stderr)


def _refuse_trained(train: Sequence[Utterance], references: Sequence[Utterance], files: tuple[Path, Path]) -> None:
    """RecipeError where a clip to score is one that was trained on, by its key or its file; speakers are only told."""
    keys, sources = {item.key for item in train}, set(map(_file, train))
    both = [item.key for item in references if item.key in keys or _file(item) in sources]
    if both:
        raise RecipeError(
            f"{files[1]}: {len(both):,} of its {len(references):,} clips are in {files[0]} too, first {both[0]}: a"
            " score of clips that were trained on is worth nothing; give --train and --ref of one split"
        )
    heard, speakers = {item.speaker for item in train}, {item.speaker for item in references} - {UNKNOWN_SPEAKER}
    if heard & speakers:
        print(f"note: {len(heard & speakers)} of the {len(speakers)} speakers of {files[1]} are in {files[0]} too")


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
    if arguments.group_by and not arguments.speaker_table:
        raise UsageError(f"--group-by {arguments.group_by}: needs --speaker-table")
    files = {"baseline": arguments.baseline} if arguments.baseline else {}
    files["tuned"] = arguments.hyp
    references, out = known_speakers(read_manifest(arguments.ref)), arguments.out
    speakers = {item.speaker for item in references}
    if UNKNOWN_SPEAKER in speakers:
        warning = "not all speakers are known (or each utterance has its own): no figure is over speakers"
        print(f"warning: {arguments.ref}: {warning}", file=sys.stderr)
    table, columns = None, arguments.group_by.split(",") if arguments.group_by else []
    refuse_others(out, "score", FILES)
    if arguments.speaker_table and speakers != {UNKNOWN_SPEAKER}:
        table = read_speaker_table(arguments.speaker_table, speakers, columns)
        if table.others and not columns:
            how = "name it to --group-by (of run.sh: report_conf.publish_columns) to group by it, and so to publish it"
            print(f"note: {arguments.speaker_table}: not used: {', '.join(sorted(table.others))}; {how}")
    _warn_of_another_manifest(arguments.ref, files)
    _warn_of_repeated(references, arguments.ref)
    train = read_manifest(arguments.train) if arguments.train else None
    if train:
        _refuse_trained(train, references, (arguments.train, arguments.ref))
    lines = CDSD_LINES if _is_cdsd(arguments.ref) else ()
    request = Request(train, table, _without(arguments.without), arguments.seed, lines)
    systems = {name: score_hypotheses(references, path, request) for name, path in files.items()}
    result = score(references, systems, request)
    write_all(out, systems, result)
    _warn_of_missing(systems, files)
    print(screen_table(result))
    print("who S1, S2, … are is in per_speaker.tsv; what may be published is in README.md")
    print(f"written to {out}: score.json, per_utterance.tsv, per_speaker.tsv, confusions.tsv, ref.trn and others")


def main() -> None:
    """Score the files, or compare the runs, that the command line names."""
    arguments = _parser().parse_args()
    if not arguments.compare:
        _score(arguments)
        return
    from asr.scoring.compare import compare, read_runs, tables, write

    if arguments.out:
        refuse_others(arguments.out, "compare", COMPARED)
    found = compare(read_runs(arguments.compare), arguments.seed)
    if arguments.out:
        mark(arguments.out, "compare")
        write(arguments.out, found)
    print(tables(found))


if __name__ == "__main__":
    errors.run(main)
