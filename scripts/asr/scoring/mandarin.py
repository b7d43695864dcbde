"""What an error sounds like: syllables, tones, initials and finals of Mandarin, and homophones.

Characters are read by ``pypinyin`` (MIT), reference and hypothesis each in its own context. A character recognised
right (in the alignment of the CER) takes the reference's reading on both sides, so that a polyphone is no error there.
Syllables are then aligned on their own, by the same rule as characters. A character that is not Han, or that has no
reading, is a token of its own: counted among the syllables, in no other statistic.

- tones: over pairs of Han syllables that are the same without their tone; 5 is the neutral tone.
- initials and finals: over all pairs of Han syllables of the alignment without tones, right and wrong. They are those
  of the Scheme for the Chinese Phonetic Alphabet (汉语拼音方案): the zero initial is ∅, 有 has the final iou and 文
  uen; ü is written v. The vowels of 字 and 知 count as i. A syllable without a vowel (嗯 n) is a final of its own.
"""

from __future__ import annotations

import functools
import itertools
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, TypeAlias

from asr.scoring.cer import align

# The order of textbooks. A final that is not listed would follow after these.
_INITIALS = "b p m f d t n l g k h j q x zh ch sh r z c s ∅"
_FINALS = (
    "a o e ê ai ei ao ou an en ang eng er ong i ia ie iao iou ian in iang ing iong "
    "u ua uo uai uei uan uen uang ueng v ve van vn m n ng hm hng"
)
INITIALS, FINALS = tuple(_INITIALS.split()), tuple(_FINALS.split())
TONES = ("1", "2", "3", "4", "5")


class Syllable(NamedTuple):
    """One token: a Han syllable, or a character without a reading, which is all in ``toned`` and ``toneless``."""

    toned: str
    toneless: str
    tone: str = ""
    initial: str = ""
    final: str = ""


# An alignment: the syllable on either side, None where one has nothing.
Pairs: TypeAlias = "list[tuple[Syllable | None, Syllable | None]]"


