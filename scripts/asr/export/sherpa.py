"""The sherpa-onnx folder: tokens.txt beside the graphs, and replacements of homophones from a list of phrases."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from asr.core.errors import RecipeError
from asr.core.files import write_text

FP32, INT8, TOKENS, LEXICON, RULES = "model.onnx", "model.int8.onnx", "tokens.txt", "lexicon.txt", "replace.fst"
# Its C++ computes these features for Paraformer and SenseVoice, whatever the model was trained on.
FEATURES = {
    "fs": 16000,
    "window": "hamming",
    "n_mels": 80,
    "frame_length": 25,
    "frame_shift": 10,
    "snip_edges": True,
    "upsacle_samples": True,
}
_BLANK = re.compile(r"[ \t\n\v\f\r]")  # where its C++ cuts a line; wider blanks it reads as they are
_HAN = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff]+")


def why_not(front_end: Mapping[str, Any], symbols: Sequence[str], end: bool) -> str:
    """Return why sherpa-onnx cannot run a model; an empty text where it can.

    Args:
        front_end: config.yaml's frontend_conf.
        end: whether ``</s>`` must be a token: without it sherpa-onnx ends the program that loads the model.
    """
    for key, value in FEATURES.items():
        if (has := front_end.get(key, value)) != value:
            return f"frontend_conf.{key} is {has}, and sherpa-onnx computes features with {value}"
    if end and "</s>" not in symbols:
        return "the model has no token </s>, which sherpa-onnx looks for"
    for number, symbol in enumerate(symbols):
        if symbol != " " and _BLANK.search(symbol):
            return f"token {number} is {symbol!r}: tokens.txt cannot hold a token with a blank in it"
    return ""


def write_tokens(path: Path, symbols: Iterable[str]) -> None:
    """Write tokens.txt, a line ``symbol id`` each."""
    write_text(path, "".join(f"{symbol} {number}\n" for number, symbol in enumerate(symbols)))


def write_phrases(folder: Path, phrases: Iterable[str], symbols: Iterable[str]) -> int:
    """Write lexicon.txt and replace.fst, by which what sounds like a phrase is written as it; return how many.

    The lexicon has the commonest reading of each Han character among the tokens. A phrase's reading is its own, so that
    characters with several are read as in the phrase. Phrases with other characters are named and left out: the
    replacer takes none. RecipeError where no phrase is left.
    """
    from pypinyin import Style, lazy_pinyin

    def reading(text: str) -> list[str]:
        return lazy_pinyin(text, style=Style.TONE3, neutral_tone_with_five=True)

    rules = {}
    for phrase in phrases:
        if _HAN.fullmatch(phrase):
            rules["".join(reading(phrase))] = phrase
        else:
            print(f"note: {phrase}: sherpa-onnx replaces Han characters alone; left out of {RULES}")
    if not rules:
        raise RecipeError("--phrases: no phrase of Han characters alone in it, and sherpa-onnx replaces no other")
    han = sorted(
        {symbol for symbol in symbols if len(symbol) == 1 and _HAN.fullmatch(symbol)} | set("".join(rules.values()))
    )
    write_text(folder / LEXICON, "".join(f"{char} {reading(char)[0]}\n" for char in han))
    _write_rules(folder / RULES, rules)
    return len(rules)


def _write_rules(path: Path, rules: Mapping[str, str]) -> None:
    """Write a transducer that rewrites readings as phrases, where a syllable begins."""
    import pynini
    from pynini.lib import utf8

    letters = pynini.union(*"abcdefghijklmnopqrstuvwxyz")
    before = pynini.union("[BOS]", (utf8.VALID_UTF8_CHAR - letters).optimize())
    crossed = pynini.union(*(pynini.cross(reading, phrase) for reading, phrase in rules.items()))
    pynini.cdrewrite(crossed, before, "", utf8.VALID_UTF8_CHAR.star).write(str(path))
