"""What a comparison shows, in one sentence for the screen and both pages, in English and Chinese.

No sentence is firmer than its interval: of speakers like these only where the interval over speakers leaves out zero,
of these speakers only where the interval over their utterances does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from asr.speaker_interval import MIN_SPEAKERS

_EN = {
    "lower": "On speakers like these {who}, fine-tuning lowers the CER by {size}",
    "higher": "On speakers like these {who}, fine-tuning raises the CER by {size}",
    "lower_here": "In this test set ({who}) the CER is lower after fine-tuning, by {size}{others}",
    "higher_here": "In this test set ({who}) the CER is higher after fine-tuning, by {size}{others}",
    "unclear": "It is not clear that fine-tuning changes the CER: the reduction is {size}",
}
_ZH = {
    "lower": "对于像这 {who} 位一样的说话人，微调使字错率下降 {size}",
    "higher": "对于像这 {who} 位一样的说话人，微调使字错率上升 {size}",
    "lower_here": "在本测试集上（{who}），微调后字错率低 {size}{others}",
    "higher_here": "在本测试集上（{who}），微调后字错率高 {size}{others}",
    "unclear": "不能断定微调改变了字错率：下降 {size}",
}


def verdict(over_speakers: Sequence[float] | None, over_utterances: Sequence[float] | None) -> str:
    """Return ``lower`` or ``higher``, with ``_here`` where only utterances show it, or ``unclear``.

    The intervals are those of the reduction of the CER; the first leaves out zero, or else the second, or neither.
    """
    for ci95, where in ((over_speakers, ""), (over_utterances, "_here")):
        if ci95 and (ci95[0] > 0 or ci95[1] < 0):
            return ("lower" if ci95[0] > 0 else "higher") + where
    return "unclear"


def verdict_note(comparison: Mapping[str, Any], speakers: int) -> dict[str, str]:
    """Return the sentence, ``en`` and ``zh``; ``speakers`` is how many the test set has, 0 where nobody knows."""
    found = comparison["verdict"]
    sign = -1 if found.startswith("higher") else 1
    firm = found in ("lower", "higher")
    size_en, size_zh = _size(comparison, sign, "absolute_ci95" if firm else "absolute_ci95_utterance")
    others_en, others_zh = _others(comparison, speakers, sign)
    who_en, who_zh = "these speakers, not all known", "还是这些说话人，并非都已知"
    if speakers:
        these = f"these {speakers} speakers" if speakers > 1 else "this 1 speaker"
        who_en, who_zh = f"{these}, other utterances of theirs", f"还是这 {speakers} 位说话人，换一批语句"
    if firm:
        who_en = who_zh = str(speakers)
    return {
        "en": _EN[found].format(who=who_en, size=size_en, others=others_en) + ".",
        "zh": _ZH[found].format(who=who_zh, size=size_zh, others=others_zh) + "。",
    }


def _size(comparison: Mapping[str, Any], sign: int, interval: str) -> tuple[str, str]:
    points, relative = 100 * sign * comparison["absolute_reduction"], comparison["relative_reduction"]
    ends, over = _ends(comparison[interval], sign), interval == "absolute_ci95"
    share = "" if relative is None else f"{100 * sign * relative:.1f} %"
    english, chinese = "no interval", "无区间"
    if ends:
        english = f"95 % interval over {'speakers' if over else 'utterances'} {ends[0]} to {ends[1]}"
        chinese = f"按{'说话人' if over else '语句'}的 95 % 区间：{ends[0]} 至 {ends[1]}"
    return (
        f"{points:.2f} points{share and f', {share} relative'} ({english})",
        f"{points:.2f} 个百分点{share and f'，相对 {share}'}（{chinese}）",
    )


def _others(comparison: Mapping[str, Any], speakers: int, sign: int) -> tuple[str, str]:
    if not speakers:
        return "; nobody can tell whether it would be for other speakers", "；换了说话人会怎样，无从得知"
    count = f"{speakers} speaker{'s' * (speakers > 1)}"
    ends = _ends(comparison["absolute_ci95"], sign)
    if ends is None:
        few = f"（至少要 {MIN_SPEAKERS} 位）" if speakers < MIN_SPEAKERS else ""
        return f"; {count} cannot show that it would be for others", f"；{speakers} 位说话人不足以说明别人也会如此{few}"
    return (
        f"; {count} do not show that it would be for others (interval over speakers {ends[0]} to {ends[1]})",
        f"；这 {speakers} 位说话人还说明不了别人也会如此（按说话人的区间：{ends[0]} 至 {ends[1]}）",
    )


def _ends(ci95: Sequence[float] | None, sign: int) -> tuple[str, ...] | None:
    return ci95 and tuple(f"{100 * end:.2f}" for end in sorted(sign * end for end in ci95))
