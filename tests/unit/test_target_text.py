"""Targets keep what was said; every change is counted, with the first place it was made."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr.preparation.corpus import Clip
from asr.preparation.problems import Problems
from asr.preparation.target_text import Change, TargetText, changes, describe
from asr.scoring.normalize import normalize, normalize_target

EXAMPLES = {
    "nothing to do": ("今天天气很好", "今天天气很好"),
    "erhua, fillers and repetitions were said": ("嗯那儿那那儿", "嗯那儿那那儿"),
    "marks and blanks go": ("你 好，世 界！", "你好世界"),
    "full width becomes half width": ("ＫＴＶ１２", "ktv12"),
    "digits are not read out": ("3点15分", "3点15分"),
    "one blank beside a Latin word": ("我 要\u3000 听  Hello， World 吗", "我要听 hello world 吗"),
    "one is put in": ("请连接WiFi，用MP3听", "请连接 wifi 用 mp3 听"),
    "a number by itself is no Latin word": ("我要3个", "我要3个"),
    "a circle is a zero": ("二 ○ 一二年", "二〇一二年"),
    "a tag is no word": ("你好<unk>世界<|zh|>", "你好世界"),
    "a mark between Latin letters goes": ("don't", "dont"),
    "a character that becomes two hides no blank": ("㎏ 3 ㎡ a", "kg 3 m2 a"),
    "blanks outside go": (" 你好 \u3000", "你好"),
    "a mark alone between blanks": ("你 ， 好", "你好"),
    "marks alone": ("，。 ！", ""),
}


@pytest.mark.parametrize(("text", "target"), EXAMPLES.values(), ids=EXAMPLES)
def test_example(text, target):
    assert normalize_target(text) == target


@given(st.text(st.sampled_from("你好aＢ1 \u3000，'\u0301\u200b中e○二ヽO<>")))
def test_a_target_is_scored_as_the_transcript_is_and_is_its_own_target(text):
    target = normalize_target(text)
    assert normalize(target) == normalize(text)
    assert normalize_target(target) == target
    assert "  " not in target


@given(st.text(st.sampled_from("你好aＢ1 \u3000，'\u0301\u200b中e①")))
def test_the_changes_lead_from_the_transcript_to_the_target(text):
    target = normalize_target(text)
    made = changes(text, target)
    assert bool(made) == (text != target)
    if made != [Change(text, target)]:
        put_in = made.count(Change("", " "))
        rest, out = [change for change in made if change.old and not change.old.isspace()], ""
        for char in text:
            if char.isspace():
                continue  # which of two blanks stays is one and the same
            out += rest.pop(0).new if rest and rest[0].old == char else char
        assert (out, rest) == (target.replace(" ", ""), [])
        gone = sum(change.old.isspace() and not change.new for change in made)
        assert sum(map(str.isspace, text)) - gone + put_in == target.count(" ")


def clip(text: str, line: int = 1) -> Clip:
    return Clip(f"u{line}", "01", "/a.wav", text, "/corpus/Text/01_label.txt", line)


BLANK = "a blank was put beside it in the target"


def test_every_change_is_counted_and_located(tmp_path):
    texts, problems = TargetText(), Problems()
    for line, text in enumerate(("你好", "Ａ，好，", "好，吧", "你 好", "1号"), 1):
        texts.target(clip(text, line), f"u{line}", problems)
    texts.write(tmp_path / "changes.tsv")
    rows = [line.split("\t") for line in (tmp_path / "changes.tsv").read_text(encoding="utf-8").splitlines()]
    assert rows == [
        ["from", "code points", "name", "to", "occurrences", "utterances", "first"],
        ["，", "U+FF0C", "FULLWIDTH COMMA", "removed", "3", "2", "01_label.txt:2"],
        ["", "", "no character", "a blank", "1", "1", "01_label.txt:2"],
        [" ", "U+0020", "SPACE", "removed", "1", "1", "01_label.txt:4"],
        ["Ａ", "U+FF21", "FULLWIDTH LATIN CAPITAL LETTER A", "a", "1", "1", "01_label.txt:2"],
    ]
    assert [(item.severity, item.kind, item.line, item.detail) for item in problems] == [
        ("note", "Latin word without blanks", 2, BLANK),
        ("note", "full-width letter or digit", 2, "Ａ -> a, ， -> removed"),
        ("note", "transcript normalised", 3, "， -> removed"),
        ("note", "transcript normalised", 4, "U+0020 -> removed"),
        ("warning", "digits in transcript", 5, "1号: kept as they stand, though nobody can tell how they were read"),
    ]


SUSPECT = {
    "你好[FIL]世界": ("annotation tag in transcript", "[FIL] -> fil"),
    "今天<unk>好": ("annotation tag in transcript", "<unk> -> removed"),
    "<|zh|><|NEUTRAL|>今天好": ("annotation tag in transcript", "<|zh|> -> removed, <|NEUTRAL|> -> removed"),
    "［SPK］去公园": ("annotation tag in transcript", "[SPK] -> spk"),
    "{laugh}下雨了": ("annotation tag in transcript", "{laugh} -> laugh"),
    "下雨了（笑）": ("annotation tag in transcript", "(笑) -> 笑"),
    "下雨了(noise)": ("annotation tag in transcript", "(noise) -> noise"),
    "【杂音】下雨了": ("annotation tag in transcript", "【杂音】 -> 杂音"),
    "你好&nbsp;世界": ("HTML entity in transcript", "&nbsp; -> nbsp"),
    "你好&#39;世界": ("HTML entity in transcript", "&#39; -> 39"),
    "你\ufffd好": ("damaged character in transcript", "\ufffd -> removed"),
    "nan": ("missing value as transcript", "nan -> nan"),
    "NULL": ("missing value as transcript", "NULL -> null"),
    "None": ("missing value as transcript", "None -> none"),
}


@pytest.mark.parametrize("text", SUSPECT)
def test_what_was_hardly_said_is_a_warning_that_names_it(text):
    problems = Problems()
    TargetText().target(clip(text), "u1", problems)
    kind, detail = SUSPECT[text]
    (row,) = [item for item in problems if item.kind == kind]
    assert (row.severity, row.line, row.key) == ("warning", 1, "u1")
    assert row.detail.startswith(detail)


@pytest.mark.parametrize("text", ["南安的天气", "《红楼梦》好看", "“你好”，他说", "他叫nancy"])
def test_what_can_be_said_is_no_suspect(text):
    problems = Problems()
    TargetText().target(clip(text), "u1", problems)
    assert not [item for item in problems if item.severity == "warning"]


def test_a_latin_word_has_one_target_and_is_listed_where_a_blank_was_put_beside_it(tmp_path):
    texts, problems = TargetText(), Problems()
    written = ["请连接WiFi吧", "请连接 WiFi 吧", "请连接wifi"]
    assert [texts.target(clip(text, line), f"u{line}", problems) for line, text in enumerate(written, 1)] == [
        "请连接 wifi 吧",
        "请连接 wifi 吧",
        "请连接 wifi",
    ]
    assert [(item.severity, item.kind, item.line) for item in problems] == [
        ("note", "Latin word without blanks", 1),
        ("note", "transcript normalised", 1),
        ("note", "transcript normalised", 2),
        ("note", "Latin word without blanks", 3),
    ]
    texts.write(tmp_path / "changes.tsv")
    rows = [line.split("\t") for line in (tmp_path / "changes.tsv").read_text(encoding="utf-8").splitlines()]
    assert ["", "", "no character", "a blank", "3", "2", "01_label.txt:1"] in rows


def test_what_cannot_be_seen_is_named_by_its_code_point():
    assert describe(Change("\u200b", "")) == "U+200B -> removed"
    assert describe(Change("\u3000", " ")) == "U+3000 -> a blank"
