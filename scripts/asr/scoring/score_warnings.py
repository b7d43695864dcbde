"""What a reader has to know before trusting the figures of a score, and what is no test at all.

Warnings stand on the screen, with the file and an example, and in score.json, which names no file and no key.
"""

from __future__ import annotations

import os
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from asr.core.digests import sha256_file
from asr.core.errors import RecipeError
from asr.core.manifest import Utterance
from asr.core.names import UNKNOWN_SPEAKER, by_key
from asr.core.run_records import DecodeRecord, read_decode
from asr.scoring.notes import note
from asr.scoring.references import is_jsonl

FEW_CLIPS = 2  # of a person who was recorded on purpose there are more
_EXAMPLES = 5


class ScoreWarning(NamedTuple):
    """A kind of notes.yaml with its ``values``; ``examples`` are keys, for the screen only."""

    kind: str
    path: Path
    values: Mapping[str, Any] = {}
    examples: Sequence[str] = ()

    def published(self) -> dict[str, str]:
        """Return the warning as score.json has it."""
        return {"kind": self.kind, **note(self.kind, **self.values)}

    def __str__(self) -> str:
        more = len(self.examples) - _EXAMPLES
        some = ", ".join(self.examples[:_EXAMPLES]) + (f" and {more:,} more" if more > 0 else "")
        return f"warning: {self.path}: {self.published()['en']}{f': {some}' if some else ''}"


def clips_per_speaker(references: Sequence[Utterance]) -> dict[str, Any] | None:
    """Return the fewest, the median and the most clips of a speaker; None where a speaker is not known."""
    counts = Counter(utterance.speaker for utterance in references)
    if not counts or UNKNOWN_SPEAKER in counts:
        return None
    return {"min": min(counts.values()), "median": statistics.median(counts.values()), "max": max(counts.values())}


def about_references(path: Path, references: Sequence[Utterance]) -> list[ScoreWarning]:
    """Return what is doubtful about speakers and clips of a test set."""
    warnings, clips, speakers = [], clips_per_speaker(references), len({clip.speaker for clip in references})
    if clips is None:
        warnings.append(ScoreWarning("unknown_speakers", path))
    elif clips["median"] <= FEW_CLIPS and speakers > 1:
        values = {"speakers": speakers, "median": clips["median"], "s": "s" * (clips["median"] != 1)}
        warnings.append(ScoreWarning("few_clips_per_speaker", path, values))
    first: dict[object, str] = {}
    repeated = [clip.key for clip in references if first.setdefault(file_identity(clip), clip.key) != clip.key]
    if repeated:
        values = {"repeated": len(repeated), "clips": len(references)}
        warnings.append(ScoreWarning("repeated_clips", path, values, repeated))
    return warnings


def decode_record(hypotheses: Path) -> DecodeRecord | None:
    """Return the decode.json beside a hyp.txt; None where there is none, or the file has another name."""
    return read_decode(hypotheses.parent) if hypotheses.name == "hyp.txt" else None


def about_hypotheses(path: Path, name: str, references: Path, missing: Sequence[str], clips: int) -> list[ScoreWarning]:
    """Return what is doubtful about a system's file: decoded from another manifest, or without some of the clips."""
    warnings, record = [], decode_record(path) if is_jsonl(references) else None
    if record and record.get("inputs", {}).get("manifest") != sha256_file(references):
        warnings.append(ScoreWarning("another_manifest", path, {"name": name}))
    if missing:
        values = {"name": name, "missing": len(missing), "clips": clips}
        warnings.append(ScoreWarning("missing_hypotheses", path, values, missing))
    return warnings


def about_training(path: Path, train: Sequence[Utterance], references: Sequence[Utterance]) -> list[ScoreWarning]:
    """Return that the test set has speakers who were trained on."""
    speakers = {utterance.speaker for utterance in references} - {UNKNOWN_SPEAKER}
    trained = speakers & {utterance.speaker for utterance in train}
    values = {"trained": len(trained), "speakers": len(speakers)}
    return [ScoreWarning("trained_speakers", path, values)] if trained else []


def refuse_trained(train: Sequence[Utterance], train_path: Path, references: Sequence[Utterance], path: Path) -> None:
    """RecipeError where a clip to score is one that was trained on, by its key, as Kaldi's lists have it too, or its
    file."""
    keys, files = {utterance.key for utterance in train}, set(map(file_identity, train))
    named = by_key({utterance.key: utterance for utterance in references}, train)
    both = [utterance.key for key, utterance in named.items() if key in keys or file_identity(utterance) in files]
    if both:
        raise RecipeError(
            f"{path}: {len(both):,} of its {len(references):,} clips are in {train_path} too, first {both[0]}: a score"
            " of clips that were trained on is worth nothing; give --train and --ref of one split"
        )


def file_identity(utterance: Utterance) -> object:
    """Return what only the same file has, under whatever name or link; the key where nobody says which file it is."""
    if not utterance.source:
        return utterance.key
    try:
        status = os.stat(utterance.source)
    except OSError:
        return os.path.realpath(utterance.source)
    return status.st_dev, status.st_ino
