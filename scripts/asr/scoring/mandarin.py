"""What an error sounds like: syllables, tones, initials and finals of Mandarin, and homophones.

Characters are read by ``pypinyin`` (MIT; words of its dictionary by longest match, else the commonest reading), the
reference and the hypothesis by the same function, each in its own context. Where a character is recognised right (the
character alignment of the CER), both sides take the reference's reading, so a polyphone is never an error where the
character is none. One reading a character, always: what was really pronounced, no text can tell.

Syllables are then aligned on their own, by the same rule as characters (``asr.scoring.cer.align``). A character
that is not Han, or that has no reading, is a token of its own: counted among the syllables, in no other statistic.

- tones: over pairs of Han syllables that are the same without their tone; 5 is the neutral tone.
- initials and finals: over all pairs of Han syllables of the alignment without tones, right and wrong.
- initials and finals are those of the Scheme for the Chinese Phonetic Alphabet (汉语拼音方案), where y and w are no
  initials: the zero initial is ∅, 有 has the final iou and 文 uen; ü is written v (绿 has v, 鱼 too). The vowels of 字
  and 知 count as i. A syllable without a vowel (嗯 n) is a final of its own.
"""

from __future__ import annotations

import functools
import itertools
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

from asr.scoring.cer import align

# The order of textbooks. A final that is not listed would follow after these.
_INITIALS = "b p m f d t n l g k h j q x zh ch sh r z c s"
_FINALS = (
    "a o e ê ai ei ao ou an en ang eng er ong i ia ie iao iou ian in iang ing iong "
    "u ua uo uai uei uan uen uang ueng v ve van vn m n ng hm hng"
)
ZERO_INITIAL = "∅"
INITIALS = (*_INITIALS.split(), ZERO_INITIAL)
FINALS = tuple(_FINALS.split())
TONES = ("1", "2", "3", "4", "5")

NOTE = (
    "Syllables and tones are those of a dictionary (pypinyin), not of the recording: each text is read in its own "
    "context, one reading a character, without tone sandhi, and with 儿 as a syllable of its own. A character "
    "recognised right takes the reference's reading on both sides, so polyphones (行, 长, 了) make no error there; in "
    "a wrong character a misread polyphone can."
)
NOTE_ZH = (
    "音节和声调取自词典（pypinyin），不是从录音听出来的：参考文本和识别结果各按自己的上下文注音，每字一个读音，"
    "不计变调，儿化的“儿”算一个音节。识别正确的字，两边都用参考文本的读音，所以多音字（行、长、了）在那里不会算错；"
    "识别错误的字若是多音字，注音可能有误。"
)

# The dictionary has the changed tones of these two in some words only (一个 yí, 不是 bú); here they never change.
_CITATION = {"一": "yi1", "不": "bu4"}
_READING = re.compile(r"([a-zê]+)([1-5])")


class Syllable(NamedTuple):
    """One token: a Han syllable, or a character without a reading, whose ``tone`` is empty."""

    toned: str  # a code point for syllable and tone: what is aligned are strings
    toneless: str  # a code point for the syllable without its tone
    tone: str
    initial: str
    final: str


# An alignment: indices into the two sides, None where one has nothing.
Path: TypeAlias = "list[tuple[int | None, int | None]]"


