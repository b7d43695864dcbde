"""Characters that are spoken although they look like symbols, and tags, which look like words and are not spoken."""

from __future__ import annotations

import re

# CJK radicals and strokes, each before the ideograph that it is: the property Equivalent_Unified_Ideograph of the
# Unicode Character Database, version 14.0 (EquivalentUnifiedIdeograph.txt). Kangxi radicals are NFKC's work.
_RADICALS = """
⺁厂⺂乛⺃乚⺄乙⺅亻⺆冂⺇𠘨⺈刀⺉刂⺊卜⺋㔾⺌小⺍小⺎兀⺏尣⺐尢⺑𡯂⺒巳⺓幺⺔彑⺕彐⺖忄⺗心⺘扌⺙攵⺛旡⺜日⺝月⺞歺⺠民⺡氵⺢氺⺣灬⺤爫⺥爫⺦丬⺧牛⺨犭
⺩王⺪𤴔⺫目⺬示⺭礻⺮𥫗⺯糹⺰纟⺱罓⺲罒⺳㓁⺴冗⺵𦉫⺶羊⺷𦍌⺸𦍋⺹耂⺺肀⺻聿⺼肉⺽𦥑⺾艹⺿艹⻀艹⻁虎⻂衤⻃覀⻄西⻅见⻆角⻇𧢲⻈讠⻉贝⻊𧾷⻋车⻌辶⻍辶⻎辶
⻏邑⻐钅⻑長⻒镸⻓长⻔门⻕𨸏⻖阝⻗雨⻘青⻙韦⻚页⻛风⻜飞⻝食⻞𩙿⻟飠⻠饣⻡𩠐⻢马⻣骨⻤鬼⻥鱼⻦鸟⻧卤⻨麦⻩黄⻪黾⻫斉⻬齐⻭歯⻮齿⻯竜⻰龙⻱龜⻲亀㇆𠃌㇏乀
㇐一㇑丨㇒丿㇓丿㇔丶㇕𠃍㇖乛㇗𠃊㇘𠃎㇙𠄌㇚亅㇛𡿨㇜𠃋㇝乀㇞𠃑㇟乚㇠乙㇡𠄎
""".replace("\n", "")
_SAME = dict(zip(_RADICALS[::2], _RADICALS[1::2], strict=True))
# Letters in emoji style, which NFKC leaves: 🅐 and 🅰.
_SAME |= {chr(first + index): chr(65 + index) for first in (0x1F150, 0x1F170) for index in range(26)}
_SYMBOLS = str.maketrans(_SAME)

_NUMERAL = "〇零一二三四五六七八九十百千万亿兩两萬億"
_CIRCLE = "○◯⭕"
_CIRCLES = re.compile(rf"[{_NUMERAL}]\s*(?:[{_CIRCLE}]\s*)+|(?:[{_CIRCLE}]\s*)+(?=[{_NUMERAL}])")
_LETTER_O = re.compile(rf"(?<=[{_NUMERAL}])[OoＯｏ]+(?=[{_NUMERAL}])")
_ZERO = str.maketrans(dict.fromkeys(_CIRCLE, "〇"))
_REPEATED = re.compile(r"([^\W\d_々〻⺀ヽゝ])(\s*)([々〻⺀ヽゝ]+)")

# <unk>, </s>, <|zh|>, <|0.00|>: ASCII, and without a blank, so that a sentence between < and > is none.
TAG = re.compile(r"(?a:[<＜](?:\|[!-;=?-{}~]*\||/?[A-Za-z][\w./:-]*)[>＞])")


def spelt_out(text: str) -> str:
    """Return ``text`` with the character that is spoken for each that looks like a symbol; as long as ``text``.

    ○ and ◯ beside a Han numeral are 〇, and so is a letter O between two; radicals are their ideographs; 々 is the
    character before it.

    >>> spelt_out("二○一二年谢々你⻓大了")
    '二〇一二年谢谢你长大了'
    """
    text = _REPEATED.sub(lambda match: match[1] + match[2] + match[1] * len(match[3]), text.translate(_SYMBOLS))
    text = _CIRCLES.sub(lambda match: match[0].translate(_ZERO), text)
    return _LETTER_O.sub(lambda match: "〇" * len(match[0]), text)


def without_tags(text: str) -> str:
    """Return ``text`` with a blank for each tag."""
    return TAG.sub(" ", text)
