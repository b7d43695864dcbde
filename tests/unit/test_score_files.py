"""The scorer's files: what is written is read back, and every field is documented."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr.core.errors import RecipeError
from asr.scoring.cer import align
from asr.scoring.files import parse_runs, read_table, runs, write_confusions, write_per_utterance
from asr.scoring.score import Request, score
from tests.patience import PATIENCE
from tests.scored import systems_of

ROOT = Path(__file__).resolve().parents[2]


@given(st.text('今天气ab"\\', max_size=9), st.text('今天气ab"\\', max_size=9))
def test_an_alignment_is_read_back(said, heard):
    chunks = align(said, heard).chunks
    assert parse_runs(runs(chunks)) == chunks


@pytest.mark.parametrize("text", ['[["x","a"]]', '[["s","a"]]', '[["=","a","b"]]'])
def test_what_is_no_alignment_is_refused(text):
    with pytest.raises(ValueError, match="no run of an alignment"):
        parse_runs(text)


def test_the_table_of_utterances_is_read_back(tmp_path):
    texts = [("今天\\n", "今\t天", "今\\t天"), ("好", "", "好的\u2028吗")]
    _, systems = systems_of(tmp_path, texts)
    write_per_utterance(tmp_path / "score/per_utterance.tsv", systems)
    rows = read_table(tmp_path / "score/per_utterance.tsv")
    assert [(row["ref"], row["baseline_hyp"], row["tuned_hyp"]) for row in rows] == texts
    assert rows[1]["baseline_alignment"] == '[["d","好"]]'
    assert (rows[1]["duration"], rows[1]["rate"], rows[1]["baseline_status"]) == ("1.500000", "0.666667", "empty")
    assert rows[0]["audio"] == ""  # there is no such clip


def test_a_clip_is_named_by_its_way_from_the_table(tmp_path):
    (tmp_path / "no 0.wav").touch()
    _, systems = systems_of(tmp_path, [("好", "好", "好")])
    write_per_utterance(tmp_path / "exp/score/per_utterance.tsv", systems)
    assert read_table(tmp_path / "exp/score/per_utterance.tsv")[0]["audio"] == "../../no 0.wav"


def test_a_table_that_was_cut_off_is_refused(tmp_path):
    (tmp_path / "t.tsv").write_text("a\tb\n1\t2\n3\n")
    with pytest.raises(RecipeError, match=r"t.tsv:3: 1 cells, the header has 2; score again"):
        read_table(tmp_path / "t.tsv")


def test_confusions_by_hand(tmp_path):
    references, systems = systems_of(
        tmp_path, [("妈妈好", "马妈好啊", "妈妈"), ("四", "十", "四"), ("是妈", "是马", "是妈")]
    )
    write_confusions(tmp_path / "c.tsv", systems, score(references, systems, Request(replicates=10)))
    rows = [tuple(row.values()) for row in read_table(tmp_path / "c.tsv")]
    assert [row for row in rows if row[:2] == ("baseline", "character")] == [
        ("baseline", "character", "妈", "马", "2"),
        ("baseline", "character", "", "啊", "1"),
        ("baseline", "character", "四", "十", "1"),
    ]
    assert [row for row in rows if row[:2] == ("tuned", "character")] == [("tuned", "character", "好", "", "1")]
    assert ("baseline", "tone", "1", "3", "2") in rows
    assert ("baseline", "initial", "s", "sh", "1") in rows


def test_the_scorer_starts_without_funasr_and_torch():
    code = "import sys; sys.argv = ['score.py', '--help']\n"
    code += "try:\n    import score; score.main()\nexcept SystemExit:\n    pass\n"
    code += "print([name for name in ('torch', 'funasr', 'matplotlib', 'wetext', 'pypinyin') if name in sys.modules])"
    environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'scripts'}:{ROOT / 'local'}"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=PATIENCE
    )
    assert done.stdout.strip().splitlines()[-1] == "[]", done.stderr


def test_the_documents_name_every_field(tmp_path):
    """docs/scores.md is the schema: a field that is not in it is not documented."""
    text = (ROOT / "docs/scores.md").read_text(encoding="utf-8")
    references, systems = systems_of(tmp_path, [("妈好", "马好", "妈好"), ("四天", "十天", "")] * 4)
    table_request = Request(references[:2], replicates=10, reference_lines=[])
    found = json.loads(json.dumps(score(references, systems, table_request)))
    names = set()

    def walk(value, inside):
        if isinstance(value, dict):
            for key, child in value.items():
                if inside not in ("by_speaker", "length", "duration", "rate"):
                    names.add(key)
                walk(child, key)

    walk(found, "")
    assert not names - set(re.findall(r"\w+", text))
