"""The intervals of score.json and its comparison: what was gained, and how sure that is.

The formulas are in speaker_interval.py and bootstrap.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from asr.core.names import NOT_ALL_KNOWN, UNKNOWN_SPEAKER
from asr.scoring import bootstrap, significance, speaker_interval
from asr.scoring.groups import SEEN, UNSEEN
from asr.scoring.notes import Note, note, verdict, verdict_note
from asr.scoring.speaker_interval import NO_SPREAD

if TYPE_CHECKING:
    from asr.scoring.score import System

FROM, TO = "baseline", "tuned"
ALL = "all"
Ends: TypeAlias = "Callable[..., list[float] | None]"  # an interval of (statistic, which text, the lowest value)


def _ends(sums: np.ndarray, interval: Ends) -> Ends:
    """Return what makes 95 % intervals of the sums of ``_table``, by speaker or by replicate."""
    whole, seen = np.hsplit(sums, 2)
    blocks = {ALL: whole, SEEN: seen, UNSEEN: whole - seen}
    return lambda statistic, text=ALL, lowest=-np.inf: interval(blocks[text], statistic, lowest)


def _table(systems: Mapping[str, System]) -> np.ndarray:
    """Return int [utterances, 2 x (1 + systems)]: characters, errors of each system; again, with 0 where not seen."""
    first = next(iter(systems.values()))
    columns = [[one.counts.ref_len for one in first]]
    columns += [[one.counts.errors for one in scored] for scored in systems.values()]
    table = np.array(columns, dtype=np.int64).T
    seen = np.array([one.text == SEEN for one in first])[:, None]
    return np.hstack([table, table * seen])


def add_intervals(result: dict[str, Any], systems: Mapping[str, System], seed: int, count: int) -> None:
    """Fill in every interval over utterances, the systems' over speakers, and the comparison of score.json."""
    table = _table(systems)
    speakers = np.array([one.utterance.speaker for one in next(iter(systems.values()))])

    def resampled(rows: np.ndarray) -> Ends:
        return _ends(bootstrap.resample_utterances(rows, seed, count), bootstrap.interval)

    over_utterances = resampled(table)
    by_speaker = speaker_interval.speaker_sums(table, speakers)
    why_not = NOT_ALL_KNOWN if UNKNOWN_SPEAKER in speakers else speaker_interval.why_not(by_speaker)
    over_speakers = None if why_not else _ends(by_speaker, speaker_interval.interval)
    for place, row in enumerate(result["systems"].values()):
        row["ci95"] = over_speakers and over_speakers(speaker_interval.rate(place), ALL, 0.0)
        how = f"over {len(by_speaker)} speakers by the jackknife with Student's t"
        row["ci95_note"] = why_not or (how if row["ci95"] else NO_SPREAD)
    _add_over_utterances(result["systems"], over_utterances)
    for speaker, row in result["by_speaker"].items():
        _add_over_utterances(row, resampled(table[speakers == speaker]))
    for text, row in (result["groups"]["text"] or {}).items():
        _add_over_utterances(row, over_utterances, text)
    result["comparison_note"] = _why_none(systems, bool(table[:, 0].any()))
    if result["comparison_note"] is None:
        result["comparison"] = _comparison(result, systems, over_speakers, over_utterances)


def _add_over_utterances(row: Mapping[str, Any], ends: Ends, text: str = ALL) -> None:
    for place, name in enumerate(name for name in (FROM, TO) if name in row):
        if row[name]:
            row[name]["ci95_utterance"] = ends(speaker_interval.rate(place), text, 0.0)


def _why_none(systems: Mapping[str, System], any_character: bool) -> Note | None:
    """Return why there is no comparison; None where there is one.

    Missing hypotheses count as deletions, but a hypothesis that invents text costs more than its deletion: without it a
    system may look better. So nothing is concluded from a decode that is not whole, unless both lack the same clips, as
    they do those that cannot be read (asr.audio.unreadable): these count alike.
    """
    if FROM not in systems or TO not in systems:
        return note("no_baseline")
    if not any_character:
        return note("no_character")
    keys = {name: [one.utterance.key for one in rows if one.decoded is None] for name, rows in systems.items()}
    if keys[FROM] == keys[TO]:
        return None
    missing = {name: len(some) for name, some in keys.items() if some}
    english = " and ".join(f"{count:,} hypotheses of {name}" for name, count in missing.items())
    chinese = "，".join(f"{name} 缺 {count:,} 条" for name, count in missing.items())
    return note("incomplete", missing={"en": english, "zh": chinese})


def _change(row: Mapping[str, Any]) -> dict[str, float | None]:
    """Return the absolute and the relative reduction of the CER in a row with both systems' counts."""
    before, after = row[FROM]["cer"], row[TO]["cer"]
    absolute = None if before is None or after is None else before - after
    relative = None if absolute is None or not before else absolute / before
    return {"absolute_reduction": absolute, "relative_reduction": relative}


def _change_intervals(ends: Ends | None, text: str = ALL) -> dict[str, list[float] | None]:
    return {
        "absolute_ci95": ends and ends(speaker_interval.reduction(0, 1), text),
        "relative_ci95": ends and ends(speaker_interval.relative_reduction(0, 1), text),
    }


def _comparison(
    result: Mapping[str, Any], systems: Mapping[str, System], over_speakers: Ends | None, over_utterances: Ends
) -> dict[str, Any]:
    pairs = list(zip(systems[FROM], systems[TO], strict=True))
    gains = [old.counts.errors - new.counts.errors for old, new in pairs]
    segments = (
        segment for old, new in pairs for segment in significance.segments(old.alignment.chunks, new.alignment.chunks)
    )
    by_speakers = _change_intervals(over_speakers)
    by_utterances = {f"{name}_utterance": ends for name, ends in _change_intervals(over_utterances).items()}
    texts: dict[str, Any] = dict.fromkeys((SEEN, UNSEEN))
    for text, row in (result["groups"]["text"] or {}).items():
        if row[FROM] and row[TO]:
            texts[text] = _change(row) | _change_intervals(over_speakers, text)
    compared = {
        "from": FROM,
        "to": TO,
        "verdict": verdict(by_speakers["absolute_ci95"], by_utterances["absolute_ci95_utterance"]),
        **_change(result["systems"]),
        **by_speakers,
        **by_utterances,
        "mapsswe": significance.mapsswe(segments),
        "speakers": _speakers(result["by_speaker"], result["seed"]),
        "utterances_better": sum(gain > 0 for gain in gains),
        "utterances_worse": sum(gain < 0 for gain in gains),
        "utterances_same": sum(gain == 0 for gain in gains),
        "text": texts,
    }
    return compared | {"verdict_note": verdict_note(compared, result["reference"]["n_speakers"])}


def _speakers(rows: Mapping[str, Any], seed: int) -> dict[str, Any]:
    """Return how many speakers gained, and the sign-flip test over them."""
    changes = [] if UNKNOWN_SPEAKER in rows else [_change(row)["absolute_reduction"] for row in rows.values()]
    differences = [change for change in changes if change is not None]
    p, least = significance.sign_flip(differences, seed)
    return {
        "better": sum(value > 0 for value in differences),
        "worse": sum(value < 0 for value in differences),
        "same": sum(value == 0 for value in differences),
        "p": p,
        "smallest_p": least,
    }
