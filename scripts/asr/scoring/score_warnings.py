"""Warnings about a score: what a reader has to know before trusting its figures.

They stand on the screen, with the file and an example, and in score.json, which names no file and no key.
"""

from __future__ import annotations

import os
import statistics
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from asr.core.digests import sha256_file
from asr.core.files import read_json
from asr.core.manifest import Utterance
from asr.core.names import UNKNOWN_SPEAKER

FEW_CLIPS = 2  # of a person who was recorded on purpose there are more
_EXAMPLES = 5


class ScoreWarning(NamedTuple):
    """``en`` and ``zh`` say what is doubtful; ``examples`` are keys, for the screen only."""

    kind: str
    path: Path
    en: str
    zh: str
    examples: Sequence[str] = ()

    def published(self) -> dict[str, str]:
        """Return the warning as score.json has it."""
        return {"kind": self.kind, "en": self.en, "zh": self.zh}

    def __str__(self) -> str:
        more = len(self.examples) - _EXAMPLES
        some = ", ".join(self.examples[:_EXAMPLES]) + (f" and {more:,} more" if more > 0 else "")
        return f"warning: {self.path}: {self.en}{f': {some}' if some else ''}"


def clips_per_speaker(references: Sequence[Utterance]) -> dict[str, Any] | None:
    """Return the fewest, the median and the most clips of a speaker; None where a speaker is not known."""
    counts = sorted(Counter(utterance.speaker for utterance in references).values())
    if not counts or any(utterance.speaker == UNKNOWN_SPEAKER for utterance in references):
        return None
    return {"min": counts[0], "median": statistics.median(counts), "max": counts[-1]}


def about_references(path: Path, references: Sequence[Utterance]) -> Iterator[ScoreWarning]:
    """Yield what is doubtful about speakers and clips of a test set."""
    clips, speakers = clips_per_speaker(references), len({utterance.speaker for utterance in references})
    if clips is None:
        yield ScoreWarning(
            "unknown_speakers",
            path,
            "not all speakers are known (or each utterance has its own): no figure is over speakers",
            "并非所有说话人都已知（或每条语句各有一位说话人）：没有按说话人计算的数字",
        )
    elif clips["median"] <= FEW_CLIPS and speakers > 1:
        yield ScoreWarning(
            "few_clips_per_speaker",
            path,
            f"half of the {speakers:,} speakers have at most {clips['median']:g} clip{'s' * (clips['median'] != 1)}:"
            " where one person goes by several names, intervals over speakers are too narrow",
            f"{speakers:,} 位说话人中有一半每人至多 {clips['median']:g} 条录音："
            "若同一人用了几个名字，按说话人的区间就偏窄",
        )
    first: dict[object, str] = {}
    again = [item.key for item in references if first.setdefault(file_identity(item), item.key) != item.key]
    if again:
        yield ScoreWarning(
            "repeated_clips",
            path,
            f"{len(again):,} of {len(references):,} clips occur more than once",
            f"{len(references):,} 条录音中有 {len(again):,} 条重复出现（编号不同）",
            again,
        )


def about_training(path: Path, train: Sequence[Utterance], references: Sequence[Utterance]) -> Iterator[ScoreWarning]:
    """Yield that the test set has speakers who were trained on."""
    speakers = {utterance.speaker for utterance in references} - {UNKNOWN_SPEAKER}
    both = speakers & {utterance.speaker for utterance in train}
    if both:
        yield ScoreWarning(
            "trained_speakers",
            path,
            f"{len(both):,} of the {len(speakers):,} speakers are in the training set too",
            f"{len(speakers):,} 位说话人中有 {len(both):,} 位也在训练集中",
        )


def about_hypotheses(reference: Path, name: str, path: Path) -> Iterator[ScoreWarning]:
    """Yield that hypotheses are of another manifest than ``reference``, by the decode.json beside them."""
    record = path.with_name("decode.json")
    if path.name != "hyp.txt" or not record.is_file():
        return
    if read_json(record, "decode again").get("inputs", {}).get("manifest") != sha256_file(reference):
        yield ScoreWarning(
            "another_manifest",
            path,
            f"the {name} hypotheses were decoded from another manifest, or from an earlier version of it",
            f"{name} 的识别结果来自另一份清单，或该清单的旧版本",
        )


def about_missing(name: str, path: Path, missing: Sequence[str], clips: int) -> Iterator[ScoreWarning]:
    """Yield that of so many clips the keys ``missing`` have no hypothesis of a system."""
    if missing:
        yield ScoreWarning(
            "missing_hypotheses",
            path,
            f"no hypothesis of {name} for {len(missing):,} of {clips:,} clips, counted as deletions",
            f"{clips:,} 条录音中有 {len(missing):,} 条没有 {name} 的识别结果，按删除计",
            missing,
        )


def file_identity(utterance: Utterance) -> object:
    """Return what only the same file has, under whatever name or link."""
    try:
        status = os.stat(utterance.source)
    except OSError:
        return os.path.realpath(utterance.source)
    return status.st_dev, status.st_ino
