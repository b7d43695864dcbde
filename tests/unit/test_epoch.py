"""The loop of an epoch: what it counts, and steps that do not fit in memory."""

import contextlib
import copy
import logging
import subprocess
import sys

import pytest
import torch

from asr.core import processes
from asr.core.errors import RecipeError
from asr.core.out_of_memory import TooLarge, all_too_large, keep_too_large, ran_out_of_memory
from asr.core.run_folder import RunFolder
from asr.models.loading import load
from asr.models.paraformer.training import use_fast_step
from asr.training.batch_parts import normaliser, padded_frames, parts_of
from asr.training.engine import TorchEngine
from asr.training.trainer import Trainer
from tests import tiny
from tests.unit.test_paraformer_training import batch, without_chance
from tests.unit.test_resume import Scheduler


class Loader(list):
    """Batches, with what FunASR asks of a sampler."""

    @property
    def batch_sampler(self):
        return self

    def set_epoch(self, epoch):
        self.epoch = epoch


class Limited(TorchEngine):
    """On the CPU, with a memory that holds ``room`` padded frames in a forward or backward pass."""

    room, where = None, "forward"

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.tried = []

    def forward(self, batch):
        self.tried.append(len(batch["text"]))
        self.full = self.room is not None and padded_frames(batch) > self.room
        if self.full and self.where == "forward":
            raise torch.OutOfMemoryError("CUDA out of memory")
        return super().forward(batch)

    def backward(self, loss):
        super().backward(loss)
        if self.full:
            raise torch.OutOfMemoryError("CUDA out of memory")


class OneOfSeveral(Limited):
    """One of several processes, which meet no others here."""

    where = "backward"

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.several = True

    def exchange(self, now):
        return contextlib.nullcontext()


class Log:
    """Keeps what is told of steps and validations."""

    bar = None

    def __init__(self):
        self.steps, self.validations = [], []

    def update(self, step):
        self.steps.append((step.total_steps, float(step.loss), float(step.accuracy or 0)))

    def validated(self, name, values, total_steps):
        self.validations.append(name)


def trainer_of(folder, engine=Limited, **more):
    made = Trainer(engine=engine, output_dir=str(folder), **{"grad_clip": 0, "keep_nbest_models": 10, **more})
    made.progress = Log()
    return made


class Validator:
    """Measures the weights; asked to stop at the validation of a step."""

    def __init__(self, trainer, stop):
        self.trainer, self.stop = trainer, stop

    def run(self, loader, epoch):
        if self.stop == ("validation", self.trainer.position.step_in_epoch):
            processes.stop_asked.set()
        self.trainer.before_validation_batch({}, True)
        return {"loss": 1.0, "accuracy": None, "cer": float(self.trainer.engine.model.l.weight.detach().abs().sum())}


class Stopping(list):
    """Batches; before one of them is trained on a stop is asked for."""

    def __init__(self, batches, first, stop):
        super().__init__(batches)
        self.first, self.stop, self.batch_sampler = first, stop, self

    def set_epoch(self, epoch):
        pass

    def __iter__(self):
        for number, data in enumerate(super().__iter__(), self.first + 1):
            if self.stop == ("step", number):
                processes.stop_asked.set()
            yield data


