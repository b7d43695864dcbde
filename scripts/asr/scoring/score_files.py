"""Score the files of a run: read them, refuse what is no test, warn of what is doubtful, and write the score folder."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from asr.core.errors import RecipeError
from asr.core.made_by import refuse_others
from asr.core.manifest import Utterance, read_manifest
from asr.core.names import UNKNOWN_SPEAKER, known_speakers
from asr.scoring import score_warnings
from asr.scoring.files import write_all
from asr.scoring.groups import SpeakerTable, read_speaker_table
from asr.scoring.score import Request, System, score, score_hypotheses
from asr.scoring.score_warnings import ScoreWarning, file_identity

FILES = ("score.json", "per_utterance.tsv", "per_speaker.tsv", "confusions.tsv", "*.trn")


@dataclass(frozen=True)
class Inputs:
    """What is scored: the manifest, the hypotheses of each system, the training manifest, a table of the speakers."""

    references: Path
    hypotheses: Mapping[str, Path]
    train: Path | None = None
    speaker_table: Path | None = None
    columns: Sequence[str] = ()  # of the table, that become groups


def score_files(
    inputs: Inputs, out: Path, without: frozenset[str], seed: int, reference_lines: Sequence[Mapping[str, Any]] = ()
) -> tuple[dict[str, Any], list[ScoreWarning]]:
    """Score the files into the folder ``out``; return score.json, and what is doubtful about it.

    RecipeError where a file is not what it should be, and where a clip of the test set was trained on.
    """
    references = known_speakers(read_manifest(inputs.references))
    refuse_others(out, "score", FILES)
    train = read_manifest(inputs.train) if inputs.train else None
    _refuse_trained(train or (), references, inputs)
    request = Request(train, _speaker_table(inputs, references), without, seed, reference_lines)
    systems = {name: score_hypotheses(references, path, request) for name, path in inputs.hypotheses.items()}
    warnings = list(_warnings(inputs, references, train or (), systems))
    result = score(references, systems, request, warnings)
    write_all(out, systems, result)
    return result, warnings


def _refuse_trained(train: Sequence[Utterance], references: Sequence[Utterance], inputs: Inputs) -> None:
    """RecipeError where a clip to score is one that was trained on, by its key or its file."""
    keys, files = {utterance.key for utterance in train}, set(map(file_identity, train))
    both = [utterance.key for utterance in references if utterance.key in keys or file_identity(utterance) in files]
    if both:
        raise RecipeError(
            f"{inputs.references}: {len(both):,} of its {len(references):,} clips are in {inputs.train} too, first"
            f" {both[0]}: a score of clips that were trained on is worth nothing; give --train and --ref of one split"
        )


def _speaker_table(inputs: Inputs, references: Sequence[Utterance]) -> SpeakerTable | None:
    speakers = {utterance.speaker for utterance in references}
    if inputs.speaker_table is None or speakers == {UNKNOWN_SPEAKER}:
        return None
    table = read_speaker_table(inputs.speaker_table, speakers, inputs.columns)
    if table.others and not inputs.columns:
        how = "name it to --group-by (of run.sh: report_conf.publish_columns) to group by it, and so to publish it"
        print(f"note: {inputs.speaker_table}: not used: {', '.join(sorted(table.others))}; {how}")
    return table


def _warnings(
    inputs: Inputs, references: Sequence[Utterance], train: Sequence[Utterance], systems: Mapping[str, System]
) -> Iterator[ScoreWarning]:
    yield from score_warnings.about_references(inputs.references, references)
    yield from score_warnings.about_hypotheses(inputs.references, inputs.hypotheses)
    yield from score_warnings.about_training(inputs.references, train, references)
    for name, path in inputs.hypotheses.items():
        missing = [one.utterance.key for one in systems[name] if one.decoded is None]
        yield from score_warnings.about_missing(name, path, missing, len(references))
