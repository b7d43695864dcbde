"""Digits as Mandarin reads them aloud: ``3点15分`` is 三点十五分, ``50%`` is 百分之五十, ``2个`` is 两个.

``wetext`` (Apache-2.0; the grammars of WeTextProcessing) reads each number by itself, with the few characters behind it
that can be its unit, so two numbers are never taken for one. A character behind the number is the number's own only
where wetext read it (``10ms``, ``8:00 a.m.``); a Han character never is. What wetext reads wrongly is put right here,
and only where ``benchmarks/number_readings.py`` shows that it is better so. Which of several readings was said, a
written digit cannot tell: asr.scoring.number_readings.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Sequence
from typing import Any, NamedTuple

from asr.scoring.simplified import simplified

LONGEST_NUMBER = 12  # digits, 千亿; longer runs are identity cards, bank cards and decoders gone wrong
LONGEST_WRITTEN = 40  # characters of 1+1+1+…, shown to wetext at once: its time grows with them

_DIGITS = str.maketrans("0123456789", "零一二三四五六七八九")
_DIGIT = re.compile(r"\d")
_HAN = re.compile(r"[\u3400-\u9fff]")
# A sign counts nothing behind a digit or a letter; 1号-5号 is one expression, as 1-5号 is.
_NUMBER = re.compile(
    r"(?:[¥$€£]\s*|(?<![0-9A-Za-z])[-+])?(?:[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])|[0-9]+)"
    r"(?:(?:[.:/+×=]|[\u4e00-\u9fff]?[-~])[0-9]+)*"
)
# What can be its unit: Latin letters only as whole words, so not those of 1v1.
_BEHIND = re.compile(r"(?:[A-Za-z]{1,12}(?![A-Za-z0-9])|[^0-9A-Za-z]){0,6}")
_CAPITALS = re.compile("(?<![A-Za-z])(?:[KCM]M|[KM]G|ML)(?![A-Za-z])")  # 5KM; a letter alone may be a name: 3M
_HALF_A_WORD = re.compile("[A-Za-z]{2}")
_THOUSANDS = re.compile(r"(?<![0-9,.])[0-9]{1,3}(?:,[0-9]{3})+(?![0-9,])")
_DECIMAL = re.compile(r"([0-9]{1,2})\.([0-9]{1,2})")

# Where wetext has 二 and Mandarin 两. Left out, as they are as often an ordinal: 号 楼 月 班 级 组 期 章 节 排.
_TWO_OF = re.compile(
    r"\s*(?:[台部间栋朵滴副句种样遍下声门步幅份股顿番团串束圈列扇床包笔倍项枚]"
    r"|次(?!元|函|方)|年(?!级)|星期|礼拜|点(?![0-9](?![0-9分])))"
)
_NO_COUNT = re.compile("[0-9A-Za-z.,:/%第初周期拜十百千万亿零〇一二三四五六七八九高大小老]$")
# Where wetext has 两 and Mandarin 二: 第2个, 第200名, 5月2日, 3点2分, 2分之1.
_ORDINALS = (("第", ""), ("月", "[日号]"), ("点", "分"), ("", "分之"))
_CALLED = re.compile(r"(?:打|拨|呼叫|电话|急救|报警|热线)(?:了|通|叫|是|号码)?$")


class Number(NamedTuple):
    """A number as it is written, and what it is read as first."""

    written: str
    reading: str


def has_digits(text: str) -> bool:
    """Return whether ``text`` holds a decimal digit of any script (category Nd)."""
    return _DIGIT.search(text) is not None


def _plain(text: str) -> str:
    """Return ``text`` with ASCII digits for all others, and without NUL and surrogates, which wetext refuses."""
    text = _DIGIT.sub(lambda digit: str(int(digit[0])), text.translate({0x2044: "/", 0x2215: "/"}))  # ½ is 1⁄2 in NFKC
    replaced = {"Cc": " ", "Cf": "", "Cs": ""}
    return "".join(replaced.get(unicodedata.category(char), char) for char in text)


def split_numbers(text: str) -> tuple[list[str], list[Number]]:
    """Return the parts of ``text`` (NFKC) before, between and behind its numbers, which hold no digit; and these."""
    text, parts, numbers, end = _plain(text), [], [], 0
    while match := _NUMBER.search(text, end):
        parts.append(text[end : match.start()])
        written, before, end = match[0], text[max(0, match.start() - 6) : match.start()], match.end()
        behind = _BEHIND.match(text, end)
        unit, reading = _read(written, simplified(behind[0]) if behind else "")  # wetext knows 个 but not 個
        reading = _put_right(before, written, text[end:], reading)
        end += unit
        if text.startswith("‰", end):
            end, reading = end + 1, f"千分之{reading}"
        numbers.append(Number(text[match.start() : end], reading))
    return [*parts, text[end:]], numbers


def read_numbers(text: str) -> str:
    """Return ``text`` (NFKC) with its digits as Han characters; nothing else but a number's unit changes.

    >>> read_numbers("我2个人花了3.5元")
    '我两个人花了三点五元'
    """
    if not has_digits(text):
        return text
    parts, numbers = split_numbers(text)
    return interleaved(parts, [number.reading for number in numbers])


def interleaved(parts: Sequence[str], numbers: Sequence[str]) -> str:
    """Return the parts with a number between each two."""
    return "".join(part + number for part, number in zip(parts, [*numbers, ""], strict=True))


@functools.lru_cache(maxsize=65536)
def _read(written: str, behind: str) -> tuple[int, str]:
    """Return how many characters of ``behind`` are the number's unit, and the reading of both."""
    lower = _CAPITALS.sub(lambda unit: unit[0].lower(), behind)
    whole = _alone(written + lower)
    kept = 0
    while kept < min(len(whole), len(lower)) and whole[-kept - 1] == lower[-kept - 1]:
        kept += 1
    unit, rest = lower[: len(lower) - kept], lower[len(lower) - kept :]
    if _HAN.search(unit) or _HALF_A_WORD.match(unit[-1:] + rest[:1]) or "字节" in whole:  # 3 men; nobody says 吉字节
        return 0, _alone(written)
    return len(unit), whole[: len(whole) - kept]


