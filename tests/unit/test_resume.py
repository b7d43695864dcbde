"""What makes a resumed training the same: seeds by step, gradients that are no number, stops and early stops."""

import random

import numpy as np
import pytest
import torch

from asr.core import processes
from asr.core.errors import RecipeError
from asr.training.checkpoints import resume_points
from asr.training.checkpoints.checkpoint import read_ranking
from asr.training.resume import EarlyStop, ResumableTrainer
from asr.training.updates import MOST_NOT_FINITE


class Scheduler(torch.optim.lr_scheduler.LambdaLR):
    def __init__(self, optim):
        super().__init__(optim, lambda step: 1 / (step + 1))


def made(folder, **more):
    """A trainer with a small model, and what it is saved with."""
    settings = {"rank": 0, "world_size": 1, "use_ddp": False, "device": "cpu", "grad_clip": 5, "keep_nbest_models": 2}
    trainer = ResumableTrainer(output_dir=str(folder), **{**settings, **more})
    trainer.writer = None
    torch.manual_seed(0)
    model = torch.nn.Linear(3, 2)
    optim = torch.optim.Adam(model.parameters(), lr=0.1)
    return trainer, {"model": model, "optim": optim, "scheduler": Scheduler(optim), "scaler": None}


def step(trainer, parts, index, value=1.0):
    loss = (parts["model"](torch.full((2, 3), value)) ** 2).sum()
    loss.backward()
    trainer.step_in_epoch += 1
    trainer.update_step(**parts, loss_dict={"epoch": 0, "batch_idx": index, "loss": loss})


def drawn():
    return random.random(), np.random.rand(), torch.rand(1).item()


def test_a_step_draws_the_same_whatever_was_drawn_before(tmp_path):
    trainer, _ = made(tmp_path, seed=3)
    trainer.seed_step(1, 7)
    first = drawn()
    drawn(), trainer.seed_step(1, 8)
    other = drawn()
    trainer.seed_step(1, 7)
    assert drawn() == first
    assert not set(first) & set(other)
    trainer.rank = 1
    trainer.seed_step(1, 7)
    assert not set(first) & set(drawn())


def test_a_gradient_that_is_no_number_leaves_the_weights_and_many_end_the_run(tmp_path):
    trainer, parts = made(tmp_path)
    before = parts["model"].weight.clone()
    step(trainer, parts, 0, float("nan"))
    assert torch.equal(parts["model"].weight, before)
    step(trainer, parts, 1)
    assert not torch.equal(parts["model"].weight, before)
    assert trainer.not_finite == 0
    for index in range(2, 1 + MOST_NOT_FINITE):
        step(trainer, parts, index, float("inf"))
    with pytest.raises(RecipeError, match=rf"no finite gradient in {MOST_NOT_FINITE} steps up to epoch 1 step 52"):
        step(trainer, parts, 1 + MOST_NOT_FINITE, float("inf"))


def test_a_fused_optimizer_leaves_the_same_steps_out(tmp_path, caplog):
    (plain, one), (fused, other) = made(tmp_path / "a"), made(tmp_path / "b")
    other["optim"] = torch.optim.Adam(other["model"].parameters(), lr=0.1, fused=True)
    other["scheduler"] = torch.optim.lr_scheduler.LambdaLR(other["optim"], lambda step: 1.0)
    one["scheduler"] = torch.optim.lr_scheduler.LambdaLR(one["optim"], lambda step: 1.0)
    for index, value in enumerate((1.0, float("nan"), 2.0)):
        with caplog.at_level("INFO", "asr.progress"):
            step(plain, one, index, value)
            step(fused, other, index, value)
        torch.testing.assert_close(one["model"].weight, other["model"].weight)
    said = [line for line in caplog.messages if "epoch 1 step 2: the gradient is no number (loss nan)" in line]
    assert len(said) == 2
    for index in range(3, 3 + MOST_NOT_FINITE):
        step(fused, other, index, float("inf"))
    with pytest.raises(RecipeError, match=rf"no finite gradient in {MOST_NOT_FINITE} steps up to epoch 1 step 53"):
        fused.save_checkpoint(0, step=53, step_in_epoch=53, **other)


