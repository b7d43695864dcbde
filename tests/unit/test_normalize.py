"""The normaliser is specified by these examples."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr.scoring.normalize import normalize

EXAMPLES = {
    "nothing to do": ("今天天气很好", "今天天气很好"),
    "full-width punctuation": ("你好，世界！（真的？）“是”……《书》、·—", "你好世界真的是书"),
    "half-width punctuation": ("你好, 世界! (a-b_c) 'x' #1 @", "你好世界abcx1"),
    "blanks of every kind": (" 你\t好\u3000世\u00a0界\u2003\n\u200b", "你好世界"),
    "full-width Latin and digits": ("ＫＴＶ１２３", "ktv123"),
    "Latin case": ("我用Python和KTV", "我用python和ktv"),
    "Latin with accents": ("ÉCOLE Ärger", "écoleärger"),
    "other scripts keep their case": ("ΑΒΓ Дом", "ΑΒΓДом"),
    "compatibility forms": ("①②㎏Ⅷ㈱", "12kgviii株"),
    "erhua and fillers were said": ("那儿，嗯……啊啊啊", "那儿嗯啊啊啊"),
    "digits are not read out": ("3点15分", "3点15分"),
    "traditional stays traditional": ("語音識別", "語音識別"),
    "an iteration mark is what it repeats": ("人々〇ー，谢 々々，々，々", "人人〇ー谢谢谢谢谢"),
    "circles beside a Han numeral are zero": ("二○一二年，三◯五号，○，圈○圈，⼆○⼀", "二〇一二年三〇五号圈圈二〇一"),
    "so is a letter O between two": ("二OＯ八，三O", "二〇〇八三o"),
    "radicals and strokes are ideographs": ("⻓大，⽉⻋㇐", "长大月车一"),
    "compatibility ideographs": ("\uf9d1車\U0002f800", "六車丽"),
    "letters in emoji style": ("🅰🅿", "ap"),
    "symbols and money": ("3+5=8 ￥100 50% ℃ →★", "35810050c"),
    "emoji with selector and joiner": ("好👍🏽❤️👩‍👩‍👧1️⃣", "好1"),
    "control and format characters": ("你\x00\x07\u202e\u2066好\ufeff", "你好"),
    "a lone surrogate": ("你\ud800好", "你好"),
    "rare and private-use Han": ("𠮷㐂\ue000\U000323af", "𠮷㐂\ue000\U000323af"),
    "ideographic variation selector": ("葛\U000e0100", "葛"),
    "combining marks stay, composed": ("e\u0301 नमस्ते", "éनमस्ते"),
    "composed across what was removed": ("e\u200d\u0301", "é"),
    "tags in angle brackets are no words": ("<|zh|><|0.00|>你<unk>好</s>＜SIL＞<b>吗</b>", "你好吗"),
    "other brackets go alone": ("[FIL]{b}（笑）<笑><3>3<5>2", "filb笑笑3352"),
    "punctuation alone": ("。！？ ，", ""),
    "empty": ("", ""),
}


@pytest.mark.parametrize(("text", "expected"), EXAMPLES.values(), ids=EXAMPLES)
def test_example(text, expected):
    assert normalize(text) == expected


@given(st.text(st.characters(codec=None)) | st.text("二○OＯo々ヽ<unk>|谢，😀⻓"))
def test_normalising_twice_changes_nothing_more(text):
    assert normalize(normalize(text)) == normalize(text)


@given(st.text("今天天气很好你我他", min_size=1), st.text("，。！ 　\u200b…“”"))
def test_marks_anywhere_make_no_difference(text, marks):
    middle = len(text) // 2
    assert normalize(marks + text[:middle] + marks + text[middle:] + marks) == text


def _spoken(code: int) -> bool:
    char, name = chr(code), unicodedata.name(chr(code), "")
    return unicodedata.category(char)[0] in "LN" or name.startswith(("CJK RADICAL", "KANGXI", "CJK COMPATIBILITY"))


def test_nothing_that_is_spoken_vanishes():
    """Letters, numbers, ideographs and radicals, by property; the radical that repeats has nothing to repeat alone."""
    gone = [chr(code) for code in range(0x110000) if _spoken(code) and not normalize(chr(code))]
    assert gone == ["⺀"]
    assert normalize("谢⺀") == "谢谢"


def test_no_ideograph_of_the_common_block_is_changed():
    """What lets a text of these alone be taken as it is."""
    for code in range(0x4E00, 0xA000):
        assert normalize(f"a{chr(code)}") == f"a{chr(code)}"  # beside a letter it is not taken as it is
