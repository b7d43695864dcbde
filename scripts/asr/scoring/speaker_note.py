"""A plain sentence on what so many test speakers can and cannot show, in English and Chinese."""

from __future__ import annotations

from asr.scoring.significance import LEAST_P
from asr.scoring.speaker_interval import MIN_SPEAKERS

# Of 100 simulated corpora, in how many the 95 % interval over speakers held the truth, from four speakers to 44 (from,
# to): benchmarks/interval_coverage.py; its table is in docs/scores.md.
_COVERAGE = (93, 97)

_UNKNOWN = {
    "en": (
        "Who speaks is not known for all utterances: no figure is over speakers, nobody can tell whether the test"
        " speakers are unseen, and the intervals over utterances are too narrow for other speakers."
    ),
    "zh": (
        "并非所有语句都知道说话人是谁：没有按说话人计算的数字，也无法判断测试说话人是否在训练中出现过；"
        "按语句的区间对其他说话人来说偏窄。"
    ),
}


def speaker_note(speakers: int, known: bool = True) -> dict[str, str]:
    """``en`` and ``zh``: what figures on so many test speakers say, and what they do not."""
    if not known:
        return _UNKNOWN
    return _too_few(speakers) if speakers < MIN_SPEAKERS else _enough(speakers)


def _too_few(speakers: int) -> dict[str, str]:
    who = "this speaker" if speakers == 1 else "these speakers"
    return {
        "en": (
            f"{speakers} test speaker{'s' * (speakers != 1)}: the figures are about {who} only. There is no interval"
            f" over speakers, because fewer than {MIN_SPEAKERS} cannot tell how much speakers differ."
        ),
        "zh": (
            f"测试说话人只有 {speakers} 位：这些数字只说明这些人。不给出按说话人的区间："
            f"少于 {MIN_SPEAKERS} 位时，无从得知说话人之间差异有多大。"
        ),
    }


def _enough(speakers: int) -> dict[str, str]:
    least, (low, high) = f"{max(2 / 2**speakers, LEAST_P):.3g}", _COVERAGE
    return {
        "en": (
            f"{speakers} test speakers: the interval over speakers says what other speakers like these would give; in"
            f" simulated corpora it held the truth {low} to {high} times in 100. It says nothing of speakers unlike"
            f" them, of another cause or severity; and a test over these speakers alone cannot reach a p below {least}."
        ),
        "zh": (
            f"{speakers} 位测试说话人：按说话人的区间说明同类的其他说话人会得到什么结果，"
            f"在模拟语料中，100 次里有 {low} 至 {high} 次包含真值。"
            f"对病因或严重程度不同的说话人，它什么也没有说；只按这些说话人做检验，p 不可能小于 {least}。"
        ),
    }
