"""CDSD's label files in any state: what was said is kept, and what cannot be read is named with its line."""

import random
import re
import subprocess

import pytest
from opencc import OpenCC

import cdsd
from asr.core.errors import RecipeError
from labels import LabelFileError, read_label_file
from tests import cdsd_tree


def read_bytes(tmp_path, raw):
    path = tmp_path / "01_label.txt"
    path.write_bytes(raw)
    labels, problems = read_label_file(path)
    return {label.utt: label.text for label in labels}, [problem.kind for problem in problems]


BOM = "byte-order mark"


@pytest.mark.parametrize(
    ("raw", "texts", "notes"),
    [
        ("a 你好\nb 再见\n".encode(), {"a": "你好", "b": "再见"}, []),
        ("\ufeffa 你好\r\n\r\n  b\t再见 \u3000\r\n".encode(), {"a": "你好", "b": "再见"}, [BOM]),
        (
            "a \ufeff你好\nb 你 好，ＯＫ 3\n".encode(),
            {"a": "你好", "b": "你 好，ＯＫ 3"},
            [BOM],
        ),  # inside, nothing is touched
        ("S037T2，3E0 没有换行".encode(), {"S037T2，3E0": "没有换行"}, []),
    ],
)
def test_what_was_said_is_kept_and_only_outer_blanks_and_boms_go(tmp_path, raw, texts, notes):
    assert read_bytes(tmp_path, raw) == (texts, notes)


@pytest.mark.parametrize(
    ("utt", "reason"),
    [
        ("../../etc/passwd", "it holds a slash"),
        ("a\\b", "it holds a slash"),
        ("a..b", "it holds '..'"),
        ("a\0b", "it holds the control character U+0000"),
        ("a\x1bb", "it holds the control character U+001B"),
    ],
)
def test_an_id_that_could_lead_elsewhere_is_refused_by_name(tmp_path, utt, reason):
    path = tmp_path / "01_label.txt"
    path.write_bytes(f"a 你好\n{utt} 再见\n".encode())
    labels, problems = read_label_file(path)
    assert [label.utt for label in labels] == ["a"]
    assert [(item.severity, item.kind, item.line, item.detail) for item in problems] == [
        ("error", "unsafe id", 2, f"refused: {reason}")
    ]


def test_a_line_without_transcript_is_a_problem_and_no_label(tmp_path):
    assert read_bytes(tmp_path, "a 你好\nb\nc  \n".encode()) == ({"a": "你好"}, ["empty transcript"] * 2)


WORDS = """水 饭 灯 门 书 爸爸 妈妈 电视 手机 开门 关灯 喝水 吃饭 睡觉 洗澡 医生 护士 老师 学校 苹果 嗯 啊 好 不
一 二 三 今天天气很好 我想喝一杯水 请帮我打开电视 妈妈在厨房做饭 明天去医院看病 把灯关掉 打电话给爸爸 我肚子疼"""
KANA = "こんにちは ありがとう おはようございます 今日は天気がいいです 私は学生です 水をください 電車に乗ります 東京"


@pytest.mark.parametrize(
    ("words", "encoding", "name"),
    [(OpenCC("s2t").convert(WORDS), "big5", "Big5"), (KANA, "shift_jis", "Shift-JIS"), (WORDS, "gbk", "")],
)
@pytest.mark.parametrize("count", [15, 40, 300])
def test_big5_and_shift_jis_are_named_with_the_command_and_gbk_is_read(tmp_path, words, encoding, name, count):
    said = random.Random(count).choices(words.split(), k=count)
    lines = "".join(f"S001T010E000N{number:05d} {text}\n" for number, text in enumerate(said))
    if not name:
        assert list(read_bytes(tmp_path, lines.encode(encoding))[0].values()) == said
        return
    with pytest.raises(LabelFileError, match=f"01_label.txt:1: probably {name}, neither UTF-8 nor GB18030") as refusal:
        read_bytes(tmp_path, lines.encode(encoding))
    subprocess.run(str(refusal.value).partition("convert it: ")[2], shell=True, check=True)
    assert (tmp_path / "01_label.txt").read_text(encoding="utf-8") == lines


def test_gbk_is_read_with_a_warning(tmp_path):
    texts, found = read_bytes(tmp_path, "a 今天天气很好\nb ok\nc 通\n".encode("gb18030"))
    assert texts == {"a": "今天天气很好", "b": "ok", "c": "通"}
    assert found == ["label file not UTF-8"]
    (problem,) = read_label_file(tmp_path / "01_label.txt")[1]
    assert "read as GB18030 (GBK), of too few lines to tell it from Big5; save it" in problem.detail


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "the label file is empty"),
        (b"\xef\xbb\xbf \r\n\n", "the label file is empty"),
        ("a 你好\n".encode("utf-16"), "01_label.txt:1: neither UTF-8 nor GB18030"),
        ("a 你好\nb 再见\n".encode() + b"c \xe4\xbd\xe5\xa5\n", "01_label.txt:3: not UTF-8, while other lines"),
        ("a 你好\n".encode("gbk") + b"b \xff\xff\n", "01_label.txt:2: neither UTF-8 nor GB18030"),
    ],
)
def test_a_label_file_that_is_empty_or_no_text_stops_with_file_and_line(tmp_path, raw, message):
    with pytest.raises(RecipeError, match=message):
        read_bytes(tmp_path, raw)


@pytest.mark.parametrize("separator", [",", "，", ", ", ";", "|"])
def test_a_label_file_with_another_separator_than_a_blank_is_named_in_one_row(tmp_path, separator):
    path = tmp_path / "01_label.txt"
    path.write_text("".join(f"S01_{n}{separator}今天 好\n" for n in range(3)) + "S01_3 好\n", encoding="utf-8")
    says = f"01_label.txt:1: '{separator.strip()}' stands between id and transcript in 3 lines"
    with pytest.raises(RecipeError, match=re.escape(says)) as error:
        read_label_file(path)
    assert f"first 'S01_0{separator}今天 好'; expected '<utt> <transcript>': replace the first" in str(error.value)
    part = cdsd_tree.small(tmp_path / "corpus") / "after_catting" / "1h"
    label_file = part / "Text/02_label.txt"
    label_file.write_text(label_file.read_text("utf-8").replace(" ", separator), encoding="utf-8")
    found = [(item.kind, item.file, item.line) for item in cdsd.read_part(part, "1h").problems]
    assert found == [("broken label file", str(label_file), 1)]


def test_one_line_without_a_blank_shows_itself_and_an_id_with_a_comma_is_no_separator(tmp_path):
    path = tmp_path / "01_label.txt"
    path.write_text("S01_0,今天好\nS01_1 今天，好\nS037T2，3E0 好\nS01_2\n", encoding="utf-8")
    labels, problems = read_label_file(path)
    assert [(label.utt, label.text) for label in labels] == [("S01_1", "今天，好"), ("S037T2，3E0", "好")]
    assert [(item.line, item.detail) for item in problems] == [
        (1, "no blank in 'S01_0,今天好': expected '<utt> <transcript>'"),
        (4, "no words after the id"),
    ]