def analyse(pairs: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """``mandarin.systems.{name}`` of score.json (docs/scores.md) for pairs of reference and hypothesis in scoring form.

    Rates are fractions of sums over all pairs, whose order makes no difference; null where there is nothing to divide
    by. The matrices count what ``tone.syllables``, ``initial.pairs`` and ``final.pairs`` count.
    """
    tally = _Tally()
    for (reference, hypothesis), times in Counter(pairs).items():
        tally.add(reference, hypothesis, times)
    return tally.as_dict()


def character_confusions(pairs: Iterable[tuple[str, str]]) -> Counter[tuple[str, str]]:
    """How often which character was taken for which: ``(said, heard)``, the errors of the CER's alignment.

    ``""`` is heard for a deletion and said for an insertion. Characters recognised right are not counted.
    """
    confusions: Counter[tuple[str, str]] = Counter()
    for (reference, hypothesis), times in Counter(pairs).items():
        for said, heard in _aligned(reference, hypothesis):
            if said is None or heard is None or reference[said] != hypothesis[heard]:
                key = ("" if said is None else reference[said], "" if heard is None else hypothesis[heard])
                confusions[key] += times
    return confusions


def read(text: str) -> tuple[Syllable, ...]:
    """The syllables of ``text``, one for each of its characters (code points)."""
    cut = _segmenter()
    return tuple(syllable for word in cut(text) for syllable in _read_word(word))


@dataclass
class _Tally:
    """Counts that are only ever added to."""

    syllable: Counter[str] = field(default_factory=Counter)
    toneless: Counter[str] = field(default_factory=Counter)
    homophones: Counter[str] = field(default_factory=Counter)
    tone: Counter[tuple[str, str]] = field(default_factory=Counter)
    initial: Counter[tuple[str, str]] = field(default_factory=Counter)
    final: Counter[tuple[str, str]] = field(default_factory=Counter)

    def add(self, reference: str, hypothesis: str, times: int) -> None:
        said, heard = read(reference), list(read(hypothesis))
        for i, j in _aligned(reference, hypothesis):
            if i is None or j is None:
                continue
            if reference[i] == hypothesis[j]:
                heard[j] = said[i]
            else:
                self._add_substitution(said[i], heard[j], times)
        toned = _aligned(_codes(said, 0), _codes(heard, 0))
        self._count(self.syllable, toned, said, heard, 0, times)
        toneless = _toneless(toned, said, heard)
        self._count(self.toneless, toneless, said, heard, 1, times)
        for i, j in toneless:
            if i is not None and j is not None and said[i].tone and heard[j].tone:
                self._add_syllables(said[i], heard[j], times)

    def _add_substitution(self, said: Syllable, heard: Syllable, times: int) -> None:
        if said.tone and heard.tone:
            self.homophones["substitutions"] += times
            self.homophones["same_syllable"] += times * (said.toneless == heard.toneless)
            self.homophones["same_tone"] += times * (said.toned == heard.toned)

    def _add_syllables(self, said: Syllable, heard: Syllable, times: int) -> None:
        if said.toneless == heard.toneless:
            self.tone[said.tone, heard.tone] += times
        self.initial[said.initial, heard.initial] += times
        self.final[said.final, heard.final] += times

    @staticmethod
    def _count(
        counts: Counter[str], path: Path, said: Sequence[Syllable], heard: Sequence[Syllable], level: int, times: int
    ) -> None:
        for i, j in path:
            if i is None or j is None:
                counts["ins" if i is None else "del"] += times
            else:
                counts["hits" if said[i][level] == heard[j][level] else "sub"] += times

    def as_dict(self) -> dict[str, Any]:
        names = ("substitutions", "same_syllable", "same_tone")
        homophones: dict[str, Any] = {name: self.homophones[name] for name in names}
        return {
            "syllable": _error_rate(self.syllable),
            "syllable_toneless": _error_rate(self.toneless),
            "tone": _pair_rate(self.tone, "syllables"),
            "initial": _pair_rate(self.initial, "pairs"),
            "final": _pair_rate(self.final, "pairs"),
            "homophones": homophones | {"share": _ratio(homophones["same_tone"], homophones["substitutions"])},
            "confusions": {
                "tone": _matrix(self.tone, TONES),
                "initial": _matrix(self.initial, INITIALS),
                "final": _matrix(self.final, _occurring(self.final)),
            },
        }


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


def _occurring(counts: Counter[tuple[str, str]]) -> list[str]:
    found = {label for pair in counts for label in pair}
    return [*(final for final in FINALS if final in found), *sorted(found.difference(FINALS))]


def _aligned(said: str, heard: str) -> Path:
    return list(_steps(said, heard))


def _steps(said: str, heard: str) -> Iterator[tuple[int | None, int | None]]:
    i = j = 0
    for _, here, there in align(said, heard).chunks:
        yield from itertools.zip_longest(range(i, i + len(here)), range(j, j + len(there)))
        i, j = i + len(here), j + len(there)


def _toneless(toned: Path, said: Sequence[Syllable], heard: Sequence[Syllable]) -> Path:
    """A minimal alignment without tones: the one with tones where it is minimal too, as it has most tones right."""
    errors = sum(i is None or j is None or said[i].toneless != heard[j].toneless for i, j in toned)
    codes = _codes(said, 1), _codes(heard, 1)
    return toned if errors == align(*codes).counts.errors else _aligned(*codes)


def _codes(syllables: Sequence[Syllable], level: int) -> str:
    return "".join([syllable[level] for syllable in syllables])


@functools.cache
def _segmenter() -> Callable[[str], Iterable[str]]:
    from pypinyin.contrib.mmseg import seg  # with its dictionary about half a second: only where something is read

    return seg.cut


@functools.lru_cache(maxsize=100_000)
def _read_word(word: str) -> tuple[Syllable, ...]:
    """Word by word and kept: what ``lazy_pinyin`` makes of the whole text, in a tenth of the time."""
    from pypinyin import Style, lazy_pinyin

    readings = lazy_pinyin(word, style=Style.TONE3, neutral_tone_with_five=True, errors=list)
    if len(readings) != len(word):
        return tuple(syllable for char in word for syllable in _read_word(char)) if len(word) > 1 else (_other(word),)
    return tuple(_syllable(char, _CITATION.get(char, reading)) for char, reading in zip(word, readings, strict=True))


def _syllable(char: str, reading: str) -> Syllable:
    match = _READING.fullmatch(reading)
    if not match:
        return _other(char)
    from pypinyin.contrib.tone_convert import to_finals, to_initials

    toneless, tone = match.groups()
    final = to_finals(toneless, strict=True, v_to_u=False)
    initial = (to_initials(toneless, strict=True) if final else "") or ZERO_INITIAL
    return Syllable(_code(reading), _code(toneless), tone, initial, final or toneless)


def _other(char: str) -> Syllable:
    code = _code(f" {char}")  # no syllable begins with a blank: the letter a is not the syllable a
    return Syllable(code, code, "", "", "")


_tokens: dict[str, str] = {}


def _code(token: str) -> str:
    """One code point for one token, the same as long as the program runs."""
    return _tokens.setdefault(token, chr(0x10000 + len(_tokens)))
