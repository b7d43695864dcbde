"""Digits as Mandarin reads them aloud: ``3点15分`` is 三点十五分, ``50%`` is 百分之五十, ``2个`` is 两个.

``wetext`` (Apache-2.0; the grammars of WeTextProcessing) reads; only what stands around a digit is shown to it, so text
without digits can neither be changed by it nor cost its start (0.35 s). What it reads wrongly or not at all is put
right before it reads, by ``_REWRITES``, each with its example. Whatever digit is then still there, and runs of more
than ``LONGEST_NUMBER`` digits, which nobody says as one number, are read digit by digit.

Which of several readings was said, a written digit cannot tell: 2012 is 两千零一十二 here and 2012年 二零一二年, 1-2 is
一减二, 200 is 两百 although 二百 is as common, and a phone number has 幺 where some say 一. The error that this makes
stays below the error of comparing 两 with 2.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Callable

LONGEST_NUMBER = 12  # digits, 千亿; longer runs are identity cards, bank cards and decoders gone wrong
LONGEST_WINDOW = 200  # characters shown to wetext at once: its time grows with them (0.15 ms a character)

_DIGITS = str.maketrans("0123456789", "零一二三四五六七八九")
_DIGIT = re.compile(r"\d")
_ASCII_DIGIT = re.compile(r"[0-9]")
# What can change how a number is read: a sign or currency before it, a unit after it (立方厘米), what joins two. Nearer
# than 2 + 5 characters two numbers share a window, so no window takes what another needs.
_WINDOW = re.compile(r".{0,2}[0-9](?:.{0,7}[0-9])*.{0,5}", re.DOTALL)

# Latin letters are a unit only as a whole word: 3kg, but not 3 men and not 1v1. "|" keeps wetext from joining the two;
# like every symbol it is removed afterwards.
# A letter alone (4S店, 100M, 3M) is as often a name as a unit, and stays a letter.
_UNITS = "km|dm|cm|mm|kg|mg|ml|kw|kwh|min|hz|khz|mhz|ghz"
# Where wetext has 二 and Mandarin 两. Left out, as they are as often an ordinal: 号 楼 月 班 级 组 期 章 节 排.
_MEASURES = (
    "[台部间栋朵滴副句种样遍下声门步幅份股顿番团串束圈列扇床包笔倍项枚]"
    "|次(?!元|函|方)|年(?!级)|星期|礼拜|点(?![0-9](?![0-9分]))"
)
_NOT_BEFORE_TWO = "0-9a-z.,:/%第初周期拜十百千万亿零一二三四五六七八九高大小老"

_REWRITES: tuple[tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]], ...] = (
    (re.compile(r"[\u2044\u2215]"), "/"),  # ½ is 1⁄2 in NFKC
    (re.compile(r"(?<![0-9,.])[0-9]{1,3}(?:,[0-9]{3})+(?![0-9,])"), lambda match: match[0].replace(",", "")),  # 1,000
    (re.compile(rf"[0-9]{{{LONGEST_NUMBER + 1},}}"), lambda match: match[0].translate(_DIGITS)),
    (re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*‰"), r"千分之\1"),
    (re.compile(rf"([0-9])\s*(?=[a-z])(?!(?:{_UNITS})(?![a-z0-9]))"), r"\1|"),
    (re.compile(r"(第\s*[0-9]+)"), r"\1|"),  # 第2个 is 第二个
    (re.compile(r"(?<=月)\s*2\s*(?=[日号])|(?<=点)\s*2\s*(?=分)"), "二"),  # 5月2日 is 五月二日, 3点2分 三点二分
    (re.compile(r"([0-9])\s*(?=分之)"), r"\1|"),  # 2分之1
    (re.compile(rf"(?<![{_NOT_BEFORE_TWO}])2\s*(?={_MEASURES})"), "两"),
)


def has_digits(text: str) -> bool:
    """Whether ``text`` holds a decimal digit of any script (category Nd)."""
    return _DIGIT.search(text) is not None


def read_numbers(text: str, simplified: Callable[[str], str] = str) -> str:
    """``text`` (NFKC, Latin in lower case) with its digits as Han characters; no digit is left, nothing else changes.

    Marks and blanks beside a number may go (they belong to 12:30 and 1,000), so remove them from the whole afterwards.
    ``simplified`` turns what is shown to wetext into simplified characters: it knows 个 but not 個.

        >>> read_numbers("我2个人花了3.5元")
        '我两个人花了三点五元'
    """
    if not has_digits(text):
        return text
    text = "".join(map(_plain, text))
    for pattern, replacement in _REWRITES:
        text = pattern.sub(replacement, text)
    text = _WINDOW.sub(lambda match: _read(simplified(match[0])), text)
    return text.translate(_DIGITS)


@functools.lru_cache(maxsize=65536)
def _plain(char: str) -> str:
    """ASCII for digits of other scripts; without what is not text: wetext takes no surrogates and ends at a NUL."""
    category = unicodedata.category(char)
    if category == "Nd":
        return str(unicodedata.decimal(char))
    if category in ("Cs", "Cf"):
        return ""
    return " " if category == "Cc" else char


@functools.lru_cache(maxsize=65536)
def _read(window: str) -> str:
    if len(window) > LONGEST_WINDOW or not _ASCII_DIGIT.search(window):
        return window
    read = _normalizer()(window)
    return read.replace("第两", "第二") if "第" in window else read  # 第200


@functools.cache
def _normalizer() -> Callable[[str], str]:
    from wetext import Normalizer  # 0.35 s: only where there is a digit

    return Normalizer(lang="zh", operator="tn").normalize
