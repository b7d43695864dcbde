"""Whisper's byte-level vocabulary and its marks, from a tokenizer.json."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from funasr.register import tables
from tokenizers import Tokenizer

from asr.core.errors import RecipeError

START, LANGUAGE, TASK, NO_TIMES = "<|startoftranscript|>", "<|zh|>", "<|transcribe|>", "<|notimestamps|>"
END, PREVIOUS = "<|endoftext|>", "<|startofprev|>"


@tables.register("tokenizer_classes", "RecipeWhisperTokenizer")
class WhisperTokenizer:
    """Text as ids, behind marks that say: Mandarin, to be transcribed, without timestamps.

    Args:
        path: tokenizer.json.
    """

    def __init__(self, path: str, **_: Any) -> None:
        self.pieces = Tokenizer.from_file(path)
        marks = (START, LANGUAGE, TASK, NO_TIMES, END, PREVIOUS)
        ids = {mark: self.pieces.token_to_id(mark) for mark in marks}
        if missing := [mark for mark, found in ids.items() if found is None]:
            raise RecipeError(f"{path}: has no {', '.join(missing)}; a multilingual Whisper's tokenizer has them all")
        self.before = [ids[mark] for mark in marks[:4]]
        self.end, self.previous = ids[END], ids[PREVIOUS]

    def get_vocab_size(self) -> int:
        """Return how many ids there are, for FunASR."""
        return self.pieces.get_vocab_size()

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text, no marks among them."""
        return self.pieces.encode(text, add_special_tokens=False).ids

    def decode(self, ids: Sequence[int]) -> str:
        """Return ids as text, marks left out; bytes that are no character become U+FFFD."""
        return self.pieces.decode(list(ids), skip_special_tokens=True)
