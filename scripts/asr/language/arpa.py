"""n-grams as ARPA files, the format of SRILM, KenLM and IRSTLM: base-10 logarithms, symbols between blanks."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from asr.core.errors import RecipeError, at
from asr.core.files import atomic_open
from asr.language.ngram import BEGIN, END, MOST_ORDER, UNKNOWN, NGram
from asr.language.text_files import numbered_lines

_LN10 = math.log(10)
_NAMES = {BEGIN: "<s>", END: "</s>", UNKNOWN: "<unk>"}
_SYMBOLS = {name: symbol for symbol, name in _NAMES.items()} | {"<UNK>": UNKNOWN}
_NEVER = -99.0  # log10 of what is only a context, by custom; nothing reads it
_NO_UNKNOWN = -7.0  # log10 of an unknown character where a file has no <unk>


def write_arpa(path: str | os.PathLike[str], model: NGram) -> None:
    """Write the model, n-grams in code point order, as a whole or not at all."""
    by_order: list[list[str]] = [[] for _ in range(model.order)]
    for gram in sorted(model.log_probs.keys() | {BEGIN}):
        by_order[len(gram) - 1].append(gram)
    with atomic_open(path) as stream:
        stream.write("\\data\\\n")
        for order, grams in enumerate(by_order, 1):
            stream.write(f"ngram {order}={len(grams)}\n")
        for order, grams in enumerate(by_order, 1):
            stream.write(f"\n\\{order}-grams:\n")
            for gram in grams:
                stream.write(_line(model, gram, order))
        stream.write("\n\\end\\\n")


def _line(model: NGram, gram: str, order: int) -> str:
    log_prob = model.log_probs[gram] / _LN10 if gram in model.log_probs else _NEVER
    backoff = f"\t{model.backoffs.get(gram, 0.0) / _LN10:.7g}" if order < model.order else ""
    return f"{log_prob:.7g}\t{' '.join(_NAMES.get(char, char) for char in gram)}{backoff}\n"


def is_arpa(path: str | os.PathLike[str]) -> bool:
    """Return whether a file's first line that is not blank begins an ARPA file."""
    return next((line.strip() == "\\data\\" for _, line in numbered_lines(path) if line.strip()), False)


def read_arpa(path: str | os.PathLike[str]) -> NGram:
    """Return the model of an ARPA file of characters.

    RecipeError, with file and line, for what is no ARPA file or not whole, for an order above 5, and for words: this
    recipe's search goes by characters.
    """
    path = Path(path)
    sizes: dict[int, int] = {}
    found: dict[int, int] = {}
    log_probs: dict[str, float] = {}
    backoffs: dict[str, float] = {}
    number, order, ended = 0, 0, False
    for number, line in _content(path):
        if size := re.fullmatch(r"ngram (\d+) *= *(\d+)", line):
            sizes[int(size[1])] = int(size[2])
        elif section := re.fullmatch(r"\\(\d+)-grams:", line):
            order = int(section[1])
            found[order] = 0
        elif line == "\\end\\":
            ended = True
        elif order and not ended:
            gram, log_prob, backoff = _gram(line, order, at(path, number))
            if gram in log_probs:
                raise RecipeError(f"{at(path, number)}: the n-gram stands twice")
            log_probs[gram], found[order] = log_prob, found[order] + 1
            if backoff:
                backoffs[gram] = backoff
        elif line != "\\data\\":
            raise RecipeError(f"{at(path, number)}: not a line of an ARPA file")
    if not ended or found != sizes or sorted(sizes) != list(range(1, len(sizes) + 1)):
        raise RecipeError(f"{at(path, number)}: not a whole ARPA file: its header says {sizes}, it has {found}")
    if not 1 <= len(sizes) <= MOST_ORDER:
        raise RecipeError(f"{path}: an n-gram of order {len(sizes)}: at most {MOST_ORDER}")
    return _model(path, len(sizes), log_probs, backoffs)


def _content(path: Path) -> Iterator[tuple[int, str]]:
    return ((number, line.strip()) for number, line in numbered_lines(path) if line.strip())


def _gram(line: str, order: int, where: str) -> tuple[str, float, float]:
    """Return an n-gram, its log-probability and its back-off weight, both natural."""
    cells = line.split()
    try:
        if len(cells) not in (order + 1, order + 2):
            raise ValueError
        log_prob, backoff = float(cells[0]), float(cells[order + 1]) if len(cells) > order + 1 else 0.0
    except ValueError:
        raise RecipeError(f"{where}: not an n-gram of order {order}: number, {order} symbols, number") from None
    symbols = [_SYMBOLS.get(cell, cell) for cell in cells[1 : order + 1]]
    if any(len(symbol) > 1 for symbol in symbols):
        raise RecipeError(f"{where}: a word; the model must be of characters, with a blank between them in its text")
    if not (math.isfinite(backoff) and log_prob <= 0):
        raise RecipeError(f"{where}: a log-probability above 0, or no number")
    return "".join(symbols), max(log_prob, _NEVER) * _LN10, backoff * _LN10


def _model(path: Path, order: int, log_probs: dict[str, float], backoffs: dict[str, float]) -> NGram:
    if END not in log_probs:
        raise RecipeError(f"{path}: has no </s> among its single characters; estimate it with sentence ends")
    log_probs.setdefault(UNKNOWN, _NO_UNKNOWN * _LN10)
    log_probs.pop(BEGIN, None)
    for gram in _contexts(log_probs):
        backoffs.setdefault(gram, 0.0)
    return NGram(order, log_probs, backoffs)


def _contexts(grams: Mapping[str, float]) -> Iterable[str]:
    return {gram[:-1] for gram in grams if len(gram) > 1}
