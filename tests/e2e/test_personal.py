"""The personal stage: a speaker's own 20 and 60 seconds on the shared model, and an adapter that says the same."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from asr.core.kaldi_text import read_text
from asr.core.manifest import read_manifest
from tests.patience import PATIENCE

pytestmark = pytest.mark.e2e

SPEAKER = "15"  # a test speaker of the mini run: the shared model has not heard it
OPTIONS = ("--base", "exp/mini/model", "++lora_conf.rank=4", "++train_conf.max_epoch=2")


def test_a_speakers_own_seconds_are_trained_on_and_the_adapter_alone_says_what_the_model_says(recipe, mini, tmp_path):
    """Both budgets have one test set, and a larger one holds a smaller; the shared model and the adapter are enough."""
    held = {}
    for seconds in (20, 60):
        split, tag = f"speaker-dependent:{SPEAKER}@{seconds}s", f"personal_{seconds}"
        done = recipe.run("--split", split, "--tag", tag, *OPTIONS)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        data = recipe.root / f"data/mini_speaker-dependent_{SPEAKER}_{seconds}s_dataset"
        train, val, test = (read_manifest(data / f"{name}.jsonl") for name in ("train", "val", "test"))
        assert {item.speaker for item in (*train, *val, *test)} == {SPEAKER}
        assert 0.5 * seconds < sum(item.duration for item in (*train, *val)) <= seconds
        held[seconds] = {item.key for item in (*train, *val)}, {item.key for item in test}
        own = recipe.json(f"exp/{tag}/lineage.json")["own"]
        assert own == {"clips": len(train), "known_before": 0}
        results = (recipe.root / f"exp/{tag}/RESULTS.md").read_text(encoding="utf-8")
        assert f"| 0 of {len(train)}; of 1 of these models the clips are not known |" in " ".join(results.split())
    assert held[20][1] == held[60][1] != set()
    assert held[20][0] < held[60][0]
    assert not held[60][0] & held[60][1]

    voices = tmp_path / "voices"
    shutil.copytree(recipe.root / "exp/personal_60/adapter", voices / SPEAKER)
    assert sum(path.stat().st_size for path in voices.rglob("*")) < 4_000_000
    clips = {item.key: str(recipe.root / item.source) for item in test}
    command = ["bash", "scripts/transcribe.sh", "--model", "exp/mini/model", "--adapter", voices, "--speaker", SPEAKER]
    heard = subprocess.run(
        [*command, *clips.values()],
        cwd=recipe.root,
        env=recipe.environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert heard.returncode == 0, heard.stderr
    texts = dict(line.split("\t") for line in heard.stdout.splitlines())
    scored = dict(read_text(recipe.root / "exp/personal_60/tuned/hyp.txt"))
    assert {key: texts[clip] for key, clip in clips.items()} == scored
