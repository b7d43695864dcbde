"""Names of speakers and utterances: one name for what looks the same, and speakers that nobody knows."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

UNKNOWN_SPEAKER = "unknown"  # where a corpus does not say who speaks
DUMMY = "every utterance has a speaker of its own (a dummy utt2spk?), so nobody knows who speaks"
_FEWEST = 4  # utterances: of fewer nobody claims anything about speakers
_OWN = 0.9  # speakers for an utterance above which they cannot be people


def plain_name(name: str) -> str:
    """Return ``name`` in NFC and without format characters (zero-width blanks, marks of direction)."""
    if name.isascii():
        return name
    return unicodedata.normalize("NFC", "".join(char for char in name if unicodedata.category(char) != "Cf"))


def visible(text: str) -> str:
    """Return ``text`` with format characters spelled out, as in S01_0<U+200B>."""
    if text.isascii():
        return text
    return "".join(f"<U+{ord(char):04X}>" if unicodedata.category(char) == "Cf" else char for char in text)


def are_dummies(speakers: Sequence[str]) -> bool:
    """Return whether the speakers of these utterances, one each, are as many as the utterances, or nearly so."""
    return len(speakers) >= _FEWEST and len(set(speakers)) > _OWN * len(speakers)
