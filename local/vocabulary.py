"""Which characters of a transcript the base model has a token for, and how many tokens a transcript makes.

Follows FunASR's CharTokenizer (1.4.16), with and without a seg_dict, without importing FunASR (10 s): a test compares
the two. Other tokenizers (SentencePiece, Hugging Face's) do not work by character and are not checked.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from asr.errors import RecipeError
from asr.model_folder import read_config, read_metas

_WORD = re.compile(r"[\u4E00-\u9FA5A-Za-z0-9]")  # what a word must begin with to be looked up by character
UNKNOWN = "<unk>"


@dataclass(frozen=True)
class Vocabulary:
    """A model's tokens, and its seg_dict (word or character -> tokens) where it has one."""

    tokens: frozenset[str]
    seg_dict: Mapping[str, tuple[str, ...]] | None = None

    @property
    def characters(self) -> frozenset[str]:
        """The single characters that have a token."""
        if self.seg_dict is None:
            return frozenset(token for token in self.tokens if len(token) == 1)
        return frozenset(key for key, made in self.seg_dict.items() if len(key) == 1 and self.tokens.issuperset(made))

    def tokenize(self, text: str) -> list[tuple[str, str]]:
        """(token, what it was made of) for ``text``; the token is ``<unk>`` where the model has none."""
        if self.seg_dict is None:
            pairs = [(char, char) for char in text if char != " "]
        else:
            pairs = [pair for word in text.split(" ") if word for pair in self._by_dictionary(word.lower())]
        return [(token if token in self.tokens else UNKNOWN, source) for token, source in pairs]

    def _by_dictionary(self, word: str) -> list[tuple[str, str]]:
        assert self.seg_dict is not None
        if word in self.seg_dict:
            return [(token, word) for token in self.seg_dict[word]]
        if not _WORD.match(word):  # FunASR makes one <unk> of the whole word, which in Mandarin is the whole sentence
            return [(UNKNOWN, word)]
        return [(token, char) for char in word for token in self.seg_dict.get(char, (UNKNOWN,))]

    def count(self, text: str) -> int:
        """Tokens of ``text``: the manifest's target_len."""
        if self.seg_dict is None:
            return len(text) - text.count(" ")
        return len(self.tokenize(text))

    def unknown(self, text: str) -> list[str]:
        """What of ``text`` becomes ``<unk>``: characters, or whole words; each once, in order."""
        if self.seg_dict is None and self.tokens.issuperset(text.replace(" ", "")):
            return []
        return list(dict.fromkeys(source for token, source in self.tokenize(text) if token == UNKNOWN))


def read_vocabulary(path: Path) -> Vocabulary | None:
    """The vocabulary of a token list (tokens.json, tokens.txt) or of a FunASR model folder.

    None for a model folder whose tokenizer does not work by character. RecipeError where there is no token list, or it
    is not one.
    """
    if not path.is_dir():
        return Vocabulary(_tokens(path))
    conf = read_config(path)
    if conf.get("tokenizer") != "CharTokenizer":
        return None
    named = {**(conf.get("tokenizer_conf") or {}), **(read_metas(path).get("tokenizer_conf") or {})}
    tokens = _tokens(path / str(named.get("token_list") or "tokens.json"))
    seg_dict = named.get("seg_dict_file") or named.get("seg_dict")
    return Vocabulary(tokens, _seg_dict(path / str(seg_dict)) if seg_dict else None)


def _tokens(path: Path) -> frozenset[str]:
    try:
        text = path.read_text(encoding="utf-8")
        tokens = json.loads(text) if path.suffix == ".json" else text.split("\n")
    except FileNotFoundError:
        raise RecipeError(f"{path}: no such token list") from None
    except ValueError as error:
        raise RecipeError(f"{path}: not a token list: {error}") from None
    if not isinstance(tokens, list) or not all(isinstance(token, str) for token in tokens):
        raise RecipeError(f"{path}: not a token list: a JSON list of strings is needed")
    found = frozenset(token.rstrip() for token in tokens) - {""}
    if not found:
        raise RecipeError(f"{path}: the token list is empty")
    return found


def _seg_dict(path: Path) -> dict[str, tuple[str, ...]]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        raise RecipeError(f"{path}: no such seg_dict; fetch the base model again") from None
    except UnicodeDecodeError:
        raise RecipeError(f"{path}: not UTF-8; fetch the base model again") from None
    return {words[0]: tuple(words[1:]) for words in map(str.split, lines) if words}
