"""What makes a resumed training the same: seeds by step, non-finite gradients, stops and early stops."""

import random

import numpy as np
import pytest
import torch

from asr.core import processes
from asr.core.errors import RecipeError
from asr.core.run_records import read_ranking, read_resume_points
from asr.training import loop
from asr.training.checkpoints import resume_points
from asr.training.gradients import MOST_SKIPPED
from asr.training.position import seed_generators
from asr.training.trainer import EarlyStop, Trainer


class Scheduler(torch.optim.lr_scheduler.LambdaLR):
    def __init__(self, optim):
        super().__init__(optim, lambda step: 1 / (step + 1))


def made(folder, **more):
    """A trainer with a small model."""
    settings = {"rank": 0, "world_size": 1, "grad_clip": 5, "keep_nbest_models": 2}
    trainer = Trainer(output_dir=str(folder), **{**settings, **more})
    torch.manual_seed(0)
    model = torch.nn.Linear(3, 2)
    optim = torch.optim.Adam(model.parameters(), lr=0.1)
    trainer.engine.attach(model, optim, Scheduler(optim))
    return trainer


def resumed(trainer):
    """The trainer, resumed with what is attached to it, at the beginning of an epoch's rest."""
    engine = trainer.engine
    trainer.resume_checkpoint(engine.model, engine.optimizer, engine.scheduler)
    start = trainer.start_step
    trainer.position.begin_epoch(trainer.start_epoch, start.step if start else 0)
    return trainer


class Accumulated:
    """The loss of a batch, whose gradients are added up."""

    def __init__(self, trainer):
        self.trainer = trainer

    def begin_epoch(self):
        pass

    def add(self, batch, updates):
        loss = (self.trainer.engine.model(batch["speech"]) ** 2).sum()
        loss.backward()
        return loss.detach(), {}


class Batches(list):
    """Batches of an epoch; a list that is longer than what is in it, so that it does not end the epoch."""

    def __len__(self):
        return 10**6


def step(trainer, value=1.0):
    """A step of the loop."""
    trainer.accumulator = Accumulated(trainer)
    batch = {"speech": torch.full((2, 3), value), "speech_lengths": torch.tensor([3, 3])}
    loop.train_epoch(trainer, Batches([batch]), None)


def save(trainer, within=True, epoch=0):
    trainer.resumer.save(epoch, within)


def drawn():
    return random.random(), np.random.rand(), torch.rand(1).item()


def test_a_step_draws_the_same_whatever_was_drawn_before():
    seed_generators(3, 1, 7, 0)
    first = drawn()
    drawn(), seed_generators(3, 1, 8, 0)
    other = drawn()
    seed_generators(3, 1, 7, 0)
    assert drawn() == first
    assert not set(first) & set(other)
    seed_generators(3, 1, 7, 1)
    assert not set(first) & set(drawn())


def weight(trainer):
    return trainer.engine.model.weight


def test_a_non_finite_gradient_leaves_the_weights_and_many_end_the_run(tmp_path):
    trainer = made(tmp_path)
    before = weight(trainer).clone()
    step(trainer, float("nan"))
    assert torch.equal(weight(trainer), before)
    step(trainer)
    assert not torch.equal(weight(trainer), before)
    assert trainer.gradients.skipped == 0
    for _ in range(MOST_SKIPPED - 1):
        step(trainer, float("inf"))
    with pytest.raises(RecipeError, match=rf"no finite gradient in {MOST_SKIPPED} steps up to epoch 1 step 52"):
        step(trainer, float("inf"))


def test_a_fused_optimizer_skips_the_same_steps(tmp_path, caplog):
    plain, fused = made(tmp_path / "a"), made(tmp_path / "b")
    fused.engine.optimizer = torch.optim.Adam(fused.engine.model.parameters(), lr=0.1, fused=True)
    for trainer in (plain, fused):
        trainer.engine.scheduler = torch.optim.lr_scheduler.LambdaLR(trainer.engine.optimizer, lambda step: 1.0)
    for value in (1.0, float("nan"), 2.0):
        with caplog.at_level("INFO", "asr.progress"):
            step(plain, value)
            step(fused, value)
        torch.testing.assert_close(weight(plain), weight(fused))
    skipped = [
        line for line in caplog.messages if line == "epoch 1 step 2: non-finite gradient (loss nan): step skipped"
    ]
    assert len(skipped) == 2
    for _ in range(MOST_SKIPPED):
        step(fused, float("inf"))
    with pytest.raises(RecipeError, match=rf"no finite gradient in {MOST_SKIPPED} steps up to epoch 1 step 53"):
        save(fused)