def test_a_stop_is_saved_at_its_step_and_gone_on_from(tmp_path):
    straight, wanted = made(tmp_path / "straight")
    for index in range(6):
        step(straight, wanted, index, index + 1.0)
    trainer, parts = made(tmp_path / "stopped")
    trainer.parts = type("P", (), {"_asdict": lambda self: parts})()
    for index in range(3):
        step(trainer, parts, index, index + 1.0)
    processes.stop_asked.set()
    try:
        with pytest.raises(KeyboardInterrupt):
            step(trainer, parts, 3, 4.0)
    finally:
        processes.stop_asked.clear()
    again, parts = made(tmp_path / "stopped")
    again.resume_checkpoint(**parts)
    assert (again.start_epoch, again.start_step, again.step_in_epoch) == (0, 4, 4)
    again.first_step = again.start_step
    for index in range(2):
        step(again, parts, index, index + 5.0)
    assert torch.equal(parts["model"].weight, wanted["model"].weight)
    assert parts["optim"].param_groups[0]["lr"] == wanted["optim"].param_groups[0]["lr"]


def test_within_accumulation_nothing_is_stopped_or_updated(tmp_path):
    trainer, parts = made(tmp_path, accum_grad=2)
    before = parts["model"].weight.clone()
    processes.stop_asked.set()
    try:
        step(trainer, parts, 0)
        assert torch.equal(parts["model"].weight, before)
    finally:
        processes.stop_asked.clear()


def test_under_another_accum_grad_groups_end_where_saves_are(tmp_path):
    """Six steps in, four are to be added up: the first group is two, so that a save at the eighth loses nothing."""
    trainer, parts = made(tmp_path, accum_grad=4)
    trainer.step_in_epoch = 6
    before = parts["model"].weight.clone()
    moved = []
    for index in range(6):
        step(trainer, parts, index)
        moved.append(not torch.equal(parts["model"].weight, before))
        before = parts["model"].weight.clone()
    assert moved == [False, True, False, False, False, True]


def test_a_new_learning_rate_is_honoured_and_the_place_kept(tmp_path):
    trainer, parts = made(tmp_path)
    step(trainer, parts, 0)
    trainer.save_checkpoint(1, **parts)
    again, parts = made(tmp_path)
    parts["optim"].param_groups[0]["lr"] = parts["optim"].param_groups[0]["initial_lr"] = 0.5
    parts["scheduler"].base_lrs = [0.5]
    again.resume_checkpoint(**parts)
    assert parts["scheduler"].last_epoch == 1
    assert parts["optim"].param_groups[0]["lr"] == 0.25


@pytest.mark.parametrize("then", [False, True])
def test_fused_may_change_between_a_run_and_its_continuation(tmp_path, then):
    """On the CPU the steps are those of a run that never changed."""

    def optimizer(parts, fused):
        parts["optim"] = torch.optim.Adam(parts["model"].parameters(), lr=0.1, fused=fused)
        parts["scheduler"] = Scheduler(parts["optim"])
        return parts

    straight, wanted = made(tmp_path / "straight")
    for index in range(4):
        step(straight, wanted, index, index + 1.0)
    trainer, parts = made(tmp_path)
    optimizer(parts, then)
    for index in range(2):
        step(trainer, parts, index, index + 1.0)
    trainer.save_checkpoint(0, step=2, step_in_epoch=2, **parts)
    again, parts = made(tmp_path)
    again.resume_checkpoint(**optimizer(parts, not then))
    assert parts["optim"].param_groups[0]["fused"] is not then
    for index in range(2, 4):
        step(again, parts, index, index + 1.0)
    torch.testing.assert_close(parts["model"].weight, wanted["model"].weight)


