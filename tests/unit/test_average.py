"""Averaging: the mean by hand, and nothing averaged that does not belong together."""

import json

import pytest
import torch

from asr import checkpoint
from asr.average import average, mean_state
from asr.errors import RecipeError


def save(path, **tensors):
    checkpoint.save({"state_dict": tensors, "optimizer": {"big": 1}}, path)
    return path


def test_mean_by_hand_in_float64_and_in_the_own_type(tmp_path):
    # 1e8 + 1 is not a float32: summed in float32 the mean would be 1e8 / 3.
    values = (1e8, 1.0, 1.0)
    paths = [
        save(tmp_path / f"{i}", w=torch.tensor([value]), n=torch.tensor(7 + i), h=torch.tensor([value]).half() / 1e4)
        for i, value in enumerate(values)
    ]
    mean = mean_state(paths)
    assert mean["w"].dtype == torch.float32
    assert mean["w"].item() == torch.tensor((1e8 + 2) / 3, dtype=torch.float64).float().item()
    assert mean["h"].dtype == torch.float16
    assert mean["n"].item() == 7  # a counter is the best checkpoint's, never a mean


def test_one_checkpoint_is_itself(tmp_path):
    path = save(tmp_path / "a", w=torch.randn(5))
    assert torch.equal(mean_state([path])["w"], torch.load(path)["state_dict"]["w"])


@pytest.mark.parametrize(
    "other", [{"w": torch.ones(3)}, {"v": torch.ones(2)}, {"w": torch.ones(2), "v": torch.ones(1)}]
)
def test_checkpoints_of_another_model_are_refused_by_name(tmp_path, other):
    a, b = save(tmp_path / "a", w=torch.ones(2)), save(tmp_path / "b", **other)
    with pytest.raises(RecipeError, match=str(b)):
        mean_state([a, b])


def ranked(tmp_path, values):
    for name, value in values.items():
        save(tmp_path / name, w=torch.tensor([value]))
    checkpoint.write_ranking(tmp_path, "cer", values, len(values), True)


def test_the_n_best_go_in_and_avg_json_says_which(tmp_path, capsys):
    ranked(tmp_path, {"model.pt.ep1": 0.5, "model.pt.ep2": 0.2, "model.pt.ep3": 0.3})
    record = average(tmp_path, 2)
    assert (record["file"], capsys.readouterr().out) == ("model.pt.avg2", "")
    assert torch.load(tmp_path / "model.pt.avg2")["state_dict"]["w"].item() == pytest.approx(0.25)
    listed = json.loads((tmp_path / "avg.json").read_text())["checkpoints"]
    assert [(item["file"], item["value"]) for item in listed] == [("model.pt.ep2", 0.2), ("model.pt.ep3", 0.3)]
    assert all(len(item["sha256"]) == 64 for item in listed)


def test_fewer_than_asked_for_is_said_and_is_in_the_name(tmp_path, capsys):
    ranked(tmp_path, {"model.pt.ep1": 0.5, "model.pt.ep2": 0.2})
    (tmp_path / "model.pt.avg10").touch()
    assert average(tmp_path, 10)["file"] == "model.pt.avg2"
    assert "asked for the 10 best, only 2 were ranked" in capsys.readouterr().out
    assert not (tmp_path / "model.pt.avg10").exists()  # FunASR's own would be a lie


def test_a_deleted_or_truncated_checkpoint_is_named(tmp_path):
    ranked(tmp_path, {"model.pt.ep1": 0.5, "model.pt.ep2": 0.2})
    whole = (tmp_path / "model.pt.ep1").read_bytes()
    (tmp_path / "model.pt.ep1").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(RecipeError, match=r"model\.pt\.ep1: cannot be read"):
        average(tmp_path, 2)
    (tmp_path / "model.pt.ep1").unlink()
    with pytest.raises(RecipeError, match=r"model\.pt\.ep1: ranked in checkpoints\.json and not there"):
        average(tmp_path, 2)
    assert not list(tmp_path.glob("model.pt.avg*"))
