"""Real recordings of 34 people through all six stages: that the path holds, not that the figure is good."""

from __future__ import annotations

import json
import re
import urllib.parse

import pytest

from tests.recipe import REPOSITORY

pytestmark = pytest.mark.e2e
REAL = REPOSITORY.parent / "shared/real_mandarin"


@pytest.mark.skipif(not REAL.is_dir(), reason="needs ../shared")
def test_real_recordings_go_through_all_stages(recipe, mini):
    words = ("--corpus", str(REAL), "--base", "mini/base", "--conf", "conf/mini.yaml", "--tag", "real")
    done = recipe.run(*words, "++train_conf.max_epoch=2")
    assert done.returncode == 0, done.stdout + done.stderr
    score = recipe.json("exp/real/score/score.json")
    systems = score["systems"]
    assert systems["tuned"]["cer"] < systems["baseline"]["cer"]
    assert systems["tuned"]["n_utt"] == sum(item["tuned"]["n_utt"] for item in score["by_speaker"].values())
    text = (recipe.root / "exp/real/RESULTS.md").read_text(encoding="utf-8")
    assert str(REAL) not in text
    assert "speech of this corpus is simulated" not in text
    page = (recipe.root / "exp/real/report.html").read_text(encoding="utf-8")
    assert "data:audio" not in page  # the clips are linked, not copied
    data = re.search(r'<script type="application/json" id="utterances">(.*?)</script>', page, re.DOTALL)
    clips = [row[6] for row in json.loads(data[1])["rows"]]
    assert len(clips) == 144
    assert all((recipe.root / "exp/real" / urllib.parse.unquote(clip)).is_file() for clip in clips)