def test_a_stop_is_saved_at_its_step_and_resumed_from(tmp_path):
    straight = made(tmp_path / "straight")
    for index in range(6):
        step(straight, index + 1.0)
    trainer = made(tmp_path / "stopped")
    for index in range(3):
        step(trainer, index + 1.0)
    processes.stop_asked.set()
    try:
        with pytest.raises(KeyboardInterrupt):
            step(trainer, 4.0)
    finally:
        processes.stop_asked.clear()
    again = resumed(made(tmp_path / "stopped"))
    assert (again.start_epoch, again.start_step.step, again.position.step_in_epoch) == (0, 4, 4)
    for index in range(2):
        step(again, index + 5.0)
    assert torch.equal(weight(again), weight(straight))
    assert again.engine.optimizer.param_groups[0]["lr"] == straight.engine.optimizer.param_groups[0]["lr"]


def test_within_accumulation_nothing_is_stopped_or_updated(tmp_path):
    trainer = made(tmp_path, accum_grad=2)
    before = weight(trainer).clone()
    processes.stop_asked.set()
    try:
        step(trainer)
        assert torch.equal(weight(trainer), before)
    finally:
        processes.stop_asked.clear()


def test_under_another_accum_grad_groups_end_where_saves_are(tmp_path):
    """Six steps in, four are to be added up: the first group is two, so that a save at the eighth loses nothing."""
    trainer = made(tmp_path, accum_grad=4)
    trainer.position.step_in_epoch = 6
    before = weight(trainer).clone()
    moved = []
    for _ in range(6):
        step(trainer)
        moved.append(not torch.equal(weight(trainer), before))
        before = weight(trainer).clone()
    assert moved == [False, True, False, False, False, True]


def test_a_new_learning_rate_is_honoured_and_the_position_kept(tmp_path):
    trainer = made(tmp_path)
    step(trainer)
    trainer.save_checkpoint(1)
    again = made(tmp_path)
    again.engine.optimizer.param_groups[0]["lr"] = again.engine.optimizer.param_groups[0]["initial_lr"] = 0.5
    again.engine.scheduler.base_lrs = [0.5]
    resumed(again)
    assert again.engine.scheduler.last_epoch == 1
    assert again.engine.optimizer.param_groups[0]["lr"] == 0.25


@pytest.mark.parametrize("then", [False, True])
def test_fused_may_change_between_a_run_and_its_continuation(tmp_path, then):
    """On the CPU the steps are those of a run that never changed."""

    def with_fused(trainer, fused):
        optimizer = torch.optim.Adam(trainer.engine.model.parameters(), lr=0.1, fused=fused)
        trainer.engine.optimizer, trainer.engine.scheduler = optimizer, Scheduler(optimizer)
        return trainer

    straight = made(tmp_path / "straight")
    for index in range(4):
        step(straight, index + 1.0)
    trainer = with_fused(made(tmp_path), then)
    for index in range(2):
        step(trainer, index + 1.0)
    save(trainer)
    again = resumed(with_fused(made(tmp_path), not then))
    assert again.engine.optimizer.param_groups[0]["fused"] is not then
    for index in range(2, 4):
        step(again, index + 1.0)
    torch.testing.assert_close(weight(again), weight(straight))


@pytest.mark.parametrize("fused", [False, True])
def test_adams_step_is_where_the_optimizer_of_now_wants_it(tmp_path, fused):
    """Beside the weights where it is fused, else in the CPU's memory; the device of the weights is pretended."""
    trainer = made(tmp_path)
    trainer.engine.optimizer.param_groups[0]["fused"] = not fused
    step(trainer)
    save(trainer)
    state = torch.load(tmp_path / read_resume_points(tmp_path)[0].state, weights_only=False)
    again = made(tmp_path)
    optim = torch.optim.Adam(torch.nn.Linear(3, 2, device="meta").parameters(), lr=0.1)
    scheduler = Scheduler(optim)
    optim.param_groups[0]["fused"] = fused
    again.engine.attach(None, optim, scheduler)
    again.engine.load(state)
    assert {values["step"].device.type for values in optim.state.values()} == {"meta" if fused else "cpu"}


def test_early_stopping_counts_validations_through_a_resume(tmp_path):
    for values, stops in (([0.5, 0.4, 0.3], False), ([0.5, 0.4, 0.45], False), ([0.5, 0.4, 0.45, 0.41], True)):
        folder = tmp_path / "-".join(map(str, values))
        trainer = made(folder, patience=2)
        for epoch, value in enumerate(values[:-1], 1):
            trainer.ranking.validate(f"model.pt.ep{epoch}", value)
            trainer.save_checkpoint(epoch)
        again = resumed(made(folder, patience=2))
        again.ranking.validate(f"model.pt.ep{len(values)}", values[-1])
        if stops:
            with pytest.raises(EarlyStop, match="no better cer in 2 validations"):
                again.save_checkpoint(len(values))
            assert resume_points.newest_whole(folder, print)[2]["epoch"] == len(values)
        else:
            again.save_checkpoint(len(values))


def steps_of(trainer, count):
    """The trainer after ``count`` steps, saved."""
    trainer.position.number = trainer.position.updated = trainer.position.step_in_epoch = count
    save(trainer)


