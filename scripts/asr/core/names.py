"""Names of speakers and utterances: one name for what looks the same, and unknown speakers."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from asr.core.manifest import Utterance

UNKNOWN_SPEAKER = "unknown"  # where a corpus does not say who speaks
DUMMIES = "every utterance has its own speaker (utt2spk is a dummy)"
NOT_ALL_KNOWN = "not all speakers are known"  # why there is no interval over speakers
Value = TypeVar("Value")
_FEWEST = 4  # utterances: of fewer nobody claims anything about speakers
_OWN = 0.9  # speakers to an utterance: with more they are not people
# Beside format characters (Cf), Unicode's Default_Ignorable_Code_Point: fillers, joiners, variation selectors.
_IGNORABLE = re.compile("[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\ufe00-\ufe0f\uffa0\U000e0000-\U000e0fff]")


def _is_invisible(char: str) -> bool:
    return unicodedata.category(char) == "Cf" or bool(_IGNORABLE.match(char))


def plain_name(name: str) -> str:
    """Return ``name`` in NFC and without characters that cannot be seen (zero-width blanks, marks of direction)."""
    if name.isascii():  # nearly all; others take 50 times as long
        return name
    return unicodedata.normalize("NFC", "".join(char for char in name if not _is_invisible(char)))


def visible(text: str) -> str:
    """Return ``text`` with characters that cannot be seen spelled out, as in S01_0<U+200B>."""
    return "".join(f"<U+{ord(char):04X}>" if _is_invisible(char) else char for char in text)


def is_code(name: str) -> bool:
    """Return whether ``name`` is a code of at most three digits, as CDSD's are: it says of nobody who that is."""
    return bool(re.fullmatch("[0-9]{1,3}", name))


def published_names(speakers: Iterable[str]) -> dict[str, str]:
    """Return {speaker: name to publish}, in order: codes as they are, others S1, S2, … by their rank."""
    ranked = enumerate(sorted(set(speakers)), 1)
    return {name: name if is_code(name) or name == UNKNOWN_SPEAKER else f"S{rank}" for rank, name in ranked}


def are_dummies(speakers: Sequence[str]) -> bool:
    """Return whether the speakers of these utterances, one each, are as many as the utterances, or nearly so."""
    return len(speakers) >= _FEWEST and len(set(speakers)) > _OWN * len(speakers)


def known_speakers(utterances: Iterable[Utterance]) -> list[Utterance]:
    """Return the utterances with plain names of speakers, or ``UNKNOWN_SPEAKER`` for all where these are dummies."""
    clips = list(utterances)
    if are_dummies([clip.speaker for clip in clips]):
        return [clip._replace(speaker=UNKNOWN_SPEAKER) for clip in clips]
    return [clip._replace(speaker=plain_name(clip.speaker)) for clip in clips]


def kaldi_speakers(speakers: Iterable[str]) -> dict[str, str]:
    """Return each speaker as Kaldi's lists have it, in one word; two may come out as the same.

    Kaldi wants utterances in the order of their speakers, too. So of 1 and 1-2, the second is 1_2: the first one's ids
    begin with "1-", and would stand before and behind those that begin with "1-2-".
    """
    words = {speaker: "_".join(speaker.split()) for speaker in sorted(set(speakers))}
    while True:
        taken, before = set(words.values()), words
        words = {
            speaker: "".join("_" if char <= "-" and word[:at] in taken else char for at, char in enumerate(word))
            for speaker, word in words.items()
        }
        if words == before:
            return words


def kaldi_id(key: str, word: str) -> str:
    """Return an utterance's id in Kaldi's lists: it begins with the speaker's ``word`` and a dash."""
    return key if key.startswith(f"{word}-") else f"{word}-{key}"


def by_key(found: Mapping[str, Value], utterances: Sequence[Utterance]) -> dict[str, Value]:
    """Return ``found`` by the utterances' keys, where it names them as Kaldi's lists do, or they are named so.

    A name that is not an utterance's, or could be two's, stays as it is.
    """
    words = kaldi_speakers(one.speaker for one in utterances)
    key_of: dict[str, str] = {}
    for one in utterances:
        word = words[one.speaker]
        for name in {kaldi_id(one.key, word), one.key.removeprefix(f"{word}-")} - {one.key}:
            key_of[name] = "" if name in key_of else one.key
    keys = {one.key for one in utterances}
    others = {name: key for name, key in key_of.items() if key and name not in keys and key not in found}
    return {others.get(name, name): value for name, value in found.items()}