class Small(torch.nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.l = torch.nn.Linear(4, 1)

    def forward(self, speech, speech_lengths, text_lengths):
        loss = (self.l(speech) ** 2).mean()
        return loss, {"loss": loss.detach()}, torch.tensor(1)


def validated(folder, stop=None):
    """Six steps, validated and saved after every second, from where the run in ``folder`` is."""
    often = {"validate_interval": 2, "save_checkpoint_interval": 2, "grad_clip": 5}
    trainer, model = trainer_of(folder, TorchEngine, **often), Small()
    trainer.validator = Validator(trainer, stop)
    optim = torch.optim.Adam(model.parameters(), lr=0.01)
    trainer.resume_checkpoint(model, optim, Scheduler(optim))
    batches = [
        {"speech": torch.ones(1, 3, 4) * n, "speech_lengths": torch.tensor([3]), "text_lengths": torch.tensor([1])}
        for n in range(1, 7)
    ]
    first = trainer.start_step.step if trainer.start_step else 0
    try:
        trainer.train_epoch(Stopping(batches[first:], first, stop), 0)
    except KeyboardInterrupt:
        assert stop is not None
    finally:
        processes.stop_asked.clear()
    return trainer


@pytest.mark.parametrize("stop", [("step", 3), ("step", 4), ("step", 5), ("validation", 2), ("validation", 6)])
def test_a_stop_where_a_validation_is_due_loses_no_validation_and_no_rank(tmp_path, stop):
    whole = validated(tmp_path / "whole")
    first, second = validated(tmp_path / "stopped", stop), validated(tmp_path / "stopped")
    done = [trainer.progress.validations for trainer in (first, second, whole)]
    assert done[0] + done[1] == done[2] == [f"model.pt.ep0.{step}" for step in (2, 4, 6)]
    assert second.ranking.validated == whole.ranking.validated
    assert second.ranking.ranked == whole.ranking.ranked
    rankings = [(tmp_path / name / "checkpoints.json").read_text() for name in ("whole", "stopped")]
    assert rankings[0] == rankings[1]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    made = without_chance(load(tiny.make_model(tmp_path_factory.mktemp("base"))).model, 0.0)
    use_fast_step(made)
    return made


def train(trainer, model, batches):
    model = copy.deepcopy(model)
    optim = torch.optim.SGD(model.parameters(), lr=0.1)
    trainer.engine.attach(model, optim, Scheduler(optim))
    trainer.train_epoch(Loader(batches), 0)
    return torch.cat([value.flatten() for value in model.state_dict().values()])


@pytest.mark.parametrize("accum_grad", [1, 2])
@pytest.mark.parametrize("where", ["forward", "backward"])
def test_a_step_that_does_not_fit_is_split_and_ends_with_the_same_weights(tmp_path, model, caplog, where, accum_grad):
    batches = [batch(seed, 7) for seed in range(4)]
    whole = trainer_of(tmp_path, accum_grad=accum_grad)
    expected = train(whole, model, batches)
    trainer = trainer_of(tmp_path, accum_grad=accum_grad)
    trainer.engine.room, trainer.engine.where = 2 * 30, where
    with caplog.at_level(logging.INFO, "asr.progress"):
        found = train(trainer, model, batches)
    assert (expected - torch.cat([v.flatten() for v in model.state_dict().values()])).norm() > 1e-3
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)
    assert trainer.accumulator.splits > 0
    for one, other in zip(trainer.progress.steps, whole.progress.steps, strict=True):
        assert one == pytest.approx(other, rel=1e-4)
    first = (
        "out of memory in epoch 1 step 1 with 7 clips, 2 s with padding: computed again in 2 parts (1 so far in this"
        " run)"
    )
    assert caplog.messages[0].startswith(first)
    # What did not fit once is not tried as a whole again.
    assert trainer.engine.tried.count(7) == 1


def test_batches_left_over_at_an_epochs_end_are_trained_on_too(tmp_path, model):
    batches = [batch(seed, 7) for seed in range(3)]
    left_over = train(trainer_of(tmp_path, accum_grad=2), model, batches)
    dropped = train(trainer_of(tmp_path, accum_grad=2), model, batches[:2])
    assert (left_over - dropped).norm() > 1e-3
    alone = trainer_of(tmp_path, accum_grad=2)
    alone.engine.room = 60
    torch.testing.assert_close(train(alone, model, batches), left_over, atol=1e-5, rtol=1e-4)


def test_a_clip_that_does_not_fit_alone_is_an_error_that_says_how_long_it_is(tmp_path, model):
    trainer = trainer_of(tmp_path)
    trainer.engine.room = 10
    with pytest.raises(RecipeError, match=r"step 1: one clip of 0\.3 s does not fit in memory .CUDA .*max_source"):
        train(trainer, model, [batch(0, 3)])


def test_another_error_is_not_taken_for_out_of_memory(tmp_path, model):
    trainer = trainer_of(tmp_path)
    broken = batch(0, 3)
    broken["text"] = broken["text"][:2]
    with pytest.raises((RuntimeError, IndexError)):
        train(trainer, model, [broken])
    assert trainer.accumulator.splits == 0


def test_where_gradients_were_being_exchanged_the_run_is_restarted_in_smaller_parts(tmp_path, model):
    expected = train(trainer_of(tmp_path / "whole"), model, [batch(0, 7)])
    first = trainer_of(tmp_path, OneOfSeveral)
    first.engine.room = 60
    with pytest.raises(RecipeError, match=r"while gradients were exchanged.*batches as large are computed in parts"):
        train(first, model, [batch(0, 7)])
    for splits, tried in ((1, [3, 1, 2, 2, 2]), (0, [1, 2, 2, 2])):  # of three clips nothing is sent
        again = trainer_of(tmp_path, OneOfSeveral)
        again.engine.room = 60
        torch.testing.assert_close(train(again, model, [batch(0, 7)]), expected, atol=1e-5, rtol=1e-4)
        assert (again.accumulator.splits, again.engine.tried) == (splits, tried)


def test_what_did_not_fit_becomes_less_with_every_beginning(tmp_path, model):
    """Else the same batch would fail in the same way for ever."""
    data, found = batch(0, 7), []
    data["speech_lengths"][:] = 29  # an odd number of frames, as a batch may have
    data["speech"] = data["speech"][:, :29]
    for _ in range(8):
        trainer = trainer_of(tmp_path, OneOfSeveral)
        trainer.engine.room = 60
        with contextlib.suppress(RecipeError):
            train(trainer, model, [data])
            break
        found.append(all_too_large(tmp_path)["CPU"].padded_frames)
    assert found == sorted(set(found), reverse=True)
    assert len(found) < 8


