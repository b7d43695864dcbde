"""Human listeners as systems: what they wrote, counted as hypotheses are, with the models on the same clips beside."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from asr.core.errors import RecipeError
from asr.core.manifest import Utterance, corpus_digest, write_manifest
from asr.pages.words import words
from asr.reporting import view
from asr.reporting.results_md import results
from asr.scoring.listeners import SCHEMA_VERSION, read_listeners

ROOT = Path(__file__).resolve().parents[2]
TEXTS = {"a": "今天天气好", "b": "去公园", "c": "喝水", "d": "开门"}
CLIPS = [Utterance(key, f"/{key}.wav", text, 100, len(text), f"0{n % 4}", 1.0, 16000) for n, (key, text) in
         enumerate(TEXTS.items(), 1)]  # fmt: skip


def answers(path: Path, code: str, texts: dict[str, str | None], **changed) -> Path:
    """A file as the page saves it; None is "I cannot understand anything"."""
    rows = [
        {"key": key, "text": text or "", "replays": number, "cannot_understand": text is None}
        for number, (key, text) in enumerate(texts.items())
    ]
    content = {"schema_version": SCHEMA_VERSION, "manifest": corpus_digest(CLIPS), "listener": code, "answers": rows}
    path = path / f"listening-{code}.json"
    path.write_text(json.dumps({**content, **changed}, ensure_ascii=False), encoding="utf-8")
    return path


@pytest.fixture
def scored(tmp_path):
    """score.json of two listeners beside a baseline and a tuned model, by the command line."""
    write_manifest(tmp_path / "test.jsonl", CLIPS)
    for name, texts in (("baseline", ("今天", "去", "", "关")), ("tuned", ("今天天气好", "去公圆", "喝水", "开门"))):
        lines = "".join(f"{key} {text}\n" for key, text in zip(TEXTS, texts, strict=True))
        (tmp_path / f"{name}.txt").write_text(lines, encoding="utf-8")
    files = [
        answers(tmp_path, "L2", {"a": "今天天气好。", "b": None, "c": "合水"}),
        answers(tmp_path, "L1", {"a": "今天 天气", "d": "开门"}),
    ]
    inputs = ("--ref", "test.jsonl", "--hyp", "tuned.txt", "--baseline", "baseline.txt", "--out", "score")
    command = [sys.executable, str(ROOT / "local/score.py"), *inputs, "--listeners", *map(str, files)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads((tmp_path / "score/score.json").read_text(encoding="utf-8")), done.stdout


def test_listeners_are_counted_by_hand_and_models_on_the_same_clips(scored):
    score, screen = scored
    one, two = score["listeners"]["L1"], score["listeners"]["L2"]
    # L1: 今天天气好 -> 今天天气 (one deletion), 开门 right; of 7 characters
    assert (one["sub"], one["del"], one["ins"], one["ref_len"], one["n_clips"]) == (0, 1, 0, 7, 2)
    assert (one["n_cannot_understand"], one["mean_replays"]) == (0, 0.5)
    # the models on a and d: 3 of 5 deleted, one substituted and one deleted; all right
    assert one["systems"]["baseline"]["cer"] == pytest.approx(5 / 7)
    assert one["systems"]["tuned"]["cer"] == 0
    # L2: a right, b not understood (3 deletions), c one substitution; of 10 characters
    assert (two["sub"], two["del"], two["ref_len"], two["n_empty"]) == (1, 3, 10, 1)
    assert two["n_cannot_understand"] == 1
    assert two["systems"]["tuned"]["cer"] == pytest.approx(1 / 10)
    both = score["listeners_together"]
    assert (both["ref_len"], both["n_clips"], both["cer"]) == (17, 4, pytest.approx(5 / 17))
    assert both["systems"]["tuned"]["ref_len"] == 12  # each clip once
    # both heard a: 今天天气 and 今天天气好, one edit for 4.5 characters
    assert (both["pairs_of_answers"], both["written_alike"]) == (1, 0)
    assert both["edits_between_listeners"] == pytest.approx(1 / 4.5)
    assert "listener L1: CER 14.29 % on 2 clips (baseline 71.43 %, tuned 0.00 % on the same)" in screen


def test_both_pages_show_them(scored):
    score, _ = scored
    table = view.listeners(score)
    assert [str(row[0]) for row in table.rows] == ["L1", "L2", words("all_listeners").en]
    page = results("x", score, {})
    assert "## Human listeners" in page
    assert "Of 1 pairs of answers to the same clip, 0 % are written alike" in page
    assert "## Human listeners" not in results("x", {**score, "listeners": {}, "listeners_together": None}, {})


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"manifest": "0" * 64}, "is of another test set"),
        ({"schema_version": 99}, "schema_version 99"),
        ({"answers": []}, "holds no answer"),
        ({"answers": [{"key": "a", "text": 3, "replays": 0, "cannot_understand": False}]}, "are not this version's"),
        ({"answers": [{"key": "a"}]}, "not a file that the listening test has saved"),
        (
            {"answers": [{"key": "x", "text": "好", "replays": 0, "cannot_understand": False}]},
            r"another test set \(it has x\)",
        ),
        ({"answers": 2 * [{"key": "a", "text": "好", "replays": 0, "cannot_understand": False}]}, "answered twice"),
    ],
)
def test_a_file_of_something_else_is_refused(tmp_path, changed, says):
    path = answers(tmp_path, "L1", {"a": "好"}, **changed)
    with pytest.raises(RecipeError, match=rf"{path}: .*{says}"):
        read_listeners([path], CLIPS)


def test_what_is_no_file_of_the_page_is_refused(tmp_path):
    path = tmp_path / "x.json"
    for content in ("", "[]", '{"listener": "a"}'):
        path.write_text(content)
        with pytest.raises(RecipeError, match="not a file that the listening test has saved"):
            read_listeners([path], CLIPS)
    with pytest.raises(RecipeError, match="No such file"):
        read_listeners([tmp_path / "none.json"], CLIPS)


def test_two_files_of_one_listener_are_refused(tmp_path):
    one = answers(tmp_path, "L1", {"a": "好"})
    two = tmp_path / "copy.json"
    two.write_bytes(one.read_bytes())
    with pytest.raises(RecipeError, match="listener L1 has another file"):
        read_listeners([one, two], CLIPS)
