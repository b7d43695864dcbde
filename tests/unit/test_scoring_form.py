"""The form that is scored is specified by these examples; what data preparation uses is in test_normalize.py."""

import subprocess
import sys
import time
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asr.scoring import simplified
from asr.scoring.normalize import FILLERS, OPTIONS, normalize, scoring_form, version

NUMBERS = {
    "measure words": ("2个苹果，2 天，3只", "两个苹果两天三只"),
    "measure words wetext has not": ("2次2部2点半2年2星期", "两次两部两点半两年两星期"),
    "traditional measure words": ("2個人2隻貓", "两个人两只猫"),
    "not a count": ("2月2号2楼2年级周2", "二月二号二楼二年级周二"),
    "years": ("1998年，2024年3月5日", "一九九八年二零二四年三月五日"),
    "a date in figures": ("2024-03-05", "二零二四年三月五日"),
    "per cent": ("50%和3.5%", "百分之五十和百分之三点五"),
    "full-width per cent": ("５０％", "百分之五十"),
    "per mille": ("5‰", "千分之五"),
    "a phone number": ("打13812345678", "打幺三八幺二三四五六七八"),
    "emergency calls": ("打110，拨打120", "打幺幺零拨打幺二零"),
    "but not as a count": ("110米，血压120，111", "一百一十米血压一百二十一百一十一"),
    "pages": ("第120页", "第一百二十页"),
    "a.m.": ("8:00 a.m.，8:30 p.m.", "上午八点下午八点三十分"),
    "square and cubic": ("120m²，120㎡，3cm³", "一百二十平方米一百二十平方米三立方厘米"),
    "milliseconds": ("10ms", "十毫秒"),
    "numbers beside a comma": ("3，4个，100，200", "三四个一百两百"),
    "a decimal is no date": ("11.5，12.25公斤", "十一点五十二点二五公斤"),
    "all of it": ("100%", "百分之百"),
    "midnight": ("0:00，0:30，0:05", "零点零点三十分零点零五分"),
    "a number and a half": ("2½", "二又二分之一"),
    "a range keeps its end": ("1号-5号，3~5个，气温-5度", "一号到五号三到五个气温负五度"),
    "the end of a telephone number": ("尾号2018", "尾号二零幺八"),
    "bytes are letters": ("3GB，3gb", "三gb三gb"),
    "a letter that may be a name": ("100M，3M，4S店，A-5", "一百m三m四s店a五"),
    "ordinals": ("第1名，第2个，第200名", "第一名第二个第二百名"),
    "decimals": ("3.5", "三点五"),
    "time": ("12:30，3点15分", "十二点三十分三点十五分"),
    "two o'clock, and two point five": ("2点15分，2点5", "两点十五分二点五"),
    "thousands": ("1,000人，2,000,000.5元", "一千人两百万点五元"),
    "a comma that counts nothing": ("1,2,3", "一二三"),
    "fractions": ("3/4，½，2分之1", "四分之三二分之一二分之一"),
    "below zero": ("-5度，５℃", "负五度五摄氏度"),
    "money": ("￥100，$20", "一百元二十美元"),
    "units": ("3kg，5KM，60km/h", "三千克五公里每小时六十公里"),
    "in Latin words": ("听MP3，P2P，1v1，iPhone15", "听mp三p二p一v一iphone十五"),
    "a word is no unit": ("3 men", "三men"),
    "Han zero": ("二〇二四年", "二零二四年"),
    "digits of other scripts": ("٣个，३个", "三个三个"),
    "compatibility forms": ("①②㎏", "十二千克"),
    "too long for a number": ("12345678901234", "一二三四五六七八九零一二三四"),
    "a control character is a blank": ("3\x005", "三五"),
    "a lone surrogate is nothing": ("3\ud8005", "三十五"),
    "what stands around is kept": ('嗯，那儿"3"\\花儿', "嗯那儿三花儿"),
}

SCRIPT = {
    "nothing to do": ("今天天气很好", "今天天气很好"),
    "traditional": ("臺灣的語音識別，發現頭髮", "台湾的语音识别发现头发"),
    "by phrases": ("乾隆皇帝把衣服弄乾淨", "乾隆皇帝把衣服弄干净"),
    "marks make no difference": ("乾，隆", "乾隆"),
    "the empress stays": ("皇后後來", "皇后后来"),
    "著 as a particle": ("看著我，睡著了，著急", "看着我睡着了着急"),
    "著 as a word": ("著名的名著，著作顯著", "著名的名著著作显著"),
    "simplified 着": ("看着", "看着"),
    "variants of one character": ("妳說甚麼，暱稱，衹有，祇要，牠", "你说什么昵称只有只要它"),
    "another word stays another word": ("神祇，甚至，想象想像，方喆", "神祇甚至想象想像方喆"),
    "erhua and fillers were said": ("那兒，嗯……啊啊啊", "那儿嗯啊啊啊"),
    "what normalize does": ("我要去 ＫＴＶ，好吗？👍🏽", "我要去ktv好吗"),
    "composed across what was removed": ("e\u200d\u0301", "é"),
    "zero as a circle": ("二○一二年，二〇一二年", "二零一二年二零一二年"),
    "a perfect hypothesis with tags": ("<|zh|><|NEUTRAL|><|Speech|><|woitn|>你好", "你好"),
    "lone surrogate beside Han": ("臺\ud800灣", "台湾"),
    "empty": ("", ""),
    "punctuation alone": ("。！？ ，", ""),
}

