"""Our batch sampler: every clip once an epoch, no batch too large or empty, the same on every rank, restart exact."""

import itertools
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr.core.errors import RecipeError
from asr.data.augmentation import augmentation, frames
from asr.data.chance import hashes_of
from asr.data.sampler import ShuffledBatchSampler, parts_to_save, saved_parts


class Lengths:
    """A dataset that is only its lengths."""

    def __init__(self, lengths):
        self.lengths = lengths

    def __len__(self):
        return len(self.lengths)

    def get_source_len(self, index):
        return self.lengths[index]


class Perturbed(Lengths):
    """Lengths that depend on the epoch, as RecipeAudioDataset states them."""

    def __init__(self, lengths, speeds=(0.9, 1.0, 1.1), seed=0, tempo=()):
        super().__init__(lengths)
        self.augmentation = augmentation({"speed_perturb": speeds, "tempo": tempo}, seed)
        self.hashes = hashes_of(map(str, range(len(lengths))))

    def source_lens(self, epoch, factors=None, seed=0):
        chosen = self.augmentation if factors is None else augmentation(dict(factors), seed)
        return frames(chosen.lengths(np.array(self.lengths) * 160, self.hashes, epoch))


def sampler(lengths, rank=0, world=1, **more):
    dataset = lengths if isinstance(lengths, Lengths) else Lengths(lengths)
    settings = {"batch_size": 1000, "sort_size": 16, "rank": rank, "world_size": world, **more}
    return ShuffledBatchSampler(dataset, **settings)


def clips(batches):
    return sorted(index for batch in batches for index in batch)


LENGTHS = st.lists(st.integers(1, 1000), min_size=1, max_size=80)


@given(LENGTHS, st.integers(1, 100), st.integers(0, 5))
def test_every_clip_once_and_no_batch_empty_or_too_large(lengths, sort_size, epoch):
    made = sampler(lengths, sort_size=sort_size)
    made.set_epoch(epoch)
    batches = list(made)
    assert clips(batches) == list(range(len(lengths)))
    assert all(batch and max(lengths[i] for i in batch) * len(batch) <= 1000 for batch in batches)
    assert len(made) == len(batches)


@given(LENGTHS, st.integers(1, 4), st.booleans())
def test_ranks_get_equally_many_batches_and_every_clip_exactly_once(lengths, world, training):
    parts = [list(sampler(lengths, rank, world, is_training=training)) for rank in range(world)]
    together = clips(batch for part in parts for batch in part)
    could_split = any(len(batch) > 1 for part in parts for batch in part)
    if training or could_split:
        assert len({len(part) for part in parts}) == 1
        assert parts[0]
    if not training or could_split:
        assert together == list(range(len(lengths)))
    assert set(together) == set(range(len(lengths)))


def test_fewer_clips_than_ranks_are_repeated_in_training_and_not_in_validation():
    for training, expected in ((True, [[0], [0], [1]]), (False, [[0], [1], []])):
        parts = [clips(sampler([5, 5], rank, 3, is_training=training)) for rank in range(3)]
        assert sorted(map(len, parts)) == sorted(map(len, expected))


@given(LENGTHS, st.integers(0, 20))
def test_a_restart_in_the_middle_of_an_epoch_goes_on_with_the_next_batch(lengths, step):
    assert list(sampler(lengths, start_step=step)) == list(sampler(lengths))[step:]


@given(LENGTHS, st.integers(0, 9), st.integers(0, 9), st.integers(1, 3), st.integers(1, 3), st.integers(0, 3))
def test_a_restart_with_another_batch_size_and_world_covers_each_clip_once(lengths, first, second, old, new, epoch):
    """Two restarts in one epoch: what was trained before each of them, and then the rest, is every clip."""

    def whole(step, world, passed, **more):
        made = [sampler(lengths, rank, world, passed=passed, **more) for rank in range(world)]
        for item in made:
            item.set_epoch(epoch)
        before = sum(steps for _, steps in made[0].passed)
        done = [batch for item in made for batch in list(item)[:step]]
        # The place goes through a checkpoint as JSON would.
        position = json.loads(json.dumps(made[0].position(before + made[0].start_step + min(step, len(made[0])))))
        return done, saved_parts(position)

    done_1, place = whole(first, old, [])
    done_2, place = whole(second, new, place, batch_size=2000)
    done_3, _ = whole(10**6, old, place, sort_size=8)
    everything = clips([*done_1, *done_2, *done_3])
    assert set(everything) == set(range(len(lengths)))
    if len(lengths) > 40 and old == new == 1:
        assert everything == list(range(len(lengths)))


