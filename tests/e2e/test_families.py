"""Every family's tiny model through all stages: it learns a dozen clips by heart, goes on after a stop, is decoded."""

from __future__ import annotations

import pytest
import yaml

from tests.dozen import cer_on_training_clips, words
from tests.families import CASES

pytestmark = pytest.mark.e2e


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.learns])
def test_a_family_learns_a_dozen_clips_by_heart_and_goes_on_where_it_stopped(recipe, name):
    given = words(recipe, CASES[name], f"heart_{name}")
    done = recipe.run(*given, "--stop-stage", "3", "++train_conf.max_epoch=2")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    done = recipe.run(*given)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "going on with this run: train_conf.max_epoch 2 -> " in done.stdout
    assert f"going on from heart_{name}/model.pt.ep2 at epoch 3" in done.stdout
    assert cer_on_training_clips(recipe, f"heart_{name}") < 0.10
    score = recipe.json(f"exp/heart_{name}/score/score.json")
    assert score["systems"]["tuned"]["n_missing"] == 0


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if not case.learns])
def test_a_conf_goes_through_all_stages_and_leaves_a_plain_model(recipe, name):
    done = recipe.run(*words(recipe, CASES[name], f"quick_{name}"))
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    exp = recipe.root / "exp" / f"quick_{name}"
    base = yaml.safe_load((exp / "base/config.yaml").read_text(encoding="utf-8"))
    assert "lora" not in (exp / "model/config.yaml").read_text(encoding="utf-8")
    assert yaml.safe_load((exp / "model/config.yaml").read_text(encoding="utf-8")).keys() >= base.keys()
    assert recipe.json(f"exp/quick_{name}/score/score.json")["systems"]["tuned"]["n_missing"] == 0
    if "lora_conf" in yaml.safe_load((recipe.root / CASES[name].conf).read_text(encoding="utf-8")):
        assert "are trained: adapters" in done.stdout  # and what is saved is small beside the base
        assert (exp / "model.pt.ep1").stat().st_size < 0.8 * (exp / "base/model.pt").stat().st_size
