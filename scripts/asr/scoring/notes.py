"""The notes of score.json: what a score shows and what it does not, in sentences in English and Chinese (notes.yaml).

No verdict is firmer than its interval: of speakers like these only where the interval over speakers leaves out zero,
of these speakers only where the interval over their utterances does.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import yaml

from asr.scoring.significance import LEAST_P
from asr.scoring.speaker_interval import MIN_SPEAKERS

Note: TypeAlias = "dict[str, str]"  # "en" and "zh"

# Of 100 simulated corpora, in how many the 95 % interval over speakers held the truth, from four speakers to 44 (from,
# to): benchmarks/interval_coverage.py; its table is in docs/scores.md.
_COVERAGE = (93, 97)
_MANY_EMPTY = 0.1  # of the hypotheses
_MANY_DELETIONS = 0.05  # of the references' characters; below it most errors may be deletions by chance


@functools.cache
def _wordings() -> dict[str, list[str]]:
    return yaml.safe_load(Path(__file__).with_name("notes.yaml").read_text(encoding="utf-8"))


def note(key: str, **values: Any) -> Note:
    """Return the sentence ``key`` of notes.yaml with its ``{names}`` filled in; a value may be a Note itself."""
    filled = {}
    for language, wording in zip(("en", "zh"), _wordings()[key], strict=True):
        own = {name: value[language] if isinstance(value, dict) else value for name, value in values.items()}
        filled[language] = wording.format(**own)
    return filled


def verdict(over_speakers: Sequence[float] | None, over_utterances: Sequence[float] | None) -> str:
    """Return ``lower`` or ``higher``, with ``_here`` where only utterances show it, or ``unclear``.

    The intervals are those of the reduction of the CER; the first leaves out zero, or else the second, or neither.
    """
    for ci95, where in ((over_speakers, ""), (over_utterances, "_here")):
        if ci95 and (ci95[0] > 0 or ci95[1] < 0):
            return ("lower" if ci95[0] > 0 else "higher") + where
    return "unclear"


def verdict_note(comparison: Mapping[str, Any], speakers: int) -> Note:
    """Return the verdict in a sentence; ``speakers`` is how many the test set has, 0 where nobody knows."""
    sign = -1 if comparison["verdict"].startswith("higher") else 1
    relative = comparison["relative_reduction"]
    size = note(
        "points" if relative is None else "points_relative",
        points=f"{100 * sign * comparison['absolute_reduction']:.2f}",
        share=f"{100 * sign * (relative or 0):.1f} %",
    )
    values = {
        "size": size,
        "speakers": speakers,
        "s": _s(speakers),
        "over_speakers": _ends(comparison["absolute_ci95"], sign),
        "over_utterances": _ends(comparison["absolute_ci95_utterance"], sign),
    }
    others = "not_shown" if comparison["absolute_ci95"] else "cannot_be_shown"
    return note(
        comparison["verdict"],
        who=note("who_known" if speakers else "who_unknown", **values),
        others=note(f"others_{others if speakers else 'unknown'}", **values),
        **values,
    )


def _ends(ci95: Sequence[float] | None, sign: int) -> Note:
    if not ci95:
        return note("no_interval")
    low, high = (f"{100 * end:.2f}" for end in sorted(sign * end for end in ci95))
    return note("interval", low=low, high=high)


def _s(count: float) -> str:
    return "" if count == 1 else "s"


def speaker_note(speakers: int, known: bool = True) -> Note:
    """Return what figures on so many test speakers can show, and what they cannot."""
    if not known:
        return note("speakers_unknown")
    if speakers < MIN_SPEAKERS:
        these = "this speaker" if speakers == 1 else "these speakers"
        return note("speakers_too_few", speakers=speakers, s=_s(speakers), these=these, needed=MIN_SPEAKERS)
    low, high = _COVERAGE
    return note("speakers_enough", speakers=speakers, low=low, high=high, least=max(2 / 2**speakers, LEAST_P))


def silence_note(systems: Mapping[str, Mapping[str, Any]]) -> Note | None:
    """Return which systems of score.json write too little, and what that does to their CER; None where none does.

    Those most of whose errors are deletions, or many of whose hypotheses are empty.
    """
    notes = []
    for name, row in systems.items():
        others = row["sub"] + row["ins"]
        deletes_most = row["del"] > others and row["del"] >= _MANY_DELETIONS * row["ref_len"]
        if deletes_most or row["n_empty"] >= max(1, _MANY_EMPTY * row["n_utt"]):
            counts = {"deletions": row["del"], "errors": row["del"] + others, "empty": row["n_empty"]}
            notes.append(note("silent", system=note(name), utterances=row["n_utt"], **counts))
    if not notes:
        return None
    notes.append(note("what_silence_costs"))
    return {"en": " ".join(each["en"] for each in notes), "zh": "".join(each["zh"] for each in notes)}
