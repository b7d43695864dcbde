"""A plain sentence on what so many test speakers can and cannot show, in English and Chinese."""

from __future__ import annotations

from asr.bootstrap import MIN_SPEAKERS
from asr.significance import LEAST_P

# Of 100 simulated corpora, in how many the 95 % interval over so many speakers held the true rate (from, to: by how
# unlike the speakers are): tests/measure_coverage.py; its table is in docs/scores.md.
# From 20 speakers on it is 94 to 96.
_COVERAGE = {4: (84, 89), 5: (83, 90), 8: (89, 93), 10: (91, 93)}
_MANY = 20


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
            f" over speakers, because resampling fewer than {MIN_SPEAKERS} cannot tell how much speakers differ."
        ),
        "zh": (
            f"测试说话人只有 {speakers} 位：这些数字只说明这些人。不给出按说话人的区间："
            f"少于 {MIN_SPEAKERS} 位时，重采样无从得知说话人之间差异有多大。"
        ),
    }


def _enough(speakers: int) -> dict[str, str]:
    least = f"{max(2 / 2**speakers, LEAST_P):.3g}"
    known = max(number for number in _COVERAGE if number <= speakers)
    low, high = _COVERAGE[known]
    narrow_en = (
        f" With so few it is too narrow: in simulated corpora of {known} speakers it held the true rate {low} to {high}"
        " times in 100, not 95."
    )
    narrow_zh = (
        f"人数这样少，区间偏窄：在 {known} 位说话人的模拟语料中，"
        + f"100 次里只有 {low} 至 {high} 次包含真值，而不是 95 次。"
    )
    few = speakers < _MANY
    return {
        "en": (
            f"{speakers} test speakers: the interval over speakers says roughly what other speakers like these would"
            f" give.{narrow_en * few} It says nothing of speakers unlike them, of another cause or severity; and a test"
            f" over these speakers alone cannot reach a p below {least}."
        ),
        "zh": (
            f"{speakers} 位测试说话人：按说话人的区间大致说明同类的其他说话人会得到什么结果。{narrow_zh * few}"
            f"对病因或严重程度不同的说话人，它什么也没有说；只按这些说话人做检验，p 不可能小于 {least}。"
        ),
    }