@pytest.mark.parametrize("fused", [False, True])
def test_adams_step_is_where_the_optimizer_of_now_wants_it(tmp_path, fused):
    """Beside the weights where it is fused, else in the CPU's memory; the device of the weights is pretended."""
    trainer, parts = made(tmp_path)
    parts["optim"].param_groups[0]["fused"] = not fused
    step(trainer, parts, 0)
    trainer.save_checkpoint(0, step=1, step_in_epoch=1, **parts)
    state = torch.load(tmp_path / resume_points.read_saves(tmp_path)[0].state, weights_only=False)
    again, _ = made(tmp_path)
    optim = torch.optim.Adam(torch.nn.Linear(3, 2, device="meta").parameters(), lr=0.1)
    scheduler = Scheduler(optim)
    optim.param_groups[0]["fused"] = fused
    again._restore(state, optim, scheduler, None)
    assert {item["step"].device.type for item in optim.state.values()} == {"meta" if fused else "cpu"}


def test_early_stopping_counts_validations_through_a_resume(tmp_path):
    for values, stops in (([0.5, 0.4, 0.3], False), ([0.5, 0.4, 0.45], False), ([0.5, 0.4, 0.45, 0.41], True)):
        trainer, parts = made(tmp_path / str(len(values)), patience=2)
        for epoch, value in enumerate(values[:-1], 1):
            trainer.validations.append(value)
            trainer.save_checkpoint(epoch, **parts)
        again, parts = made(tmp_path / str(len(values)), patience=2)
        again.resume_checkpoint(**parts)
        again.validations.append(values[-1])
        if stops:
            with pytest.raises(EarlyStop, match="no better cer in 2 validations"):
                again.save_checkpoint(len(values), **parts)
            assert resume_points.newest_whole(tmp_path / str(len(values)), print)[2]["epoch"] == len(values)
        else:
            again.save_checkpoint(len(values), **parts)


@pytest.mark.parametrize(
    ("now", "anew"),
    [
        ({"batches": 'BatchSampler {"batch_size": 6000}'}, False),
        ({"batches": 'BatchSampler {"batch_size": 3000}'}, True),
        ({"batches": 'ShuffledBatchSampler {"batch_size": 6000}'}, True),
        ({"batches": 'BatchSampler {"batch_size": 6000}', "world_size": 2}, True),
    ],
)
def test_where_funasrs_batches_would_be_others_the_epoch_is_begun_anew(tmp_path, caplog, now, anew):
    """Else some clips of it would be trained on twice, and others never."""
    trainer, parts = made(tmp_path, batches='BatchSampler {"batch_size": 6000}')
    trainer.save_checkpoint(0, step=3, step_in_epoch=3, **parts)
    again, parts = made(tmp_path, **now)
    with caplog.at_level("INFO"):
        again.resume_checkpoint(**parts)
    assert (again.start_epoch, again.start_step) == (0, 0 if anew else 3)
    assert again.step_in_epoch == 3  # no save from here on is written over one that is listed or ranked
    assert ("epoch 1 is begun anew" in caplog.text) == anew


def test_a_state_of_an_earlier_version_says_by_its_place_whose_sampler_it_was(tmp_path):
    trainer, parts = made(tmp_path)
    trainer.sampler = Sampled()
    trainer.save_checkpoint(0, step=3, step_in_epoch=3, **parts)
    path = tmp_path / resume_points.read_saves(tmp_path)[0].state
    state = torch.load(path, weights_only=False)
    del state["batches"]
    resume_points.add_save(tmp_path, "model.pt.ep0.3", torch.load(tmp_path / "model.pt.ep0.3"), state)
    for sampler, begun in (("BatchSampler {}", 0), ("ShuffledBatchSampler {}", 3)):
        again, parts = made(tmp_path, batches=sampler)
        again.resume_checkpoint(**parts)
        assert again.start_step == begun


class Sampled:
    """An epoch's batches, ours: a place in them can be kept."""

    def position(self, step):
        return [[{"batch_size": 1, "batch_type": "x", "sort_size": 1, "seed": 0, "world_size": 1, "factors": []}, step]]


