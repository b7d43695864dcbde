"""The headline of a score in sentences, English and Chinese: worded here once, for the screen and for both pages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from asr.core.names import NOT_ALL_KNOWN
from asr.scoring.comparison import NO_CHARACTER
from asr.scoring.significance import p_equals, p_value
from asr.scoring.speaker_interval import MIN_SPEAKERS, NO_SPREAD, ONE_SPEAKER

Note = Mapping[str, str]  # "en" and "zh"; sentences with their full stop

_SYSTEMS_ZH = {"baseline": "未微调", "tuned": "微调后"}
_WHY_NO_INTERVAL_ZH = {
    NOT_ALL_KNOWN: "并非所有说话人都已知",
    NO_CHARACTER: "参考文本中没有字",
    ONE_SPEAKER: "一位说话人占去大半的字",
    NO_SPREAD: "所有说话人的字错率相同，无从估计他们之间的差异",
}
_WHAT_CER_IS = {
    "en": (
        "CER is corpus-level: errors of all utterances over all reference characters, on normalised text; a missing"
        " hypothesis counts as deletions. Means of speakers' and of utterances' rates stand beside it and are never it."
    ),
    "zh": (
        "字错率按整个语料计算：所有语句的错误数除以参考文本的总字数，先做文本规范化；缺失的识别结果按删除计。"
        "按说话人、按语句平均的数值仅供对照，不能代替字错率。"
    ),
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
    about = [_size(score), _WHAT_CER_IS, _intervals(score)]
    return Headline(finding, _warnings(score), tests, score.get("speaker_note"), about)


def _warnings(score: Mapping[str, Any]) -> list[Note]:
    notes = [score["silence_note"]] if score.get("silence_note") else []
    warnings = score.get("warnings", ())
    if not any(warning.get("kind") == "missing_hypotheses" for warning in warnings):
        for name, row in score["systems"].items():
            if row["n_missing"]:
                count = f"{row['n_missing']:,}"
                english = f"{name}: {count} missing hypotheses, counted as deletions."
                notes.append({"en": english, "zh": f"{_SYSTEMS_ZH[name]}：缺 {count} 条识别结果，按删除计。"})
    return [*notes, *({"en": f"Warning: {note['en']}.", "zh": f"注意：{note['zh']}。"} for note in warnings)]


def _tests(comparison: Mapping[str, Any]) -> list[Note]:
    """Return how many utterances and speakers got better, and the tests over speakers and over segments."""
    better, worse, same = (f"{comparison[f'utterances_{kind}']:,}" for kind in ("better", "worse", "same"))
    notes = [
        {
            "en": f"{better} utterances got better, {worse} worse, {same} stayed the same.",
            "zh": f"{better} 条语句变好，{worse} 条变差，{same} 条不变。",
        }
    ]
    speakers = comparison["speakers"]
    if speakers["p"] is not None:
        better, worse, same = (f"{speakers[kind]:,}" for kind in ("better", "worse", "same"))
        p, least = p_equals(speakers["p"]), p_value(speakers["smallest_p"])
        english = f"{better} speakers better, {worse} worse, {same} the same; sign-flip test over the speakers, {p}"
        chinese = f"{better} 位说话人变好，{worse} 位变差，{same} 位不变；按说话人的符号翻转检验 {p}"
        notes.append({"en": f"{english} (it cannot be below {least}).", "zh": f"{chinese}（不可能小于 {least}）。"})
    segments = comparison["mapsswe"]
    if segments and segments["p"] is not None:
        size, p = f"{segments['segments']:,}", p_equals(segments["p"])
        z = "n/a" if segments["z"] is None else f"{segments['z']:.2f}"
        remark = f" ({segments['note']})" if segments.get("note") else ""
        notes.append(
            {
                "en": (
                    f"MAPSSWE (matched pairs, sentence segments) over {size} segments: z = {z}, {p}{remark}; it takes"
                    " segments as independent, which those of one speaker are not."
                ),
                "zh": (f"MAPSSWE 检验，{size} 个片段：z = {z}，{p}；它假定各片段独立，而同一说话人的片段并不独立。"),
            }
        )
    return notes


def _size(score: Mapping[str, Any]) -> Note:
    reference, row = score["reference"], next(iter(score["systems"].values()))
    english, chinese = speakers(reference)
    english += f", {reference['n_utt']:,} utterances, {row['ref_len']:,} characters"
    chinese += f"，{reference['n_utt']:,} 条语句，{row['ref_len']:,} 字"
    if empty := reference["n_empty_ref"]:
        english, chinese = f"{english}; {empty:,} references are empty", f"{chinese}；{empty:,} 条参考文本为空"
    return {"en": f"{english}.", "zh": f"{chinese}。"}


def speakers(reference: Mapping[str, Any]) -> tuple[str, str]:
    """Return how many speakers a test set has, and how many clips each, in English and in Chinese.

    How many clips a speaker has shows where one person was split into many: names cannot tell.
    """
    if not reference["n_speakers"]:
        return "unknown speakers", "说话人不详"
    english, chinese = f"{reference['n_speakers']:,} speakers", f"{reference['n_speakers']:,} 位说话人"
    if clips := reference.get("clips_per_speaker"):
        least, most, median = f"{clips['min']:,}", f"{clips['max']:,}", f"{clips['median']:,g}"
        each = (f"{least} to {most} clips each, median {median}", f"每人 {least} 至 {most} 条，中位数 {median}")
        each = (f"{least} clips each", f"每人 {least} 条") if least == most else each
        english, chinese = f"{english} ({each[0]})", f"{chinese}（{each[1]}）"
    return english, chinese


def _intervals(score: Mapping[str, Any]) -> Note:
    row = next(iter(score["systems"].values()))
    bootstrap = f"over utterances by the bootstrap, {score['replicates']:,} replicates, seed {score['seed']}"
    bootstrap_zh = f"按语句的区间用自助法（bootstrap），重复 {score['replicates']:,} 次，随机种子 {score['seed']}"
    english, chinese = f"Intervals: {row['ci95_note']}", "按说话人的区间用刀切法（jackknife），取 t 分布的分位数"
    reasons = dict.fromkeys(each["ci95_note"] for each in score["systems"].values() if not each["ci95"])
    if reasons:
        english = f"No interval over speakers: {'; '.join(reasons)}"
        few = f"说话人不足 {MIN_SPEAKERS} 位"
        chinese = f"没有给出按说话人的区间：{'；'.join(_WHY_NO_INTERVAL_ZH.get(reason, few) for reason in reasons)}"
    return {"en": f"{english}; {bootstrap}.", "zh": f"{chinese}；{bootstrap_zh}。"}
