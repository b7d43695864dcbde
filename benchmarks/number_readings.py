#!/usr/bin/env python3
"""Read numbers back: spoken -> written in digits -> read aloud again, by the scorer and by plain wetext.

    . ./path.sh; python benchmarks/number_readings.py [--each 400] [--seed 0] [--show 0]

What is said is made by rule, as Mandarin is spoken (两百, 二月二号, 百分之百); it is written down by rule and, a second
time, by wetext's inverse normaliser, which writes as recognisers do. The error is that of characters against what was
said, with punctuation and blanks taken away, of three readings: plain wetext's, the scorer's first one, and the nearest
of those that docs/scores.md lists, which is what a hypothesis is scored by. 0 to 9999 are all read; of the other kinds
--each are drawn.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Callable, Iterator
from typing import NamedTuple

from rapidfuzz.distance import Levenshtein
from wetext import Normalizer

from asr.core.text_tables import text_table
from asr.scoring.normalize import normalize, scoring_form
from asr.scoring.number_readings import nearest

DIGITS = "零一二三四五六七八九"
COUNTED = "个只张本件条位次遍台部间栋句种倍步天"
Pair = tuple[str, str]  # what was said, and how it is written by rule
Draw = Callable[[random.Random], Pair]


def number(value: int) -> str:
    """Cardinal numbers below 10^8, with 两 where a number begins with 200, 2,000 or 20,000."""
    if value < 0:
        return f"负{number(-value)}"
    if value >= 10000:
        rest = value % 10000
        return (
            number(value // 10000).replace("二", "两", value // 10000 == 2)
            + "万"
            + (("零" if rest < 1000 else "") + _below_10000(rest) if rest else "")
        )
    text = _below_10000(value)
    if value // 10 == 1:
        text = text.removeprefix("一")
    return "两" + text[1:] if 200 <= value < 300 or 2000 <= value < 3000 else text


def _below_10000(value: int) -> str:
    text, gap = "", False
    for place, unit in ((1000, "千"), (100, "百"), (10, "十"), (1, "")):
        digit, value = divmod(value, place)
        if digit:
            text, gap = text + ("零" if gap else "") + DIGITS[digit] + unit, False
        elif text and value:
            gap = True
    return text or "零"


def count(value: int) -> str:
    """A number before a measure word: 两 for 2."""
    return "两" if value == 2 else number(value)


def digits(written: str, one: str = "一") -> str:
    """Digit by digit."""
    return "".join(DIGITS[int(char)] for char in written if char.isdigit()).replace("一", one)


def decimal(written: str) -> str:
    """``11.5`` is 十一点五."""
    whole, _, part = written.partition(".")
    return number(int(whole)) + (f"点{digits(part)}" if part else "")


def _counted(rng: random.Random) -> Pair:
    value, word = (
        rng.choice([2, 2, rng.randrange(1, 100), rng.randrange(1, 3000)]),
        rng.choice(COUNTED),
    )
    return f"我要{count(value)}{word}", f"我要{value}{word}"


def _year(rng: random.Random) -> Pair:
    value = str(rng.randrange(1900, 2050))
    return f"{digits(value)}年的事", f"{value}年的事"


def _date(rng: random.Random) -> Pair:
    year, month, day = rng.randrange(1950, 2050), rng.randrange(1, 13), rng.randrange(1, 29)
    word = rng.choice("日号")
    said = f"{number(month)}月{number(day)}{word}"
    if rng.random() < 0.5:
        return said, f"{month}月{day}{word}"
    written = rng.choice([f"{year}年{month}月{day}{word}", f"{year}-{month:02}-{day:02}", f"{year}/{month}/{day}"])
    return f"{digits(str(year))}年{said}", written


def _time(rng: random.Random) -> Pair:
    hour, minute = rng.randrange(24), rng.choice([0, 30, rng.randrange(60)])
    said = f"{count(hour)}点" + (f"{'零' * (minute < 10)}{number(minute)}分" if minute else "")
    if rng.random() < 0.5:
        return f"在{said}", f"在{hour}:{minute:02}"
    if hour < 12 and not minute and hour:
        return f"上午{said}", rng.choice([f"{hour}:00 a.m.", f"上午{hour}:00"])
    return f"在{count(hour)}点" + (f"{number(minute)}分" if minute else "半"), f"在{hour}点" + (
        f"{minute}分" if minute else "半"
    )


def _money(rng: random.Random) -> Pair:
    value, cents = rng.randrange(3, 3000), rng.randrange(1, 10)
    kind = rng.randrange(5)
    if kind == 0:
        return f"{number(value)}元", f"¥{value}"
    if kind == 1:
        return f"{number(value)}块", f"{value}块"
    if kind == 2:
        return f"{number(value)}点{DIGITS[cents]}元", f"{value}.{cents}元"
    if kind == 3:
        return f"{count(value % 10)}块{DIGITS[cents]}", f"{value % 10}块{cents}"
    return f"{number(value)}美元", f"${value:,}"


_UNITS = {
    "kg": "千克", "m": "米", "cm": "厘米", "mm": "毫米", "km": "公里", "ml": "毫升", "m²": "平方米", "cm³": "立方厘米",
    "ms": "毫秒", "°C": "摄氏度", "℃": "摄氏度", "h": "小时", "度": "度", "斤": "斤", "米": "米",
    "公斤": "公斤", "岁": "岁",
}  # fmt: skip


def _measure(rng: random.Random) -> Pair:
    unit, value = rng.choice(list(_UNITS)), rng.randrange(3, 1000)
    if rng.random() < 0.1:
        return f"每小时{number(value)}公里", f"{value}km/h"
    if rng.random() < 0.3:
        part = f"{rng.randrange(3, 40)}.{rng.randrange(1, 10)}"
        return f"{decimal(part)}{_UNITS[unit]}", f"{part}{unit}"
    return f"大约{number(value)}{_UNITS[unit]}", f"大约{value}{unit}"


def _per_cent(rng: random.Random) -> Pair:
    value = rng.choice([100, rng.randrange(1, 120)])
    if rng.random() < 0.3:
        part = f"{rng.randrange(100)}.{rng.randrange(1, 10)}"
        return f"百分之{decimal(part)}", f"{part}%"
    if rng.random() < 0.1:
        return f"千分之{number(value)}", f"{value}‰"
    return f"百分之{'百' if value == 100 else number(value)}", f"{value}%"


def _decimal(rng: random.Random) -> Pair:
    written = f"{rng.randrange(100)}.{rng.randrange(1, 100)}"
    return f"是{decimal(written)}", f"是{written}"


def _ordinal(rng: random.Random) -> Pair:
    value, word = rng.choice([2, rng.randrange(1, 300)]), rng.choice(["页", "名", "个", "天", "次", "章", ""])
    said = number(value).replace("两", "二")
    return f"第{said}{word}", f"第{value}{word}"


def _telephone(rng: random.Random) -> Pair:
    if rng.random() < 0.2:
        call = rng.choice(["110", "119", "120"])
        return f"快打{digits(call, '幺')}", f"快打{call}"
    written = f"1{rng.randrange(3, 10)}{rng.randrange(10**9):09}"
    return f"电话是{digits(written, '幺')}", f"电话是{written}"


def _side_by_side(rng: random.Random) -> Pair:
    first, second = rng.randrange(1, 1000), rng.randrange(1, 1000)
    if rng.random() < 0.3:
        return f"{number(first)}，{count(second)}个", f"{first},{second}个" if second < 100 else f"{first}，{second}个"
    return f"{number(first)}，{count(second)}个", f"{first}，{second}个"


def _fraction(rng: random.Random) -> Pair:
    above, below = rng.randrange(1, 10), rng.randrange(2, 10)
    if rng.random() < 0.3:
        return f"{number(above)}比{number(below)}", f"{above}比{below}"
    if rng.random() < 0.4:
        return f"{number(above)}到{number(above + below)}个", f"{above}~{above + below}个"
    return f"{number(below)}分之{number(above)}", rng.choice([f"{above}/{below}", f"{below}分之{above}"])


def _number_in_words(rng: random.Random) -> Pair:
    value = rng.choice([110, 119, 120, rng.randrange(100, 9999)])
    before = rng.choice(["血压", "一共", "编号", "考了"])
    return f"{before}{number(value)}", f"{before}{value}"


KINDS: dict[str, Draw] = {
    "after a word": _number_in_words,
    "with a measure word": _counted,
    "years": _year,
    "dates": _date,
    "times": _time,
    "money": _money,
    "measures": _measure,
    "per cent, per mille": _per_cent,
    "decimals": _decimal,
    "ordinals": _ordinal,
    "telephone numbers": _telephone,
    "beside a comma": _side_by_side,
    "fractions, ratios, ranges": _fraction,
}


class Row(NamedTuple):
    """Errors of one kind, in characters."""

    kind: str
    texts: int
    characters: int
    wetext: int
    first: int
    nearest: int


def _pairs(each: int, seed: int) -> Iterator[tuple[str, list[Pair]]]:
    written_as_recognisers_do = Normalizer(lang="zh", operator="itn").normalize
    step = 1 if each >= 400 else 10000 // (25 * each)
    drawn = {"0 to 9999": [(number(value), str(value)) for value in range(0, 10000, step)]}
    for kind, draw in KINDS.items():
        rng = random.Random(f"{seed} {kind}")
        drawn[kind] = [draw(rng) for _ in range(each)]
    for kind, pairs in drawn.items():
        again = [(said, written_as_recognisers_do(said)) for said, _ in pairs]
        yield kind, list(dict.fromkeys([*pairs, *again]))


def measure(each: int = 400, seed: int = 0, show: int = 0) -> list[Row]:
    """Errors by kind; ``show`` texts of each kind that the scorer reads wrongly are printed."""
    read = Normalizer(lang="zh", operator="tn").normalize
    rows = []
    for kind, pairs in _pairs(each, seed):
        errors, shown = [0, 0, 0], 0
        for said, written in pairs:
            readings = [normalize(read(written)), scoring_form(written), nearest(normalize(said), written)[0]]
            said = normalize(said)
            distances = [Levenshtein.distance(said, reading) for reading in readings]
            errors = [total + distance for total, distance in zip(errors, distances, strict=True)]
            if distances[1] and shown < show:
                shown += 1
                print(kind, said, written, *readings, sep="\t")
        rows.append(Row(kind, len(pairs), sum(len(said) for said, _ in pairs), *errors))
    total = [sum(column) for column in list(zip(*rows, strict=True))[1:]]
    return [*rows, Row("together", *total)]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--each", type=int, default=400, metavar="N", help="texts of each kind (default: 400)")
    parser.add_argument("--seed", type=int, default=0, help="of what is drawn (default: 0)")
    parser.add_argument("--show", type=int, default=0, metavar="N", help="print so many errors of each kind")
    arguments = parser.parse_args()
    header = ("", "texts", "characters", "plain wetext %", "the scorer %", "nearest listed %")
    cells = [
        (
            row.kind,
            f"{row.texts:,}",
            f"{row.characters:,}",
            *(f"{100 * errors / row.characters:.2f}" for errors in (row.wetext, row.first, row.nearest)),
        )
        for row in measure(max(arguments.each, 1), arguments.seed, arguments.show)
    ]
    print(text_table(header, cells))


if __name__ == "__main__":
    main()
