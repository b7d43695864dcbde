"""Which characters of a transcript the base model has a token for, and how many tokens a transcript makes.

Follows FunASR's CharTokenizer (1.4.16), with and without a seg_dict, without importing FunASR (10 s): a test compares
the two. SentencePiece and Hugging Face's tokenizers, which work by pieces, are asked for each character.
"""

from __future__ import annotations

import functools
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from asr.core.errors import RecipeError
from asr.models.model_folder import read_config, read_metas

_WORD = re.compile(r"[\u4E00-\u9FA5A-Za-z0-9]")  # what a word must begin with to be looked up by character
UNKNOWN = "<unk>"


def characters_of(text: str) -> int:
    """Return the number of characters of ``text``, blanks left out."""
    return len(text) - text.count(" ")


@dataclass(frozen=True)
class Vocabulary:
    """A model's tokens, and its seg_dict (word or character -> tokens) where it has one."""

    tokens: frozenset[str]
    seg_dict: Mapping[str, tuple[str, ...]] | None = None

    @functools.cached_property
    def characters(self) -> frozenset[str]:
        """The single characters that have a token."""
        if self.seg_dict is None:
            return frozenset(token for token in self.tokens if len(token) == 1)
        return frozenset(key for key, made in self.seg_dict.items() if len(key) == 1 and self.tokens.issuperset(made))

    def can_write(self, char: str) -> bool:
        """Return whether a character has a token of its own."""
        return char in self.characters

    def tokenize(self, text: str) -> list[tuple[str, str]]:
        """Return (token, what it was made of) for ``text``; the token is ``<unk>`` where the model has none."""
        if self.seg_dict is None:
            pairs = [(char, char) for char in text if char != " "]
        else:
            words = text.lower().split()
            pairs = [pair for word in words for pair in self._look_up(word, self.seg_dict)]
        return [(token if token in self.tokens else UNKNOWN, source) for token, source in pairs]

    def _look_up(self, word: str, seg_dict: Mapping[str, tuple[str, ...]]) -> list[tuple[str, str]]:
        if word in seg_dict:
            return [(token, word) for token in seg_dict[word]]
        if not _WORD.match(word):  # FunASR makes one <unk> of the whole word, which in Mandarin is the whole sentence
            return [(UNKNOWN, word)]
        return [(token, char) for char in word for token in seg_dict.get(char, (UNKNOWN,))]

    def look_up(self, text: str) -> tuple[int, list[str]]:
        """Return the number of tokens of ``text``, and what of it becomes ``<unk>``.

        That is characters, or whole words; each once, in order.
        """
        pairs = self.tokenize(text)
        return len(pairs), list(dict.fromkeys(source for token, source in pairs if token == UNKNOWN))


@dataclass(frozen=True)
class Pieces:
    """A tokenizer that works by pieces; ``can_write`` asks it for one character."""

    can_write: Callable[[str], bool]

    def look_up(self, text: str) -> tuple[int, list[str]]:
        """Return the number of characters of ``text``, and those for which there is no piece and no bytes.

        Tokens are counted when the family's own manifest is made.
        """
        unknown = [char for char in dict.fromkeys(text) if char != " " and not self.can_write(char)]
        return characters_of(text), unknown


def unknown_share(texts: Iterable[str], vocabulary: Vocabulary | Pieces) -> tuple[float, list[str]]:
    """Return the share of the texts' characters without a token, and these characters, the most frequent first.

    A model can write no such character, so the share bounds its CER from below.
    """
    letters = Counter("".join(texts).replace(" ", ""))
    lost = [char for char, _ in letters.most_common() if not vocabulary.can_write(char)]
    return sum(letters[char] for char in lost) / max(1, letters.total()), lost


def read_vocabulary(path: Path) -> Vocabulary | Pieces | None:
    """Return the vocabulary of a token list (tokens.json, tokens.txt) or of a FunASR model folder.

    None for a model folder with a tokenizer that is not known here. RecipeError where there is no token list, or it is
    not one.
    """
    if not path.is_dir():
        return Vocabulary(_tokens(path))
    conf, files = read_config(path), read_metas(path).get("tokenizer_conf") or {}
    kind = conf.get("tokenizer")
    if kind == "SentencepiecesTokenizer":
        return Pieces(_sentencepiece(path / str(files.get("bpemodel") or "bpe.model")))
    if kind in ("HuggingfaceTokenizer", "RecipeWhisperTokenizer"):
        return Pieces(_hugging_face(path))
    if kind != "CharTokenizer":
        return None
    named = {**(conf.get("tokenizer_conf") or {}), **files}
    tokens = _tokens(path / str(named.get("token_list") or "tokens.json"))
    seg_dict = named.get("seg_dict_file") or named.get("seg_dict")
    return Vocabulary(tokens, _seg_dict(path / str(seg_dict)) if seg_dict else None)


def _sentencepiece(path: Path) -> Callable[[str], bool]:
    """Return what tells whether a SentencePiece model writes a character as anything but <unk> (bytes will do)."""
    import sentencepiece

    if not path.is_file():
        raise RecipeError(f"{path}: no such SentencePiece model; fetch the base model again")
    model: Any = sentencepiece.SentencePieceProcessor(model_file=str(path))
    return functools.cache(lambda char: model.unk_id() not in model.encode(char))


def _hugging_face(folder: Path) -> Callable[[str], bool]:
    """Return what tells whether a tokenizer, in a folder or one below it, gives a character back as it was."""
    import tokenizers

    if fast := sorted((*folder.glob("tokenizer.json"), *folder.glob("*/tokenizer.json"))):
        model: Any = tokenizers.Tokenizer.from_file(str(fast[0]))
    elif merges := sorted(folder.glob("*/merges.txt")):  # as the hub's older folders have it
        model = tokenizers.ByteLevelBPETokenizer(str(merges[0].with_name("vocab.json")), str(merges[0]))
    else:
        raise RecipeError(
            f"{folder}: no tokenizer.json and no merges.txt in a folder of it; fetch the base model again"
        )
    return functools.cache(lambda char: model.decode(model.encode(char).ids).strip() == char)


def _read(path: Path, what: str) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise RecipeError(f"{path}: no such {what}; fetch the base model again, or name another") from None
    except UnicodeDecodeError:
        raise RecipeError(f"{path}: not a {what}: not UTF-8; fetch the base model again, or name another") from None


def _tokens(path: Path) -> frozenset[str]:
    text = _read(path, "token list")
    try:
        tokens = json.loads(text) if path.suffix == ".json" else text.split("\n")
    except json.JSONDecodeError as error:
        raise RecipeError(f"{path}: not a token list: {error}") from None
    if not isinstance(tokens, list) or not all(isinstance(token, str) for token in tokens):
        raise RecipeError(f"{path}: not a token list: a JSON list of strings is needed")
    if not (named := frozenset(token.rstrip() for token in tokens) - {""}):
        raise RecipeError(f"{path}: the token list is empty")
    return named


def _seg_dict(path: Path) -> dict[str, tuple[str, ...]]:
    lines = _read(path, "seg_dict").splitlines()
    return {words[0]: tuple(words[1:]) for words in map(str.split, lines) if words}