def test_a_place_under_the_same_settings_is_only_a_step():
    whole = list(sampler([100] * 50))
    made = sampler([100] * 50, start_step=2)
    resumed = sampler([100] * 50, passed=saved_parts(made.position(3)))
    assert resumed.passed == ()
    assert list(resumed) == whole[3:]
    assert parts_to_save(saved_parts(made.position(3))) == made.position(3)


def test_another_epoch_or_seed_another_order_the_same_the_same():
    lengths = [10 + i % 37 for i in range(200)]
    first, again, other_seed = sampler(lengths), sampler(lengths), sampler(lengths, sampler_seed=1)
    assert list(first) == list(again) != list(other_seed)
    again.set_epoch(1)
    assert list(first) != list(again)


def test_the_order_is_the_same_on_every_machine():
    """Golden: a changed order would silently break the restart of runs that are under way."""
    assert list(sampler([100 * (1 + i % 4) for i in range(8)], sampler_seed=3)) == [[6, 2], [0, 4, 1, 5], [7, 3]]


def test_batches_hold_the_lengths_of_their_epoch():
    dataset = Perturbed([100 + 7 * i % 300 for i in range(300)], tempo=(0.8, 1.2))
    made = sampler(dataset, batch_size=2000)
    for epoch in range(3):
        made.set_epoch(epoch)
        heard = dataset.source_lens(epoch)
        assert (heard != dataset.source_lens(epoch + 1)).any()
        assert all(max(heard[i] for i in batch) * len(batch) <= 2000 for batch in made)
        assert clips(made) == list(range(300))


@pytest.mark.parametrize("tempo", [(), (0.8, 1.2)])
def test_the_clips_trained_before_a_restart_are_known_at_the_speeds_of_then(tempo):
    before = sampler(Perturbed([100 + 7 * i % 300 for i in range(300)], tempo=tempo), batch_size=2000)
    place = saved_parts(before.position(5))
    after = sampler(Perturbed([100 + 7 * i % 300 for i in range(300)], (1.0, 1.3)), batch_size=1500, passed=place)
    assert clips([*list(before)[:5], *after]) == list(range(300))


def test_the_clips_trained_before_a_restart_are_known_under_another_seed():
    lengths = [100 + 7 * i % 300 for i in range(300)]
    before = sampler(Perturbed(lengths, seed=1), batch_size=2000, sampler_seed=1)
    place = saved_parts(before.position(9))
    after = sampler(Perturbed(lengths, seed=2), batch_size=2000, sampler_seed=2, passed=place)
    assert clips([*list(before)[:9], *after]) == list(range(300))


def test_it_is_known_where_a_validation_comes_out_even():
    def even(lengths, processes, **more):
        batches = sampler(lengths, world=processes, is_training=False, **more)
        parts = [len(sampler(lengths, rank, processes, is_training=False)) for rank in range(processes)]
        assert batches.gives_all_as_many() == (len(set(parts)) == 1)
        return batches.gives_all_as_many()

    assert even([10] * 3, 2)
    assert not even([900] * 3, 2)  # three batches of one clip, which cannot be split
    assert not even([10], 2)
    assert even([900] * 3, 1)


def test_a_clip_longer_than_a_batch_is_refused():
    with pytest.raises(RecipeError, match="a clip of 1001 frames is longer than a whole batch"):
        list(sampler([5, 1001]))


def log_normal(count, mean=2.65, spread=0.55):
    """Lengths like CDSD's, in 10-ms frames."""
    seconds = np.random.default_rng(0).lognormal(np.log(mean) - spread**2 / 2, spread, count)
    return (100 * seconds.clip(0.4, 20)).astype(int)


@pytest.mark.parametrize("batch_size", [6000, 12000, 24000, 48000])
def test_padding_is_below_5_percent_at_any_batch_size(batch_size):
    lengths = log_normal(45_327)
    made = sampler(Perturbed(lengths), batch_size=batch_size, sort_size=None)
    heard = made.dataset.source_lens(0)
    padded = sum(heard[batch].max() * len(batch) for batch in made)
    assert heard.sum() / padded > 0.95


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
