"""Traditional characters, and variants of one character, as the simplified script writes them.

opencc's ``t2s`` converts by phrases, so 乾隆 stays. What it leaves of the same kind, found by comparing it over all
ideographs with two other tables (wetext's, and opencc's own for Hong Kong):

- variants of one character (暱 昵, 妳 你, 衹 只, 砲 炮, 关 関): wetext's table, some 600, none of which is in GB 2312;
- words: 甚么 is 什么, 祇 is 只 but in 神祇 and 地祇, 枱 is 台, and 著 is the particle 着 but in words that keep it.

Not one are 想像 and 想象, 帐 and 账, 的 and 地: the simplified script has both.
"""

from __future__ import annotations

import functools
import re
from typing import Any

_WORDS = (
    # zhù (土著: zhuó) in these words, else the particle and verb 着. Limits: a word not listed.
    (re.compile("(?<![显名巨专原论编译卓昭土遗拙])著(?!作(?!业)|名(?!单|字|片|牌|额)|称|述|录|书立)"), "着"),
    (re.compile("甚(?=么)"), "什"),
    (re.compile("(?<![神地灵])祇"), "只"),
    (re.compile("枱"), "台"),
)
# Written so in names (方堃, 氹仔, 郤克), or read otherwise (嘅, 謦欬).
_OF_THEIR_OWN = frozenset("喆堃犇邨甦祐珮濬澂凃椀郃郤氹嘅哢喦埛夘戼扡欬煆臒裦")


def simplified(text: str) -> str:
    """Return ``text`` in simplified characters. Lone surrogates, which opencc refuses, are expected to be gone."""
    if not text or text.isascii():
        return text
    text = _opencc().convert(text)
    for pattern, word in _WORDS:
        text = pattern.sub(word, text)
    return "".join(map(_variant, text))


@functools.lru_cache(maxsize=65536)
def _variant(char: str) -> str:
    is_rare = "\u3400" <= char <= "\u9fff" and char not in _OF_THEIR_OWN and not char.encode("gb2312", "ignore")
    return _wetext()(char) if is_rare else char


@functools.cache
def _opencc() -> Any:
    from opencc import OpenCC  # loaded only where text is scored

    return OpenCC("t2s")


@functools.cache
def _wetext() -> Any:
    """Return what converts one character by wetext's table, which is read alone: importing wetext reads all of them."""
    from importlib.metadata import distribution

    from kaldifst import TextNormalizer

    return TextNormalizer(str(distribution("wetext").locate_file("wetext/fsts/traditional_to_simple.fst")))
