"""Saves: what a run goes on from is whole or named, and no more is kept than is needed."""

import json
import os

import pytest
import torch

from asr.core.digests import sha256_file
from asr.core.errors import RecipeError
from asr.core.run_records import has_resume_points, read_digests, read_resume_points
from asr.training.checkpoints import resume_points
from asr.training.checkpoints.checkpoint import save


def add(exp, epoch: int) -> None:
    weights = {"state_dict": {"w": torch.full((4,), float(epoch))}, "epoch": epoch}
    resume_points.add(exp, f"model.pt.ep{epoch}", weights, {"epoch": epoch, "optimizer": torch.ones(8)})


def test_a_save_returns_the_digest_of_its_file(tmp_path):
    assert save({"w": torch.arange(100_000)}, tmp_path / "x.pt") == sha256_file(tmp_path / "x.pt")


def test_the_newest_two_are_kept_and_what_is_ranked(tmp_path):
    for epoch in range(1, 6):
        add(tmp_path, epoch)
        resume_points.sweep(tmp_path, {"model.pt.ep1"})
    (tmp_path / ".model.pt.ep5.abc_d012.tmp").touch()  # of a save that was killed
    resume_points.sweep(tmp_path, {"model.pt.ep1"})
    assert sorted(os.listdir(tmp_path)) == [
        *("digests.json", "model.pt", "model.pt.ep1", "model.pt.ep4", "model.pt.ep5"),
        *("saves.json", "state.pt.ep4", "state.pt.ep5"),
    ]
    known = read_digests(tmp_path)
    assert {name for name in known if (tmp_path / name).exists()} == {"model.pt.ep1", "model.pt.ep4", "model.pt.ep5"}
    for name in ("model.pt.ep1", "model.pt.ep5"):
        assert known[name] == sha256_file(tmp_path / name)
    assert [item.weights for item in read_resume_points(tmp_path)] == ["model.pt.ep5", "model.pt.ep4"]
    assert os.path.samefile(tmp_path / "model.pt", tmp_path / "model.pt.ep5")  # a link: written once
    assert set(torch.load(tmp_path / "model.pt.ep5", weights_only=True)) == {"state_dict", "epoch"}


