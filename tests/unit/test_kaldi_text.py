"""Kaldi text files: a key, a blank, and whatever was recognised."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr.core.errors import RecipeError
from asr.core.kaldi_text import read_text, write_text


def test_an_empty_hypothesis_is_the_bare_key(tmp_path):
    write_text(tmp_path / "hyp.txt", [("a", "你 好"), ("S037T2，3E0", ""), ("c", "x")])
    assert (tmp_path / "hyp.txt").read_text(encoding="utf-8") == "a 你 好\nS037T2，3E0\nc x\n"
    assert read_text(tmp_path / "hyp.txt") == {"a": "你 好", "S037T2，3E0": "", "c": "x"}


def test_line_breaks_in_a_text_do_not_make_lines(tmp_path):
    write_text(tmp_path / "hyp.txt", [("a", "one\ntwo\r\nthree\u2028four"), ("b", "<script>alert('\u202e')</script>")])
    assert read_text(tmp_path / "hyp.txt") == {"a": "one two three four", "b": "<script>alert('\u202e')</script>"}


@given(texts=st.dictionaries(st.text("abcS01，", min_size=1), st.text("你好 a\u3000\u0301，<>\"'\U0001f44d")))
def test_round_trip(tmp_path_factory, texts):
    path = tmp_path_factory.mktemp("text") / "hyp.txt"
    write_text(path, texts.items())
    assert read_text(path) == {key: text.rstrip(" ") for key, text in texts.items()}


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"a x\n\na y\n", "hyp.txt:3: duplicate key a, first on line 1"),
        (b"a x\n y\n", "hyp.txt:2: the line has no key"),
        (b"a x\nb \xff\n", "hyp.txt:2: not UTF-8"),
    ],
)
def test_a_wrong_line_is_named(tmp_path, raw, message):
    (tmp_path / "hyp.txt").write_bytes(raw)
    with pytest.raises(RecipeError, match=message):
        read_text(tmp_path / "hyp.txt")


def test_missing_and_empty(tmp_path):
    with pytest.raises(RecipeError, match="no such file"):
        read_text(tmp_path / "none.txt")
    (tmp_path / "empty.txt").touch()
    assert read_text(tmp_path / "empty.txt") == {}


def test_files_of_other_systems(tmp_path):
    """A byte-order mark, line ends of Windows, a tab behind the key: none of them is text."""
    raw = "\ufeffa 今 天\r\nb\t好 的\r\nc\r\nd x\ty\n \ne\u3000你好\nf\u00a0你好\n\n\u3000\n"
    (tmp_path / "text").write_bytes(raw.encode())
    found = {"a": "今 天", "b": "好 的", "c": "", "d": "x\ty", "e": "你好", "f": "你好"}
    assert read_text(tmp_path / "text") == found


def test_sclites_trn(tmp_path):
    (tmp_path / "hyp.trn").write_text("今 天 (a)\n(b)\n好 (的) 吗\t(s1-c)\n\n", encoding="utf-8")
    assert read_text(tmp_path / "hyp.trn") == {"a": "今 天", "b": "", "s1-c": "好 (的) 吗"}
    (tmp_path / "hyp.trn").write_text("今 天 (a)\nb 你好\n", encoding="utf-8")
    with pytest.raises(RecipeError, match=r"hyp\.trn:2: expected '<words> \(<key>\)'"):
        read_text(tmp_path / "hyp.trn")
