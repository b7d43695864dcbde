"""The normaliser is specified by these examples."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr.normalize import _normalized, normalize

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
    "iteration marks and zero are letters": ("人々〇ー", "人々〇ー"),
    "symbols and money": ("3+5=8 ￥100 50% ℃ →★", "35810050c"),
    "emoji with selector and joiner": ("好👍🏽❤️👩‍👩‍👧1️⃣", "好1"),
    "control and format characters": ("你\x00\x07\u202e\u2066好\ufeff", "你好"),
    "a lone surrogate": ("你\ud800好", "你好"),
    "rare and private-use Han": ("𠮷㐂\ue000\U000323af", "𠮷㐂\ue000\U000323af"),
    "ideographic variation selector": ("葛\U000e0100", "葛"),
    "combining marks stay, composed": ("e\u0301 नमस्ते", "éनमस्ते"),
    "composed across what was removed": ("e\u200d\u0301", "é"),
    "tags lose their brackets only": ("<b>好</b>", "b好b"),
    "punctuation alone": ("。！？ ，", ""),
    "empty": ("", ""),
}


@pytest.mark.parametrize(("text", "expected"), EXAMPLES.values(), ids=EXAMPLES)
def test_example(text, expected):
    assert normalize(text) == expected


@given(st.text(st.characters(codec=None)))
def test_normalising_twice_changes_nothing_more(text):
    assert normalize(normalize(text)) == normalize(text)


@given(st.text("今天天气很好你我他", min_size=1), st.text("，。！ 　\u200b…“”"))
def test_marks_anywhere_make_no_difference(text, marks):
    middle = len(text) // 2
    assert normalize(marks + text[:middle] + marks + text[middle:] + marks) == text


def test_no_ideograph_of_the_common_block_is_changed():
    """What lets a text of these alone be taken as it is."""
    for code in range(0x4E00, 0xA000):
        assert _normalized(chr(code)) == chr(code)
