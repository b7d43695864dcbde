"""The one text normaliser: references, hypotheses and prompts are compared in this form, and in no other.

By Unicode category, so that no list of marks has to be kept:

1. NFKC: full width becomes half width, ``①`` becomes ``1``, compatibility forms become the ordinary character.
2. Punctuation (P*), symbols (S*, emoji too), separators (Z*), control and format characters (Cc, Cf), lone surrogates
   (Cs), enclosing marks (Me) and variation selectors are removed. Blanks are separators: Mandarin is scored without.
3. Latin letters become lower case.

Everything else stays: letters and digits of any script, combining marks, private-use characters; erhua, fillers and
repetitions are words that were said. Arabic digits are not read out as Han here, and traditional characters are not
turned into simplified ones: both would be further entries in ``STEPS``, and a new ``VERSION``.

    >>> normalize("我要去 ＫＴＶ，好吗？")
    '我要去ktv好吗'

Training targets (``normalize_target``) are the same but for one blank beside Latin words, which tokenizers need.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Callable

VERSION = "zh-1"  # in score.json; changes with every change of any output

_HAN = re.compile(r"[\u4e00-\u9fff]*")  # CJK Unified Ideographs: nothing below changes one of them
_DROPPED_CLASSES = frozenset("PSZ")
_DROPPED_CATEGORIES = frozenset(("Cc", "Cf", "Cs", "Me"))


def _compatible(text: str) -> str:
    return unicodedata.normalize("NFKC", text)


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


# Removing a mark can bring a letter and its accent together, so what is left is composed once more at the end.
STEPS: tuple[Callable[[str], str], ...] = (_compatible, _letters_only, _lower_latin, _compatible)


def normalize(text: str) -> str:
    """``text`` as it is compared. Normalising twice changes nothing more."""
    return text if _HAN.fullmatch(text) else _normalized(text)


@functools.lru_cache(maxsize=200_000)
def _normalized(text: str) -> str:
    for step in STEPS:
        text = step(text)
    return text


def normalize_target(text: str) -> str:
    """``text`` as a training target: normalised, with one blank left where there were some beside a Latin word.

    Tokenizers look Latin words up between blanks. Scoring takes all blanks away, so
    ``normalize(normalize_target(text)) == normalize(text)``.

        >>> normalize_target("我 要 听　Hello， World")
        '我要听 hello world'
    """
    whole = normalize(text)
    if len(whole) == len(text) or text.isspace():  # nothing was removed, so there was no blank
        return whole
    target = ""
    for word in map(normalize, text.split()):
        target += f" {word}" if target and word and _latin(target[-1] + word[0]) else word
    # A mark can compose with the letter before a blank: then the words are no longer those that were written.
    return target if target.replace(" ", "") == whole else whole


def _latin(pair: str) -> bool:
    return any(char.isascii() or unicodedata.name(char, "").startswith("LATIN") for char in pair)