def test_what_did_not_fit_before_is_told_and_tried_again_in_the_next_epoch(tmp_path, model, caplog):
    """Another program may have had the memory. Where processes exchange gradients, a try could end them all."""
    keep_too_large(tmp_path, "CPU", TooLarge(100, "2026-01-02 03:04:05"))
    for kind, again in ((Limited, [1, 2, 2, 2, 7]), (OneOfSeveral, [1, 2, 2, 2, 1, 2, 2, 2])):
        trainer = trainer_of(tmp_path, kind)
        caplog.clear()
        with caplog.at_level(logging.INFO, "asr.progress"):
            for _ in range(2):
                train(trainer, model, [batch(0, 7)])
        assert trainer.engine.tried == again
        told = [line for line in caplog.messages if "are computed in parts: they did not fit" in line]
        assert len(told) == 1
        assert "(CPU, 2026-01-02 03:04:05; too_large.json)" in told[0]


def remembered(folder):
    accumulator = trainer_of(folder).accumulator
    accumulator.begin_epoch()
    return accumulator.oom_limit


def test_what_did_not_fit_on_one_card_is_tried_on_another(tmp_path):
    keep_too_large(tmp_path, "a card of 24 GB", TooLarge(300, "then"))
    assert remembered(tmp_path) is None
    for size in (400, 350, 500):  # another process may have found a smaller one
        keep_too_large(tmp_path, "CPU", TooLarge(size, "now"))
    assert all_too_large(tmp_path) == {"a card of 24 GB": (300, "then"), "CPU": (350, "now")}
    assert remembered(tmp_path) == (350, "now")
    for text in ("{", "[]", '{"CPU": 350}', '{"CPU": {"padded_frames": "x", "made": ""}}', '{"a": {}}'):
        (RunFolder(tmp_path).oom_limits).write_text(text)
        assert all_too_large(tmp_path) == {}


@pytest.mark.parametrize(
    ("error", "is_one"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), True),
        (RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), True),
        (RuntimeError("[enforce fail at alloc_cpu.cpp:121] DefaultCPUAllocator: can't allocate memory"), True),
        (RuntimeError("CUDA error: device-side assert triggered"), False),
        (RuntimeError("shapes differ"), False),
    ],
)
def test_errors_of_memory_are_known(error, is_one):
    assert ran_out_of_memory(error) is is_one


def test_parts_cover_the_clips_and_are_cropped():
    whole = batch(3, 5)
    parts = parts_of(whole, 2)
    assert [len(part["text"]) for part in parts] == [2, 3]
    for name in ("speech_lengths", "text_lengths"):
        assert torch.equal(torch.cat([part[name] for part in parts]), whole[name])
    for part in parts:
        assert part["speech"].size(1) == part["speech_lengths"].max()
        assert part["text"].size(1) == part["text_lengths"].max()
        assert (part["text"].ne(-1).sum(1) == part["text_lengths"][:, 0]).all()
    assert len(parts_of(whole, 64)) == 5


def test_the_normaliser_is_what_funasr_divides_by(model):
    data = batch(1, 4)
    _, _, weight = model(**data)
    assert normaliser(model, data) == weight.item()
    assert normaliser(torch.nn.Linear(1, 1), data) == 4


SCARCE = """
import resource, sys, torch
from pathlib import Path
from asr.models.loading import load
from tests import tiny
from tests.unit.test_epoch import train, trainer_of
torch.set_num_threads(1)
model = load(tiny.make_model(Path(sys.argv[1]) / "base")).model.train()
def data(clips):
    lengths, counts = torch.full((clips, 1), 300), torch.full((clips, 1), 5)
    return {"speech": torch.randn(clips, 300, 560), "speech_lengths": lengths,
            "text": torch.randint(3, 13, (clips, 5)), "text_lengths": counts}
trainer = trainer_of(sys.argv[1])
train(trainer, model, [data(2)])
assert trainer.accumulator.splits == 0
large = data(64)  # attention alone is 4 heads x 64 x 300 x 300 x 4 bytes = 92 MB a tensor
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 250 * 2**20, -1))
train(trainer, model, [large])
resource.setrlimit(resource.RLIMIT_AS, (-1, -1))  # what ends with the program begins a thread for it
print("splits", trainer.accumulator.splits)
"""


def test_running_out_of_real_memory_is_survived(tmp_path):
    done = subprocess.run([sys.executable, "-c", SCARCE, str(tmp_path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert int(done.stdout.split("splits ")[1]) > 0
