"""Decoding in one process: every clip once, the same text in any batch, and a batch that is too large is split."""

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest
import soundfile
import torch

from asr.core.errors import RecipeError
from asr.core.manifest import Utterance
from asr.decoding.batches import Clip, Decoder, batches
from asr.models.loading import load
from tests import tiny

SECONDS = [0.06, 0.1, 0.3, 0.31, 0.5, 0.7, 1.1, 1.3, 2.0, 2.9, 0.4, 1.7]


@pytest.fixture(scope="module")
def recogniser(tmp_path_factory):
    return load(tiny.make_model(tmp_path_factory.mktemp("model")))


@pytest.fixture(scope="module")
def utterances(tmp_path_factory):
    return tiny.make_clips(tmp_path_factory.mktemp("clips"), SECONDS)


@pytest.fixture(scope="module")
def alone(recogniser, utterances):
    """The text of each clip in a batch of its own."""
    found = tiny.decode(recogniser, utterances, 0.01)
    assert len(set(found.values())) > len(SECONDS) / 2  # texts that differ, or to compare them would say nothing
    return found


def texts(results):
    return [(clip, result.greedy) for clip, result in results]


class SmallGpu:
    """A recogniser that runs out of GPU memory with more than ``frames`` padded frames."""

    def __init__(self, recogniser, frames):
        self.recogniser, self.frames, self.tried = recogniser, frames, []

    def features(self, audio):
        return self.recogniser.features(audio)

    def decode_batch(self, speech, lengths, keys):
        self.tried.append(speech.shape[0] * speech.shape[1])
        if self.tried[-1] > self.frames:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return self.recogniser.decode_batch(speech, lengths, keys)


@hypothesis.given(lengths=st.lists(st.integers(1, 3000), min_size=1, max_size=60), seconds=st.floats(0.01, 100))
def test_batches_hold_every_clip_once_longest_first_and_no_more_than_asked_for(lengths, seconds):
    items = [Utterance(f"k{n}", "", "", length, 1, "s", length / 100, 1) for n, length in enumerate(lengths)]
    made = batches(items, seconds)
    assert sorted(clip.key for batch in made for clip in batch) == sorted(item.key for item in items)
    frames = {item.key: item.source_len for item in items}
    flat = [frames[clip.key] for batch in made for clip in batch]
    assert flat == sorted(lengths, reverse=True)
    for batch in made:
        assert len(batch) == 1 or frames[batch[0].key] * len(batch) <= seconds * 100


@hypothesis.settings(max_examples=25)
@hypothesis.given(order=st.permutations(range(len(SECONDS))), count=st.integers(1, 12), seconds=st.floats(0.01, 40))
def test_the_text_of_a_clip_does_not_depend_on_what_it_is_decoded_with(
    recogniser, utterances, alone, order, count, seconds
):
    chosen = [utterances[index] for index in order[:count]]
    assert tiny.decode(recogniser, chosen, seconds) == {item.key: alone[item.key] for item in chosen}


def test_a_batch_that_does_not_fit_the_gpu_is_split_and_nothing_as_large_is_tried_again(recogniser, utterances, alone):
    plan = batches(utterances, 1000) * 2  # all clips in one batch, twice
    small, told = SmallGpu(recogniser, 60), []
    found = list(map(Decoder(small, told.append).decode, plan))
    assert [texts(results) for results in found] == [[(clip, alone[clip.key]) for clip in plan[0]]] * 2
    refused = [frames for frames in small.tried if frames > 60]
    assert refused == sorted(set(refused), reverse=True)  # each smaller than the one before: never the same again
    assert len(told) == len(refused) >= 2
    assert told[0].startswith("out of GPU memory with 12 clips of up to 2.9 s: ")


def test_a_clip_that_does_not_fit_the_gpu_alone_is_named(recogniser, utterances):
    small = SmallGpu(recogniser, 40)  # the clip of 2.9 s has 49 frames
    with pytest.raises(RecipeError, match=rf"{utterances[9].source}: its 2\.9 s do not fit the GPU's memory"):
        Decoder(small, lambda _: None).decode(batches(utterances, 1000)[0])


def test_another_error_of_the_model_is_not_taken_for_want_of_memory(recogniser, utterances):
    class Broken(SmallGpu):
        def decode_batch(self, speech, lengths, keys):
            raise RuntimeError("shapes do not match")

    with pytest.raises(RuntimeError, match="shapes do not match"):
        Decoder(Broken(recogniser, 0)).decode(batches(utterances, 1000)[0])


def test_a_text_too_few_is_refused(recogniser, utterances):
    class Short(SmallGpu):
        def decode_batch(self, speech, lengths, keys):
            return [""] * (len(speech) - 1)

    with pytest.raises(ValueError, match="shorter"):
        Decoder(Short(recogniser, 0)).decode(batches(utterances, 1000)[0])


def test_clips_that_cannot_be_read_cost_the_others_nothing(recogniser, utterances, alone, tmp_path):
    (tmp_path / "a.wav").write_bytes(b"RIFF")
    audio = 0.1 * np.sin(np.arange(16000) / 9)
    audio[9000] = np.nan
    soundfile.write(tmp_path / "nan.wav", audio, 16000, "FLOAT")
    bad = [Clip(name, str(tmp_path / name), 1.0) for name in ("a.wav", "nan.wav")]
    (second, first), *_ = batches(utterances[:2], 1000)
    plan = [[bad[0], first, bad[1], second], bad]
    mixed, broken = map(Decoder(recogniser).decode, plan)
    assert [clip for clip, _ in mixed] == plan[0]
    results, nothing = [result for _, result in mixed], [result for _, result in broken]
    assert [result.greedy for result in results[1::2]] == [alone[clip.key] for clip in (first, second)]
    assert results[0::2] == nothing
    assert [item.why.partition(":")[0] for item in nothing] == [
        "cannot be decoded",
        "a sample is NaN or infinite (the first wrong one at 0.56 s)",
    ]


def test_a_folder_that_is_gone_ends_the_decode_at_once(recogniser, tmp_path):
    with pytest.raises(RecipeError, match=rf"^{tmp_path}/gone: not there any more"):
        Decoder(recogniser).decode([Clip("a", str(tmp_path / "gone/a.wav"), 1.0)])


def test_a_clip_that_was_cut_since_stage_1_is_named(recogniser, utterances, alone, tmp_path, capsys):
    whole = next(item for item in utterances if item.duration == 2.0)
    path = tmp_path / "cut.wav"
    with open(whole.source, "rb") as stream:
        path.write_bytes(stream.read(16044))  # libsndfile reads the half second that is there, without an error
    items = [item if item != whole else item._replace(source=str(path)) for item in utterances]
    assert tiny.decode(recogniser, items, 60.0) == {key: text for key, text in alone.items() if key != whole.key}
    said = f"{path}: utterance {whole.key}: has 0.50 s now, and had 2.00 s in stage 1; left out, 1 of 12 clips"
    assert said in capsys.readouterr().out
