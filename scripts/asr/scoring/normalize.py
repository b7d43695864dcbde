"""The one text normaliser: references, hypotheses and prompts are compared in its forms, and in no other.

docs/scores.md has both forms step by step. ``normalize`` is what data preparation and training targets use
(``normalize_target``, with blanks around Latin words); it keeps what was written. ``scoring_form`` is what is scored: a
recogniser that writes 3点 or 語音 said nothing wrong, so digits are read out and traditional characters simplified.
Marks go by Unicode category, so that no list of them has to be kept; letters and digits of any script, combining marks
and private-use characters stay, as do erhua, fillers and repetitions: these were said.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Collection

from asr.scoring.characters import spelt_out, without_tags
from asr.scoring.simplified import simplified
from asr.scoring.spoken_numbers import Number, read_numbers, split_numbers

VERSION = "zh-3"  # of the scoring form, in score.json; changes with every change of any output
OPTIONS = ("erhua", "fillers")  # what the scoring form can be asked to leave out

_HAN = re.compile(r"[\u4e00-\u9fff]*")
_DROPPED_CATEGORIES = ("Cc", "Cf", "Cs", "Me")  # control, format, lone surrogates, enclosing; and all of P, S and Z
_SELECTORS = re.compile("[\ufe00-\ufe0f\U000e0100-\U000e01ef]")
_LATIN_WORD = re.compile("[0-9]*[a-z\u00df-\u024f\u1e00-\u1eff][0-9a-z\u00df-\u024f\u1e00-\u1eff\u0300-\u036f]*")


def is_han(text: str) -> bool:
    """Return whether ``text`` is CJK Unified Ideographs alone: of these only ``simplified`` and OPTIONS change one."""
    return _HAN.fullmatch(text) is not None


@functools.lru_cache(maxsize=200_000)
def normalize(text: str) -> str:
    """Return ``text`` as it is compared: without marks and blanks, Latin in lower case. Twice changes nothing more.

    >>> normalize("我要去 ＫＴＶ，好吗？")
    '我要去ktv好吗'
    """
    if is_han(text):
        return text
    form = spelt_out(unicodedata.normalize("NFKC", without_tags(text)))
    form = "".join(map(_letter, form))
    # Removing a mark can bring a letter and its accent together, or a numeral and O: once more, until nothing changes.
    return form if form == text else normalize(form)


@functools.lru_cache(maxsize=65536)
def _letter(char: str) -> str:
    """Return a character as it is compared: nothing for a mark, a Latin letter in lower case."""
    category = unicodedata.category(char)
    if category[0] in "PSZ" or category in _DROPPED_CATEGORIES or _SELECTORS.match(char):
        return ""
    return char.lower() if _is_latin(char) else char


def _is_latin(char: str) -> bool:
    return unicodedata.name(char, "").startswith("LATIN")


def normalize_target(text: str) -> str:
    """Return ``text`` as a training target: normalised, with one blank on each side of a Latin word.

    Tokenizers look Latin words up between blanks, so 连接WiFi and 连接 WiFi are one target. Scoring takes all blanks
    away, so ``normalize(normalize_target(text)) == normalize(text)``.

        >>> normalize_target("我 要 听　Hello， World")
        '我要听 hello world'
    """
    if is_han(text):
        return text
    whole, target = normalize(text), ""
    for word in map(normalize, spelt_out(without_tags(text)).split()):
        between_latin = target and word and any(char.isascii() or _is_latin(char) for char in target[-1] + word[0])
        target += f" {word}" if between_latin else word
    # A mark can compose with the letter before a blank: then the words are no longer those that were written.
    target = target if target.replace(" ", "") == whole else whole
    return " ".join(_LATIN_WORD.sub(r" \g<0> ", target).split())


# Interjections that mark hesitation or listening and carry no other meaning. Not among them: 额 and 哈, which are words
# (额头, 哈尔滨), and the final particles 呀 吧 呢 吗. Limits: 唉声叹气 and a final 啊 lose theirs as well.
FILLERS = "嗯呃啊哦噢喔唔呣哎唉诶欸嗳"
_FILLER = re.compile(f"[{FILLERS}]")

# Erhua is 儿 after the Han character whose syllable it closes: 花儿, 这儿, 一点儿, 男孩儿. In the words listed it is a
# syllable of its own and stays. Limits: an own word that is not listed (names) loses its 儿; 在这儿子弹 keeps it.
_OWN_WORDS = (
    "台儿庄|正儿八经|吊儿郎当|(?:脑瘫|唐氏|早产|足月|巨大|低体重|[双多]胞?胎|试管|畸形|弱智|自闭症?|孤独症?|高危)儿"
    "|[聋盲乞骄]儿(?!童)|痴儿(?=呆女)"
    "|[女孤婴少幼胎健宠男妻育患弃产孙侄]儿|(?:新生|低能|混血|幸运|弄潮|早熟)儿|一儿一女|生儿育女|托儿所|小儿(?=科|麻痹)"
    "|儿女(?![儿孩人生])|儿时(?!间|候)|儿孙(?!儿)|儿[子童歌科媳戏郎化]"
)
_ERHUA = re.compile(rf"({_OWN_WORDS})|(?<=[\u3400-\u9fff\U00020000-\U0003ffff])儿")

# NFKC makes 120m2 of 120m² and 120㎡, 21/2 of 2½, and 100,200 of two numbers with ， between them. A circle that is no
# zero goes before there are numerals that were digits.
_SQUARES = {"㎟": "mm²", "㎠": "cm²", "㎡": "m²", "㎢": "km²", "㎣": "mm³", "㎤": "cm³", "㎥": "m³", "㎦": "km³"}
_BEFORE_NFKC = str.maketrans(_SQUARES | {"，": "、", "﹐": "、", "○": " ", "◯": " ", "⭕": " "})
_MIXED = re.compile(r"(?<=\d)(?=[¼-¾⅐-⅞])")


def _readable(text: str) -> str:
    """Return ``text`` in NFKC with all that a reader of numbers has to see."""
    text = _MIXED.sub("又", spelt_out(without_tags(text)).translate(_BEFORE_NFKC))
    return "".join(part if part in "²³" else unicodedata.normalize("NFKC", part) for part in re.split("([²³])", text))


def scoring_form(text: str, without: Collection[str] = frozenset()) -> str:
    """Return ``text`` as it is scored, reference or hypothesis; applied twice it changes nothing more.

    ``without`` holds what is to be left out, of ``OPTIONS``. No text is an error.

    >>> scoring_form("語音識別，2個！")
    '语音识别两个'
    >>> scoring_form("嗯，花儿和女儿", {"erhua", "fillers"})
    '花和女儿'
    """
    # What stands side by side only after one pass may be a phrase. Ends: no step writes digits, a step that does not
    # shorten the text goes one way from traditional to simplified.
    while (form := _one_pass(text, frozenset(without))) != text:
        text = form
    return form


@functools.lru_cache(maxsize=200_000)
def _one_pass(text: str, without: frozenset[str]) -> str:
    if not is_han(text):
        text = normalize(read_numbers(_readable(text))).replace("〇", "零")
    text = simplified(text)
    if "fillers" in without:
        text = _FILLER.sub("", text)
    return _ERHUA.sub(r"\1", text) if "erhua" in without else text


def version(without: Collection[str] = frozenset()) -> str:
    """Return what score.json calls the scoring form: ``zh-3``, or ``zh-3, without erhua, fillers``."""
    return f"{VERSION}, without {', '.join(sorted(without))}" if without else VERSION


def slots(text: str, slot: str) -> tuple[str, list[Number]]:
    """Return ``text`` before its scoring form, with ``slot`` for each number in digits, and these numbers."""
    parts, numbers = split_numbers(_readable(text))
    return slot.join(parts), numbers
