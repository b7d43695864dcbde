#!/usr/bin/env python3
"""Stage 5: score decoded text against references, and print and write what came of it; or compare runs.

Scoring writes score.json, per_utterance.tsv, per_speaker.tsv, confusions.tsv and trn files into --out; docs/scores.md
says what is in them. Comparing reads them.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

try:
    from asr.core import errors
except ModuleNotFoundError:
    raise SystemExit("error: Python does not find the recipe: . ./path.sh first, in the recipe's folder") from None
from asr.core.errors import UsageError
from asr.core.files import read_json
from asr.core.made_by import mark, refuse_others
from asr.core.manifest import Utterance
from asr.core.names import UNKNOWN_SPEAKER, known_speakers
from asr.scoring import compare_runs, files
from asr.scoring.groups import SpeakerTable, read_speaker_table, rows_by_speaker
from asr.scoring.listeners import read_listeners, score_listeners
from asr.scoring.normalize import OPTIONS
from asr.scoring.references import read_references
from asr.scoring.score import Request, System, score, score_hypotheses
from asr.scoring.score_warnings import about_hypotheses, about_references, about_training, refuse_trained
from asr.scoring.second_texts import read_text_groups, score_second_texts
from asr.scoring.tables import others, screen_table
from cdsd_facts import REFERENCE_LINES

EXAMPLES = """examples, after bash run.sh has run on the mini corpus:

  one system's hypotheses, with what the base model wrote of the same clips:
    python local/score.py --ref data/mini_dataset/test.jsonl --hyp exp/mini/tuned/hyp.txt \\
      --baseline exp/mini/baseline/hyp.txt --train data/mini_dataset/train.jsonl --out exp/again/score

  any other system's, against a Kaldi text (speakers: utt2spk beside it), a label file, or a JSONL with key and target:
    python local/score.py --ref data/mini_dataset/test/text --hyp exp/mini/baseline/hyp.txt --out exp/other/score

  runs side by side, with paired tests; a run is exp/TAG, with score/ in it:
    python local/score.py --compare exp/mini exp/again
"""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--ref", type=Path, metavar="FILE", help="what was said: JSONL with key and target, Kaldi text, label file")
    add("--hyp", type=Path, metavar="TEXT", help="the hypotheses: <key> <text> a line, or sclite's .trn")
    add("--baseline", type=Path, metavar="TEXT", help="the untouched base model's hypotheses")
    add("--train", type=Path, metavar="FILE", help="what was trained on, as --ref: tells seen from unseen texts")
    add("--speakers", type=Path, metavar="UTT2SPK", help="<key> <speaker> a line, where --ref does not say who speaks")
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
    add("--listeners", nargs="+", type=Path, metavar="JSON", help="listening-CODE.json files: people, on their clips")
    add("--second", type=Path, metavar="TEXT", help="hyp.lm.txt of --hyp: what a language model makes of it")
    add("--second-baseline", type=Path, metavar="TEXT", help="hyp.lm.txt of --baseline")
    add("--text-groups", type=Path, metavar="TSV", help="where each test text was read before, for --second")
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


def _speaker_table(path: Path | None, columns: Sequence[str], references: Sequence[Utterance]) -> SpeakerTable | None:
    speakers = {utterance.speaker for utterance in references}
    if path is None or speakers == {UNKNOWN_SPEAKER}:
        return None
    table = read_speaker_table(path, speakers, columns)
    if table.others and not columns:
        how = "name it to --group-by (of run.sh: report_conf.publish_columns) to group by it, and so to publish it"
        print(f"note: {path}: not used: {', '.join(sorted(table.others))}; {how}")
    return table


def _score(arguments: argparse.Namespace) -> None:
    """Score the files into --out. RecipeError where one is not what it should be, or a test clip was trained on."""
    for name in ("ref", "hyp", "out"):
        if getattr(arguments, name) is None:
            raise UsageError(f"--{name} is missing; see --help")
    if arguments.seed < 0:
        raise UsageError(f"--seed {arguments.seed}: must not be below 0")
    columns, without = _columns(arguments), _without(arguments.without)
    lines = REFERENCE_LINES if _is_cdsd(arguments.ref) else ()
    references = known_speakers(read_references(arguments.ref, arguments.speakers))
    refuse_others(arguments.out, "score", files.FILES)
    train = read_references(arguments.train) if arguments.train else None
    refuse_trained(train or (), arguments.train, references, arguments.ref)
    table = _speaker_table(arguments.speaker_table, columns, references)
    request = Request(train, table, without, arguments.seed, lines)
    hypotheses = {"baseline": arguments.baseline} if arguments.baseline else {}
    hypotheses["tuned"] = arguments.hyp
    systems = {name: score_hypotheses(references, path, request) for name, path in hypotheses.items()}
    warnings = about_references(arguments.ref, references) + about_training(arguments.ref, train or (), references)
    for name, path in hypotheses.items():
        missing = [one.utterance.key for one in systems[name] if one.decoded is None]
        warnings += about_hypotheses(path, name, arguments.ref, missing, len(references))
    result = score(references, systems, request, warnings)
    if arguments.listeners:
        listeners = read_listeners(arguments.listeners, references)
        result |= score_listeners(listeners, references, systems, request)
    result |= _second_texts(arguments, references, systems, request)
    files.write_all(arguments.out, systems, result)
    for warning in warnings:
        print(warning, file=sys.stderr)
    print(screen_table(result))
    print("".join(f"{line}\n" for line in others(result)), end="")
    renamed = any(name.startswith("S") for name in result["by_speaker"])
    print(f"{'who S1, S2, … are is in per_speaker.tsv; ' * renamed}what may be published is in docs/publishing.md")
    written = "score.json, per_utterance.tsv, per_speaker.tsv, confusions.tsv, ref.trn and others"
    print(f"written to {arguments.out}: {written}")


def _second_texts(
    arguments: argparse.Namespace, references: Sequence[Utterance], systems: Mapping[str, System], request: Request
) -> dict[str, Any]:
    paths = {"baseline_lm": arguments.second_baseline, "tuned_lm": arguments.second}
    second = {name: score_hypotheses(references, path, request) for name, path in paths.items() if path}
    if "baseline_lm" in second and "baseline" not in systems:
        raise UsageError("--second-baseline: needs --baseline, which it is compared with")
    groups = read_text_groups(arguments.text_groups, references) if arguments.text_groups else {}
    return score_second_texts(references, systems, second, groups, request) if second else {}


def _compare(arguments: argparse.Namespace) -> None:
    if arguments.out:
        refuse_others(arguments.out, "compare", compare_runs.FILES)
    comparison = compare_runs.compare(compare_runs.read_runs(arguments.compare), arguments.seed)
    if arguments.out:
        mark(arguments.out, "compare")
        compare_runs.write(arguments.out, comparison)
    print(compare_runs.tables(comparison))


def main() -> None:
    """Score the files, compare the runs, or check the table that the command line names."""
    arguments = _parser().parse_args()
    if arguments.compare:
        _compare(arguments)
    elif arguments.check_table:
        columns = _columns(arguments)
        if arguments.speaker_table:
            rows_by_speaker(arguments.speaker_table, columns)
    else:
        _score(arguments)


if __name__ == "__main__":
    errors.run(main)
