"""The one text normaliser: references, hypotheses and prompts are compared in its forms, and in no other.

``normalize`` is what data preparation and training targets use; they keep what was written. By Unicode category, so
that no list of marks has to be kept:

1. NFKC: full width becomes half width, ``①`` becomes ``1``, compatibility forms become the ordinary character. What is
   spoken and looks like a symbol is spelt out, tags in angle brackets go (asr.scoring.characters).
2. Punctuation (P*), symbols (S*, emoji too), separators (Z*), control and format characters (Cc, Cf), lone surrogates
   (Cs), enclosing marks (Me) and variation selectors are removed. Blanks are separators: Mandarin is scored without.
3. Latin letters become lower case.

Everything else stays: letters and digits of any script, combining marks, private-use characters; erhua, fillers and
repetitions are words that were said.

    >>> normalize("我要去 ＫＴＶ，好吗？")
    '我要去ktv好吗'

``scoring_form`` is what is scored, references and hypotheses alike: a recogniser that writes 3点 or 語音 said nothing
wrong, so digits are read out and traditional characters become simplified ones:

1. NFKC and Latin case as above; then, before any mark is removed (``3.5``, ``50%``, ``12:30``, ``1,000``), digits as
   they are read (asr.scoring.spoken_numbers, by wetext). 〇 is written 零.
2. What ``normalize`` removes is removed.
3. Traditional to simplified, and variants of a character to one (asr.scoring.simplified).
4. On request, without fillers and without erhua (below): never unasked, both were said.
5. Again from the start, until nothing changes: what stands side by side only now may be a phrase.

    >>> scoring_form("語音識別，2個！")
    '语音识别两个'
    >>> scoring_form("嗯，花儿和女儿", {"erhua", "fillers"})
    '花和女儿'

Training targets (``normalize_target``) are ``normalize`` but for one blank on each side of Latin words, which
tokenizers need.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Callable, Collection

from asr.scoring.characters import spelt_out, without_tags
from asr.scoring.simplified import simplified
from asr.scoring.spoken_numbers import Number, find_numbers, has_digits, plain, read_numbers

VERSION = "zh-3"  # of the scoring form, in score.json; changes with every change of any output
OPTIONS = ("erhua", "fillers")  # what the scoring form can be asked to leave out

_HAN = re.compile(r"[\u4e00-\u9fff]*")  # CJK Unified Ideographs: nothing below changes one of them
_DROPPED_CLASSES = frozenset("PSZ")
_DROPPED_CATEGORIES = frozenset(("Cc", "Cf", "Cs", "Me"))


# NFKC makes 120m2 of 120m² and 120㎡, 21/2 of 2½, and 100,200 of two numbers with ， between them. A circle that is no
# zero goes before there are numerals that were digits.
_SQUARES = {"㎟": "mm²", "㎠": "cm²", "㎡": "m²", "㎢": "km²", "㎣": "mm³", "㎤": "cm³", "㎥": "m³", "㎦": "km³"}
_BEFORE_NFKC = str.maketrans(_SQUARES | {"，": "、", "﹐": "、", "○": " ", "◯": " ", "⭕": " "})
_MIXED = re.compile(r"(?<=\d)(?=[¼-¾⅐-⅞])")


def _compatible(text: str) -> str:
    return unicodedata.normalize("NFKC", text)


def _readable(text: str) -> str:
    text = _MIXED.sub("又", spelt_out(without_tags(text)).translate(_BEFORE_NFKC))
    return "".join(part if part in "²³" else _compatible(part) for part in re.split("([²³])", text))


def _letters_only(text: str) -> str:
    return "".join(char for char in text if _is_kept(char))


@functools.lru_cache(maxsize=65536)
def _is_kept(char: str) -> bool:
    category = unicodedata.category(char)
    selector = "\ufe00" <= char <= "\ufe0f" or "\U000e0100" <= char <= "\U000e01ef"
    return category[0] not in _DROPPED_CLASSES and category not in _DROPPED_CATEGORIES and not selector


def _lower_latin(text: str) -> str:
    return "".join(_lower(char) for char in text) if not text.islower() else text


@functools.lru_cache(maxsize=65536)
def _lower(char: str) -> str:
    lower = char.lower()
    latin = char != lower and unicodedata.name(char, "").startswith("LATIN")
    return lower if latin else char


STEPS: tuple[Callable[[str], str], ...] = (
    without_tags,
    _compatible,
    spelt_out,
    _letters_only,
    _lower_latin,
)


def normalize(text: str) -> str:
    """``text`` as it is compared. Normalising twice changes nothing more."""
    return text if _HAN.fullmatch(text) else _normalized(text)


@functools.lru_cache(maxsize=200_000)
def _normalized(text: str) -> str:
    form = functools.reduce(lambda form, step: step(form), STEPS, text)
    # Removing a mark can bring a letter and its accent together, or a numeral and O: once more, until nothing changes.
    return form if form == text else _normalized(form)


def normalize_target(text: str) -> str:
    """``text`` as a training target: normalised, with one blank on each side of a Latin word.

    Tokenizers look Latin words up between blanks, so 连接WiFi and 连接 WiFi are one target. Scoring takes all blanks
    away, so ``normalize(normalize_target(text)) == normalize(text)``.

        >>> normalize_target("我 要 听　Hello， World")
        '我要听 hello world'
    """
    return " ".join(_LATIN_WORD.sub(r" \g<0> ", _target(text)).split())


def _target(text: str) -> str:
    whole = normalize(text)
    text = spelt_out(without_tags(text))
    if len(whole) == len(text) or text.isspace():  # nothing was removed, so there was no blank
        return whole
    target = ""
    for word in map(normalize, text.split()):
        target += f" {word}" if target and word and _latin(target[-1] + word[0]) else word
    # A mark can compose with the letter before a blank: then the words are no longer those that were written.
    return target if target.replace(" ", "") == whole else whole


_LATIN_WORD = re.compile("[0-9]*[a-z\u00df-\u024f\u1e00-\u1eff][0-9a-z\u00df-\u024f\u1e00-\u1eff\u0300-\u036f]*")


def _latin(pair: str) -> bool:
    return any(char.isascii() or unicodedata.name(char, "").startswith("LATIN") for char in pair)


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


def scoring_form(text: str, without: Collection[str] = frozenset()) -> str:
    """``text`` as it is scored, reference or hypothesis; applied twice it changes nothing more.

    ``without`` holds what is to be left out, of ``OPTIONS``; anything else in it is a ValueError. No text is an error.
    """
    return _scoring_form(text, _known(without))


def version(without: Collection[str] = frozenset()) -> str:
    """What score.json calls the scoring form: ``zh-2``, or ``zh-2, without erhua, fillers``."""
    left_out = sorted(_known(without))
    return f"{VERSION}, without {', '.join(left_out)}" if left_out else VERSION


def _known(without: Collection[str]) -> frozenset[str]:
    unknown = sorted(set(without) - set(OPTIONS))
    if unknown:
        raise ValueError(f"without {unknown[0]!r}: the scoring form can leave out {', '.join(OPTIONS)}")
    return frozenset(without)


@functools.lru_cache(maxsize=200_000)
def _scoring_form(text: str, without: frozenset[str]) -> str:
    # Ends: no step writes digits, a step that does not shorten the text goes one way from traditional to simplified.
    while (form := _scored_once(text, without)) != text:
        text = form
    return form


def _scored_once(text: str, without: frozenset[str]) -> str:
    if not _HAN.fullmatch(text):
        text = _readable(text)
        text = read_numbers(text, simplified) if has_digits(text) else text
        text = normalize(text).replace("〇", "零")
    text = simplified(text)
    if "fillers" in without:
        text = _FILLER.sub("", text)
    return _ERHUA.sub(_own_word, text) if "erhua" in without else text


def slots(text: str, slot: str) -> tuple[str, list[Number]]:
    """``text`` before its scoring form, with ``slot`` for each number that is written in digits, and these numbers."""
    text, marked, at = plain(_readable(text)), "", 0
    numbers = list(find_numbers(text, simplified))
    for number in numbers:
        marked, at = marked + text[at : number.start] + slot, number.end
    return marked + text[at:], numbers


def _own_word(match: re.Match[str]) -> str:
    return match[1] or ""
