"""Every family's tiny model through all stages: it learns a dozen clips by heart, goes on after a stop, is decoded."""

from __future__ import annotations

import pytest
import torch
import yaml

from asr.models import families
from asr.models.adapter_folder import Adapters
from asr.models.loading import load
from asr.models.nano.family import CTC
from tests.dozen import cer_on_training_clips, words
from tests.families import CASES

pytestmark = pytest.mark.e2e


FULL = [name for name, case in CASES.items() if case.learns]
ADAPTED = [name for name, case in CASES.items() if "lora" in case.conf]


def stop_and_go_on(recipe, name: str, tag: str, first: int) -> str:
    """All stages of a case, training stopped after ``first`` epochs and gone on with; what the second run said."""
    given = words(recipe, CASES[name], tag)
    done = recipe.run(*given, "--stop-stage", "3", f"++train_conf.max_epoch={first}")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    done = recipe.run(*given)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert f"resuming this run: train_conf.max_epoch {first} -> " in done.stdout
    assert f"resumed from {tag}/model.pt.ep{first} at epoch {first + 1}" in done.stdout
    return done.stdout


def check_scored(recipe, tag: str) -> None:
    """Every clip of the test set has a result, decoded by a method that is named."""
    assert recipe.json(f"exp/{tag}/score/score.json")["systems"]["tuned"]["n_missing"] == 0
    record = recipe.json(f"exp/{tag}/tuned/decode.json")
    assert record["counts"].keys() == families.of_folder(recipe.root / "exp" / tag / "model").counts([]).keys()
    page = (recipe.root / "exp" / tag / "RESULTS.md").read_text(encoding="utf-8")
    assert record["inputs"]["method"] in page


@pytest.mark.parametrize("name", FULL)
def test_a_family_learns_a_dozen_clips_by_heart_and_goes_on_where_it_stopped(recipe, name):
    stop_and_go_on(recipe, name, f"heart_{name}", 2)
    assert cer_on_training_clips(recipe, f"heart_{name}") < 0.10
    check_scored(recipe, f"heart_{name}")


@pytest.mark.parametrize("name", ADAPTED)
def test_adapters_go_through_all_stages_and_a_stop_and_leave_a_plain_model(recipe, name):
    assert "are trained: adapters" in stop_and_go_on(recipe, name, f"quick_{name}", 1)
    exp = recipe.root / "exp" / f"quick_{name}"
    base = yaml.safe_load((exp / "base/config.yaml").read_text(encoding="utf-8"))
    plain = (exp / "model/config.yaml").read_text(encoding="utf-8")
    assert "lora" not in plain.replace("use_lora: false", "")
    assert yaml.safe_load(plain).keys() >= base.keys() - set(CTC)  # a head that the recipe leaves out
    # What is saved is small beside the base.
    assert (exp / "model.pt.ep1").stat().st_size < 0.8 * (exp / "base/model.pt").stat().st_size
    check_scored(recipe, f"quick_{name}")
    shared = load(exp / "base")
    assert Adapters(exp / "adapter", exp / "base", shared.model).use("") == exp / "adapter"
    merged = load(exp / "model").model.state_dict()
    assert all(torch.equal(value, merged[key]) for key, value in shared.model.state_dict().items())


@pytest.mark.parametrize("name", sorted(CASES.keys() - set(FULL) - set(ADAPTED)))
def test_every_other_conf_goes_through_all_stages(recipe, name):
    done = recipe.run(*words(recipe, CASES[name], f"quick_{name}"))
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    check_scored(recipe, f"quick_{name}")
