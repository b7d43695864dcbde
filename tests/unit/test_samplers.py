"""Our batch sampler: every clip once an epoch, no batch too large or empty, the same on every rank, restart exact."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr.samplers import ShuffledBatchSampler


class Lengths:
    """A dataset that is only its lengths."""

    def __init__(self, lengths):
        self.lengths = lengths

    def __len__(self):
        return len(self.lengths)

    def get_source_len(self, index):
        return self.lengths[index]


def sampler(lengths, rank=0, world=1, **more):
    made = ShuffledBatchSampler(Lengths(lengths), **{"batch_size": 1000, "sort_size": 16, **more})
    made.rank, made.world_size = rank, world
    return made


LENGTHS = st.lists(st.integers(1, 1000), min_size=1, max_size=80)


@given(LENGTHS, st.integers(1, 100), st.integers(0, 5))
def test_every_clip_once_and_no_batch_empty_or_too_large(lengths, sort_size, epoch):
    made = sampler(lengths, sort_size=sort_size)
    made.set_epoch(epoch)
    batches = list(made)
    assert sorted(index for batch in batches for index in batch) == list(range(len(lengths)))
    assert all(batch and max(lengths[i] for i in batch) * len(batch) <= 1000 for batch in batches)
    assert len(made) == len(batches)


@given(LENGTHS, st.integers(1, 4))
def test_ranks_train_on_equally_many_batches_and_on_every_clip(lengths, world):
    parts = [list(sampler(lengths, rank, world)) for rank in range(world)]
    assert len({len(part) for part in parts}) == 1
    assert {index for part in parts for batch in part for index in batch} == set(range(len(lengths)))


@given(LENGTHS, st.integers(1, 4))
def test_ranks_validate_each_clip_exactly_once(lengths, world):
    parts = [list(sampler(lengths, rank, world, is_training=False)) for rank in range(world)]
    assert sorted(index for part in parts for batch in part for index in batch) == list(range(len(lengths)))


@given(LENGTHS, st.integers(0, 20))
def test_a_restart_in_the_middle_of_an_epoch_goes_on_with_the_next_batch(lengths, step):
    assert list(sampler(lengths, start_step=step)) == list(sampler(lengths))[step:]


def test_another_epoch_or_seed_another_order_the_same_the_same():
    lengths = [10 + i % 37 for i in range(200)]
    first, again, other_seed = sampler(lengths), sampler(lengths), sampler(lengths, sampler_seed=1)
    assert list(first) == list(again) != list(other_seed)
    again.set_epoch(1)
    assert list(first) != list(again)


def test_batches_do_not_run_from_short_to_long_and_pad_little():
    lengths = [50 + (i * 7919) % 400 for i in range(2000)]
    batches = list(sampler(lengths, batch_size=4000, sort_size=1024))
    longest = [max(lengths[i] for i in batch) for batch in batches]
    rises = sum(a < b for a, b in itertools.pairwise(longest)) / (len(longest) - 1)
    assert 0.35 < rises < 0.65
    padded = sum(max(lengths[i] for i in batch) * len(batch) for batch in batches)
    assert sum(lengths) / padded > 0.95


def test_batch_type_example_counts_clips():
    assert {len(batch) for batch in sampler([5] * 12, batch_size=4, batch_type="example")} == {4}


@pytest.mark.parametrize("workers", [0, 2])
def test_funasr_gets_arguments_that_its_dataloader_takes(workers):
    from funasr.register import tables
    from torch.utils.data import DataLoader

    make = tables.batch_sampler_classes.get("ShuffledBatchSampler")
    arguments = make(Lengths([5] * 12), batch_size=20, num_workers=workers, pin_memory=False, max_source_length=9)
    assert len(DataLoader(list(range(12)), **arguments)) == 3