WITHOUT_ERHUA = {
    "suffix": ("花儿，这儿那儿哪儿，一点儿，一会儿", "花这那哪一点一会"),
    "traditional": ("花兒", "花"),
    "children": ("男孩儿女孩儿小孩儿", "男孩女孩小孩"),
    "own words": ("儿子女儿儿童孤儿婴儿少儿幼儿园", "儿子女儿儿童孤儿婴儿少儿幼儿园"),
    "own words of three": ("新生儿托儿所小儿科一儿一女", "新生儿托儿所小儿科一儿一女"),
    "a suffix before an own word": ("这儿女儿多", "这女儿多"),
    "at that time, and childhood": ("那儿时间长，儿时", "那时间长儿时"),
    "children of medicine": ("脑瘫儿，唐氏儿，早产儿，聋儿康复", "脑瘫儿唐氏儿早产儿聋儿康复"),
    "places and phrases": ("台儿庄，吊儿郎当", "台儿庄吊儿郎当"),
    "alone": ("儿", "儿"),
    "after Latin": ("b儿", "b儿"),
    "fillers stay": ("嗯花儿", "嗯花"),
}

WITHOUT_FILLERS = {
    "fillers": ("嗯，我呃想啊……哎", "我想"),
    "words stay": ("额头，哈尔滨，好吧", "额头哈尔滨好吧"),
    "erhua stays": ("嗯花儿", "花儿"),
    "nothing else": (FILLERS, ""),
}


@pytest.mark.parametrize(("text", "expected"), [*NUMBERS.values(), *SCRIPT.values()], ids=[*NUMBERS, *SCRIPT])
def test_example(text, expected):
    assert scoring_form(text) == expected


@pytest.mark.parametrize(("text", "expected"), WITHOUT_ERHUA.values(), ids=WITHOUT_ERHUA)
def test_without_erhua(text, expected):
    assert scoring_form(text, {"erhua"}) == expected


@pytest.mark.parametrize(("text", "expected"), WITHOUT_FILLERS.values(), ids=WITHOUT_FILLERS)
def test_without_fillers(text, expected):
    assert scoring_form(text, {"fillers"}) == expected


def test_the_version_names_what_was_left_out():
    assert version() == "zh-3"
    assert version(["fillers", "erhua"]) == version(("erhua", "fillers")) == "zh-3, without erhua, fillers"


# Traditional, erhua, fillers, digits and everything that can stand beside a number.
_DENSE = st.text(
    '0123456789２٣①½，。,.:/%-~ +￥$两二第个個隻点年月日号万亿臺灣乾隆著作花儿兒子嗯啊kmgp"\\{}<>℃|\x00\ud800\u200b😀'
)
_ANY = st.text(st.characters(codec=None))
_OPTIONS = st.sets(st.sampled_from(OPTIONS))


@settings(deadline=None)
@given(_ANY | _DENSE, _OPTIONS)
def test_once_is_enough_and_no_digit_is_left(text, without):
    form = scoring_form(text, without)
    assert scoring_form(form, without) == form == normalize(form)
    assert not any(unicodedata.category(char) == "Nd" for char in form)


@settings(deadline=None)
@given(st.text("人台我们嗯呃上午多半的花儿ab，。 0123456789.:%-/"))
def test_reading_numbers_loses_nothing_else(text):
    """wetext may move a unit before its number; it may not swallow a word."""
    form = scoring_form(text)
    for char in "人台我们嗯呃上午多半的花儿ab":
        assert form.count(char) >= text.count(char)


def test_every_ideograph_has_one_form_of_one_character():
    """opencc alone does not stop at the first step: 薴 is 苧, and that is 苎. Compatibility forms become ordinary."""
    for code in (*range(0x3400, 0xA000), *range(0xF900, 0xFB00), *range(0x20000, 0x323B0)):
        form = scoring_form(chr(code))
        assert len(form) <= 1, chr(code)
        assert scoring_form(form) == form


@pytest.mark.parametrize("piece", ["我", "臺灣", "7", "1a", "3点15分我们走，", "1,", "\x00", "\ud800"])
def test_long_texts_take_no_time(piece):
    text = (piece * 10_000)[:10_000]
    start = time.perf_counter()
    scoring_form(text)
    scoring_form("2" + text)
    assert time.perf_counter() - start < 5


def test_what_is_not_needed_is_not_loaded():
    code = """
import sys
from asr.scoring.normalize import normalize, scoring_form
normalize("3点，臺灣")
assert "wetext" not in sys.modules and "opencc" not in sys.modules
assert scoring_form("今天臺灣，hello") == "今天台湾hello" and "wetext" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_table_of_variants_that_is_read_alone_is_wetexts():
    from wetext import Normalizer

    whole = Normalizer(lang="zh", operator="tn", traditional_to_simple=True)
    characters = [chr(code) for code in range(0x3400, 0xA000, 5)]
    assert [simplified._wetext()(char) for char in characters] == [whole.normalize(char) for char in characters]