@pytest.mark.parametrize(
    ("now", "restarted"),
    [
        ({"batches": 'BatchSampler {"batch_size": 6000}'}, False),
        ({"batches": 'BatchSampler {"batch_size": 3000}'}, True),
        ({"batches": 'ShuffledBatchSampler {"batch_size": 6000}'}, True),
        ({"batches": 'BatchSampler {"batch_size": 6000}', "world_size": 2}, True),
    ],
)
def test_where_funasrs_batches_would_be_others_the_epoch_is_restarted(tmp_path, caplog, now, restarted):
    """Else some clips of it would be trained on twice, and others never."""
    steps_of(made(tmp_path, batches='BatchSampler {"batch_size": 6000}'), 3)
    again = made(tmp_path, **now)
    again.engine.several = again.resumer.engine.several = False
    with caplog.at_level("INFO"):
        resumed(again)
    assert (again.start_epoch, again.position.first_step) == (0, 0 if restarted else 3)
    assert again.position.step_in_epoch == 3  # no save from here on is written over one that is listed or ranked
    assert ("epoch 1 is restarted" in caplog.text) == restarted


class Sampled:
    """An epoch's batches, ours: a position in them can be kept."""

    def position(self, step):
        return [[{"batch_size": 1, "batch_type": "x", "sort_size": 1, "seed": 0, "world_size": 1, "factors": []}, step]]


def test_ours_are_resumed_exactly_under_other_settings(tmp_path):
    trainer = made(tmp_path, batches='ShuffledBatchSampler {"batch_size": 6000}')
    trainer.resumer.sampler = Sampled()
    steps_of(trainer, 3)
    again = made(tmp_path, batches='ShuffledBatchSampler {"batch_size": 3000}', world_size=2)
    again.engine.several = False
    assert resumed(again).start_step.position == Sampled().position(3)
    assert again.start_step.step == 3
    again = resumed(made(tmp_path, batches="BatchSampler {}"))
    assert again.start_step == 0


def test_a_run_that_diverges_gives_up_the_saves_that_no_finite_gradient_followed(tmp_path):
    trainer = made(tmp_path)
    for _ in range(2):
        step(trainer)
        save(trainer)
    for index in range(2, 1 + MOST_SKIPPED):
        step(trainer, float("nan"))
        if index % 9 == 0:
            save(trainer)
    assert [one.weights for one in read_resume_points(tmp_path)] == ["model.pt.ep0.46", "model.pt.ep0.1"]
    with pytest.raises(RecipeError, match=r"the same command resumes from model\.pt\.ep0\.1$"):
        step(trainer, float("nan"))
    assert [one.weights for one in read_resume_points(tmp_path)] == ["model.pt.ep0.1"]
    again = resumed(made(tmp_path))
    for _ in range(MOST_SKIPPED - 1):
        step(again, float("nan"))
    with pytest.raises(RecipeError, match="then give --restart: no checkpoint has led to a finite gradient"):
        step(again, float("nan"))
    assert len(read_resume_points(tmp_path)) == 1  # the last one is never given up


def test_what_is_not_finite_is_not_ranked_and_ends_no_patience_early(tmp_path):
    trainer = made(tmp_path, ranking="loss", patience=2)
    for epoch, value in enumerate((float("nan"), 0.5, 0.4), 1):
        trainer.ranking.validate(f"model.pt.ep{epoch}", value)
        trainer.save_checkpoint(epoch)
    assert [entry["file"] for entry in read_ranking(tmp_path)["checkpoints"]] == ["model.pt.ep3", "model.pt.ep2"]


def test_the_damaged_newest_save_is_no_save_before_the_next(tmp_path):
    trainer = made(tmp_path)
    for epoch in (1, 2):
        step(trainer)
        trainer.save_checkpoint(epoch)
    (tmp_path / "state.pt.ep2").unlink()
    again = resumed(made(tmp_path))
    step(again)
    save(again, epoch=1)
    assert [one.weights for one in read_resume_points(tmp_path)] == ["model.pt.ep1.1", "model.pt.ep1"]


def test_a_ranked_checkpoint_whose_file_is_missing_is_removed_and_another_is_the_best(tmp_path, caplog):
    trainer = made(tmp_path, keep_nbest_models=3)
    for epoch, value in enumerate((0.1, 0.2, 0.3), 1):
        trainer.ranking.validate(f"model.pt.ep{epoch}", value)
        step(trainer)
        trainer.save_checkpoint(epoch)
    (tmp_path / "model.pt.ep1").unlink()
    with caplog.at_level("INFO", "asr.progress"):
        resumed(made(tmp_path, keep_nbest_models=3))
    assert "model.pt.ep1: file missing; removed from the ranking" in caplog.messages
    assert [entry["file"] for entry in read_ranking(tmp_path)["checkpoints"]] == ["model.pt.ep2", "model.pt.ep3"]
    assert (tmp_path / "model.pt.best").samefile(tmp_path / "model.pt.ep2")
