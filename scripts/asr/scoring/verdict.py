"""What a comparison shows, in one sentence for the screen and both pages, in English and Chinese.

No sentence is firmer than its interval: of speakers like these only where the interval over speakers leaves out zero,
of these speakers only where the interval over their utterances does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

_EN = {
    "lower": "On speakers like these {who}, fine-tuning lowers the CER by {size} ({within})",
    "higher": "On speakers like these {who}, fine-tuning raises the CER by {size} ({within})",
    "lower_here": "In this test set ({who}) the CER is lower after fine-tuning, by {size} ({within}){others}",
    "higher_here": "In this test set ({who}) the CER is higher after fine-tuning, by {size} ({within}){others}",
    "unclear": "It is not clear that fine-tuning changes the CER: the reduction is {size} ({within})",
}
_ZH = {
    "lower": "对于像这 {who} 位一样的说话人，微调使字错率下降 {size}（{within}）",
    "higher": "对于像这 {who} 位一样的说话人，微调使字错率上升 {size}（{within}）",
    "lower_here": "在本测试集上（{who}），微调后字错率低 {size}（{within}）{others}",
    "higher_here": "在本测试集上（{who}），微调后字错率高 {size}（{within}）{others}",
    "unclear": "不能断定微调改变了字错率：下降 {size}（{within}）",
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
    found, relative = comparison["verdict"], comparison["relative_reduction"]
    sign = -1 if found.startswith("higher") else 1
    over, own = (_span(comparison[name], sign) for name in ("absolute_ci95", "absolute_ci95_utterance"))
    points = f"{100 * sign * comparison['absolute_reduction']:.2f}"
    share = "" if relative is None else f"{100 * sign * relative:.1f} %"
    size = (f"{points} points{share and f', {share} relative'}", f"{points} 个百分点{share and f'，相对 {share}'}")
    if found in ("lower", "higher"):
        who = (str(speakers),) * 2
        within = (f"95 % interval over speakers {over[0]}", f"按说话人的 95 % 区间：{over[1]}")
    else:
        these = f" {speakers} 位" if speakers else "些"
        who = (f"{_count(speakers)}, other utterances of theirs", f"还是这{these}说话人，换一批语句")
        within = (f"95 % interval over utterances {own[0]}", f"按语句的 95 % 区间：{own[1]}")
    others = (
        f"; {_count(speakers)} do not show that it would be for others (interval over speakers {over[0]})",
        f"；这 {speakers} 位说话人还说明不了别人也会如此（按说话人的区间：{over[1]}）",
    )
    if not speakers:
        others = ("; nobody can tell whether it would be for other speakers", "；换了说话人会怎样，无从得知")
    elif not comparison["absolute_ci95"]:
        cannot = f"{_count(speakers)} cannot show that it would be for others"
        others = (f"; {cannot}", f"；{speakers} 位说话人不足以说明别人也会如此")
    english, chinese = (
        words[found].format(who=who[place], size=size[place], within=within[place], others=others[place])
        for place, words in enumerate((_EN, _ZH))
    )
    return {"en": f"{english}.", "zh": f"{chinese}。"}


def _count(speakers: int) -> str:
    return f"{speakers} speaker{'s' * (speakers > 1)}" if speakers else "speakers not all known"


def _span(ci95: Sequence[float] | None, sign: int) -> tuple[str, str]:
    ends = [f"{100 * end:.2f}" for end in sorted(sign * end for end in ci95 or ())]
    return " to ".join(ends) or "none", " 至 ".join(ends) or "无"
