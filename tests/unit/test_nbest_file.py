"""nbest.jsonl: what is written is read, and what is damaged is named by file and line."""

from __future__ import annotations

import json

import pytest

from asr.core.errors import RecipeError
from asr.core.nbest import CTC, HYPOTHESES, POSITIONS, NBest, read_nbest, write_nbest

ITEMS = [
    NBest("a", POSITIONS, "你好", ((("你", -0.01), ("尼", -4.7)), (("好", 0.0), ("", -9.25)))),
    NBest("b", CTC, "", ((("", -0.001),),)),
    NBest("c", HYPOTHESES, "wifi 好", texts=(("wifi 好", -1.2), ("外 好", -3.5))),
    NBest("d", POSITIONS, "", ()),
]


def test_what_is_written_is_read(tmp_path):
    path = tmp_path / "nbest.jsonl"
    write_nbest(path, ITEMS)
    assert read_nbest(path) == ITEMS
    first = (
        '{"key":"a","kind":"positions","greedy":"你好","steps":[[["你",-0.01],["尼",-4.7]],[["好",0.0],["",-9.25]]]}'
    )
    assert path.read_text(encoding="utf-8").splitlines()[0] == first


def test_log_probabilities_are_rounded(tmp_path):
    write_nbest(tmp_path / "nbest.jsonl", [NBest("a", CTC, "", ((("", -0.00123456),),))])
    assert read_nbest(tmp_path / "nbest.jsonl")[0].steps == ((("", -0.0012),),)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"key": 1}, "field 'key' is missing or no text"),
        ({"greedy": None}, "field 'greedy' is missing or no text"),
        ({"kind": "lattice"}, "kind 'lattice', not positions, ctc or hypotheses"),
        ({"steps": [[["你", 0.5]]]}, "a log-probability above 0"),
        ({"steps": [[["你", True]]]}, "field 'steps' is not lists"),
        ({"steps": [[["你", -1, 2]]]}, "field 'steps' is not lists"),
        ({"steps": [[]]}, "field 'steps' is not lists"),
        ({"steps": [[["你", float("-inf")]]]}, "field 'steps' is not lists"),
        ({"kind": "hypotheses"}, "field 'texts' is not lists"),
    ],
)
def test_a_damaged_line_is_named(tmp_path, change, said):
    path = tmp_path / "nbest.jsonl"
    write_nbest(path, ITEMS[:1])
    line = json.dumps({**ITEMS[0].as_dict(), "key": "b", **change})
    path.write_text(path.read_text(encoding="utf-8") + line + "\n", encoding="utf-8")
    with pytest.raises(RecipeError) as error:
        read_nbest(path)
    assert str(error.value).startswith(f"{path}:2: ")
    assert said in str(error.value)


@pytest.mark.parametrize(("line", "said"), [(b"{", "not JSON"), (b'"\xff"', "not UTF-8"), (b"[]", "a JSON object")])
def test_a_line_that_is_no_object_is_named(tmp_path, line, said):
    (tmp_path / "nbest.jsonl").write_bytes(line + b"\n")
    with pytest.raises(RecipeError, match=f"nbest.jsonl:1: .*{said}.*; decode again"):
        read_nbest(tmp_path / "nbest.jsonl")


def test_a_key_that_comes_twice_and_no_file(tmp_path):
    write_nbest(tmp_path / "nbest.jsonl", [ITEMS[0], ITEMS[0]])
    with pytest.raises(RecipeError, match=r"nbest\.jsonl:2: duplicate key a"):
        read_nbest(tmp_path / "nbest.jsonl")
    with pytest.raises(RecipeError, match="no such file"):
        read_nbest(tmp_path / "none.jsonl")


def test_what_would_not_be_read_is_not_written(tmp_path):
    with pytest.raises(ValueError, match="a: field 'steps'"):
        write_nbest(tmp_path / "nbest.jsonl", [NBest("a", CTC, "", ((("", float("-inf")),),))])
    assert not list(tmp_path.iterdir())
