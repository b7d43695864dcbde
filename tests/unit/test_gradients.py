"""The gradient of an update is that of one batch of its clips: in parts, accumulated, over processes, out of memory.

Of memory, what is counted are the tensors that autograd keeps for the backward pass: on a GPU they are most of it.
"""

import contextlib
import gc
import os
import subprocess
import sys
import weakref
from pathlib import Path

import pytest
import torch

from asr.core.errors import RecipeError
from asr.core.out_of_memory import TooLarge, keep_too_large
from asr.decoding.batches import Clip, Decoder
from asr.models.loading import load
from asr.scoring.cer import ErrorCounts
from asr.training.batch_parts import normaliser
from asr.training.engine import TorchEngine
from asr.training.trainer import Trainer
from tests import tiny_batches
from tests.patience import PATIENCE
from tests.unit.test_epoch import Loader
from tests.unit.test_resume import Scheduler

FULL = "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has 1.00 GiB free"


class Saved:
    """A tensor that autograd keeps."""

    def __init__(self, tensor):
        self.tensor = tensor.detach()  # itself it would keep the graph that keeps it


class Card:
    """A card's memory, of which only what autograd keeps is counted; a forward pass above ``room`` bytes fails."""

    def __init__(self, room=None):
        self.room, self.alive, self.used, self.peak = room, weakref.WeakSet(), 0, 0

    def keep(self, tensor):
        saved, size = Saved(tensor), tensor.numel() * tensor.element_size()
        self.alive.add(saved)
        self.used += size
        self.peak = max(self.peak, self.used)
        weakref.finalize(saved, self.free, size)
        if self.room is not None and self.used > self.room:
            raise torch.OutOfMemoryError(FULL)
        return saved

    def free(self, size):
        self.used -= size

    def __enter__(self):
        self.hooks = torch.autograd.graph.saved_tensors_hooks(self.keep, lambda saved: saved.tensor)
        self.hooks.__enter__()
        gc.disable()  # what only the garbage collector finds is not free in time
        return self

    def __exit__(self, *what):
        gc.enable()
        return self.hooks.__exit__(*what)


