"""Make RecipeCJK-Regular.otf: the characters that figures need, of Noto Sans CJK SC, under a name of its own.

    python scripts/asr/pages/fonts/make_subset.py /usr/share/fonts/opentype/noto/NotoSansCJK-Regular.ttc

Kept are ASCII, Latin-1, pinyin's letters, punctuation and the 6,763 Han characters of GB 2312. The same
source gives the same bytes. The original's name is not used for what is no longer the original; licence: OFL.txt.
"""

from __future__ import annotations

import sys
from pathlib import Path

from fontTools import subset
from fontTools.ttLib import TTCollection, TTFont

FAMILY, FILE = "Recipe CJK", "RecipeCJK-Regular.otf"
SOURCE_FACE = "NotoSansCJKsc-Regular"  # the face with mainland China's shapes
PINYIN = "āáǎàēéěèīíǐìōóǒòūúǔùǖǘǚǜüêńňǹḿ"
PUNCTUATION = "–—‘’“”…•′″‰←↑→↓−×÷±≈≠≤≥▲▼■□●○、。〈〉《》「」『』【】〔〕・〜！（），．：；？～％＋－／＝￥"
NOT_KEPT = ["BASE", "GDEF", "GPOS", "GSUB", "VORG", "vhea", "vmtx"]  # matplotlib lays text out without them


def kept() -> list[int]:
    """Return the code points of the subset; of GB 2312 kana (rows 4 and 5 of its table) and Han (16 to 87)."""
    pairs = ((row, cell) for row in (4, 5, *range(16, 88)) for cell in range(1, 95))
    gb2312 = "".join(bytes((row + 0xA0, cell + 0xA0)).decode("gb2312", "ignore") for row, cell in pairs)
    return sorted({*range(0x20, 0x7F), *range(0xA0, 0x100), *map(ord, PINYIN + PUNCTUATION + gb2312)})


def rename(font: TTFont) -> None:
    """Give the font a name of its own; copyright, authors and licence stay."""
    names = {1: FAMILY, 2: "Regular", 3: f"{FAMILY} Regular", 4: f"{FAMILY} Regular", 6: "RecipeCJK-Regular"}
    table = font["name"]
    names |= {number: table.getDebugName(number) for number in (0, 5, 8, 9, 10, 11, 12, 13, 14)}
    table.names = []
    for number, words in sorted(names.items()):
        if words:
            table.setName(words, number, 3, 1, 0x409)
    top = font["CFF "].cff
    top.fontNames = ["RecipeCJK-Regular"]
    top[0].FullName, top[0].FamilyName = f"{FAMILY} Regular", FAMILY


def main() -> None:
    """Write the font beside this file; the argument names Noto's collection."""
    collection = TTCollection(sys.argv[1], lazy=True, recalcTimestamp=False)
    font = next(face for face in collection.fonts if face["name"].getDebugName(6) == SOURCE_FACE)
    options = subset.Options(hinting=False, notdef_outline=True, drop_tables=NOT_KEPT, layout_features=[], name_IDs="*")
    options.recalc_timestamp = font.recalcTimestamp = False
    subsetter = subset.Subsetter(options)
    subsetter.populate(unicodes=kept())
    subsetter.subset(font)
    rename(font)
    font.save(Path(__file__).resolve().parent / FILE, reorderTables=True)


if __name__ == "__main__":
    main()
