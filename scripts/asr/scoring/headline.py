"""The headline of a score in sentences, English and Chinese: worded once, for the screen and for both pages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from asr.core.names import NOT_ALL_KNOWN
from asr.scoring.notes import Note, note
from asr.scoring.significance import p_equals, p_value
from asr.scoring.speaker_interval import MIN_SPEAKERS, NO_CHARACTER, NO_SPREAD, ONE_SPEAKER

_WHY_NO_INTERVAL_ZH = {
    NOT_ALL_KNOWN: "并非所有说话人都已知",
    NO_CHARACTER: "参考文本中没有字",
    ONE_SPEAKER: "一位说话人占去大半的字",
    NO_SPREAD: "所有说话人的字错误率相同，无从估计他们之间的差异",
}


class Headline(NamedTuple):
    """What a score shows: the finding in one sentence, what may mislead in it, how sure it is, what was counted."""

    finding: Note
    warnings: list[Note]
    tests: list[Note]
    speakers: Note | None
    about: list[Note]


def headline(score: Mapping[str, Any]) -> Headline:
    """Return the headline of a score.json."""
    comparison = score["comparison"]
    finding = comparison["verdict_note"] if comparison else score["comparison_note"]
    tests = _tests(comparison) if comparison else []
    about = [_size(score), note("what_cer_is"), _intervals(score)]
    return Headline(finding, _warnings(score), tests, score.get("speaker_note"), about)


def _warnings(score: Mapping[str, Any]) -> list[Note]:
    notes = [score["silence_note"]] if score.get("silence_note") else []
    warnings = score.get("warnings", ())
    if not any(warning.get("kind") == "missing_hypotheses" for warning in warnings):
        missing = {name: row["n_missing"] for name, row in score["systems"].items() if row["n_missing"]}
        notes += [note(f"{name}_missing", missing=count) for name, count in missing.items()]
    return [*notes, *(note("warning", warning=warning) for warning in warnings)]


def _tests(comparison: Mapping[str, Any]) -> list[Note]:
    """Return how many utterances and speakers got better, and the tests over speakers and over segments."""
    changes = {kind: comparison[f"utterances_{kind}"] for kind in ("better", "worse", "same")}
    notes = [note("utterances_changed", **changes)]
    speakers, segments = comparison["speakers"], comparison["mapsswe"]
    if speakers["p"] is not None:
        tested = {"p": p_equals(speakers["p"]), "least": p_value(speakers["smallest_p"])}
        notes.append(note("sign_flip", **{**speakers, **tested}))
    if segments and segments["p"] is not None:
        remark = f" ({segments['note']})" if segments.get("note") else ""
        notes.append(note("mapsswe", **{**segments, "p": p_equals(segments["p"]), "remark": remark}))
    return notes


def _size(score: Mapping[str, Any]) -> Note:
    reference, row = score["reference"], next(iter(score["systems"].values()))
    return note(
        "size_with_empty" if reference["n_empty_ref"] else "size",
        speakers=speakers(reference),
        utterances=reference["n_utt"],
        characters=row["ref_len"],
        empty=reference["n_empty_ref"],
    )


def speakers(reference: Mapping[str, Any]) -> Note:
    """Return how many speakers a test set has, and how many clips each.

    How many clips a speaker has shows where one person was split into many: names cannot tell.
    """
    if not reference["n_speakers"]:
        return note("no_speaker_known")
    clips = reference.get("clips_per_speaker")
    if not clips:
        return note("number_of_speakers", speakers=reference["n_speakers"])
    return note(
        "clips_alike" if clips["min"] == clips["max"] else "clips_each", speakers=reference["n_speakers"], **clips
    )


def _intervals(score: Mapping[str, Any]) -> Note:
    rows = list(score["systems"].values())
    reasons = list(dict.fromkeys(row["ci95_note"] for row in rows if not row["ci95"]))
    if reasons:
        few = f"说话人不足 {MIN_SPEAKERS} 位"
        chinese = "；".join(_WHY_NO_INTERVAL_ZH.get(reason, few) for reason in reasons)
        over_speakers = note("not_over_speakers", reasons={"en": "; ".join(reasons), "zh": chinese})
    else:
        over_speakers = note("over_speakers", how=rows[0]["ci95_note"])
    return note("intervals", over_speakers=over_speakers, replicates=score["replicates"], seed=score["seed"])