def test_ours_go_on_exactly_under_other_settings(tmp_path):
    trainer, parts = made(tmp_path, batches='ShuffledBatchSampler {"batch_size": 6000}')
    trainer.sampler = Sampled()
    trainer.save_checkpoint(0, step=3, step_in_epoch=3, **parts)
    again, parts = made(tmp_path, batches='ShuffledBatchSampler {"batch_size": 3000}', world_size=2)
    again.resume_checkpoint(**parts)
    assert again.start_step == 3
    again, parts = made(tmp_path, batches="BatchSampler {}")
    again.resume_checkpoint(**parts)
    assert again.start_step == 0


def test_a_run_that_diverges_gives_up_the_saves_that_no_finite_gradient_followed(tmp_path):
    trainer, parts = made(tmp_path)
    for index in range(2):
        step(trainer, parts, index)
        trainer.save_checkpoint(0, step=index + 1, step_in_epoch=index + 1, **parts)
    for index in range(2, 1 + MOST_NOT_FINITE):
        step(trainer, parts, index, float("nan"))
        if index % 9 == 0:
            trainer.save_checkpoint(0, step=index + 1, step_in_epoch=index + 1, **parts)
    assert [save.weights for save in resume_points.read_saves(tmp_path)] == ["model.pt.ep0.46", "model.pt.ep0.1"]
    with pytest.raises(RecipeError, match=r"the same command goes on from model\.pt\.ep0\.1$"):
        step(trainer, parts, 1 + MOST_NOT_FINITE, float("nan"))
    assert [save.weights for save in resume_points.read_saves(tmp_path)] == ["model.pt.ep0.1"]
    again, parts = made(tmp_path)
    again.resume_checkpoint(**parts)
    for index in range(MOST_NOT_FINITE - 1):
        step(again, parts, index, float("nan"))
    with pytest.raises(RecipeError, match="then give --restart: no save has led to a finite gradient"):
        step(again, parts, MOST_NOT_FINITE - 1, float("nan"))
    assert len(resume_points.read_saves(tmp_path)) == 1  # the last one is never given up


def test_what_is_no_number_is_not_ranked_and_ends_no_patience_early(tmp_path):
    trainer, parts = made(tmp_path, ranking="loss", patience=2)
    trainer.avg_keep_nbest_models_type = "loss"
    for epoch, value in enumerate((float("nan"), 0.5, 0.4), 1):
        trainer.val_loss_step_or_epoch[f"model.pt.ep{epoch}"] = value
        trainer.validations.append(value)
        trainer.save_checkpoint(epoch, **parts)
    assert [item["file"] for item in read_ranking(tmp_path)["checkpoints"]] == ["model.pt.ep3", "model.pt.ep2"]


def test_the_damaged_newest_save_is_no_save_before_the_next(tmp_path):
    trainer, parts = made(tmp_path)
    for epoch in (1, 2):
        step(trainer, parts, epoch)
        trainer.save_checkpoint(epoch, **parts)
    (tmp_path / "state.pt.ep2").unlink()
    again, parts = made(tmp_path)
    again.resume_checkpoint(**parts)
    step(again, parts, 0)
    again.save_checkpoint(1, step=1, step_in_epoch=1, **parts)
    assert [save.weights for save in resume_points.read_saves(tmp_path)] == ["model.pt.ep1.1", "model.pt.ep1"]


def test_a_ranked_checkpoint_that_is_gone_is_ranked_no_more_and_another_is_the_best(tmp_path):
    trainer, parts = made(tmp_path, keep_nbest_models=3)
    for epoch, value in enumerate((0.9, 0.8, 0.7), 1):
        trainer.val_acc_step_or_epoch[f"model.pt.ep{epoch}"] = value
        step(trainer, parts, epoch)
        trainer.save_checkpoint(epoch, **parts)
    (tmp_path / "model.pt.ep1").unlink()
    again, parts = made(tmp_path, keep_nbest_models=3)
    again.resume_checkpoint(**parts)
    assert [item["file"] for item in read_ranking(tmp_path)["checkpoints"]] == ["model.pt.ep2", "model.pt.ep3"]
    assert (tmp_path / "model.pt.best").samefile(tmp_path / "model.pt.ep2")
