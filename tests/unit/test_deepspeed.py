"""DeepSpeed in place of DDP: what its JSON may hold, and trainings that stop, go on and are averaged as any other."""

import importlib.util
import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from asr.config import deepspeed
from asr.config.load import resolve
from asr.core.errors import RecipeError
from asr.core.run_records import read_ranking, read_resume_points
from tests import trained
from tests.patience import PATIENCE

CONF = Path(__file__).resolve().parents[2] / "conf"
WANTING = "" if shutil.which("g++") and shutil.which("ninja") else "needs a C++ compiler and ninja"
if importlib.util.find_spec("deepspeed") is None:
    WANTING = "needs DeepSpeed: bash scripts/install.sh --deepspeed"
needs_deepspeed = pytest.mark.skipif(bool(WANTING), reason=WANTING)


def by(stage: int, **more) -> dict:
    return {"use_deepspeed": True, "deepspeed_config": str(CONF / f"deepspeed_zero{stage}.json"), **more}


def written(path: Path, **conf) -> dict:
    path.write_text(json.dumps({"zero_optimization": {"stage": 1}, **conf}), encoding="utf-8")
    return {"use_deepspeed": True, "deepspeed_config": str(path)}


@pytest.mark.parametrize("stage", [1, 2])
def test_the_recipes_own_files_are_completed_from_the_yaml(stage):
    conf = deepspeed.engine_config(by(stage, grad_clip=5), bf16=True)
    assert conf["zero_optimization"]["stage"] == stage
    assert conf["gradient_clipping"] == 5
    assert conf["torch_autocast"] == {"enabled": True, "dtype": "bfloat16"}
    assert "torch_autocast" not in deepspeed.engine_config(by(stage, grad_clip=5))


@pytest.mark.parametrize(
    ("conf", "says"),
    [
        ({"optimizer": {"type": "Adam"}}, "'optimizer' is set by the recipe: the YAML's optim and optim_conf are used"),
        ({"bf16": {"enabled": True}}, "'bf16' is set by the recipe: .*train_conf.use_bf16 for autocast"),
        ({"train_batch_size": 8}, "'train_batch_size' is set by the recipe: dataset_conf.batch_size counts frames"),
        ({"zero_optimization": {"stage": 3}}, "stage is 3; it takes 1 or 2"),
        ({"zero_optimization": {}}, "stage is None; it takes 1 or 2"),
        (
            {"gradient_clipping": 1.0},
            r"'gradient_clipping' is set by the recipe: set train_conf\.grad_clip; take it out",
        ),
        ({"gradient_accumulation_steps": 4}, r"'gradient_accumulation_steps' is set by the recipe: .*; take it out"),
    ],
)
def test_a_setting_with_two_places_is_refused_by_name(tmp_path, conf, says):
    with pytest.raises(RecipeError, match=says):
        deepspeed.check({**written(tmp_path / "ds.json", **conf), "grad_clip": 5, "accum_grad": 1})


def test_a_json_that_is_none_or_not_there_or_not_named_is_told(tmp_path):
    (tmp_path / "ds.json").write_text("{", encoding="utf-8")
    with pytest.raises(RecipeError, match=r"ds\.json:1: not JSON "):
        deepspeed.check({"deepspeed_config": str(tmp_path / "ds.json"), "accum_grad": 1})
    with pytest.raises(RecipeError, match=r"none\.json: no such file; train_conf\.deepspeed_config names it; give"):
        deepspeed.check({"deepspeed_config": str(tmp_path / "none.json"), "accum_grad": 1})


def test_what_does_not_go_with_it_is_refused_when_the_yaml_is_read(tmp_path):
    conf = tmp_path / "a.yaml"
    conf.write_text(
        "base: b\nfamily: paraformer\ndataset_conf: {batch_size: 1}\noptim_conf: {lr: 1}\n"
        "train_conf: {max_epoch: 1, accum_grad: 2, use_deepspeed: true, deepspeed_config: "
        f"{CONF}/deepspeed_zero1.json}}"
    )
    with pytest.raises(RecipeError, match=r"a\.yaml: train_conf\.accum_grad 2 does not go with use_deepspeed"):
        resolve(conf, [])
    assert resolve(conf, ["++train_conf.accum_grad=1"])["train_conf"]["use_deepspeed"] is True
    with pytest.raises(
        RecipeError, match=r"a\.yaml: .* needs train_conf\.deepspeed_config: conf/deepspeed_zero1\.json"
    ):
        resolve(conf, ["++train_conf.deepspeed_config=''"])


