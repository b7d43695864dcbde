"""The intervals of score.json and its comparison: what was gained, and how sure that is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from asr.core.names import NOT_ALL_KNOWN, UNKNOWN_SPEAKER
from asr.scoring import bootstrap, significance
from asr.scoring.groups import SEEN, UNSEEN
from asr.scoring.speaker_interval import (
    NO_SPREAD,
    interval,
    rate,
    reduction,
    relative_reduction,
    speaker_sums,
    why_not,
)
from asr.scoring.verdict import verdict, verdict_note

if TYPE_CHECKING:
    from asr.scoring.score import Scored

FROM, TO = "baseline", "tuned"
ALL = "all"
NO_CHARACTER = "the references have no character"


class Sums:
    """Sums of characters and errors, by speaker or by replicate, of all utterances and of those seen or unseen."""

    def __init__(self, sums: np.ndarray, systems: Sequence[str], ends: Callable[..., list[float] | None]) -> None:
        width = 1 + len(systems)
        self._blocks = {ALL: sums[:, :width], SEEN: sums[:, width:]}
        self._blocks[UNSEEN] = self._blocks[ALL] - self._blocks[SEEN]
        self._systems, self._ends = list(systems), ends

    def interval(self, system: str, text: str = ALL) -> list[float] | None:
        """Return the 95 % interval of a rate."""
        return self._ends(self._blocks[text], rate(self._systems.index(system)), 0.0)

    def reductions(self, text: str = ALL) -> tuple[list[float] | None, list[float] | None]:
        """Return the 95 % intervals of the absolute and the relative reduction."""
        pair = self._systems.index(FROM), self._systems.index(TO)
        block = self._blocks[text]
        return self._ends(block, reduction(*pair)), self._ends(block, relative_reduction(*pair))


def _table(systems: Mapping[str, Sequence[Scored]]) -> np.ndarray:
    """Return int [utterances, 2 x (1 + systems)]: characters, errors of each system; again, with 0 where not seen."""
    first = next(iter(systems.values()))
    columns = [[one.counts.ref_len for one in first]]
    columns += [[one.counts.errors for one in scored] for scored in systems.values()]
    table = np.array(columns, dtype=np.int64).T
    seen = np.array([one.text == SEEN for one in first])[:, None]
    return np.hstack([table, table * seen])


def add_intervals(result: dict[str, Any], systems: Mapping[str, Sequence[Scored]], seed: int, count: int) -> None:
    """Fill in every interval and the comparison of ``result``, which is score.json."""
    names, table = list(systems), _table(systems)
    speakers = np.array([one.utterance.speaker for one in systems[names[0]]])

    def over_utterances_of(rows: np.ndarray) -> Sums:
        return Sums(bootstrap.resample_utterances(rows, seed, count), names, bootstrap.interval)

    over_utterances = over_utterances_of(table)
    no_character = None if table[:, 0].any() else NO_CHARACTER
    by_speaker = speaker_sums(table, speakers)
    reason = (NOT_ALL_KNOWN if UNKNOWN_SPEAKER in speakers else None) or no_character or why_not(by_speaker)
    over_speakers = None if reason else Sums(by_speaker, names, interval)
    for name, row in result["systems"].items():
        row["ci95"] = over_speakers and over_speakers.interval(name)
        how = f"over {len(by_speaker)} speakers by the jackknife with Student's t"
        row["ci95_note"] = reason or (how if row["ci95"] else NO_SPREAD)
        row["ci95_utterance"] = over_utterances.interval(name)
    for speaker, row in result["by_speaker"].items():
        own = over_utterances_of(table[speakers == speaker])
        for name in names:
            row[name]["ci95_utterance"] = own.interval(name)
    for text, row in (result["groups"]["text"] or {}).items():
        for name in names:
            if row[name]:
                row[name]["ci95_utterance"] = over_utterances.interval(name, text)
    result["comparison_note"] = _why_none(result, no_character)
    if result["comparison_note"] is None:
        result["comparison"] = _comparison(result, systems, over_speakers, over_utterances, seed)


def _why_none(result: Mapping[str, Any], no_character: str | None) -> dict[str, str] | None:
    """Return why there is no comparison; None where there is one.

    Missing hypotheses count as deletions, but a hypothesis that invents text costs more than its deletion: without it a
    system may look better. So nothing is concluded from a decode that is not whole, unless both lack the same clips, as
    they do those that cannot be read (asr.audio.unreadable): these count alike.
    """
    rows = result["systems"]
    if FROM not in rows or TO not in rows:
        return {"en": "No baseline was scored: there is nothing to compare with.", "zh": "没有给基线打分，无从比较。"}
    if no_character:
        return {"en": f"Nothing is compared: {no_character}.", "zh": "没有比较：参考文本中没有字。"}
    if rows[FROM]["missing"] == rows[TO]["missing"]:
        return None
    missing = {name: row["n_missing"] for name, row in rows.items() if row["n_missing"]}
    english = " and ".join(f"{count:,} hypotheses of {name}" for name, count in missing.items())
    chinese = "，".join(f"{name} 缺 {count:,} 条" for name, count in missing.items())
    return {
        "en": f"Nothing is compared: {english} are missing. Decode the whole test set, and score again.",
        "zh": f"没有比较：识别结果不全（{chinese}）。请解码整个测试集后重新打分。",
    }


def _reduction(before: float | None, after: float | None) -> dict[str, float | None]:
    absolute = None if before is None or after is None else before - after
    return {
        "absolute_reduction": absolute,
        "relative_reduction": absolute / before if absolute is not None and before else None,
    }


def _comparison(
    result: dict[str, Any],
    systems: Mapping[str, Sequence[Scored]],
    over_speakers: Sums | None,
    over_utterances: Sums,
    seed: int,
) -> dict[str, Any]:
    pairs = list(zip(systems[FROM], systems[TO], strict=True))
    segments = (
        segment for old, new in pairs for segment in significance.segments(old.alignment.chunks, new.alignment.chunks)
    )
    absolute, relative = over_speakers.reductions() if over_speakers else (None, None)
    absolute_utterance, relative_utterance = over_utterances.reductions()
    compared = {
        "from": FROM,
        "to": TO,
        "verdict": verdict(absolute, absolute_utterance),
        **_reduction(*(result["systems"][name]["cer"] for name in (FROM, TO))),
        "absolute_ci95": absolute,
        "relative_ci95": relative,
        "absolute_ci95_utterance": absolute_utterance,
        "relative_ci95_utterance": relative_utterance,
        "mapsswe": significance.mapsswe(segments),
        "speakers": _speakers({} if UNKNOWN_SPEAKER in result["by_speaker"] else result["by_speaker"], seed),
        "utterances_better": sum(new.counts.errors < old.counts.errors for old, new in pairs),
        "utterances_worse": sum(new.counts.errors > old.counts.errors for old, new in pairs),
        "utterances_same": sum(new.counts.errors == old.counts.errors for old, new in pairs),
        "text": _texts(result["groups"]["text"], over_speakers),
    }
    return compared | {"verdict_note": verdict_note(compared, result["reference"]["n_speakers"])}


def _speakers(rows: Mapping[str, Any], seed: int) -> dict[str, Any]:
    """Return how many speakers gained, and the sign-flip test over them."""
    reductions = [_reduction(row[FROM]["cer"], row[TO]["cer"])["absolute_reduction"] for row in rows.values()]
    differences = [value for value in reductions if value is not None]
    p, least = significance.sign_flip(differences, seed)
    return {
        "better": sum(value > 0 for value in differences),
        "worse": sum(value < 0 for value in differences),
        "same": sum(value == 0 for value in differences),
        "p": p,
        "smallest_p": least,
    }


def _texts(groups: Mapping[str, Any] | None, over_speakers: Sums | None) -> dict[str, Any]:
    texts: dict[str, Any] = dict.fromkeys((SEEN, UNSEEN))
    for text, row in (groups or {}).items():
        if row[FROM] and row[TO]:
            absolute, relative = over_speakers.reductions(text) if over_speakers else (None, None)
            texts[text] = _reduction(row[FROM]["cer"], row[TO]["cer"])
            texts[text] |= {"absolute_ci95": absolute, "relative_ci95": relative}
    return texts