def analyse(pairs: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """Return ``mandarin.systems.{name}`` of score.json (docs/scores.md) for pairs of texts in scoring form.

    Rates are fractions of sums over all pairs (reference, hypothesis), whose order makes no difference; null where
    there is nothing to divide by. The matrices count what ``tone.syllables``, ``initial.pairs`` and ``final.pairs``
    count.
    """
    toned, toneless, homophones = Counter[str](), Counter[str](), Counter[str]()
    tones, initials, finals = Counter[tuple[str, str]](), Counter[tuple[str, str]](), Counter[tuple[str, str]]()
    for reference, hypothesis in pairs:
        said, heard, substitutions = _read_both(reference, hypothesis)
        for one, other in substitutions:
            homophones["substitutions"] += 1
            homophones["same_syllable"] += one.toneless == other.toneless
            homophones["same_tone"] += one.toned == other.toned
        with_tones, without = _aligned(said, heard)
        toned.update(_operation(one and one.toned, other and other.toned) for one, other in with_tones)
        toneless.update(_operation(one and one.toneless, other and other.toneless) for one, other in without)
        for one, other in without:
            if one and other and one.tone and other.tone:
                tones[one.tone, other.tone] += one.toneless == other.toneless
                initials[one.initial, other.initial] += 1
                finals[one.final, other.final] += 1
    occurring = {final for pair in finals for final in pair}
    labels = [*(final for final in FINALS if final in occurring), *sorted(occurring.difference(FINALS))]
    names = ("substitutions", "same_syllable", "same_tone")
    share = _ratio(homophones["same_tone"], homophones["substitutions"])
    return {
        "syllable": _error_rate(toned),
        "syllable_toneless": _error_rate(toneless),
        "tone": _pair_rate(tones, "syllables"),
        "initial": _pair_rate(initials, "pairs"),
        "final": _pair_rate(finals, "pairs"),
        "homophones": {**{name: homophones[name] for name in names}, "share": share},
        "confusions": {
            "tone": _matrix(tones, TONES),
            "initial": _matrix(initials, INITIALS),
            "final": _matrix(finals, labels),
        },
    }


def character_confusions(pairs: Iterable[tuple[str, str]]) -> Counter[tuple[str, str]]:
    """Return how often which character was taken for which: ``(said, heard)``, the errors of the CER's alignment.

    ``""`` is heard for a deletion and said for an insertion. Characters recognised right are not counted.
    """
    wrong = (chunk for pair in pairs for chunk in align(*pair).chunks if chunk.operation != "equal")
    return Counter(both for _, said, heard in wrong for both in itertools.zip_longest(said, heard, fillvalue=""))


def read_aligned(reference: str, hypothesis: str) -> tuple[list[Syllable], list[Syllable], Pairs]:
    """Return the syllables of both texts, one a character, and the pairs of which ``analyse`` counts tones, initials
    and finals."""
    said, heard, _ = _read_both(reference, hypothesis)
    return said, heard, _aligned(said, heard)[1]


def _read_both(
    reference: str, hypothesis: str
) -> tuple[list[Syllable], list[Syllable], list[tuple[Syllable, Syllable]]]:
    """Return the syllables of both texts, and those of Han characters that were taken for another."""
    said, heard, substitutions = list(read(reference)), list(read(hypothesis)), []
    i = j = 0
    for operation, ref, hyp in align(reference, hypothesis).chunks:
        if operation == "equal":
            heard[j : j + len(hyp)] = said[i : i + len(ref)]
        elif operation == "substitute":
            both = zip(said[i : i + len(ref)], heard[j : j + len(hyp)], strict=True)
            substitutions += [(one, other) for one, other in both if one.tone and other.tone]
        i, j = i + len(ref), j + len(hyp)
    return said, heard, substitutions


def _aligned(said: Sequence[Syllable], heard: Sequence[Syllable]) -> tuple[Pairs, Pairs]:
    """Return the alignments with tones and without: where the first is minimal without tones too, it is the second."""
    toned = _align_by("toned", said, heard)
    toneless = _align_by("toneless", said, heard)
    errors = [
        sum(not (one and other and one.toneless == other.toneless) for one, other in each) for each in (toned, toneless)
    ]
    return toned, toned if errors[0] == errors[1] else toneless


def _align_by(form: str, said: Sequence[Syllable], heard: Sequence[Syllable]) -> Pairs:
    # What is aligned are strings: a code point for each token.
    codes: dict[str, str] = {}
    texts = [
        "".join(codes.setdefault(getattr(one, form), chr(0x10000 + len(codes))) for one in side)
        for side in (said, heard)
    ]
    ours, theirs = iter(said), iter(heard)
    pairs: Pairs = []
    for _, ref, hyp in align(*texts).chunks:
        pairs += itertools.zip_longest(itertools.islice(ours, len(ref)), itertools.islice(theirs, len(hyp)))
    return pairs


def _operation(said: str | None, heard: str | None) -> str:
    if said is None or heard is None:
        return "ins" if said is None else "del"
    return "hits" if said == heard else "sub"


def _error_rate(counts: Counter[str]) -> dict[str, Any]:
    ref_len = counts["sub"] + counts["del"] + counts["hits"]
    kinds = {kind: counts[kind] for kind in ("sub", "del", "ins", "hits")}
    return {"rate": _ratio(counts["sub"] + counts["del"] + counts["ins"], ref_len), **kinds, "ref_len": ref_len}


def _pair_rate(counts: Counter[tuple[str, str]], base: str) -> dict[str, Any]:
    errors = sum(times for (said, heard), times in counts.items() if said != heard)
    return {"errors": errors, base: counts.total(), "rate": _ratio(errors, counts.total())}


def _ratio(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _matrix(counts: Counter[tuple[str, str]], labels: Sequence[str]) -> dict[str, Any]:
    return {"labels": list(labels), "matrix": [[counts[said, heard] for heard in labels] for said in labels]}


@functools.lru_cache(maxsize=100_000)
def read(text: str) -> tuple[Syllable, ...]:
    """Return the syllables of ``text``, one for each of its characters (code points)."""
    if not text:
        return ()
    from pypinyin import Style, lazy_pinyin  # with its dictionary about half a second: only where something is read

    # errors=list: a reading a character of what it cannot read, too
    readings = lazy_pinyin(text, style=Style.TONE3, neutral_tone_with_five=True, errors=list)  # type: ignore[arg-type]
    return tuple(map(_syllable, text, readings))


# The dictionary has the changed tones of these two in some words only (一个 yí, 不是 bú); here they never change.
_CITATION = {"一": "yi1", "不": "bu4"}


@functools.lru_cache(maxsize=100_000)
def _syllable(char: str, reading: str) -> Syllable:
    from pypinyin.contrib.tone_convert import to_finals, to_initials

    reading = _CITATION.get(char, reading)
    match = re.fullmatch(r"([a-zê]+)([1-5])", reading)
    if not match:
        return Syllable(f" {char}", f" {char}")  # the letter a is not the syllable a
    toneless, tone = match.groups()
    final = to_finals(toneless, strict=True, v_to_u=False)
    initial = (to_initials(toneless, strict=True) if final else "") or "∅"
    return Syllable(reading, toneless, tone, initial, final or toneless)
