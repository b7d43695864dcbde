"""What was gained, and how sure that is: intervals, tests, and a sentence on what the speakers can show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from asr import bootstrap, significance
from asr.groups import SEEN, UNSEEN
from asr.names import NOT_ALL_KNOWN, UNKNOWN_SPEAKER

if TYPE_CHECKING:
    from asr.scoring import Scored

FROM, TO = "baseline", "tuned"
ALL = "all"


class Draws:
    """Replicates of one bootstrap: the rate of each system, on all utterances and on those with seen or unseen text."""

    def __init__(self, sums: np.ndarray, systems: Sequence[str]) -> None:
        width = 1 + len(systems)
        blocks = {ALL: sums[:, :width], SEEN: sums[:, width:]}
        blocks[UNSEEN] = blocks[ALL] - blocks[SEEN]
        self._rates = {
            (name, system): bootstrap.rates(block[:, 1 + place], block[:, 0])
            for name, block in blocks.items()
            for place, system in enumerate(systems)
        }

    def rates(self, system: str, text: str = ALL) -> np.ndarray:
        """The rate of each replicate: float [replicates]."""
        return self._rates[text, system]

    def interval(self, system: str, text: str = ALL) -> list[float] | None:
        """95 % interval of a rate."""
        return _listed(bootstrap.interval(self.rates(system, text)))

    def reductions(self, text: str = ALL) -> tuple[list[float] | None, list[float] | None]:
        """95 % intervals of the absolute and the relative reduction, both systems on the same draws."""
        before, after = self.rates(FROM, text), self.rates(TO, text)
        absolute = bootstrap.interval(before - after)
        return _listed(absolute), _listed(bootstrap.relative_interval(before, after))

    def probability_of_improvement(self) -> float | None:
        """Share of the replicates in which the tuned model is better."""
        return bootstrap.probability_of_improvement(self.rates(FROM), self.rates(TO))


def _listed(interval: bootstrap.Interval | None) -> list[float] | None:
    return None if interval is None else list(interval)


def _table(systems: Mapping[str, Sequence[Scored]]) -> np.ndarray:
    """int [utterances, 2 x (1 + systems)]: characters and errors of each system; the same again, 0 where not seen."""
    scored = next(iter(systems.values()))
    columns = [[item.counts.ref_len for item in scored]]
    columns += [[item.counts.errors for item in system] for system in systems.values()]
    table = np.array(columns, dtype=np.int64).T
    seen = np.array([item.text == SEEN for item in scored])[:, None]
    return np.hstack([table, table * seen])


def add_intervals(result: dict[str, Any], systems: Mapping[str, Sequence[Scored]], seed: int, count: int) -> None:
    """Fill in every interval and the comparison of ``result``, which is score.json."""
    names = list(systems)
    scored = systems[names[0]]
    speakers = [item.utterance.speaker for item in scored]
    table = _table(systems)
    over_utterances = Draws(bootstrap.resample_utterances(table, seed, count), names)
    no_character = None if table[:, 0].any() else "the references have no character"
    unknown = NOT_ALL_KNOWN if UNKNOWN_SPEAKER in speakers else None
    reason = unknown or bootstrap.why_not(len(set(speakers))) or no_character

    def add_to_speaker(speaker: str, sums: np.ndarray) -> None:
        draws, row = Draws(sums, names), result["by_speaker"][speaker]
        for name in names:
            row[name]["ci95_utterance"] = draws.interval(name)

    sums = bootstrap.resample_speakers(table, speakers, seed, count, add_to_speaker)
    over_speakers = None if reason else Draws(sums, names)
    note = reason or f"two-level bootstrap over {len(set(speakers))} speakers, {count:,} replicates"
    for name in names:
        row = result["systems"][name]
        row |= {"ci95": over_speakers and over_speakers.interval(name), "ci95_note": note}
        row["ci95_utterance"] = over_utterances.interval(name)
    _add_to_texts(result["groups"]["text"], names, over_speakers, over_utterances)
    result["comparison_note"] = _why_none(result, names, no_character)
    if result["comparison_note"] is None:
        result["comparison"] = _comparison(result, systems, over_speakers, over_utterances, seed)


def _why_none(result: dict[str, Any], names: list[str], no_character: str | None) -> dict[str, str] | None:
    """Why there is no comparison; None where there is one.

    Missing hypotheses count as deletions, but a hypothesis that invents text costs more than its deletion: without it a
    system may look better. So nothing is concluded from a decode that is not whole, unless both lack the same clips, as
    they do those that cannot be read (asr.unreadable): these count alike.
    """
    if FROM not in names or TO not in names:
        return {"en": "No baseline was scored: there is nothing to compare with.", "zh": "没有给基线打分，无从比较。"}
    if no_character:
        return {"en": f"Nothing is compared: {no_character}.", "zh": "没有比较：参考文本中没有字。"}
    if result["systems"][FROM]["missing"] == result["systems"][TO]["missing"]:
        return None
    missing = {name: result["systems"][name]["n_missing"] for name in names if result["systems"][name]["n_missing"]}
    english = " and ".join(f"{count:,} hypotheses of {name}" for name, count in missing.items())
    chinese = "，".join(f"{name} 缺 {count:,} 条" for name, count in missing.items())
    return {
        "en": f"Nothing is compared: {english} are missing. Decode the whole test set, and score again.",
        "zh": f"没有比较：识别结果不全（{chinese}）。请解码整个测试集后重新打分。",
    }


def verdict(absolute_ci95: Sequence[float] | None) -> str:
    """``lower``, ``higher`` or ``unclear``: whether the interval of the reduction of the CER leaves out zero."""
    if absolute_ci95 is None:
        return "unclear"
    low, high = absolute_ci95
    return "lower" if low > 0 else "higher" if high < 0 else "unclear"


def _add_to_texts(
    groups: dict[str, Any] | None, names: list[str], over_speakers: Draws | None, over_utterances: Draws
) -> None:
    for text, row in (groups or {}).items():
        reason = bootstrap.why_not(row["n_speakers"])
        for name in names:
            if row[name]:
                known = over_speakers if not reason else None
                row[name]["ci95"] = known and known.interval(name, text)
                row[name]["ci95_utterance"] = over_utterances.interval(name, text)


def _reduction(before: float | None, after: float | None) -> dict[str, float | None]:
    absolute = None if before is None or after is None else before - after
    return {
        "absolute_reduction": absolute,
        "relative_reduction": absolute / before if absolute is not None and before else None,
    }


def _comparison(
    result: dict[str, Any],
    systems: Mapping[str, Sequence[Scored]],
    over_speakers: Draws | None,
    over_utterances: Draws,
    seed: int,
) -> dict[str, Any]:
    pairs = list(zip(systems[FROM], systems[TO], strict=True))
    segments = (
        segment for old, new in pairs for segment in significance.segments(old.alignment.chunks, new.alignment.chunks)
    )
    absolute, relative = over_speakers.reductions() if over_speakers else (None, None)
    absolute_utterance, relative_utterance = over_utterances.reductions()
    return {
        "from": FROM,
        "to": TO,
        "verdict": verdict(absolute or absolute_utterance),
        **_reduction(*(result["systems"][name]["cer"] for name in (FROM, TO))),
        "absolute_ci95": absolute,
        "relative_ci95": relative,
        "absolute_ci95_utterance": absolute_utterance,
        "relative_ci95_utterance": relative_utterance,
        "probability_of_improvement": {
            "speakers": over_speakers and over_speakers.probability_of_improvement(),
            "utterances": over_utterances.probability_of_improvement(),
        },
        "mapsswe": significance.mapsswe(segments),
        "speakers": _speakers({} if UNKNOWN_SPEAKER in result["by_speaker"] else result["by_speaker"], seed),
        "utterances_better": sum(new.counts.errors < old.counts.errors for old, new in pairs),
        "utterances_worse": sum(new.counts.errors > old.counts.errors for old, new in pairs),
        "utterances_same": sum(new.counts.errors == old.counts.errors for old, new in pairs),
        "text": _texts(result["groups"]["text"], over_speakers),
    }


def _speakers(rows: Mapping[str, Any], seed: int) -> dict[str, Any]:
    """How many speakers gained, and the sign-flip test over them."""
    found = [_reduction(row[FROM]["cer"], row[TO]["cer"])["absolute_reduction"] for row in rows.values()]
    differences = [value for value in found if value is not None]
    p, least = significance.sign_flip(differences, seed)
    return {
        "better": sum(value > 0 for value in differences),
        "worse": sum(value < 0 for value in differences),
        "same": sum(value == 0 for value in differences),
        "p": p,
        "smallest_p": least,
    }


def _texts(groups: Mapping[str, Any] | None, over_speakers: Draws | None) -> dict[str, Any]:
    found: dict[str, Any] = dict.fromkeys((SEEN, UNSEEN))
    for text, row in (groups or {}).items():
        if row[FROM] and row[TO]:
            known = over_speakers if not bootstrap.why_not(row["n_speakers"]) else None
            absolute, relative = known.reductions(text) if known else (None, None)
            found[text] = _reduction(row[FROM]["cer"], row[TO]["cer"])
            found[text] |= {"absolute_ci95": absolute, "relative_ci95": relative}
    return found