@pytest.mark.parametrize("name", ["model.pt.ep2", "state.pt.ep2"])
@pytest.mark.parametrize("how", ["cut short", "one byte", "gone"])
def test_a_damaged_save_is_named_and_the_one_before_is_taken(tmp_path, name, how):
    add(tmp_path, 1), add(tmp_path, 2)
    path, said = tmp_path / name, []
    raw = path.read_bytes()
    path.unlink()  # model.pt is the same file
    if how == "cut short":
        path.write_bytes(raw[: len(raw) // 2])
    elif how == "one byte":
        path.write_bytes(raw[:400] + bytes([raw[400] ^ 1]) + raw[401:])
    found, weights, state = resume_points.newest_whole(tmp_path, said.append)
    assert (found.weights, weights["epoch"], state["epoch"]) == ("model.pt.ep1", 1, 1)
    assert said == [f"{name}: file missing; trying the checkpoint before"] or f"{name}: damaged" in said[0]


def test_no_whole_save_is_one_line_and_none_at_all_is_none(tmp_path):
    assert resume_points.newest_whole(tmp_path, print) is None
    assert not has_resume_points(tmp_path)
    add(tmp_path, 1)
    (tmp_path / "model.pt.ep1").unlink()
    with pytest.raises(
        RecipeError, match=r"no checkpoint is whole \(model\.pt\.ep1: file missing\); put the files back, or --re"
    ):
        resume_points.newest_whole(tmp_path, lambda _: None)


@pytest.mark.parametrize("text", ["", "{}x", '[{"weights": "a"}]'])
def test_a_list_that_is_none(tmp_path, text):
    (tmp_path / "saves.json").write_text(text)
    with pytest.raises(RecipeError, match=r"saves\.json: not a list of resume points"):
        read_resume_points(tmp_path)


def test_the_same_place_saved_twice_is_one_save(tmp_path):
    add(tmp_path, 1), add(tmp_path, 2), add(tmp_path, 2)
    assert [item["weights"] for item in json.loads((tmp_path / "saves.json").read_text())] == [
        *("model.pt.ep2", "model.pt.ep1")
    ]


def test_a_save_that_is_untried_gives_way_to_the_next_before_the_one_that_is_older(tmp_path):
    add(tmp_path, 1), add(tmp_path, 2)
    state = {"epoch": 3, "optimizer": torch.ones(8)}
    resume_points.add(tmp_path, "model.pt.ep3", {"state_dict": {}}, state, instead_of="model.pt.ep2")
    assert [save.weights for save in read_resume_points(tmp_path)] == ["model.pt.ep3", "model.pt.ep1"]


def test_another_models_weights_in_place_of_the_newest_are_not_taken(tmp_path):
    add(tmp_path, 1), add(tmp_path, 2)
    (tmp_path / "model.pt.ep2").unlink()
    torch.save({"state_dict": {"w": torch.full((4,), 9.0)}, "epoch": 2}, tmp_path / "model.pt.ep2")  # the same shapes
    said = []
    assert resume_points.newest_whole(tmp_path, said.append)[0].weights == "model.pt.ep1"
    assert "model.pt.ep2: damaged" in said[0]
    assert "another sha256" in said[0]


def test_all_ranks_go_on_from_what_the_first_finds_whole(tmp_path, monkeypatch):
    for epoch in (1, 2):
        add(tmp_path, epoch)
    said = []

    def broadcast(choice, src, group):
        if choice[0] is None and said:
            choice[:] = said
        said[:] = choice

    monkeypatch.setattr(resume_points.dist, "broadcast_object_list", broadcast)
    (tmp_path / "state.pt.ep2").write_bytes(b"damaged")
    told = []
    assert resume_points.newest_whole(tmp_path, told.append, 0, "both")[0].weights == "model.pt.ep1"
    assert len(told) == 1
    add(tmp_path, 2)  # another machine sees the newest whole: it takes the first one's all the same
    save, weights, state = resume_points.newest_whole(tmp_path, told.append, 1, "both")
    assert (save.weights, state["epoch"]) == ("model.pt.ep1", 1)
    assert torch.equal(weights["state_dict"]["w"], torch.load(tmp_path / "model.pt.ep1")["state_dict"]["w"])
    (tmp_path / "model.pt.ep1").unlink()
    with pytest.raises(RecipeError, match=r"model\.pt\.ep1: file missing here, and whole on the first machine"):
        resume_points.newest_whole(tmp_path, told.append, 1, "both")
    said.clear()
    (tmp_path / read_resume_points(tmp_path)[0].state).unlink()
    with pytest.raises(RecipeError, match="no checkpoint is whole"):
        resume_points.newest_whole(tmp_path, told.append, 0, "both")


def test_the_same_step_saved_again_leaves_the_listed_save_whole_until_it_is_listed_itself(tmp_path, monkeypatch):
    weights = {"state_dict": {"w": torch.ones(4)}}
    resume_points.add(tmp_path, "model.pt.ep0.2", weights, {"validated": False})
    with monkeypatch.context() as killed:
        killed.setattr(resume_points, "keep", lambda *_: (_ for _ in ()).throw(SystemExit))
        with pytest.raises(SystemExit):
            resume_points.add(tmp_path, "model.pt.ep0.2", weights, {"validated": True})
    assert resume_points.newest_whole(tmp_path, print)[2] == {"validated": False}
    for validated in (True, None):
        resume_points.add(tmp_path, "model.pt.ep0.2", weights, {"validated": validated})
        assert resume_points.newest_whole(tmp_path, print)[2] == {"validated": validated}
    resume_points.sweep(tmp_path, set())
    assert [path.name for path in tmp_path.glob("state.pt*")] == [read_resume_points(tmp_path)[0].state]
