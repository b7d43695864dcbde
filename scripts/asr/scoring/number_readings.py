"""The readings that a written number may have, and the one nearest to what was said.

A hypothesis with digits does not tell whether it heard 二百 or 两百, 日 or 号, 一 or 幺. So of each number that a
hypothesis writes in digits the reading nearest to the reference counts, of at most ``MOST`` of the closed table below
(docs/scores.md has it in words). Nothing but the number's own characters is read otherwise: digits, signs, Latin units.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import TypeAlias

from asr.scoring.normalize import scoring_form, slots
from asr.scoring.spoken_numbers import has_digits, interleaved, one_by_one, value

MOST = 4
LONGEST_VALUE = 8  # digits; nobody reads a telephone number as one number
_Path: TypeAlias = tuple[int, tuple[int, ...]]

# (what is written, what of its reading, is also read). Each is applied, in this order, to all readings so far.
_ALSO = (
    (":.*[aA]", "上午", "早上"),  # 8:30 a.m.
    (":.*[pP]", "下午", "晚上"),
    ("^[0-9]+:30", "三十分$", "半"),
    ("^[0-9]+:0[1-9]", "零(.)分$", r"\1分"),
    ("^[0-9]+:[0-9]{2}", "分$", ""),
    ("^[0-9]+:00", "点$", "点整"),
    ("^[0-9]+:00", "点$", "点钟"),
    ("[0-9][-/][0-9]", "日$", "号"),  # 2024-03-05
    ("[0-9][-~][0-9]", "[到减]", "至"),
    ("[0-9]-[0-9]", "减", "到"),
    ("[0-9][-~][0-9]", "[到减至]", ""),
    ("^[0-9]{3,}-[0-9-]+$", "一", "幺"),
    ("^¥", "点(.)元$", r"块\1"),  # ¥3.5
    ("^¥", "元$", "块"),
    (r"^\$", "美元$", "美金"),
    ("kg$", "千克", "公斤"),
    ("km$", "公里", "千米"),
    ("km²$", "平方千米", "平方公里"),
    ("[0-9] *m²$", "平方米", "平米"),
    ("cm$", "厘米", "公分"),
    ("°C$", "摄氏度", "度"),
    ("^100%$", "百分之百", "百分之一百"),
    ("2", "两", "二"),
    ("2", "二(?=[百千万亿块])|^二$", "两"),
    ("1[0-9]$", "零一十", "零十"),
    ("^[0-9]+0$", "(百.)十$|(千.)百$|(万.)千$", r"\1\2\3"),
)
_PAIR = re.compile("([0-9]+)([-./:])([0-9]+)")
_DATE = re.compile("(?:0?[1-9]|1[0-2])[-./](?:0?[1-9]|[12][0-9]|3[01])")
_SLOT = "\ufdd0"  # stands for a number while the rest is normalised; a noncharacter, so no text has it


def readings(written: str, first: str) -> tuple[str, ...]:
    """Return what ``written`` may be read as, at most ``MOST``: ``first``, which counts where none is nearer, and more.

    >>> readings("200", "两百")
    ('两百', '二零零', '二百')
    """
    if re.search("[\u3400-\u9fff]", written):  # 1号-5: what the system wrote in Han is not read anew
        return (first,)
    options = [first]
    if written.isdigit():
        options += [one_by_one(written), one_by_one(written).replace("一", "幺")][: len(written) - 1]
        options += [value(written)] * (len(written) <= LONGEST_VALUE)
    for pattern, read, also in _ALSO:
        if re.search(pattern, written):
            options += [re.sub(read, also, reading) for reading in dict.fromkeys(options)]
    return tuple(dict.fromkeys([*options, *_pair(written)]))[:MOST]


def _pair(written: str) -> list[str]:
    """Return readings of two numbers with a mark between: a day (11.5), range (10-20), ratio (3:15), sequence (3/4)."""
    match = _PAIR.fullmatch(written)
    if not match or len(written) > LONGEST_VALUE:
        return []
    left, right = value(match[1].lstrip("0") or "0"), value(match[3].lstrip("0") or "0")
    days = [f"{left}月{right}日", f"{left}月{right}号"] if _DATE.fullmatch(written) else []
    return days + {"-": [f"{left}到{right}"], "/": [left + right], ":": [f"{left}比{right}"], ".": []}[match[2]]


def nearest(reference: str, hypothesis: str, without: Collection[str] = frozenset()) -> tuple[str, bool]:
    """Return the scoring form of ``hypothesis`` with each number read as is nearest to ``reference`` (in that form).

    Nearest: fewest errors in all; of equals the readings that come first. Also whether that is any but the first one.
    """
    form = scoring_form(hypothesis, without)
    if not has_digits(hypothesis):
        return form, False
    marked, numbers = slots(hypothesis, _SLOT)
    rest = scoring_form(marked, without).split(_SLOT)
    choices = [readings(number.written, number.reading) for number in numbers]
    if len(rest) != len(choices) + 1 or interleaved(rest, [options[0] for options in choices]) != form:
        return form, False  # a number that its neighbours change in the scoring form keeps its first reading
    chosen = _nearest_readings(reference, rest, choices)
    read = interleaved(rest, [options[index] for options, index in zip(choices, chosen, strict=True)])
    return read, read != form


def _nearest_readings(reference: str, rest: Sequence[str], choices: Sequence[Sequence[str]]) -> tuple[int, ...]:
    """Return the reading of each number. Levenshtein's recursion over the hypothesis, on (errors, readings so far)."""
    row: list[_Path] = [(length, ()) for length in range(len(reference) + 1)]
    row = _extended(row, reference, rest[0])
    for options, part in zip(choices, rest[1:], strict=True):
        rows = [
            [(errors, (*chosen, index)) for errors, chosen in _extended(row, reference, option)]
            for index, option in enumerate(options)
        ]
        row = _extended([min(paths) for paths in zip(*rows, strict=True)], reference, part)
    return row[-1][1]


def _extended(row: list[_Path], reference: str, text: str) -> list[_Path]:
    """Return the next row of the recursion for each character of ``text``."""
    for char in text:
        new = [(row[0][0] + 1, row[0][1])]
        for at, said in enumerate(reference):
            (diagonal, path), (left, left_path), (above, above_path) = row[at], new[at], row[at + 1]
            new.append(min((diagonal + (said != char), path), (left + 1, left_path), (above + 1, above_path)))
        row = new
    return row
