"""The manifest: what is written is read back, what is wrong is named with its line, the digest knows no place."""

import json

import pytest

from asr.core.errors import RecipeError
from asr.core.manifest import Utterance, corpus_digest, read_manifest, source_len, write_manifest

ONE = Utterance("S001", "/data/S001.wav", "你好", 123, 2, "01", 1.2345, 19752)
TWO = Utterance("S037T2，3E0", "/data/张 三.wav", "再 见", 80, 2, "37", 0.8, 12800, {"language": "zh"})


@pytest.mark.parametrize(
    ("samples", "rate", "frames"), [(16000, 16000, 100), (15999, 16000, 99), (44100, 44100, 100), (0, 8000, 0)]
)
def test_source_len_counts_whole_10_ms_frames(samples, rate, frames):
    assert source_len(samples, rate) == frames


def test_round_trip_keeps_every_field(tmp_path):
    write_manifest(tmp_path / "a.jsonl", [ONE, TWO])
    again = read_manifest(tmp_path / "a.jsonl")
    assert again == [ONE, TWO]
    assert again[1].extra == {"language": "zh"}
    assert "你好" in (tmp_path / "a.jsonl").read_text(encoding="utf-8")


def line(**changes) -> str:
    value = {**ONE.as_dict(), **changes}
    return json.dumps({key: item for key, item in value.items() if item is not ...})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", ":2: not JSON"),
        ("[1]", ":2: a manifest line must be a JSON object"),
        (line(key="a b"), ":2: key 'a b' is empty or holds whitespace"),
        (line(key=""), ":2: key '' is empty"),
        (line(key="S001"), ":2: duplicate key S001, first on line 1"),
        (line(key="x", source_len=...), ":2: field 'source_len' is missing"),
        (line(key="x", source_len=1.5), ":2: field 'source_len' has the wrong type"),
        (line(key="x", target_len=True), ":2: field 'target_len' has the wrong type"),
        (line(key="x", text="你好"), ":2: a field named 'text' makes FunASR crash"),
    ],
)
def test_a_wrong_line_is_named(tmp_path, text, message):
    path = tmp_path / "a.jsonl"
    path.write_text(f"{line()}\n{text}\n", encoding="utf-8")
    with pytest.raises(RecipeError) as caught:
        read_manifest(path)
    assert f"{path}{message}" in str(caught.value)


def test_not_utf8_empty_and_missing(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes(line().encode() + b'\n{"key": "\xff"}\n')
    with pytest.raises(RecipeError, match=r"a\.jsonl:2: not UTF-8"):
        read_manifest(path)
    path.write_text("")
    with pytest.raises(RecipeError, match="holds no utterance"):
        read_manifest(path)
    with pytest.raises(RecipeError, match="no such manifest"):
        read_manifest(tmp_path / "none.jsonl")


def test_the_digest_knows_content_and_neither_order_nor_place():
    digest = corpus_digest([ONE, TWO])
    assert digest == corpus_digest([TWO, ONE._replace(source="/elsewhere/x.wav", duration=9.0)])
    assert digest != corpus_digest([ONE])
    assert digest != corpus_digest([ONE._replace(target="您好"), TWO])
    assert digest != corpus_digest([ONE._replace(num_samples=1), TWO])