def test_deepspeed_that_is_not_installed_is_named(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(RecipeError, match=r"not installed; bash scripts/install\.sh --deepspeed"):
        deepspeed.installed()


def furthest(one: Path, two: Path) -> float:
    first, second = trained.weights(one), trained.weights(two)
    return max(float((first[name] - second[name]).abs().max()) for name in first)


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    """A folder with plain, zero1 and zero2: the same training three times."""
    folder = tmp_path_factory.mktemp("deepspeed")
    for name, conf in (("plain", {}), ("zero1", by(1)), ("zero2", by(2))):
        trained.train(trained.lay_out(folder, name, train_conf=conf))
    return folder


@needs_deepspeed
@pytest.mark.slow
@pytest.mark.parametrize("name", ["zero1", "zero2"])
def test_the_weights_are_those_of_the_plain_trainer_within_rounding(straight, name):
    moved = furthest(straight / "base/model.pt", straight / "plain/model.pt")
    assert furthest(straight / "plain/model.pt", straight / name / "model.pt") < 0.03 * moved
    ours, theirs = (read_ranking(straight / tag)["checkpoints"] for tag in ("plain", name))
    assert [item["file"] for item in ours] == [item["file"] for item in theirs]


@needs_deepspeed
@pytest.mark.slow
def test_its_checkpoints_are_averaged_as_any_other(straight):
    (straight / "zero1/conf/average.yaml").write_text("avg_nbest_model: 3\n", encoding="utf-8")
    subprocess.run([sys.executable, "-m", "asr.average", "--exp", straight / "zero1"], check=True, capture_output=True)
    names = [item["file"] for item in read_ranking(straight / "zero1")["checkpoints"]]
    found = trained.weights(straight / "zero1/model/model.pt")
    mean = sum(trained.weights(straight / "zero1" / name)["encoder.after_norm.weight"].double() for name in names) / 3
    assert torch.allclose(found["encoder.after_norm.weight"].double(), mean, atol=1e-6)


@needs_deepspeed
@pytest.mark.slow
@pytest.mark.parametrize("processes", [1, 2])
def test_a_stopped_training_goes_on_exactly_and_only_with_as_many_processes(tmp_path, processes):
    long = by(1 if processes == 1 else 2, max_epoch=6, save_checkpoint_interval=2, validate_interval=10_000)
    whole = trained.lay_out(tmp_path, "whole", cpu_processes=processes, train_conf=long)
    trained.train(whole)
    exp = trained.lay_out(tmp_path, "stopped", cpu_processes=processes, train_conf=long)
    child = trained.start(exp)
    while not (exp / "saves.json").exists() and child.poll() is None:
        time.sleep(0.01)
    child.send_signal(signal.SIGTERM)
    said = child.communicate(timeout=PATIENCE)[0]
    assert child.returncode == 130, said
    assert read_resume_points(exp)[0].damage(exp) is None
    if processes == 2:
        shutil.copytree(exp, tmp_path / "fewer", symlinks=True)
        fewer = trained.start(trained.lay_out(tmp_path, "fewer", cpu_processes=1, train_conf=long))
        refused = fewer.communicate(timeout=PATIENCE)[0]
        assert fewer.returncode == 1, refused
        assert "error: training: saved by DeepSpeed on 2 processes, and there are 1; resume with as many" in refused
    assert "resumed from stopped/model.pt.ep" in trained.train(exp)
    assert furthest(whole / "model.pt", exp / "model.pt") == 0


@needs_deepspeed
@pytest.mark.slow
def test_a_non_finite_gradient_is_skipped_and_reported(tmp_path):
    exp = trained.lay_out(tmp_path, train_conf=by(1), optim_conf={"lr": 1e30})
    child = trained.start(exp)
    said = child.communicate(timeout=PATIENCE)[0]
    assert "non-finite gradient (loss nan): step skipped" in said
    assert "Traceback" not in said


@needs_deepspeed
@pytest.mark.slow
def test_a_run_of_one_kind_is_not_gone_on_with_as_the_other(straight):
    exp = trained.lay_out(straight, "plain", train_conf={"max_epoch": 4, **by(1)})
    child = trained.start(exp)
    assert "trained with another optimizer; keep it and give --tag" in child.communicate(timeout=PATIENCE)[0]
    assert child.returncode == 1