class Watched(TorchEngine):
    """Keeps the gradients of each update, and what is alive when a forward pass begins."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.card, self.alive, self.clips, self.gradients = None, [], [], []

    def forward(self, batch):
        self.clips.append(len(batch["text"]))
        if self.card is not None:
            self.alive.append(len(self.card.alive))
        return super().forward(batch)

    def step(self):
        named = self.plain_model.named_parameters()
        self.gradients.append({name: value.grad.clone() for name, value in named if value.grad is not None})
        return super().step()


def trainer_of(folder, card=None, **more):
    made = Trainer(engine=Watched, output_dir=str(folder), grad_clip=0, **more)
    made.engine.card, made.log = card, lambda *_: None
    return made


def epoch(trainer, model, batches, wrap=None):
    """An epoch in which the weights do not move; the gradients of its updates."""
    optim = torch.optim.SGD(model.parameters(), lr=0.0)
    trainer.engine.attach(wrap(model) if wrap else model, optim, Scheduler(optim))
    trainer.train_epoch(Loader(batches), 0)
    return trainer.engine.gradients


def layers(model, batch):
    """A layer near the input, one in the middle and one near the loss, of those that hand on a gradient."""
    found, norms = [], [part for part in model.modules() if type(part).__name__.endswith("Norm")]

    def note(part, _, output):
        if output.requires_grad:
            found.append(part)

    handles = [part.register_forward_hook(note) for part in norms]
    model(**batch)
    for handle in handles:
        handle.remove()
    return {"first": found[0], "middle": found[len(found) // 2], "last": found[-1]}


@contextlib.contextmanager
def full_in(layer, times=1):
    """Backward passes through ``layer`` run out of memory, the first ``times`` of them; how many have."""
    failed = []

    def fail(gradient):
        if len(failed) < times:
            failed.append(1)
            raise torch.OutOfMemoryError(FULL)

    def watch(_, __, output):
        if output.requires_grad:
            output.register_hook(fail)

    handle = layer.register_forward_hook(watch)
    try:
        yield failed
    finally:
        handle.remove()


def assert_same(found, expected, tolerance=1e-5):
    """Gradients by name, each but for ``tolerance`` of the largest of all."""
    assert found.keys() == expected.keys()
    size = max(value.abs().max() for value in expected.values())
    assert size > 1e-3
    for name, value in expected.items():
        assert (found[name] - value).abs().max() <= tolerance * size, name


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("bases")


@pytest.fixture(scope="module", params=tiny_batches.KINDS)
def kind(request, folder):
    """(model, function that makes a batch of it) of every family, in full and with adapters."""
    made = tiny_batches.build(folder, request.param)
    tiny_batches.without_chance(made.model)
    return made.model, lambda frames, seed=0: tiny_batches.batch(made, request.param, frames, seed)


@pytest.fixture(scope="module")
def paraformer(folder):
    made = tiny_batches.build(folder, "paraformer")
    tiny_batches.without_chance(made.model)
    return made.model, lambda frames, seed=0: tiny_batches.batch(made, "paraformer", frames, seed)


def joined(batches):
    """The clips of batches in one."""
    pad = torch.nn.utils.rnn.pad_sequence
    rows = {name: [row for batch in batches for row in batch[name]] for name in batches[0]}
    return {name: pad(rows[name], batch_first=True, padding_value=-1 if name == "text" else 0) for name in rows}


def test_the_normaliser_is_what_funasr_divides_by(kind):
    model, batch = kind
    data = batch([48, 64, 56], seed=3)
    assert normaliser(model, data) == int(model(**data)[2])


UNEVEN = ([48], [64, 56, 80, 72, 40], [44, 52])


def test_accumulated_gradients_are_those_of_one_batch(kind, tmp_path):
    model, batch = kind
    batches = [batch(frames, seed) for seed, frames in enumerate(UNEVEN)]
    found = epoch(trainer_of(tmp_path, accum_grad=3), model, batches)
    assert_same(found[0], epoch(trainer_of(tmp_path), model, [joined(batches)])[0])


def test_a_last_group_of_an_epoch_that_is_smaller_is_weighted_by_what_is_in_it(paraformer, tmp_path):
    model, batch = paraformer
    batches = [batch(frames, seed) for seed, frames in enumerate((*UNEVEN, [60, 60], [76]))]
    found = epoch(trainer_of(tmp_path, accum_grad=3), model, batches)
    assert len(found) == 2
    assert_same(found[1], epoch(trainer_of(tmp_path), model, [joined(batches[3:])])[0])


@pytest.mark.parametrize("depth", ["first", "middle", "last"])
def test_nothing_of_a_failed_attempt_is_alive_when_the_next_begins_and_no_gradient_counts_twice(kind, tmp_path, depth):
    model, batch = kind
    data = batch([48, 64, 56, 80])
    expected = epoch(trainer_of(tmp_path / "whole"), model, [data])
    trainer = trainer_of(tmp_path, Card())
    with trainer.engine.card, full_in(layers(model, data)[depth]) as failed:
        found = epoch(trainer, model, [data])
    assert failed
    assert trainer.engine.clips == [4, 2, 2]
    assert trainer.engine.alive == [0, 0, 0]
    assert_same(found[0], expected[0])


@pytest.mark.parametrize("clips", [16, 32, 64])
def test_what_is_larger_than_the_card_is_computed_in_parts_on_it(paraformer, tmp_path, clips):
    """A card for the forward pass of nine clips, and for the backward pass of five: four are computed at a time."""
    model, batch = paraformer
    with Card() as card:
        model(**batch([60] * 9))
    data = batch([60] * clips)
    trainer = trainer_of(tmp_path, Card(room=card.peak))

    def crowded(_):
        if trainer.engine.card.used > 5 / 9 * card.peak:
            raise torch.OutOfMemoryError(FULL)

    last = layers(model, data)["last"]
    handle = last.register_forward_hook(lambda _, __, output: (output.register_hook(crowded), None)[1])
    with trainer.engine.card:
        found = epoch(trainer, model, [data])
    handle.remove()
    assert trainer.engine.clips.count(4) == clips // 4
    assert min(trainer.engine.clips) == 4
    assert_same(found[0], epoch(trainer_of(tmp_path), model, [data])[0])


def test_a_batch_of_the_group_that_fails_later_is_split_further_whatever_the_newest_one_is(paraformer, tmp_path):
    """The newest batch has two clips; that the four before it fail then does not mean that one clip does not fit."""
    model, batch = paraformer
    batches = [batch([20, 18, 20, 16]), batch([80, 80], 1)]
    trainer = trainer_of(tmp_path, accum_grad=2)
    passes = []

    def sometimes(*_):
        passes.append(1)
        if len(passes) in (2, 3):  # the second batch; then, begun again, the first one
            raise torch.OutOfMemoryError(FULL)

    handle = model.encoder.after_norm.register_forward_hook(sometimes)
    try:
        found = epoch(trainer, model, batches)
    finally:
        handle.remove()
    assert trainer.engine.clips == [4, 2, 4, 2, 2, 1, 1]
    assert_same(found[0], epoch(trainer_of(tmp_path), model, [joined(batches)])[0])


def test_one_clip_that_does_not_fit_is_named_with_what_the_card_said(paraformer, tmp_path):
    model, batch = paraformer
    handle = model.encoder.after_norm.register_forward_hook(
        lambda _, given, __: torch.zeros(10**18) if len(given[0]) == 1 and given[0].size(1) == 50 else None
    )
    data = batch([80, 50])
    trainer = trainer_of(tmp_path)
    keep_too_large(tmp_path, "CPU", TooLarge(10, "today"))
    try:
        with pytest.raises(
            RecipeError, match=r"one clip of 0\.5 s does not fit in memory \(.*can't allocate memory"
        ) as e:
            epoch(trainer, model, [data])
    finally:
        handle.remove()
    assert "end other programs that use it" in str(e.value)


RANKS = """
import os, sys, torch, torch.distributed as dist
from pathlib import Path
from tests import tiny_batches
from tests.unit.test_gradients import trainer_of, Card, assert_same, epoch, full_in, joined, layers
torch.set_num_threads(1)
folder, rank = Path(sys.argv[1]), int(sys.argv[2])
DDP = torch.nn.parallel.DistributedDataParallel
wrap = lambda model: DDP(model, find_unused_parameters=True, broadcast_buffers=False)
OF = ([[48], [64, 56, 80, 72, 40]], [[44, 52, 60, 50], [76]])
models, batches, whole = {}, {}, {}
for kind in tiny_batches.KINDS:
    made = tiny_batches.build(folder, kind)
    models[kind] = model = tiny_batches.without_chance(made.model)
    each = [[tiny_batches.batch(made, kind, frames, 2 * one + n) for n, frames in enumerate(OF[one])] for one in (0, 1)]
    batches[kind] = each[rank]
    whole[kind] = epoch(trainer_of(folder / f"whole{rank}"), model, [joined([*each[0], *each[1]])])
dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
for kind, model in models.items():
    trainer = trainer_of(folder / f"{kind}{rank}", Card(), accum_grad=2, world_size=2, rank=rank)
    middle = layers(model, batches[kind][0])["middle"]
    with trainer.engine.card, full_in(middle, times=rank) as failed:  # before anything is sent, on the second process
        found = epoch(trainer, model, batches[kind], wrap)
    clips = trainer.engine.clips
    assert len(failed) == rank and clips == [[1, 5], [4, 2, 2, 1]][rank], (kind, failed, clips)
    assert not any(trainer.engine.alive), (kind, trainer.engine.alive)
    assert_same(found[0], whole[kind][0])
    print("same", kind, flush=True)
os._exit(0)  # gloo's destructor may wait for ever
"""


def test_two_processes_have_the_gradient_of_all_clips_in_one_batch(folder, tmp_path):
    """With uneven numbers of tokens; on one of them memory runs out in a batch before the last of the group."""
    for kind in tiny_batches.KINDS:
        tiny_batches.build(folder, kind)  # the folders, which two processes would both make
    command = [sys.executable, "-c", RANKS, str(folder)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path), "GLOO_SOCKET_IFNAME": "lo"}
    ranks = [
        subprocess.Popen([*command, str(rank)], cwd=Path(__file__).parents[2], env=env, **pipes) for rank in (0, 1)
    ]
    for rank in ranks:
        said = rank.communicate(timeout=PATIENCE)[0]
        assert rank.returncode == 0, said[-3000:]
        assert said.count("same ") == len(tiny_batches.KINDS)


def full_above(model, clips):
    """The encoder runs out of memory with more clips than that; when it does, what it made is noted."""
    made = []

    def check(_, given, output):
        if len(output) > clips:
            made.append(weakref.ref(output))
            raise torch.OutOfMemoryError(FULL)

    return made, model.encoder.after_norm.register_forward_hook(check)


def test_a_batch_that_does_not_fit_in_validation_is_validated_in_halves(paraformer, folder, tmp_path):
    model, batch = paraformer
    data = {**batch([48, 64, 56, 80, 72]), "target": ["一", "二三", "四", "五五五", "六"]}
    trainer = trainer_of(tmp_path, max_epoch=1)
    trainer.engine.attach(model, None, None)
    validator = trainer.validator
    validator.tokenizer = load(folder / "paraformer").tokenizer
    model.eval()
    found = []
    try:
        for most in (5, 2):
            made, handle = full_above(model, most)
            validator.errors = ErrorCounts()
            with torch.no_grad():
                loss, stats = validator.batch(data, 0)
            handle.remove()
            found.append((validator.errors, loss, stats["acc"]))
        assert len(made) == 2
        torch.testing.assert_close(found[0][1:], found[1][1:])
        assert found[0][0] == found[1][0]
        assert found[0][0].ref_len == 8
        _, handle = full_above(model, 0)
        with pytest.raises(RecipeError, match=r"a clip of 0\.5 s does not fit in memory, in a batch of its own \(CUDA"):
            validator.batch(data, 0)
        handle.remove()
    finally:
        model.train()


def test_decoding_begins_the_halves_with_nothing_of_the_whole(folder):
    tiny_batches.build(folder, "paraformer")
    recogniser = load(folder / "paraformer")
    made, handle = full_above(recogniser.model, 2)
    alive = []
    recogniser.model.encoder.register_forward_pre_hook(lambda *_: alive.extend(one() for one in made))
    clips = [Clip(f"{n}", f"{n}.wav", 1.0) for n in range(4)]
    lengths = torch.full((4,), 30)
    with contextlib.suppress(RecipeError):
        Decoder(recogniser, lambda _: None).texts(clips, torch.randn(4, 30, 560), lengths)
    handle.remove()
    assert made
    assert alive == [None] * len(alive)
    assert alive