@functools.lru_cache(maxsize=65536)
def _alone(text: str) -> str:
    text = _THOUSANDS.sub(lambda match: match[0].replace(",", ""), text)
    if len(text) > LONGEST_WRITTEN or re.search(rf"[0-9]{{{LONGEST_NUMBER + 1}}}", text):
        return text.translate(_DIGITS)
    return _normalizer().normalize(text).translate(_DIGITS)


def value(digits: str) -> str:
    """Return a run of digits as one number: ``120`` is 一百二十."""
    return "二" if digits == "2" else _alone(f"{digits}个").removesuffix("个")


def one_by_one(digits: str) -> str:
    """Return a run of digits one by one: ``120`` is 一二零."""
    return digits.translate(_DIGITS)


def _put_right(before: str, written: str, behind: str, reading: str) -> str:
    """Return the reading, put right where wetext reads wrongly what stands between ``before`` and ``behind``."""
    if any(before.endswith(left) and re.match(rf"\s*{right}", behind) for left, right in _ORDINALS):
        return reading.replace("两", "二", 1) if reading.startswith("两") else reading
    if before.endswith("尾号") and written.isdigit():
        return one_by_one(written).replace("一", "幺")
    if written == "2" and not _NO_COUNT.search(before) and _TWO_OF.match(behind):
        return "两"
    if written.isdigit() and len(written) == 3 and "幺" in reading and not _CALLED.search(before):  # 血压120
        return value(written)
    if (decimal := _DECIMAL.fullmatch(written)) and "月" in reading:  # 11.5
        return f"{value(decimal[1])}点{one_by_one(decimal[2])}"
    if written.startswith("0:") and "比" in reading:  # 0:30
        return "零点" if written == "0:00" else f"零点{_alone(f'1:{written[2:]}').removeprefix('一点')}"
    return "百分之百" if reading == "百分之一百" else reading


@functools.cache
def _normalizer() -> Any:
    from wetext import Normalizer  # 0.35 s: only where there is a digit

    return Normalizer(lang="zh", operator="tn")
